// The weight gradient:
//   out[k, c, i, j] = sum over n, y, x of grad_output[n, k, y, x] * in[n, c, y * h.step + h.tap(i), x * w.step +
//   w.tap(j)]
// a GEMM that reduces over images, rows and columns. The input is staged as in the forward pass, so that a tap is a
// constant offset, and no im2col matrix is made. Two sweeps share the staging:
//   channel lanes, where a group's out channels fill vectors: grad_output is transposed to pixel-major order, and the
//     forward pass's register tile sums over pixels what it otherwise sums over channels and taps. The rows of the
//     register tile are in channels, for which the input is transposed too; or, where these are few, adjacent taps of a
//     kernel row, which are adjacent in an input row that is staged as it is;
//   dot, for few out channels (grouped, depthwise): vectors of pixels, summed across lanes at the end.
// A task owns its elements of the result and sums them over all pixels in order, so that the number of threads does not
// show; running sums are closed after a fixed number of pixels to keep their rounding error small.
#include <algorithm>

#include "../cpu.h"
#include "../finite.h"
#include "../parallel.h"
#include "../stage_tile.h"
#include "shift_gemm.h"

namespace tileconv {
namespace {

// What the map calls its output is here grad_output.
Layout map_layout(Layout layout) noexcept {
  layout.out_rows = layout.grad_output_rows;
  layout.out_planes = layout.grad_output_planes;
  return layout;
}

template <class T>
class WeightGradientPlan final : public Plan {
 public:
  explicit WeightGradientPlan(const PlanRequest& request)
      : map_(forward_map(request.problem, map_layout(request.layout))),
        set_(kernel_set<T>(*request.kernels)),
        grad_rows_(request.layout.grad_output_rows),
        batch_(map_.batch),
        channel_lanes_(2 * map_.out_channels >= set_.lanes),
        tap_rows_(channel_lanes_ && map_.w.difference == 1 && map_.w.count > map_.in_channels && map_.w.count > 3) {
    channel_lanes_ ? cut_channel_lanes() : cut_dot();
    panels_ = ceil_div(map_.out_channels, channel_lanes_ ? panel_columns() : rows_);
    tiles_h_ = ceil_div(map_.h.out_size, tile_h_);
    tiles_w_ = ceil_div(map_.w.out_size, tile_w_);
    staged_h_ = make_staged_axis(map_.h, tile_h_);
    staged_w_ = tap_rows_ ? whole_columns() : make_staged_axis(map_.w, tile_w_);
    plane_ = staged_h_.length * staged_w_.length + 2 * set_.lanes;
    direct_ = channel_lanes_ && !tap_rows_ && request.layout.input_rows;
    for (std::int64_t t = 0; t < tiles_w_; ++t) {
      pieces_.push_back(tap_rows_ ? whole_pieces(t)
                                  : make_pieces(map_.w, staged_w_, tile_w_, column_of(t), column_of(t + 1)));
      for (const StagePiece& piece : pieces_.back()) direct_ = direct_ && (piece.step == 1 || piece.count <= 1);
    }
    for (std::int64_t x = 0; x < tile_w_; ++x)
      pixels_.push_back({x * (tap_rows_ ? map_.w.step : block_), x * panel_columns()});
    for (std::int64_t c = 0; c < (channel_lanes_ ? 0 : block_); ++c)
      for (const std::int64_t row : staged_h_.tap_position)
        for (const std::int64_t column : staged_w_.tap_position)
          offsets_.push_back(c * plane_ + row * staged_w_.length + column);
    find_skips();
    split_work(request.threads);
  }

