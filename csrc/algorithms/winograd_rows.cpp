// What winograd_rows supports, and its plans.
#include "winograd_rows.h"

#include <cmath>
#include <cstdlib>
#include <memory>
#include <numeric>

#include "../cpu.h"
#include "../staging.h"
#include "algorithms.h"
#include "shift_gemm.h"
#include "winograd_common.h"

namespace tileconv {
namespace {

constexpr std::int64_t longest = 16;  // taps of a segment

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

// Whether taps read even and odd columns in turn, so that both are needed.
bool takes_turns(const AxisTaps& axis) {
  return axis.step == winograd_row_turns && axis.remainders() == winograd_row_turns;
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
               taps = static_cast<double>(axis.remainders()) * static_cast<double>(pieces.count);
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

}  // namespace

template <class T>
WinogradRowsPlan<T>::WinogradRowsPlan(const ShiftMap& map, const PlanRequest& request)
    : map_(map),
      request_(request),
      set_(kernel_set<T>(*request.kernels)),
      segments_(map.h.remainders()),
      pieces_(cut(winograd_taps(map.h))),
      kernels_(find_kernels()),
      blocks_(EvenParts::of_at_most(map.out_channels, most_channels())),
      in_place_(request.layout.input_rows && (map.w.step == 1 || takes_turns(map.w))),
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

template <class T>
const WinogradRowKernel<T>* WinogradRowsPlan<T>::find_kernels() const {
  const WinogradRowKernel<T>* kernel = set_.winograd_rows;
  while (kernel->points != pieces_.points || kernel->taps != pieces_.taps) ++kernel;
  return kernel;
}

template <class T>
std::int64_t WinogradRowsPlan<T>::most_channels() const {
  const WinogradRowKernel<T>* kernel = kernels_;
  while (kernel + 1 != set_.winograd_rows + set_.winograd_rows_count && kernel[1].channels > kernel->channels) ++kernel;
  return kernel->channels;
}

template <class T>
PlanReport WinogradRowsPlan<T>::report() const {
  return {"F(" + std::to_string(outputs()) + ", " + std::to_string(pieces_.taps) + ") down the columns, " +
              std::to_string(blocks_.count > 0 ? ceil_div(map_.out_channels, blocks_.count) : 0) + " channels",
          threads_,
          {{"pieces", pieces_.count}, {"tile_w", tile_w_}, {"tasks_per_image", group_parts_ * phases_ * bands_}}};
}

// A row of windows is the columns that outputs read. Where they are adjacent in the image it is transformed from there
// and what lies outside is filled in; else they are staged first. With a step of 2, even columns are one part of the
// row and odd ones the other, in which outputs that are neighbours read neighbours.
template <class T>
void WinogradRowsPlan<T>::place_columns() {
  const MapAxis& axis = map_.w;
  const std::int64_t lanes = set_.lanes, width = axis.out_size;
  // Of a part in which outputs read up to `end`. A row of outputs of less than a vector is read as a whole one.
  const auto part_size = [&](std::int64_t end) {
    const std::int64_t written = ceil_div(ceil_div(columns_, turns_), lanes) * lanes;
    return ceil_div(std::max(end + lanes, columns_at_ + written), lanes) * lanes;
  };
  if (in_place_) {
    turns_ = static_cast<int>(axis.step);
    const std::int64_t from = axis.lowest(), to = (width - 1) * turns_ + from + axis.reach(), size = axis.map.size;
    // What padding repeats may lie behind what outputs read themselves.
    const bool repeats = axis.map.mode != PaddingMode::zeros;
    source_ = std::min(repeats ? 0 : std::max<std::int64_t>(0, from), size);
    columns_ = std::max<std::int64_t>(0, (repeats ? size : std::min(to, size)) - source_);
    columns_at_ = ceil_div(ceil_div(std::max<std::int64_t>(0, source_ - from), turns_), lanes) * lanes;
    const std::int64_t origin = columns_at_ * turns_ - source_;  // column 0, counted in turns
    part_ = part_size(ceil_div(origin + to, turns_));
    const auto place = [&](std::int64_t x) { return (origin + x) % turns_ * part_ + (origin + x) / turns_; };
    for (std::int64_t x = from; repeats && x < to; ++x)
      if (x < 0 || x >= size) margins_.push_back({place(x), place(axis.map(x))});
    for (std::int64_t j = 0; j < axis.count; ++j) tap_columns_.push_back(place(axis.tap(j)));
  } else {
    const StagedAxis staged = make_staged_axis(axis, width);
    staged_ = make_pieces(axis, staged, width, 0, width);
    columns_ = staged.length;
    part_ = part_size(columns_);
    tap_columns_.assign(staged.tap_position.begin(), staged.tap_position.end());
  }
  pitch_ = winograd_apart<T>(turns_ * part_, set_.lanes);
  // Windows stay in half of L1 while all out channels pass.
  const std::int64_t column_bytes = std::max<std::int64_t>(1, pieces_.count * planes() * positions() * element);
  const std::int64_t vectors = std::max<std::int64_t>(1, ceil_div(width, lanes));
  const std::int64_t near = std::max<std::int64_t>(2, core_traits().l1d / 2 / column_bytes / lanes);
  tile_w_ = ceil_div(vectors, ceil_div(vectors, blocks_.count > 1 ? near : vectors)) * lanes;
}

template <class T>
void WinogradRowsPlan<T>::place_taps() {
  for (std::int64_t segment = 0; segment < segments_; ++segment) {
    const WinogradRowTaps next = pieces_.taps_of(winograd_segment_taps(map_.h, segment), map_.w.count);
    WinogradRowTaps* const last = segment > 0 ? &tap_kinds_.back() : nullptr;
    if (last && last->first_zero == 0 && (last->last_zero == 0 || next.whole == 0)) {
      last->whole += next.whole;
      last->last_zero += next.last_zero;
      last->first_zero += next.first_zero;
    } else {
      tap_kinds_.push_back(next);
    }
  }
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
  const double column_bytes = static_cast<double>(pieces_.count * positions() * element) * in;
  const double bytes = column_bytes * window_vectors * static_cast<double>(set_.lanes);
  const double way = bytes < l1 ? 0 : bytes < static_cast<double>(core_traits().l2) / 4 ? 4 : 8;
  const double window_cycles =
      window_vectors * (2 * passes * pieces_.points + way * static_cast<double>(positions() * pieces_.count)) + 20;
  const double sum_bytes = static_cast<double>(positions() * sums() * element);
  const bool near = sum_bytes * static_cast<double>(map_.out_channels) < l1 / 2;
  const std::int64_t vector_bytes = set_.lanes * element;
  const double crossing = vector_bytes == 64 ? 1.7 : 2, apart = vector_bytes == 16 ? 3 : 1;
  double block_cycles = 0;
  blocks_.for_each_size([&](std::int64_t, std::int64_t count, std::int64_t channels) {
    const auto step = [&](std::int64_t taps, int points) {
      const auto sums_of = static_cast<double>(points * channels);
      return static_cast<double>(taps) * apart * tile_cycles(sums_of, sums_of, crossing * points, passes);
    };
    double products = 0;
    for (const WinogradRowTaps& kinds : tap_kinds_) {
      const std::int64_t others = kinds.last_zero + kinds.first_zero;
      const double change = others > 1 ? 6 : 0;  // to the loop of another kind and back; single turns are foreseen
      products += step(kinds.whole, pieces_.points) + step(others, pieces_.points - 1) + change;
    }
    products *= static_cast<double>(map_.in_channels);
    const double finish = static_cast<double>(channels) * (1.5 * outputs() + pieces_.points - 4) * passes;
    const double weights = near ? 0 : row_tiles * sum_bytes * static_cast<double>(channels) / 16;
    block_cycles += static_cast<double>(count) * (vectors * (products + finish + 10) + weights + 30 * row_tiles);
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

template class WinogradRowsPlan<float>;
template class WinogradRowsPlan<double>;

namespace {

// Products at two vectors a cycle.
template <class T>
double least_cycles(const PlanRequest& request) {
  const ConvProblem& p = request.problem;
  const KernelSet<T>& set = kernel_set<T>(*request.kernels);
  const MapAxis axis = forward_map(p, {}).h;
  const RowPieces pieces = cut(winograd_taps(axis));
  const double pixels = std::min(static_cast<double>(p.in_h) * static_cast<double>(p.in_w),
                                 static_cast<double>(p.out_h) * static_cast<double>(p.out_w));
  double products = 0;
  for (std::int64_t segment = 0; segment < axis.remainders(); ++segment) {
    const WinogradRowTaps taps = pieces.taps_of(winograd_segment_taps(axis, segment), p.kernel_w);
    products +=
        static_cast<double>(taps.whole * pieces.points + (taps.last_zero + taps.first_zero) * (pieces.points - 1));
  }
  return pixels * products * static_cast<double>(p.groups * p.group_in_channels() * p.group_out_channels()) /
         pieces.outputs() / set.lanes * vector_passes(set) / 2;
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
