// winograd_rows: Winograd's algorithm F(m, r) down the columns of the image alone, with the pixels of a row in the
// lanes of vectors. Of few channels, the transforms of `winograd` along both axes cost what they save; here each in
// channel is transformed once for all its out channels and columns of the kernel, and each sum once for all its in
// channels:
//
//   n rows of an in channel ---> B^T d, n rows ---> for each tap along the row, n rows of products are added up
//                                                                     |
//   m rows of an out channel <--- A^T, in registers <-----------------+
//
// n = m + r - 1 multiply-adds instead of m * r, 6 for 12 where r = 3, 8 for 20 where r = 5 (A. Lavin, S. Gray, "Fast
// algorithms for convolutional neural networks", 2016; the transforms are in winograd_rows.inl.h). Longer kernels are
// in pieces, as far apart as the tiles are high: piece p of a tile reads the windows of the tile p further down, and
// nothing is transformed twice. With a dilation, the rows that lie so far apart, a phase, are an image of their own.
// With a stride, so are the rows that the taps of a segment read: each segment has windows of its own, and all of them
// go into the same sums.
//
// One task is a band of rows of tiles of one image and phase, for one or more groups. Where an output comes out not
// finite, or weights are not, the image is computed again by shift_gemm.
#include <algorithm>
#include <cstdlib>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include "../cpu.h"
#include "../parallel.h"
#include "../shift_map.h"
#include "../stage_tile.h"
#include "algorithms.h"
#include "shift_gemm.h"
#include "spoilt_images.h"
#include "weight_panels.h"
#include "winograd_common.h"

namespace tileconv {
namespace {

constexpr std::int64_t longest = 16;  // taps of a segment

// How the taps of a segment become pieces of F(outputs, taps). Neighbours share a tap, which belongs to the first.
struct RowPieces {
  int points, taps;
  std::int64_t count;
  int outputs() const { return points + 1 - taps; }
};

// Up to four taps are one piece. More are pieces of four taps three apart, or of five taps four apart, with a third
// more points for a third more outputs, where these are fewer.
RowPieces cut(std::int64_t taps) {
  if (taps <= 4) return {6, static_cast<int>(taps), 1};
  const std::int64_t of_four = ceil_div(taps - 1, 3), of_five = ceil_div(taps - 1, 4);
  return of_five < of_four ? RowPieces{8, 5, of_five} : RowPieces{6, 4, of_four};
}

// Rows of outputs that are neighbours in windows lie so far apart.
std::int64_t dilation_of(const AxisTaps& axis) {
  return std::abs(axis.difference) / std::gcd(axis.step, axis.difference);
}

const char* unsupported(const PlanRequest& request) {
  const ConvProblem& p = request.problem;
  if (p.pass == Pass::weight_gradient) return "weight gradients are sums over pixels";
  const bool forward = p.pass == Pass::forward;
  if (!forward && (p.stride_h != 1 || p.stride_w != 1)) return "the gradient's stride is not 1";
  const MapAxis axis = forward_map(p, {}).h;  // a gradient has as many taps, in the other order
  if (winograd_taps(axis) < 2 || winograd_taps(axis) > longest)
    return "the kernel, or what a stride leaves of it, has fewer than 2 or more than 16 rows";
  if (dilation_of(axis) >= (forward ? p.out_h : p.in_h)) return "the dilation leaves tiles of a single row";
  // As products of doubles, which do not overflow: rows of windows, of staged and of spilled pixels; the kernels of an
  // in channel that are packed together; all of them.
  const RowPieces pieces = cut(winograd_taps(axis));
  const auto channels = static_cast<double>(forward ? p.group_in_channels() : p.group_out_channels());
  const double points = pieces.points,
               taps = static_cast<double>(winograd_segments(axis)) * static_cast<double>(pieces.count);
  const double rows = channels * points * (taps + 1) + 4 * points;
  const auto columns = static_cast<double>(p.kernel_w);
  const double width = static_cast<double>(p.in_w) + static_cast<double>(p.pad_left) +
                       static_cast<double>(p.pad_right) + 2 * static_cast<double>(p.dilation_w) * columns + 128;
  constexpr double most = static_cast<double>(most_workspace), vector = 64;
  const auto element = static_cast<double>(dtype_size(p.dtype));
  if (rows * width * element > most) return "the windows of a row of tiles are more than the workspace holds";
  if (columns * (static_cast<double>(p.kernel_h) + taps * points) * vector > most)
    return "the kernels of a vector of channels are more than the workspace holds";
  if (static_cast<double>(p.in_channels) * static_cast<double>(p.out_channels) * columns * taps * points * element >
      1e18)
    return "the transformed weights are more than memory holds";
  return nullptr;
}

template <class T>
class WinogradRowsPlan final : public Plan {
 public:
  WinogradRowsPlan(const ShiftMap& map, const PlanRequest& request)
      : map_(map),
        request_(request),
        set_(kernel_set<T>(*request.kernels)),
        segments_(winograd_segments(map.h)),
        pieces_(cut(winograd_taps(map.h))),
        kernels_(find_kernels()),
        blocks_(EvenParts::of_at_most(map.out_channels, most_channels())),
        in_place_(request.layout.input_rows && map.w.step == 1),
        out_rows_(request.layout.out_rows),
        dilation_(dilation_of(map.h)),
        phases_(std::min(dilation_, map.h.out_size)),
        tiles_(ceil_div(ceil_div(map.h.out_size, dilation_), outputs())) {
    place_columns();
    place_taps();
    cycles_ = estimate();
    threads_ = threads_for(cycles_ * static_cast<double>(map_.batch), request.threads);
    // A band has the windows of all pieces but one in common with the next.
    bands_ = balanced_splits(map_.batch * map_.groups * phases_, ceil_div(tiles_, 2 * pieces_.count - 1), threads_);
    group_parts_ = splits_for(map_.batch * phases_ * bands_, map_.groups, threads_);
  }