  double cycles() const noexcept override {
    const double macs = static_cast<double>(map_.groups * map_.out_channels * map_.steps()) *
                        static_cast<double>(map_.h.out_size * map_.w.out_size);
    if (channel_lanes_) return macs / set_.lanes;
    // Dot: a row's vectors for every element of the kernels, and what a row, staging and a group cost besides.
    const auto rows = static_cast<double>(map_.groups * map_.h.out_size);
    const auto elements = static_cast<double>(map_.out_channels * map_.steps());
    const auto pixels = static_cast<double>(map_.in_channels * map_.h.step * map_.w.out_size * map_.w.step);
    const double staged = map_.w.step == 1 ? pixels / set_.lanes : pixels;
    return rows * (1.6 * static_cast<double>(ceil_div(map_.w.out_size, set_.lanes)) * elements + staged + 12) +
           200.0 * static_cast<double>(map_.groups);
  }
  std::int64_t workspace_bytes() const noexcept override {
    return (staged_size() + transposed_size() + grad_size() + 2 * sums_size()) * element;
  }
  PlanReport report() const override {
    const std::string kernel = channel_lanes_
                                   ? "channel_lanes " + std::to_string(rows_) + "x" + std::to_string(vectors_)
                                   : "dot " + std::to_string(rows_) + "x" + std::to_string(vectors_);
    return {kernel, threads_, {{"tile_h", tile_h_}, {"tile_w", tile_w_}, {"channels_per_block", block_}}};
  }
  void run(const ConvViews& v, const void*) const override {
    const bool skip = skips_ && finite(v);
    parallel_for(map_.groups * blocks_ * splits_, threads_, [&](std::int64_t task) { run_task(v, task, skip); });
  }

 private:
  static constexpr auto element = static_cast<std::int64_t>(sizeof(T));
  static constexpr std::int64_t most_pixels = 4096;  // of one running sum

  // One tile in work.
  struct Tile {
    std::int64_t n, group, y0, y1, x0, x1, column_tile;
    std::int64_t c0, channels;            // the task's block of in channels
    std::int64_t panel_begin, panel_end;  // the task's part of the out channels
    bool skip;
    T *staged, *transposed, *grad, *sums, *totals;
  };

  std::int64_t row_of(std::int64_t t) const { return split_at(map_.h.out_size, tiles_h_, t); }
  std::int64_t column_of(std::int64_t t) const { return split_at(map_.w.out_size, tiles_w_, t); }
  std::int64_t panel_columns() const { return vectors_ * set_.lanes; }
  std::int64_t panels() const { return panels_; }
  // Dot: the first out channel of a panel.
  std::int64_t panel_channel(std::int64_t panel) const { return split_at(map_.out_channels, panels(), panel); }
  std::int64_t whole(std::int64_t n) const { return ceil_div(n, set_.lanes) * set_.lanes; }
  std::int64_t staged_size() const { return direct_ ? 0 : whole(block_ * plane_); }
  std::int64_t transposed_size() const {
    return channel_lanes_ && !tap_rows_ ? whole(staged_h_.length * staged_w_.length * block_) : 0;
  }
  // The tile's grad_output, pixel-major in panels (channel lanes) or as rows that may be read in vectors (dot), and a
  // row on its way there.
  std::int64_t grad_row() const { return whole(tile_w_) + set_.lanes; }
  std::int64_t grad_size() const {
    const std::int64_t rows = map_.out_channels * grad_row();
    return channel_lanes_ ? panels_a_task() * panel_columns() * tile_h_ * tile_w_ + rows
           : grad_rows_   ? 0
                          : rows * tile_h_;
  }
  // Of one task's part of the out channels.
  std::int64_t panels_a_task() const { return ceil_div(panels(), splits_); }
  std::int64_t panel_sums() const { return block_ * map_.taps() * panel_columns(); }
  std::int64_t sums_size() const { return channel_lanes_ ? panels_a_task() * panel_sums() : 0; }

