// shift_gemm: the plan and its run. One task is a tile of the output: stage a chunk of channels, sweep the register
// tiles over (pixels x out channels), next chunk.
#include "shift_gemm.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "../parallel.h"
#include "algorithms.h"

namespace tileconv {
namespace {

// No exponent field of all ones.
bool all_finite(const float* p, std::int64_t n) noexcept {
  bool finite = true;
  for (std::int64_t i = 0; i < n; ++i) {
    std::uint32_t bits;
    std::memcpy(&bits, p + i, sizeof bits);
    finite &= (bits & 0x7f800000u) != 0x7f800000u;
  }
  return finite;
}
bool all_finite(const double* p, std::int64_t n) noexcept {
  bool finite = true;
  for (std::int64_t i = 0; i < n; ++i) {
    std::uint64_t bits;
    std::memcpy(&bits, p + i, sizeof bits);
    finite &= (bits & 0x7ff0000000000000u) != 0x7ff0000000000000u;
  }
  return finite;
}

// Adjacent outputs of one row that share a register tile (channel lanes), and the taps they use: those of
// taps[table ..] whose column is not wholly in the padding, `columns` for each kernel row.
struct Run {
  std::int64_t x, pixels, table, columns;
};

template <class T>
class ShiftGemmPlan final : public Plan {
 public:
  explicit ShiftGemmPlan(const PlanRequest& request)
      : map_(make_shift_map(request)),
        set_(kernel_set<T>(*request.kernels)),
        isa_(request.kernels->isa),
        block_(choose_blocking<T>(map_, request)),
        element_(static_cast<std::ptrdiff_t>(sizeof(T))),
        staged_h_(make_staged_axis(map_.h, block_.tile_h)),
        staged_w_(make_staged_axis(map_.w, block_.tile_w)),
        tiles_h_(ceil_div(map_.h.out_size, block_.tile_h)),
        tiles_w_(ceil_div(map_.w.out_size, block_.tile_w)),
        chunks_(ceil_div(map_.in_channels, block_.chunk)),
        out_rows_(request.layout.out_rows) {
    // A vector's room behind each channel: rows are staged and pixel lanes read in whole vectors. The stride keeps off
    // multiples of the page size, where every channel would compete for the same cache set.
    channel_stride_ = staged_h_.length * staged_w_.length + set_.lanes * (block_.vectors + 1);
    if (channel_stride_ * element_ % 4096 < 256) channel_stride_ += 256 / element_;
    make_columns();
    make_taps();
    make_splits(request.threads);
  }

  std::int64_t workspace_bytes() const noexcept override { return (staged_size() + partial_size() + spill_size()) * element_; }

  std::int64_t packed_bytes() const noexcept override {
    return block_.channel_lanes ? header_bytes + map_.groups * group_size() * element_ : 0;
  }

  std::string packing_key() const override { return isa_ + (":channel_lanes:" + std::to_string(block_.vectors)); }

  void pack(const ConvViews& v, void* packed) const override;
  void run(const ConvViews& v, const void* packed) const override;

  PlanReport report() const override {
    const std::string kernel = (block_.channel_lanes ? "channel_lanes " : "pixel_lanes ") + std::to_string(block_.rows) +
                               "x" + std::to_string(block_.vectors) + (block_.flat ? ", rows run on" : "") + (block_.in_place ? ", input in place" : "") +
                               (map_.collapsed ? ", image as one row" : "");
    return {kernel, {{"tile_h", block_.tile_h}, {"tile_w", block_.tile_w}, {"channels_per_chunk", block_.chunk},
                     {"tasks_per_image", map_.groups * tiles_h_ * tiles_w_ * splits_}, {"threads", threads_}}};
  }

 private:
  static constexpr std::int64_t header_bytes = 64;  // whether all weights are finite

  // One tile in work: the place of everything, in elements.
  struct Tile {
    std::int64_t n, group, y0, y1, x0, x1, column_tile;
    std::int64_t panel_begin, panel_end;
    std::int64_t chunk_begin, chunk_channels;
    const T* input;                           // what tap offset 0 of the tile's first output reads
    std::ptrdiff_t input_row, input_channel;  // to the next output row; to the next channel
    T *staged, *partial, *spill;
    const T *weights, *bias;  // of the group; packed for channel lanes
    bool skip;                // taps in zero padding may be left out: all weights are finite
    std::int64_t height() const { return y1 - y0; }
    std::int64_t width() const { return x1 - x0; }
  };