  double cycles() const noexcept override { return cycles_; }
  std::int64_t workspace_bytes() const noexcept override {
    const std::int64_t own = pieces_.count * window_size() + pitch_ + staged_size() + outputs_size();
    return std::max(own, packed_together() * packing_size()) * element;
  }
  // Whether all weights are finite; for each block of out channels, those of WinogradRowArgs.
  std::int64_t packed_bytes() const noexcept override {
    return header_bytes + map_.groups * map_.out_channels * sums() * positions() * element;
  }
  std::string packing_key() const override {
    return std::string(request_.kernels->isa) + ":winograd_rows:" + std::to_string(segments_);
  }
  void pack(const ConvViews& v, void* packed) const override;
  void run(const ConvViews& v, const void* packed) const override;
  PlanReport report() const override {
    return {"F(" + std::to_string(outputs()) + ", " + std::to_string(pieces_.taps) + ") down the columns, " +
                std::to_string(blocks_.count > 0 ? ceil_div(map_.out_channels, blocks_.count) : 0) + " channels",
            threads_,
            {{"pieces", pieces_.count}, {"tile_w", tile_w_}, {"tasks_per_image", group_parts_ * phases_ * bands_}}};
  }

 private:
  static constexpr std::int64_t element = sizeof(T);
  static constexpr std::int64_t header_bytes = 64;

  // Rows of tiles of a phase, for one group after the other. The kernels' arguments are kept from tile to tile.
  struct Band {
    std::int64_t n, group, phase;
    T *windows, *zeros, *staged, *outputs;
    WinogradRowWindowArgs<T> window_args;
    WinogradRowArgs<T> product_args;
  };
  // A column of the windows that lies outside the image and repeats another.
  struct Margin {
    std::int64_t column, source;
  };

