// The run of a weight gradient. One task is a block of in channels and a part of the out channels: stage a tile, sweep
// the register tiles over its pixels, next tile.
#include <algorithm>

#include "../parallel.h"
#include "../stage_tile.h"
#include "weight_gradient.h"

namespace tileconv {

template <class T>
void WeightGradientPlan<T>::run(const ConvViews& v, const void*) const {
  const bool skip = skips_ && finite(v);
  ConvViews operands = v;
  if (swapped_) {
    std::swap(operands.input, operands.grad_output);
    std::swap(operands.input_stride, operands.grad_output_stride);
  }
  parallel_for(map_.groups * blocks_ * splits_, threads_, [&](std::int64_t task) { run_task(operands, task, skip); });
}

template <class T>
bool WeightGradientPlan<T>::finite(const ConvViews& v) const {
  for (std::int64_t n = 0; n < batch_; ++n)
    for (std::int64_t k = 0; k < map_.groups * map_.out_channels; ++k)
      for (std::int64_t y = 0; y < map_.h.out_size; ++y) {
        const char* const row =
            v.grad_output + n * v.grad_output_stride[0] + k * v.grad_output_stride[1] + y * v.grad_output_stride[2];
        for (std::int64_t x = 0; x < map_.w.out_size; x += grad_rows_ ? map_.w.out_size : 1)
          if (!set_.finite(row + x * v.grad_output_stride[3], grad_rows_ ? map_.w.out_size : 1)) return false;
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
  t.totals = single_sum() ? t.sums : t.sums + sums_size();
  t.fresh = true;
  if (!single_sum() || batch_ * map_.h.out_size * map_.w.out_size == 0) std::fill_n(t.totals, sums_size(), T(0));
  if (!channel_lanes_)
    for (std::int64_t k = panel_channel(t.panel_begin); k < panel_channel(t.panel_end); ++k)
      std::fill_n(out(v, t, k), t.channels * map_.taps(), T(0));

  std::int64_t pixels = 0;
  for (t.n = 0; t.n < batch_; ++t.n)
    for (std::int64_t row = 0; row < tiles_h_; ++row)
      for (t.column_tile = 0; t.column_tile < tiles_w_; ++t.column_tile) {
        t.y0 = row_of(row), t.y1 = row_of(row + 1);
        t.x0 = column_of(t.column_tile), t.x1 = column_of(t.column_tile + 1);
        if (!in_place_) stage_input(v, t);
        if (channel_lanes_ || !grad_rows_) stage_grad(v, t);
        if (!channel_lanes_) {
          sweep_dot(v, t);
          continue;
        }
        t.last = t.n + 1 == batch_ && row + 1 == tiles_h_ && t.column_tile + 1 == tiles_w_;
        in_place_ ? sweep_in_place(v, t) : sweep_channel_lanes(v, t);
        t.fresh = false;
        pixels += (t.y1 - t.y0) * (t.x1 - t.x0);
        if (pixels >= most_pixels) close_sums(t), pixels = 0;
      }
  if (!channel_lanes_) return;
  const bool written = writes_register_tiles() && !t.fresh;
  if (!single_sum()) close_sums(t);
  if (!written) write(v, t);
}

template <class T>
void WeightGradientPlan<T>::stage_input(const ConvViews& v, const Tile& t) const {
  if (direct_) return transpose_input(v, t);
  const char* const plane = v.input + t.n * v.input_stride[0] + (t.group * map_.in_channels + t.c0) * v.input_stride[1];
  stage_tile<T>(set_, map_.h, staged_h_, pieces_[static_cast<std::size_t>(t.column_tile)],
                {t.staged, plane_, staged_w_.length, plane, v.input_stride[1], v.input_stride[2], v.input_stride[3],
                 t.channels, t.y0, t.y1, tile_h_, true});
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
  const StagePiece piece{0, width, 0, width, 0, 1};
  // `rows` rows from row y of the tile on, of all channels.
  const auto stage = [&](T* to, std::ptrdiff_t to_channel, std::int64_t y, std::int64_t rows) {
    set_.stage({to, to_channel, grad_output(v, t, t.y0 + y), v.grad_output_stride[1], v.grad_output_stride[3],
                map_.out_channels, &piece, 1, width, rows, grad_row(), v.grad_output_stride[2]});
  };
  if (!channel_lanes_) return stage(t.grad, grad_row() * tile_h_, 0, height);
  T* const row = t.grad + panels_a_task() * columns * tile_h_ * tile_w_;
  for (std::int64_t y = 0; y < height; ++y) {
    if (!grad_rows_) stage(row, grad_row(), y, 1);
    const T* const from = grad_rows_ ? reinterpret_cast<const T*>(grad_output(v, t, t.y0 + y)) : row;
    const std::ptrdiff_t from_channel = grad_rows_ ? v.grad_output_stride[1] / element : grad_row();
    for (std::int64_t panel = t.panel_begin; panel < t.panel_end; ++panel) {
      const std::int64_t k = panel * columns, channels = std::min(columns, map_.out_channels - k);
      set_.pack({from + k * from_channel, from_channel, 1, channels, columns, width,
                 t.grad + ((panel - t.panel_begin) * tile_h_ * tile_w_ + y * width) * columns, columns});
    }
  }
}

// Register tiles of (in channels x out channels), one for each tap, or of (taps of a kernel row x out channels), one
// for each in channel; the steps of their sums are the tile's pixels.
template <class T>
void WeightGradientPlan<T>::sweep_channel_lanes(const ConvViews& v, const Tile& t) const {
  const std::int64_t columns = panel_columns(), width = t.x1 - t.x0;
  const std::int64_t all_rows = tap_rows_ ? map_.w.count : t.channels, tiles = tap_rows_ ? t.channels : map_.w.count;
  const std::int64_t parts = ceil_div(all_rows, rows_);
  GemmArgs<T> a{};
  a.input_step = staged_w_.length * (tap_rows_ ? 1 : block_);
  a.weight_step = width * columns;
  a.partial_row = (tap_rows_ ? 1 : map_.taps()) * columns;
  const bool writes = writes_register_tiles() && t.last;
  a.out_channel_stride = map_.steps();
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
            y0 = std::clamp(begin, y0, y1), y1 = std::clamp(end, y0, y1);
            map_.w.used_outputs(j, begin, end);
            x0 = std::clamp(begin, x0, x1), x1 = std::clamp(end, x0, x1);
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
          a.partial_in = t.fresh ? nullptr : sums;
          a.partial_out = writes ? nullptr : sums;
          if (writes) {
            a.out = out(v, t, panel * columns) + c;
            a.out_channels = std::min(columns, map_.out_channels - panel * columns);
            a.out_room = t.channels - c;
          }
          kernel.run(a);
        }
    }
}