  std::int64_t lane_groups() const { return ceil_div(map_.out_channels, set_.lanes); }
  std::int64_t panels() const {
    return block_.channel_lanes ? ceil_div(lane_groups(), block_.vectors) : ceil_div(map_.out_channels, block_.rows);
  }
  // Channel lanes: a packed panel is a vector column of biases and one for each step of the sum; all panels take the
  // room of the widest.
  std::int64_t panel_columns() const { return block_.vectors * set_.lanes; }
  std::int64_t panel_size() const { return panel_columns() * (map_.steps() + 1); }
  std::int64_t group_size() const { return panels() * panel_size(); }
  std::int64_t staged_size() const { return block_.in_place ? 0 : block_.chunk * channel_stride_ + set_.lanes; }
  // Pixels of a full tile in whole vectors, as pixel lanes keep their partial sums.
  std::int64_t line_size() const {
    const auto whole = [&](std::int64_t n) { return ceil_div(n, set_.lanes) * set_.lanes; };
    return block_.flat ? whole((block_.tile_h - 1) * staged_w_.length + block_.tile_w) : block_.tile_h * whole(block_.tile_w);
  }
  std::int64_t partial_size() const {
    if (chunks_ == 1) return 0;
    return block_.channel_lanes ? panels() * panel_columns() * block_.tile_h * block_.tile_w : map_.out_channels * line_size();
  }
  // One register tile on its way to rows that cannot take it as it comes.
  std::int64_t spill_row() const { return ceil_div(block_.rows, set_.lanes) * set_.lanes; }
  std::int64_t spill_size() const { return panel_columns() * (block_.channel_lanes ? spill_row() : block_.rows); }

  void make_columns();
  void make_splits(int threads);
  void run_tile(const ConvViews& v, const void* packed, std::int64_t task) const;
  void stage(const ConvViews& v, const Tile& tile) const;
  void sweep_channel_lanes(const ConvViews& v, const Tile& tile) const;
  void sweep_pixel_lanes(const ConvViews& v, const Tile& tile) const;
  void make_taps();
  GemmArgs<T> tile_args(const ConvViews& v, const Tile& tile) const;
  // The first plane of the tile's chunk.
  const char* source(const ConvViews& v, const Tile& tile) const {
    return v.input + tile.n * v.input_stride[0] + (tile.group * map_.in_channels + tile.chunk_begin) * v.input_stride[1];
  }
  void copy_row(const T* from, std::int64_t pixels, T* out, std::int64_t channel, const ConvViews& v) const {
    T* const to = out + channel * (v.out_stride[1] / element_);
    const std::ptrdiff_t step = v.out_stride[3] / element_;
    if (out_rows_) {
      std::memcpy(to, from, static_cast<std::size_t>(pixels) * sizeof(T));
    } else {
      for (std::int64_t x = 0; x < pixels; ++x) to[x * step] = from[x];
    }
  }
  T* output(const ConvViews& v, const Tile& tile, std::int64_t channel, std::int64_t y, std::int64_t x) const {
    return reinterpret_cast<T*>(v.out + tile.n * v.out_stride[0] +
                                (tile.group * map_.out_channels + channel) * v.out_stride[1] + y * v.out_stride[2] +
                                x * v.out_stride[3]);
  }