  // Those of the pieces, for 1, 2, .. out channels.
  const WinogradRowKernel<T>* find_kernels() const {
    const WinogradRowKernel<T>* kernel = set_.winograd_rows;
    while (kernel->points != pieces_.points || kernel->taps != pieces_.taps) ++kernel;
    return kernel;
  }
  std::int64_t most_channels() const {
    const WinogradRowKernel<T>* kernel = kernels_;
    while (kernel + 1 != set_.winograd_rows + set_.winograd_rows_count && kernel[1].channels > kernel->channels)
      ++kernel;
    return kernel->channels;
  }
  int outputs() const { return pieces_.outputs(); }
  std::int64_t positions() const { return pieces_.points; }
  std::int64_t planes() const { return segments_ * map_.in_channels; }
  std::int64_t taps() const { return segments_ * pieces_.count * map_.w.count; }
  std::int64_t sums() const { return map_.in_channels * taps(); }
  std::int64_t segment_size() const { return map_.in_channels * positions() * pitch_; }
  std::int64_t window_size() const { return planes() * positions() * pitch_; }
  std::int64_t staged_row() const { return columns_ + set_.lanes; }
  std::int64_t staged_size() const { return in_place_ ? 0 : positions() * map_.in_channels * staged_row(); }
  std::int64_t outputs_size() const { return out_rows_ ? 0 : most_channels() * outputs() * outputs_row(); }
  std::int64_t outputs_row() const { return tile_w_ + set_.lanes; }
  std::int64_t written_columns() const { return ceil_div(columns_, set_.lanes) * set_.lanes; }
  // Rows of outputs, `dilation` apart, of a phase.
  std::int64_t tile_rows(std::int64_t phase) const { return ceil_div(map_.h.out_size - phase, dilation_); }

  // Elements of the kernels of an in channel, with a vector of out channels each, as they are and transformed; of so
  // many in channels at a time.
  std::int64_t packing_size() const { return (map_.kernel_elements + taps() * positions()) * set_.lanes; }
  std::int64_t packed_together() const {
    const std::int64_t most = most_workspace / 4 / element / packing_size();
    return std::clamp<std::int64_t>(most, 1, std::clamp<std::int64_t>(map_.in_channels, 1, 8));
  }

  void place_columns();
  void place_taps();
  void transform_kernels(const T* kernels, std::int64_t channels, T* out) const;
  double estimate() const;
  void run_band(const ConvViews& v, const T* weights, std::int64_t task, SharedFlags& spoilt) const;
  void begin_band(const ConvViews& v, Band& b) const;
  void make_windows(const ConvViews& v, Band& b, std::int64_t tile) const;
  bool multiply(const ConvViews& v, Band& b, const T* weights, std::int64_t tile) const;