// Register tiles of (in channels x out channels); the steps of their sums are the tile's pixels.
template <class T>
void WeightGradientPlan<T>::sweep_in_place(const ConvViews& v, const Tile& t) const {
  const std::int64_t columns = panel_columns();
  const auto channels = EvenParts::of_at_most(t.channels, rows_);
  const std::ptrdiff_t plane = v.input_stride[1] / element;
  const T* const input = reinterpret_cast<const T*>(v.input + t.n * v.input_stride[0]) +
                         (t.group * map_.in_channels + t.c0) * plane + t.x0;
  const ProductKernel<T>* const kernels = find_products(set_, vectors_);
  ProductArgs<T> a{};
  a.row = plane;
  a.row_step = 1;
  a.column_step = a.out_row = columns;
  a.steps = t.x1 - t.x0;
  a.accumulate = !t.fresh;
  for (std::int64_t panel = t.panel_begin; panel < t.panel_end; ++panel) {
    a.columns = a.prefetch = t.grad + (panel - t.panel_begin) * tile_h_ * tile_w_ * columns;
    T* const sums = t.sums + (panel - t.panel_begin) * panel_sums();
    channels.for_each_size([&](std::int64_t tile, std::int64_t tiles, std::int64_t rows) {
      const std::int64_t c = channels.begin(tile);
      a.rows = input + c * plane;
      a.out = sums + c * columns;
      a.further_tiles = tiles - 1;
      a.next = {rows * plane, rows * columns};
      kernels[rows - 1].run(a);
    });
  }
}

// Adds the running sums, if there are any, to the totals; the next tile begins new ones.
template <class T>
void WeightGradientPlan<T>::close_sums(Tile& t) const {
  if (!t.fresh)
    for (std::int64_t i = 0; i < (t.panel_end - t.panel_begin) * panel_sums(); ++i) t.totals[i] += t.sums[i];
  t.fresh = true;
}

template <class T>
void WeightGradientPlan<T>::write(const ConvViews& v, const Tile& t) const {
  const std::int64_t columns = panel_columns(), steps = t.channels * map_.taps();
  for (std::int64_t panel = t.panel_begin; panel < t.panel_end; ++panel) {
    const T* const sums = t.totals + (panel - t.panel_begin) * panel_sums();
    const std::int64_t channels = std::min(columns, map_.out_channels - panel * columns);
    T* const to = out(v, t, panel * columns);
    if (swapped_)
      set_.spread({sums, columns, steps, channels, to, map_.out_channels, 1});
    else
      set_.pack({sums, columns, 1, steps, steps, channels, to, map_.steps()});
  }
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

template class WeightGradientPlan<float>;
template class WeightGradientPlan<double>;

}  // namespace tileconv