  // Columns staged as they lie in the input: all that a tile reaches, tap j of output 0 at j.
  std::int64_t reached(std::int64_t width) const { return (width - 1) * map_.w.step + map_.w.count; }
  StagedAxis whole_columns() const {
    StagedAxis staged;
    for (std::int64_t j = 0; j < map_.w.count; ++j) staged.tap_position.push_back(j);
    staged.length = reached(tile_w_);
    return staged;
  }
  std::vector<StagePiece> whole_pieces(std::int64_t t) const {
    AxisTaps columns;
    columns.out_size = reached(column_of(t + 1) - column_of(t));
    columns.map = map_.w.map;
    columns.first = column_of(t) * map_.w.step + map_.w.first;
    return make_pieces(columns, make_staged_axis(columns, columns.out_size), columns.out_size, 0, columns.out_size);
  }

  void cut_channel_lanes();
  void cut_dot();
  void cut_tile(std::int64_t floats_per_pixel);
  void find_skips();
  void split_work(int threads);
  bool finite(const ConvViews& v) const;
  void run_task(const ConvViews& v, std::int64_t task, bool skip) const;
  void stage_input(const ConvViews& v, const Tile& t) const;
  void transpose_input(const ConvViews& v, const Tile& t) const;
  void stage_grad(const ConvViews& v, const Tile& t) const;
  void sweep_channel_lanes(const Tile& t) const;
  void sweep_dot(const ConvViews& v, const Tile& t) const;
  void close_sums(const Tile& t) const;
  void write(const ConvViews& v, const Tile& t) const;
  T* out(const ConvViews& v, const Tile& t, std::int64_t k) const {
    return reinterpret_cast<T*>(v.out) + ((t.group * map_.out_channels + k) * map_.in_channels + t.c0) * map_.taps();
  }
  const char* grad_output(const ConvViews& v, const Tile& t, std::int64_t y) const {
    return v.grad_output + t.n * v.grad_output_stride[0] + t.group * map_.out_channels * v.grad_output_stride[1] +
           y * v.grad_output_stride[2] + t.x0 * v.grad_output_stride[3];
  }