  ShiftMap map_;
  const KernelSet<T>& set_;
  std::string isa_;
  Blocking block_;
  std::ptrdiff_t element_;
  StagedAxis staged_h_, staged_w_;
  std::int64_t tiles_h_, tiles_w_, chunks_;
  bool out_rows_;
  std::ptrdiff_t channel_stride_;
  std::vector<std::vector<StagePiece>> pieces_;         // of each tile column
  std::vector<std::vector<Run>> runs_;                  // of each tile column
  std::vector<Tap> taps_;                               // a table for each entry of column_ranges_
  std::vector<std::int64_t> table_begin_;
  std::vector<const GemmKernel<T>*> kernels_;           // for each count of vectors, tiles of 1, 2, .. rows
  std::vector<std::pair<std::int64_t, std::int64_t>> column_ranges_;  // kernel columns in use, for each table of taps
  bool skips_ = false;                                  // some taps are wholly in zero padding
  std::int64_t splits_ = 1;                             // of the out channels of a tile, for more tasks
  int threads_ = 1;
};

template <class T>
void ShiftGemmPlan<T>::make_columns() {
  const auto kernel_w = static_cast<std::int64_t>(map_.w.first.size());
  column_ranges_.emplace_back(0, kernel_w);
  std::int64_t begin = 0, end = 0;
  map_.h.used_taps(0, 1, begin, end);
  skips_ = begin > 0 || end < static_cast<std::int64_t>(map_.h.first.size());
  map_.h.used_taps(map_.h.out_size - 1, map_.h.out_size, begin, end);
  skips_ = skips_ || begin > 0 || end < static_cast<std::int64_t>(map_.h.first.size());
  for (std::int64_t t = 0; t < tiles_w_; ++t) {
    const std::int64_t x0 = split_at(map_.w.out_size, tiles_w_, t), x1 = split_at(map_.w.out_size, tiles_w_, t + 1);
    if (!block_.in_place) pieces_.push_back(make_pieces(map_.w, staged_w_, block_.tile_w, x0, x1));
    if (!block_.channel_lanes) continue;
    std::vector<Run> runs;
    const std::int64_t count = ceil_div(x1 - x0, block_.rows);
    for (std::int64_t r = 0; r < count; ++r) {
      const std::int64_t from = x0 + split_at(x1 - x0, count, r), to = x0 + split_at(x1 - x0, count, r + 1);
      std::pair<std::int64_t, std::int64_t> range;
      map_.w.used_taps(from, to, range.first, range.second);
      std::size_t table = 0;
      while (table < column_ranges_.size() && column_ranges_[table] != range) ++table;
      if (table == column_ranges_.size()) column_ranges_.push_back(range);
      runs.push_back({from, to - from, static_cast<std::int64_t>(table), range.second - range.first});
    }
    runs_.push_back(std::move(runs));
  }
  skips_ = skips_ || column_ranges_.size() > 1;
}

// Enough tasks for every thread to get several, by splitting out channels where an image has few tiles: each part
// stages the tile again, which costs little beside its sums.
template <class T>
void ShiftGemmPlan<T>::make_splits(int threads) {
  const double macs = static_cast<double>(map_.batch * map_.groups * map_.out_channels) *
                      static_cast<double>(map_.h.out_size * map_.w.out_size * map_.steps());
  constexpr double least_macs = 1e6;  // about 10 us: what it costs to wake a worker
  threads_ = static_cast<int>(std::clamp(macs / least_macs, 1.0, static_cast<double>(threads)));
  const std::int64_t tasks = std::max<std::int64_t>(1, map_.batch * map_.groups * tiles_h_ * tiles_w_);
  if (threads_ > 1 && tasks < 4 * threads_) splits_ = std::min(panels(), ceil_div(4 * threads_, tasks));
}

// Offsets of the taps from a tile's first output, one table for each range of kernel columns. Weight offsets are in a
// packed panel for channel lanes, in the caller's contiguous array for pixel lanes.
template <class T>
void ShiftGemmPlan<T>::make_taps() {
  const auto kernel_h = static_cast<std::int64_t>(map_.h.first.size()), kernel_w = static_cast<std::int64_t>(map_.w.first.size());
  for (const auto& [begin, end] : column_ranges_) {
    table_begin_.push_back(static_cast<std::int64_t>(taps_.size()));
    for (std::int64_t i = 0; i < kernel_h; ++i)
      for (std::int64_t j = begin; j < end; ++j) {
        const auto row = static_cast<std::size_t>(i), column = static_cast<std::size_t>(j);
        const std::int64_t index = i * kernel_w + j;
        taps_.push_back({block_.in_place ? map_.h.first[row] * map_.w.map.size + map_.w.first[column]
                                         : staged_h_.tap_position[row] * staged_w_.length + staged_w_.tap_position[column],
                         block_.channel_lanes ? index * panel_columns() : index});
      }
  }
  const auto* table = block_.channel_lanes ? set_.channel_lanes : set_.pixel_lanes;
  const int count = block_.channel_lanes ? set_.channel_lanes_count : set_.pixel_lanes_count;
  kernels_.push_back(nullptr);
  for (int vectors = 1; vectors <= block_.vectors; ++vectors) kernels_.push_back(&find_kernel(table, count, 1, vectors));
}

template <class T>
void ShiftGemmPlan<T>::pack(const ConvViews& v, void* packed) const {
  const T* const weight = reinterpret_cast<const T*>(v.weight);
  const T* const bias = reinterpret_cast<const T*>(v.bias);
  *static_cast<bool*>(packed) = !skips_ || all_finite(weight, map_.groups * map_.out_channels * map_.steps());
  T* const panels_begin = reinterpret_cast<T*>(static_cast<char*>(packed) + header_bytes);
  parallel_for(map_.groups * panels(), threads_, [&](std::int64_t task) {
    const std::int64_t panel = task % panels(), first_channel = task / panels() * map_.out_channels;
    const std::int64_t begin = split_at(lane_groups(), panels(), panel) * set_.lanes;
    const std::int64_t padded = split_at(lane_groups(), panels(), panel + 1) * set_.lanes - begin;
    const std::int64_t channels = std::min(padded, map_.out_channels - begin);
    T* const to = panels_begin + task * panel_size();
    for (std::int64_t k = 0; k < padded; ++k) to[k] = bias && k < channels ? bias[first_channel + begin + k] : T(0);
    set_.pack({weight + (first_channel + begin) * map_.steps(), static_cast<std::ptrdiff_t>(map_.steps()), channels,
               padded, map_.steps(), to + panel_columns(), static_cast<std::ptrdiff_t>(panel_columns())});
  });
}

template <class T>
void ShiftGemmPlan<T>::run(const ConvViews& v, const void* packed) const {
  const std::int64_t tasks = map_.batch * map_.groups * tiles_h_ * tiles_w_ * splits_;
  parallel_for(tasks, threads_, [&](std::int64_t task) { run_tile(v, packed, task); });
}

template <class T>
void ShiftGemmPlan<T>::run_tile(const ConvViews& v, const void* packed, std::int64_t task) const {
  Tile t{};
  const auto next = [&task](std::int64_t count) {
    const std::int64_t index = task % count;
    task /= count;
    return index;
  };
  const std::int64_t split = next(splits_);
  t.column_tile = next(tiles_w_);
  const std::int64_t row_tile = next(tiles_h_);
  t.group = next(map_.groups);
  t.n = task;
  t.panel_begin = split_at(panels(), splits_, split), t.panel_end = split_at(panels(), splits_, split + 1);
  t.y0 = split_at(map_.h.out_size, tiles_h_, row_tile), t.y1 = split_at(map_.h.out_size, tiles_h_, row_tile + 1);
  t.x0 = split_at(map_.w.out_size, tiles_w_, t.column_tile);
  t.x1 = split_at(map_.w.out_size, tiles_w_, t.column_tile + 1);

  t.staged = static_cast<T*>(thread_arena(Arena::workspace, static_cast<std::size_t>(workspace_bytes())));
  t.partial = t.staged + staged_size();
  t.spill = t.partial + partial_size();
  if (block_.channel_lanes) {
    t.skip = *static_cast<const bool*>(packed);
    t.weights = reinterpret_cast<const T*>(static_cast<const char*>(packed) + header_bytes) + t.group * group_size();
  } else {
    t.weights = reinterpret_cast<const T*>(v.weight) + t.group * map_.out_channels * map_.steps();
    t.bias = v.bias ? reinterpret_cast<const T*>(v.bias) + t.group * map_.out_channels : nullptr;
  }

  for (std::int64_t chunk = 0; chunk < chunks_; ++chunk) {
    t.chunk_begin = split_at(map_.in_channels, chunks_, chunk);
    t.chunk_channels = split_at(map_.in_channels, chunks_, chunk + 1) - t.chunk_begin;
    if (block_.in_place) {
      const std::ptrdiff_t row = map_.w.map.size;
      t.input = reinterpret_cast<const T*>(source(v, t)) + t.y0 * map_.h.step * row + t.x0;
      t.input_row = map_.h.step * row;
      t.input_channel = v.input_stride[1] / element_;
    } else {
      stage(v, t);
      t.input = t.staged;
      t.input_row = staged_w_.length;
      t.input_channel = channel_stride_;
    }
    block_.channel_lanes ? sweep_channel_lanes(v, t) : sweep_pixel_lanes(v, t);
  }
}

template <class T>
void ShiftGemmPlan<T>::stage(const ConvViews& v, const Tile& t) const {
  const auto& pieces = pieces_[static_cast<std::size_t>(t.column_tile)];
  const char* const plane = source(v, t);
  for (const Segment& segment : staged_h_.segments) {
    const std::int64_t rows = segment.count - block_.tile_h + t.height();
    for (std::int64_t u = 0; u < rows; ++u) {
      const std::int64_t row = map_.h.map((t.y0 + u) * map_.h.step + segment.first);
      set_.stage({t.staged + (segment.position + u) * staged_w_.length, channel_stride_,
                  row < 0 ? nullptr : plane + row * v.input_stride[2], v.input_stride[1], v.input_stride[3],
                  t.chunk_channels, pieces.data(), static_cast<std::int64_t>(pieces.size()), staged_w_.length});
    }
  }
}

// The fields of GemmArgs that one tile and chunk share.
template <class T>
GemmArgs<T> ShiftGemmPlan<T>::tile_args(const ConvViews& v, const Tile& t) const {
  GemmArgs<T> a{};
  a.taps = taps_.data();
  a.tap_count = map_.taps();
  a.steps = t.chunk_channels;
  a.input_step = t.input_channel;
  a.weight_step = map_.taps() * (block_.channel_lanes ? panel_columns() : 1);
  a.weight_row = static_cast<std::ptrdiff_t>(map_.steps());
  a.out_channel_stride = v.out_stride[1] / element_;
  return a;
}

template <class T>
void ShiftGemmPlan<T>::sweep_channel_lanes(const ConvViews& v, const Tile& t) const {
  const auto& runs = runs_[static_cast<std::size_t>(t.column_tile)];
  const auto kernel_h = static_cast<std::int64_t>(map_.h.first.size());
  const std::int64_t columns = panel_columns();
  const bool first = t.chunk_begin == 0, last = t.chunk_begin + t.chunk_channels == map_.in_channels;
  GemmArgs<T> a = tile_args(v, t);

  const auto run_panel = [&](std::int64_t y, const Run& run, std::int64_t panel) {
    const std::int64_t begin = split_at(lane_groups(), panels(), panel), end = split_at(lane_groups(), panels(), panel + 1);
    const T* const weights = t.weights + panel * panel_size();
    a.bias = weights;
    a.weights = weights + columns + t.chunk_begin * a.weight_step;
    T* const partial = t.partial + columns * ((panel - t.panel_begin) * t.height() * t.width() +
                                              (y - t.y0) * t.width() + run.x - t.x0);
    a.partial_in = first ? nullptr : partial;
    a.partial_out = last ? nullptr : partial;
    a.out_channels = std::min(end * set_.lanes, map_.out_channels) - begin * set_.lanes;
    T* const out = output(v, t, begin * set_.lanes, y, run.x);
    const bool spill = !out_rows_;
    a.out = spill ? t.spill : out;
    a.out_channel_stride = spill ? spill_row() : v.out_stride[1] / element_;
    a.out_room = spill ? spill_row() : t.x1 - run.x;
    kernels_[static_cast<std::size_t>(end - begin)][run.pixels - 1].run(a);
    if (spill && last)
      for (std::int64_t k = 0; k < a.out_channels; ++k) copy_row(t.spill + k * spill_row(), run.pixels, out, k, v);
  };
  const auto run_row = [&](std::int64_t y, std::int64_t panel_begin, std::int64_t panel_end) {
    std::int64_t tap_begin = 0, tap_end = kernel_h;
    if (t.skip) map_.h.used_taps(y, y + 1, tap_begin, tap_end);
    for (const Run& run : runs) {
      const std::int64_t table = t.skip ? run.table : 0;
      const std::int64_t tap_columns = t.skip ? run.columns : static_cast<std::int64_t>(map_.w.first.size());
      a.taps = taps_.data() + table_begin_[static_cast<std::size_t>(table)] + tap_begin * tap_columns;
      a.tap_count = (tap_end - tap_begin) * tap_columns;
      a.input = t.input + (y - t.y0) * t.input_row + (run.x - t.x0);
      for (std::int64_t panel = panel_begin; panel < panel_end; ++panel) run_panel(y, run, panel);
    }
  };
  if (block_.panels_outer) {
    for (std::int64_t panel = t.panel_begin; panel < t.panel_end; ++panel)
      for (std::int64_t y = t.y0; y < t.y1; ++y) run_row(y, panel, panel + 1);
  } else {
    for (std::int64_t y = t.y0; y < t.y1; ++y) run_row(y, t.panel_begin, t.panel_end);
  }
}

// A line of pixels is a row of the tile, or all its rows with the halo's columns between them, which are computed and
// dropped.
template <class T>
void ShiftGemmPlan<T>::sweep_pixel_lanes(const ConvViews& v, const Tile& t) const {
  const std::int64_t lines = block_.flat ? 1 : t.height(), pitch = block_.flat ? staged_w_.length : t.width();
  const std::int64_t pixels = block_.flat ? (t.height() - 1) * pitch + t.width() : t.width();
  const std::int64_t vectors = ceil_div(pixels, set_.lanes), blocks = ceil_div(vectors, block_.vectors);
  const bool first = t.chunk_begin == 0, last = t.chunk_begin + t.chunk_channels == map_.in_channels;
  const bool adjacent = out_rows_ && (!block_.flat || (pitch == t.width() && v.out_stride[2] == pitch * element_));
  GemmArgs<T> a = tile_args(v, t);
  for (std::int64_t line = 0; line < lines; ++line)
    for (std::int64_t block = 0; block < blocks; ++block) {
      const std::int64_t begin = split_at(vectors, blocks, block), width = split_at(vectors, blocks, block + 1) - begin;
      const std::int64_t from = begin * set_.lanes, to = from + width * set_.lanes;
      const bool spill = !adjacent || to > pixels;
      a.input = t.input + line * t.input_row + from;
      for (std::int64_t panel = t.panel_begin; panel < t.panel_end; ++panel) {
        const std::int64_t k = split_at(map_.out_channels, panels(), panel);
        const std::int64_t channels = split_at(map_.out_channels, panels(), panel + 1) - k;
        a.weights = t.weights + k * map_.steps() + t.chunk_begin * map_.taps();
        a.bias = t.bias ? t.bias + k : nullptr;
        T* const partial = t.partial + (k * lines + line * channels) * vectors * set_.lanes + from * channels;
        a.partial_in = first ? nullptr : partial;
        a.partial_out = last ? nullptr : partial;
        a.out = spill ? t.spill : output(v, t, k, t.y0 + line, t.x0) + from;
        a.out_channel_stride = spill ? to - from : v.out_stride[1] / element_;
        kernels_[static_cast<std::size_t>(width)][channels - 1].run(a);
        if (!spill || !last) continue;
        for (std::int64_t p = from, end = std::min(to, pixels); p < end;) {
          const std::int64_t y = line + p / pitch, x = p % pitch, left = std::min(t.width() - x, end - p);
          for (std::int64_t m = 0; m < channels && left > 0; ++m)
            copy_row(t.spill + m * a.out_channel_stride + (p - from), left, output(v, t, k, t.y0 + y, t.x0 + x), m, v);
          p += pitch - x;
        }
      }
    }
}

}  // namespace

ShiftMap make_shift_map(const PlanRequest& request) {
  const ConvProblem& p = request.problem;
  ShiftMap map;
  map.batch = p.batch;
  map.groups = p.groups;
  map.in_channels = p.group_in_channels();
  map.out_channels = p.group_out_channels();
  map.h = {p.out_h, p.stride_h, {p.padding_mode, p.in_h}, {}};
  map.w = {p.out_w, p.stride_w, {p.padding_mode, p.in_w}, {}};
  for (std::int64_t i = 0; i < p.kernel_h; ++i) map.h.first.push_back(i * p.dilation_h - p.pad_top);
  for (std::int64_t j = 0; j < p.kernel_w; ++j) map.w.first.push_back(j * p.dilation_w - p.pad_left);
  const bool pointwise = p.taps() == 1 && p.stride_h == 1 && p.stride_w == 1 && map.h.inside() && map.w.inside();
  map.collapsed = pointwise && p.in_h > 0 && request.layout.input_planes && request.layout.out_planes &&
                  p.out_h == p.in_h && p.out_w == p.in_w;
  if (map.collapsed) {
    map.w.out_size = map.w.map.size = p.in_h * p.in_w;
    map.h.out_size = map.h.map.size = 1;
  }
  return map;
}

const Algorithm shift_gemm_algorithm = {
    "shift_gemm",
    "exact on small integers; one running sum, error below 1e-5 (float32) and 1e-13 (float64)",
    [](const PlanRequest&) -> const char* { return nullptr; },
    [](const PlanRequest& r) {
      const ShiftMap map = make_shift_map(r);
      return r.problem.dtype == DType::float32 ? choose_blocking<float>(map, r).cycles : choose_blocking<double>(map, r).cycles;
    },
    [](const PlanRequest& r) -> std::unique_ptr<Plan> {
      if (r.problem.dtype == DType::float32) return std::make_unique<ShiftGemmPlan<float>>(r);
      return std::make_unique<ShiftGemmPlan<double>>(r);
    },
};

}  // namespace tileconv