  ShiftMap map_;
  PlanRequest request_;
  const KernelSet<T>& set_;
  std::int64_t segments_;
  RowPieces pieces_;  // of a segment
  const WinogradRowKernel<T>* kernels_;
  EvenParts blocks_;  // of out channels
  bool in_place_, out_rows_;
  std::int64_t dilation_, phases_, tiles_;
  std::int64_t columns_ = 0;     // of a row that are transformed
  std::int64_t source_ = 0;      // the first of them, if they are read in place
  std::int64_t columns_at_ = 0;  // where a row of windows has it
  std::int64_t pitch_ = 0;       // from one row of windows to the next
  std::vector<StagePiece> staged_;
  std::vector<Margin> margins_;
  std::vector<std::ptrdiff_t> tap_columns_;  // where output 0 reads in a row of windows
  // The same of all segments and pieces, for each place that the windows of a tile's first piece may have.
  std::vector<std::ptrdiff_t> taps_at_;
  std::int64_t tile_w_ = 0;  // outputs whose windows stay in L1
  double cycles_ = 0;
  int threads_ = 1;
  std::int64_t bands_ = 1;        // of a phase
  std::int64_t group_parts_ = 1;  // whose groups are one task for each band
};

// A row of windows is the columns that outputs read. Where they are adjacent in the image it is transformed from there,
// to whole vectors, and what lies outside is filled in; else they are staged first.
template <class T>
void WinogradRowsPlan<T>::place_columns() {
  const MapAxis& axis = map_.w;
  const std::int64_t lanes = set_.lanes, width = axis.out_size;
  std::int64_t end = 0;  // of what outputs read
  if (in_place_) {
    const std::int64_t from = axis.lowest(), to = width - 1 + from + axis.reach(), size = axis.map.size;
    // What padding repeats may lie behind what outputs read themselves.
    const bool repeats = axis.map.mode != PaddingMode::zeros;
    source_ = std::min(repeats ? 0 : std::max<std::int64_t>(0, from), size);
    columns_ = std::max<std::int64_t>(0, (repeats ? size : std::min(to, size)) - source_);
    columns_at_ = ceil_div(std::max<std::int64_t>(0, source_ - from), lanes) * lanes;
    const std::int64_t origin = columns_at_ - source_;  // where column 0 would be
    end = origin + to;
    for (std::int64_t x = from; repeats && x < to; ++x)
      if (x < 0 || x >= size) margins_.push_back({origin + x, origin + axis.map(x)});
    for (std::int64_t j = 0; j < axis.count; ++j) tap_columns_.push_back(origin + axis.tap(j));
  } else {
    const StagedAxis staged = make_staged_axis(axis, width);
    staged_ = make_pieces(axis, staged, width, 0, width);
    columns_ = end = staged.length;
    tap_columns_.assign(staged.tap_position.begin(), staged.tap_position.end());
  }
  // A row of outputs of less than a vector is read as a whole one.
  const std::int64_t room = std::max(end + lanes, columns_at_ + written_columns());
  pitch_ = winograd_apart<T>(ceil_div(room, lanes) * lanes, set_.lanes);
  // Windows stay in half of L1 while all out channels pass.
  const std::int64_t column_bytes = std::max<std::int64_t>(1, pieces_.count * planes() * positions() * element);
  const std::int64_t vectors = std::max<std::int64_t>(1, ceil_div(width, lanes));
  const std::int64_t near = std::max<std::int64_t>(2, core_traits().l1d / 2 / column_bytes / lanes);
  tile_w_ = ceil_div(vectors, ceil_div(vectors, blocks_.count > 1 ? near : vectors)) * lanes;
}

template <class T>
void WinogradRowsPlan<T>::place_taps() {
  for (std::int64_t place = 0; place < pieces_.count; ++place)
    for (std::int64_t segment = 0; segment < segments_; ++segment)
      for (std::int64_t piece = 0; piece < pieces_.count; ++piece)
        for (const std::int64_t column : tap_columns_)
          taps_at_.push_back((place + piece) % pieces_.count * window_size() + segment * segment_size() + column);
}

// Windows at the pace of additions and stores, products at that of their register tiles: of a vector's loads, all but
// the first of a row of taps lie in two cache lines, as a rule. Then the sums become outputs. Windows beyond L1 are
// written to L2 and read from there; weights beyond it come from L2 for every tile. Compilers take the vectors of plain
// C++, of 16 bytes, apart in such loops.
template <class T>
double WinogradRowsPlan<T>::estimate() const {
  const double passes = vector_passes(set_);
  const auto in = static_cast<double>(planes()), l1 = static_cast<double>(core_traits().l1d);
  const double vectors = row_vectors(set_, map_.w.out_size);
  const double window_vectors = row_vectors(set_, map_.w.staged_length(map_.w.out_size));
  const double row_tiles = std::ceil(static_cast<double>(map_.w.out_size) / static_cast<double>(tile_w_));
  const std::int64_t rows = ceil_div(map_.h.out_size, dilation_), longer = map_.h.out_size - (rows - 1) * dilation_;
  const auto tiles =
      static_cast<double>(longer * ceil_div(rows, outputs()) + (phases_ - longer) * ceil_div(rows - 1, outputs()));
  const double windows = tiles + static_cast<double>(phases_ * (pieces_.count - 1));
  const double columns = static_cast<double>(pieces_.count * positions() * element) * in;
  const double bytes = columns * window_vectors * static_cast<double>(set_.lanes);
  const double way = bytes < l1 ? 0 : bytes < static_cast<double>(core_traits().l2) / 4 ? 4 : 8;
  const double window_cycles = window_vectors * ((map_.w.step == 1 ? 2 : 4) * passes * pieces_.points +
                                                 way * static_cast<double>(positions() * pieces_.count)) +
                               20;
  const double sum_bytes = static_cast<double>(positions() * sums() * element);
  const bool near = sum_bytes * static_cast<double>(map_.out_channels) < l1 / 2;
  const std::int64_t vector_bytes = set_.lanes * element;
  const double crossing = vector_bytes == 64 ? 1.7 : 2, apart = vector_bytes == 16 ? 3 : 1;
  double block_cycles = 0;
  blocks_.for_each_size([&](std::int64_t, std::int64_t count, std::int64_t channels) {
    const auto sums_of = static_cast<double>(positions() * channels);
    const double step = apart * tile_cycles(sums_of, sums_of, crossing * static_cast<double>(positions()), passes);
    const double finish = static_cast<double>(channels) * (1.5 * outputs() + pieces_.points - 4) * passes;
    const double weights = near ? 0 : row_tiles * sum_bytes * static_cast<double>(channels) / 16;
    block_cycles += static_cast<double>(count) *
                    (vectors * (static_cast<double>(sums()) * step + finish + 10) + weights + 30 * row_tiles);
  });
  // The weights of a gradient are packed in every call, a vector of out channels at a time, by the map of the whole
  // input for those of its frame. Small problems keep the running sum, for which small integers are exact: users check
  // them by hand.
  const ConvProblem& p = request_.problem;
  const bool whole = p.pass == Pass::forward || (map_.h.out_size == p.in_h && map_.w.out_size == p.in_w);
  constexpr double small = 2e4;
  const double out_channels = static_cast<double>(map_.out_channels),
               out_vectors = std::ceil(out_channels / set_.lanes);
  const double packed =
      whole && map_.scattered_weights() ? static_cast<double>(sums()) * (120 * out_vectors + 6 * out_channels) : 0;
  constexpr double margin = 1.08;  // for little gain the running sum is preferred
  return (whole ? small : 0) +
         margin * static_cast<double>(map_.groups) * (windows * in * window_cycles + tiles * block_cycles + packed);
}

// Kernels of a few in channels and a vector of out channels at a time, which are then dealt out to their blocks.
template <class T>
void WinogradRowsPlan<T>::pack(const ConvViews& v, void* packed) const {
  const T* const weight = reinterpret_cast<const T*>(v.weight);
  const bool finite = set_.finite(v.weight, map_.groups * map_.out_channels * map_.in_channels * map_.kernel_elements);
  *static_cast<bool*>(packed) = finite;
  if (!finite) return;
  T* const first = reinterpret_cast<T*>(static_cast<char*>(packed) + header_bytes);
  const WeightPanels<T> panels(map_, request_, 1);
  const std::int64_t lanes = set_.lanes, together = packed_together();
  parallel_for(map_.groups * panels.panels(), threads_, [&](std::int64_t task) {
    T* const kernels = static_cast<T*>(thread_arena(Arena::workspace, static_cast<std::size_t>(workspace_bytes())));
    T* const transformed = kernels + together * panels.channel_size();
    const std::int64_t group = task / panels.panels(), panel = task % panels.panels();
    const std::int64_t begin = panel * lanes, end = std::min(begin + lanes, map_.out_channels);
    for (std::int64_t c = 0; c < map_.in_channels; c += together) {
      const std::int64_t channels = std::min(together, map_.in_channels - c);
      const std::int64_t joined = map_.scattered_weights() ? 1 : channels;
      for (std::int64_t i = 0; i < channels; i += joined)
        panels.pack_columns(map_, weight, group, panel, c + i, map_.kernel_elements * joined,
                            kernels + i * panels.channel_size());
      transform_kernels(kernels, channels, transformed);
      for (std::int64_t k = begin; k < end;) {
        const std::int64_t part = blocks_.part_of(k), block = blocks_.begin(part),
                           size = blocks_.begin(part + 1) - block;
        const std::int64_t count = std::min(block + size, end) - k;
        const T* from = transformed + k - begin;
        T* to = first + ((group * map_.out_channels + block) * sums() + c * taps() * size) * positions() + k - block;
        for (std::int64_t n = 0; n < channels * taps() * positions(); ++n, from += lanes, to += size)
          for (std::int64_t i = 0; i < count; ++i) to[i] = from[i];
        k += count;
      }
    }
  });
}

// Kernels of some in channels with a vector of out channels for each element; position p of tap t of one of them goes
// to out + ((channel * taps() + t) * positions() + p) * lanes.
template <class T>
void WinogradRowsPlan<T>::transform_kernels(const T* kernels, std::int64_t channels, T* out) const {
  const std::int64_t lanes = set_.lanes;
  for (std::int64_t segment = 0; segment < segments_; ++segment)
    for (std::int64_t piece = 0; piece < pieces_.count; ++piece)
      for (std::int64_t j = 0; j < map_.w.count; ++j, out += positions() * lanes) {
        std::ptrdiff_t tap_at[winograd_most_taps];
        for (std::int64_t i = 0; i < pieces_.taps; ++i) {
          // From top to bottom; pieces share a tap, which belongs to the first.
          const std::int64_t row = segment + (piece * outputs() + i) * segments_;
          const bool own = row < map_.h.count && (piece == 0 || i > 0);
          const std::int64_t h = map_.h.difference > 0 ? row : map_.h.count - 1 - row;
          tap_at[i] = own ? map_.kernel_index(h, j) * lanes : -1;
        }
        kernels_->weights(
            {kernels, tap_at, map_.kernel_elements * lanes, out, lanes, taps() * positions() * lanes, channels});
      }
}

template <class T>
void WinogradRowsPlan<T>::run(const ConvViews& v, const void* packed) const {
  const bool finite = *static_cast<const bool*>(packed);
  SharedFlags spoilt(map_.batch, !finite);
  const T* const weights = reinterpret_cast<const T*>(static_cast<const char*>(packed) + header_bytes);
  if (finite)
    parallel_for(map_.batch * group_parts_ * phases_ * bands_, threads_,
                 [&](std::int64_t task) { run_band(v, weights, task, spoilt); });
  sum_spoilt_images<T>(spoilt, map_, request_, v);
}

template <class T>
void WinogradRowsPlan<T>::run_band(const ConvViews& v, const T* weights, std::int64_t task, SharedFlags& spoilt) const {
  Band b{};
  TaskDigits digits(task);
  const std::int64_t band = digits.next(bands_);
  b.phase = digits.next(phases_);
  const std::int64_t part = digits.next(group_parts_);
  b.n = digits.rest();
  const std::int64_t tiles = ceil_div(tile_rows(b.phase), outputs());
  const std::int64_t begin = split_at(tiles, bands_, band), end = split_at(tiles, bands_, band + 1);
  if (begin == end) return;
  begin_band(v, b);
  bool finite = true;
  for (b.group = split_at(map_.groups, group_parts_, part); b.group < split_at(map_.groups, group_parts_, part + 1);
       ++b.group) {
    const T* const group_weights = weights + b.group * map_.out_channels * sums() * positions();
    for (std::int64_t tile = begin; tile < end; ++tile) {
      for (std::int64_t p = tile == begin ? 0 : pieces_.count - 1; p < pieces_.count; ++p) make_windows(v, b, tile + p);
      finite &= multiply(v, b, group_weights, tile);
    }
  }
  if (!finite) spoilt.set(b.n);
}

// Clears what no window writes, too.
template <class T>
void WinogradRowsPlan<T>::begin_band(const ConvViews& v, Band& b) const {
  b.windows = static_cast<T*>(thread_arena(Arena::workspace, static_cast<std::size_t>(workspace_bytes())));
  b.zeros = b.windows + pieces_.count * window_size();
  b.staged = b.zeros + pitch_;
  b.outputs = b.staged + staged_size();
  std::fill_n(b.zeros, pitch_, T(0));
  const std::int64_t behind = columns_at_ + columns_;
  for (std::int64_t row = 0; row < pieces_.count * planes() * positions(); ++row) {
    T* const window = b.windows + row * pitch_;
    std::fill_n(window, columns_at_, T(0));
    std::fill_n(window + behind, pitch_ - behind, T(0));
  }
  b.window_args.channels = map_.in_channels;
  b.window_args.columns = columns_;
  b.window_args.out_channel = positions() * pitch_;
  b.window_args.out_position = pitch_;
  WinogradRowArgs<T>& a = b.product_args;
  a.in_channel = positions() * pitch_;
  a.position = pitch_;
  a.tap_count = taps();
  a.in_channels = map_.in_channels;
  a.out_channel = out_rows_ ? v.out_stride[1] / element : outputs() * outputs_row();
  a.out_row = out_rows_ ? dilation_ * v.out_stride[2] / element : outputs_row();
}

// The windows of a row of tiles, over those of the tile `pieces` before. Rows that no output reads are zeros.
template <class T>
void WinogradRowsPlan<T>::make_windows(const ConvViews& v, Band& b, std::int64_t tile) const {
  WinogradRowWindowArgs<T>& a = b.window_args;
  T* const windows = b.windows + tile % pieces_.count * window_size();
  const char* const source = map_source(map_, v, b.n, b.group, 0) + source_ * v.input_stride[3];
  for (std::int64_t segment = 0; segment < segments_; ++segment) {
    const std::int64_t tap = map_.h.difference > 0 ? map_.h.tap(segment) : map_.h.lowest();
    const std::int64_t rows = tile_rows(b.phase) + ceil_div(map_.h.count - segment, segments_) - 1;
    std::int64_t y[winograd_most_points];
    for (std::int64_t i = 0; i < positions(); ++i) {
      const std::int64_t row = tile * outputs() + i;
      y[i] = row < rows ? map_.h.map((b.phase + row * dilation_) * map_.h.step + tap) : -1;
    }
    if (!in_place_)
      stage_rows<T>(set_,
                    {b.staged, staged_row(), source, v.input_stride[1], v.input_stride[3], a.channels, staged_.data(),
                     static_cast<std::int64_t>(staged_.size()), columns_},
                    map_.in_channels * staged_row(), v.input_stride[2], positions(), false,
                    [&](std::int64_t i) { return y[i]; });
    for (std::int64_t i = 0; i < positions(); ++i) {
      a.row_channel[i] = y[i] < 0 ? 0 : in_place_ ? v.input_stride[1] / element : staged_row();
      a.rows[i] = y[i] < 0    ? b.zeros
                  : in_place_ ? reinterpret_cast<const T*>(source + y[i] * v.input_stride[2])
                              : b.staged + i * map_.in_channels * staged_row();
    }
    a.out = windows + segment * segment_size() + columns_at_;
    kernels_->windows(a);
  }
  for (std::int64_t row = 0; !margins_.empty() && row < planes() * positions(); ++row)
    for (const Margin& margin : margins_) windows[row * pitch_ + margin.column] = windows[row * pitch_ + margin.source];
}

// Returns whether all outputs are finite.
template <class T>
bool WinogradRowsPlan<T>::multiply(const ConvViews& v, Band& b, const T* weights, std::int64_t tile) const {
  const std::int64_t y = b.phase + tile * outputs() * dilation_, width = map_.w.out_size;
  const T* const bias = v.bias ? reinterpret_cast<const T*>(v.bias) + b.group * map_.out_channels : nullptr;
  const std::ptrdiff_t out_channel = v.out_stride[1] / element, out_row = dilation_ * v.out_stride[2] / element;
  char* const first_out =
      v.out + b.n * v.out_stride[0] + b.group * map_.out_channels * v.out_stride[1] + y * v.out_stride[2];
  WinogradRowArgs<T>& a = b.product_args;
  a.taps = taps_at_.data() + tile % pieces_.count * taps();
  a.rows = std::min<std::int64_t>(outputs(), tile_rows(b.phase) - tile * outputs());
  bool finite = true;
  for (std::int64_t next = 0; next < width; next += tile_w_) {
    const std::int64_t x = std::min(next, std::max<std::int64_t>(0, width - set_.lanes));
    a.input = b.windows + x;
    a.width = std::min(next + tile_w_, width) - x;
    blocks_.for_each_size([&](std::int64_t block, std::int64_t count, std::int64_t channels) {
      for (std::int64_t k = blocks_.begin(block), end = k + count * channels; k < end; k += channels) {
        T* const out = reinterpret_cast<T*>(first_out + k * v.out_stride[1] + x * v.out_stride[3]);
        a.weights = weights + k * sums() * positions();
        a.bias = bias ? bias + k : nullptr;
        a.out = out_rows_ ? out : b.outputs;
        finite &= kernels_[channels - 1].run(a);
        for (std::int64_t row = 0; !out_rows_ && row < a.rows; ++row)
          set_.spread({b.outputs + row * a.out_row, a.out_channel, channels, a.width, out + row * out_row, out_channel,
                       v.out_stride[3] / element});
      }
    });
  }
  return finite;
}

// Products at two vectors a cycle.
template <class T>
double least_cycles(const PlanRequest& request) {
  const ConvProblem& p = request.problem;
  const KernelSet<T>& set = kernel_set<T>(*request.kernels);
  const MapAxis axis = forward_map(p, {}).h;
  const RowPieces pieces = cut(winograd_taps(axis));
  const double pixels = std::min(static_cast<double>(p.in_h) * static_cast<double>(p.in_w),
                                 static_cast<double>(p.out_h) * static_cast<double>(p.out_w));
  const double products = static_cast<double>(pieces.points * winograd_segments(axis) * pieces.count) *
                          static_cast<double>(p.kernel_w) / pieces.outputs();
  return pixels * products * static_cast<double>(p.groups * p.group_in_channels() * p.group_out_channels()) /
         set.lanes * vector_passes(set) / 2;
}

template <class T>
std::unique_ptr<Plan> make_map_plan(const ShiftMap& map, const PlanRequest& request) {
  return std::make_unique<WinogradRowsPlan<T>>(map, request);
}

template <class T>
std::unique_ptr<Plan> prepare(const PlanRequest& request) {
  if (request.problem.pass == Pass::input_gradient) return make_input_gradient_plan<T>(request, {make_map_plan<T>});
  return make_map_plan<T>(forward_map(request.problem, request.layout), request);
}

}  // namespace

const Algorithm winograd_rows_algorithm = {
    "winograd_rows",
    "error below 1e-5 (float32) and 1e-13 (float64) of the largest output",
    unsupported,
    [](const PlanRequest& r) {
      return r.problem.dtype == DType::float32 ? least_cycles<float>(r) : least_cycles<double>(r);
    },
    [](const PlanRequest& r) { return r.problem.dtype == DType::float32 ? prepare<float>(r) : prepare<double>(r); },
};

}  // namespace tileconv