  ShiftMap map_;
  const KernelSet<T>& set_;
  bool grad_rows_;
  bool direct_ = false;  // the input is transposed without being staged first
  std::int64_t batch_;
  bool channel_lanes_, tap_rows_;
  int rows_ = 1, vectors_ = 1;    // of the register tile; dot: its columns
  std::int64_t most_panels_ = 1;  // of a task: its sums stay in L2
  std::int64_t panels_ = 1;       // of out channels: panel_columns() each, or rows_ at the most
  std::int64_t block_ = 1, blocks_ = 1, tile_h_ = 1, tile_w_ = 1, tiles_h_ = 1, tiles_w_ = 1, plane_ = 0, splits_ = 1;
  StagedAxis staged_h_, staged_w_;
  std::vector<std::vector<StagePiece>> pieces_;  // of each tile column
  std::vector<Tap> pixels_;                      // of one row, as the steps of the sum
  std::vector<std::ptrdiff_t> offsets_;          // dot: of every (in channel, tap) in the staged tile
  bool skips_ = false;
  int threads_ = 1;
};

// Few in channels leave room for more vectors of out channels. A block of in channels is large enough that transposing
// grad_output once for it costs little.
template <class T>
void WeightGradientPlan<T>::cut_channel_lanes() {
  const std::int64_t columns = ceil_div(map_.out_channels, set_.lanes);
  double best = 0;
  for (int i = 0; i < set_.channel_lanes_count; ++i) {
    const GemmKernel<T>& kernel = set_.channel_lanes[i];
    const std::int64_t most_rows = tap_rows_ ? map_.w.count : map_.in_channels;
    const std::int64_t rows = std::min<std::int64_t>(kernel.rows, most_rows);
    const std::int64_t vectors = std::min<std::int64_t>(kernel.vectors, columns);
    const double r = static_cast<double>(rows), v = static_cast<double>(vectors);
    // Half a cycle for each vector of grad_output, which comes from L2 as often as not.
    const double cycles = std::max({r * v / 2, (r + v + 1) / 2, 4.0}) + 1 + v / 2;
    const double tiles = static_cast<double>(ceil_div(most_rows, rows) * ceil_div(columns, vectors));
    if (best == 0 || cycles * tiles < best)
      best = cycles * tiles, rows_ = static_cast<int>(rows), vectors_ = static_cast<int>(vectors);
  }
  constexpr std::int64_t enough_steps = 256;
  const std::int64_t wanted = std::max<std::int64_t>(1, enough_steps / (rows_ * map_.taps())) * rows_;
  blocks_ = tap_rows_ ? 1 : ceil_div(map_.in_channels, wanted);
  block_ = ceil_div(map_.in_channels, blocks_);
  most_panels_ = std::max<std::int64_t>(1, cache_sizes().l2 / 2 / element / panel_sums());
  cut_tile(std::max(std::min(map_.out_channels, most_panels_ * panel_columns()), block_));
}

template <class T>
void WeightGradientPlan<T>::cut_dot() {
  for (int i = 0; i < set_.dot_count; ++i)
    if (set_.dot[i].rows <= map_.out_channels) rows_ = std::max(rows_, set_.dot[i].rows);
  for (int i = 0; i < set_.dot_count; ++i)
    if (set_.dot[i].rows == rows_) vectors_ = std::max(vectors_, set_.dot[i].columns);
  block_ = map_.in_channels;
  cut_tile(std::max(map_.out_channels, block_));
}

template <class T>
void WeightGradientPlan<T>::cut_tile(std::int64_t floats_per_pixel) {
  const std::int64_t budget = cache_sizes().l2 / 4 / element;
  const auto fits = [&](std::int64_t h, std::int64_t w) {
    const bool in_l1 = !channel_lanes_ || h * w * panel_columns() * element <= cache_sizes().l1d * 2 / 3;
    return in_l1 &&
           std::max(floats_per_pixel * h * w, block_ * map_.h.staged_length(h) * map_.w.staged_length(w)) <= budget;
  };
  tile_h_ = 1;
  tile_w_ = map_.w.out_size;
  while (!fits(1, tile_w_) && tile_w_ > 4 * set_.lanes) tile_w_ = whole(ceil_div(tile_w_, 2));
  while (tile_h_ < map_.h.out_size && fits(tile_h_ + 1, tile_w_)) ++tile_h_;
  tile_h_ = ceil_div(map_.h.out_size, ceil_div(map_.h.out_size, tile_h_));
}

// Leaving out what falls into zero padding is worth a look at grad_output only if it is more than a rim.
template <class T>
void WeightGradientPlan<T>::find_skips() {
  if (!channel_lanes_ || tap_rows_ || map_.h.map.mode != PaddingMode::zeros) return;
  skips_ = map_.h.used_share() * map_.w.used_share() < 0.9;
}

template <class T>
void WeightGradientPlan<T>::split_work(int threads) {
  constexpr double least_cycles = 4e4;  // about 10 us: what it costs to wake a worker
  threads_ = static_cast<int>(
      std::clamp(cycles() * static_cast<double>(batch_) / least_cycles, 1.0, static_cast<double>(threads)));
  const std::int64_t tasks = map_.groups * blocks_;
  if (threads_ > 1 && tasks < 4 * threads_) splits_ = std::min(panels(), ceil_div(4 * threads_, tasks));
  if (channel_lanes_) splits_ = std::max(splits_, ceil_div(panels(), most_panels_));
}

template <class T>
bool WeightGradientPlan<T>::finite(const ConvViews& v) const {
  for (std::int64_t n = 0; n < batch_; ++n)
    for (std::int64_t k = 0; k < map_.groups * map_.out_channels; ++k)
      for (std::int64_t y = 0; y < map_.h.out_size; ++y) {
        const char* const row =
            v.grad_output + n * v.grad_output_stride[0] + k * v.grad_output_stride[1] + y * v.grad_output_stride[2];
        for (std::int64_t x = 0; x < map_.w.out_size; x += grad_rows_ ? map_.w.out_size : 1)
          if (!all_finite(row + x * v.grad_output_stride[3], grad_rows_ ? map_.w.out_size : 1, T())) return false;
      }
  return true;
}

template <class T>
void WeightGradientPlan<T>::run_task(const ConvViews& v, std::int64_t task, bool skip) const {
  Tile t{};
  const std::int64_t split = task % splits_, block = task / splits_ % blocks_;
  t.group = task / splits_ / blocks_;
  t.panel_begin = split_at(panels(), splits_, split), t.panel_end = split_at(panels(), splits_, split + 1);
  t.c0 = split_at(map_.in_channels, blocks_, block);
  t.channels = split_at(map_.in_channels, blocks_, block + 1) - t.c0;
  t.skip = skip;
  t.staged = static_cast<T*>(thread_arena(Arena::workspace, static_cast<std::size_t>(workspace_bytes())));
  t.transposed = t.staged + staged_size();
  t.grad = t.transposed + transposed_size();
  t.sums = t.grad + grad_size();
  t.totals = t.sums + sums_size();
  std::fill_n(t.sums, 2 * sums_size(), T(0));
  if (!channel_lanes_)
    for (std::int64_t k = panel_channel(t.panel_begin); k < panel_channel(t.panel_end); ++k)
      std::fill_n(out(v, t, k), t.channels * map_.taps(), T(0));

  std::int64_t pixels = 0;
  for (t.n = 0; t.n < batch_; ++t.n)
    for (std::int64_t row = 0; row < tiles_h_; ++row)
      for (t.column_tile = 0; t.column_tile < tiles_w_; ++t.column_tile) {
        t.y0 = row_of(row), t.y1 = row_of(row + 1);
        t.x0 = column_of(t.column_tile), t.x1 = column_of(t.column_tile + 1);
        stage_input(v, t);
        if (channel_lanes_ || !grad_rows_) stage_grad(v, t);
        if (!channel_lanes_) {
          sweep_dot(v, t);
          continue;
        }
        sweep_channel_lanes(t);
        pixels += (t.y1 - t.y0) * (t.x1 - t.x0);
        if (pixels >= most_pixels) close_sums(t), pixels = 0;
      }
  if (channel_lanes_) {
    close_sums(t);
    write(v, t);
  }
}

template <class T>
void WeightGradientPlan<T>::stage_input(const ConvViews& v, const Tile& t) const {
  if (direct_) return transpose_input(v, t);
  const char* const plane = v.input + t.n * v.input_stride[0] + (t.group * map_.in_channels + t.c0) * v.input_stride[1];
  stage_tile<T>(set_, map_.h, staged_h_, pieces_[static_cast<std::size_t>(t.column_tile)],
                {t.staged, plane_, staged_w_.length, plane, v.input_stride[1], v.input_stride[2], v.input_stride[3],
                 t.channels, t.y0, t.y1, tile_h_});
  for (std::int64_t position = 0; channel_lanes_ && !tap_rows_ && position < staged_h_.length * staged_w_.length;
       position += staged_w_.length)
    set_.pack({t.staged + position, plane_, 1, t.channels, t.channels, staged_w_.length,
               t.transposed + position * block_, block_});
}

// Where source elements are adjacent, rows are transposed from where they are and the zeros around them written.
template <class T>
void WeightGradientPlan<T>::transpose_input(const ConvViews& v, const Tile& t) const {
  const T* const plane = reinterpret_cast<const T*>(v.input + t.n * v.input_stride[0] +
                                                    (t.group * map_.in_channels + t.c0) * v.input_stride[1]);
  for (const Segment& segment : staged_h_.segments)
    for (std::int64_t u = 0; u < segment.count - tile_h_ + t.y1 - t.y0; ++u) {
      const std::int64_t row = map_.h.map((t.y0 + u) * map_.h.step + segment.first);
      T* const to = t.transposed + (segment.position + u) * staged_w_.length * block_;
      for (const StagePiece& piece : pieces_[static_cast<std::size_t>(t.column_tile)]) {
        T* const begin = to + piece.position * block_;
        const std::int64_t count = row < 0 ? 0 : piece.count, lead = row < 0 ? piece.length : piece.lead;
        std::fill_n(begin, lead * block_, T(0));
        if (count > 0)
          set_.pack({plane + row * (v.input_stride[2] / element) + piece.source, v.input_stride[1] / element, 1,
                     t.channels, t.channels, count, begin + lead * block_, block_});
        std::fill_n(begin + (lead + count) * block_, (piece.length - lead - count) * block_, T(0));
      }
    }
}

template <class T>
void WeightGradientPlan<T>::stage_grad(const ConvViews& v, const Tile& t) const {
  const std::int64_t width = t.x1 - t.x0, height = t.y1 - t.y0, columns = panel_columns();
  T* const rows = channel_lanes_ ? t.grad + panels_a_task() * columns * tile_h_ * tile_w_ : t.grad;
  const StagePiece piece{0, width, 0, width, 0, 1};
  for (std::int64_t y = 0; y < height; ++y) {
    const char* const source = grad_output(v, t, t.y0 + y);
    const std::int64_t row_channel = channel_lanes_ ? grad_row() : grad_row() * tile_h_;
    T* const row = channel_lanes_ ? rows : rows + y * grad_row();
    const bool direct = channel_lanes_ && grad_rows_;
    if (!direct)
      set_.stage({row, row_channel, source, v.grad_output_stride[1], v.grad_output_stride[3], map_.out_channels, &piece,
                  1, width});
    for (std::int64_t panel = t.panel_begin; channel_lanes_ && panel < t.panel_end; ++panel) {
      const std::int64_t k = panel * columns, channels = std::min(columns, map_.out_channels - k);
      const T* const from =
          direct ? reinterpret_cast<const T*>(source + k * v.grad_output_stride[1]) : row + k * row_channel;
      set_.pack({from, direct ? v.grad_output_stride[1] / element : row_channel, 1, channels, columns, width,
                 t.grad + ((panel - t.panel_begin) * tile_h_ * tile_w_ + y * width) * columns, columns});
    }
  }
}

// Register tiles of (in channels x out channels), one for each tap, or of (taps of a kernel row x out channels), one
// for each in channel; the steps of their sums are the tile's pixels.
template <class T>
void WeightGradientPlan<T>::sweep_channel_lanes(const Tile& t) const {
  const std::int64_t columns = panel_columns(), width = t.x1 - t.x0;
  const std::int64_t all_rows = tap_rows_ ? map_.w.count : t.channels, tiles = tap_rows_ ? t.channels : map_.w.count;
  const std::int64_t parts = ceil_div(all_rows, rows_);
  GemmArgs<T> a{};
  a.input_step = staged_w_.length * (tap_rows_ ? 1 : block_);
  a.weight_step = width * columns;
  a.partial_row = (tap_rows_ ? 1 : map_.taps()) * columns;
  for (std::int64_t panel = t.panel_begin; panel < t.panel_end; ++panel)
    for (std::int64_t part = 0; part < parts; ++part) {
      const std::int64_t first = split_at(all_rows, parts, part), rows = split_at(all_rows, parts, part + 1) - first;
      const GemmKernel<T>& kernel =
          find_kernel(set_.channel_lanes, set_.channel_lanes_count, static_cast<int>(rows), vectors_);
      for (std::int64_t i = 0; i < map_.h.count; ++i)
        for (std::int64_t tile = 0; tile < tiles; ++tile) {
          const std::int64_t c = tap_rows_ ? tile : first, j = tap_rows_ ? first : tile;
          std::int64_t y0 = t.y0, y1 = t.y1, x0 = t.x0, x1 = t.x1;
          if (t.skip) {
            std::int64_t begin = 0, end = 0;
            map_.h.used_outputs(i, begin, end);
            y0 = std::max(y0, begin), y1 = std::min(y1, end);
            map_.w.used_outputs(j, begin, end);
            x0 = std::max(x0, begin), x1 = std::min(x1, end);
            if (y0 >= y1 || x0 >= x1) continue;
          }
          const std::int64_t position =
              (staged_h_.tap_position[static_cast<std::size_t>(i)] + y0 - t.y0) * staged_w_.length +
              staged_w_.tap_position[static_cast<std::size_t>(j)];
          a.input = tap_rows_ ? t.staged + c * plane_ + position : t.transposed + position * block_ + c;
          a.weights = t.grad + ((panel - t.panel_begin) * tile_h_ * tile_w_ + (y0 - t.y0) * width) * columns;
          a.taps = pixels_.data() + (x0 - t.x0);
          a.tap_count = x1 - x0;
          a.steps = y1 - y0;
          T* const sums =
              t.sums + (((panel - t.panel_begin) * block_ + c) * map_.taps() + i * map_.w.count + j) * columns;
          a.partial_in = sums;
          a.partial_out = sums;
          kernel.run(a);
        }
    }
}

template <class T>
void WeightGradientPlan<T>::close_sums(const Tile& t) const {
  for (std::int64_t i = 0; i < (t.panel_end - t.panel_begin) * panel_sums(); ++i) {
    t.totals[i] += t.sums[i];
    t.sums[i] = T(0);
  }
}

template <class T>
void WeightGradientPlan<T>::write(const ConvViews& v, const Tile& t) const {
  const std::int64_t columns = panel_columns(), steps = t.channels * map_.taps();
  for (std::int64_t panel = t.panel_begin; panel < t.panel_end; ++panel)
    set_.pack({t.totals + (panel - t.panel_begin) * panel_sums(), columns, 1, steps, steps,
               std::min(columns, map_.out_channels - panel * columns), out(v, t, panel * columns), map_.steps()});
}

template <class T>
void WeightGradientPlan<T>::sweep_dot(const ConvViews& v, const Tile& t) const {
  DotArgs<T> a{};
  a.input = t.staged;
  a.input_row = staged_w_.length;
  a.height = t.y1 - t.y0;
  a.width = t.x1 - t.x0;
  a.out_row = map_.steps();
  a.grad_channel = grad_rows_ ? v.grad_output_stride[1] / element : grad_row() * tile_h_;
  a.grad_row = grad_rows_ ? v.grad_output_stride[2] / element : grad_row();
  const std::int64_t steps = t.channels * map_.taps(), parts = ceil_div(steps, vectors_);
  for (std::int64_t part = 0; part < parts; ++part) {
    const std::int64_t begin = split_at(steps, parts, part), end = split_at(steps, parts, part + 1);
    a.offsets = offsets_.data() + begin;
    for (std::int64_t panel = t.panel_begin; panel < t.panel_end; ++panel) {
      const std::int64_t k = panel_channel(panel), rows = panel_channel(panel + 1) - k;
      a.grad = (grad_rows_ ? reinterpret_cast<const T*>(grad_output(v, t, t.y0)) : t.grad) + k * a.grad_channel;
      a.out = out(v, t, k) + begin;
      find_dot(set_, static_cast<int>(rows), static_cast<int>(end - begin)).run(a);
    }
  }
}

}  // namespace

template <class T>
std::unique_ptr<Plan> make_weight_gradient_plan(const PlanRequest& request) {
  return std::make_unique<WeightGradientPlan<T>>(request);
}
template std::unique_ptr<Plan> make_weight_gradient_plan<float>(const PlanRequest&);
template std::unique_ptr<Plan> make_weight_gradient_plan<double>(const PlanRequest&);

}  // namespace tileconv
