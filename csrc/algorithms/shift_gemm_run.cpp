// The run of a shift_gemm plan. One task is a tile of the output: stage a chunk of channels, sweep the register tiles
// over (pixels x out channels), next chunk.
#include <algorithm>

#include "../parallel.h"
#include "../stage_tile.h"
#include "shift_gemm.h"
#include "weights_ahead.h"

namespace tileconv {

template <class T>
void ShiftGemmPlan<T>::run(const ConvViews& v, const void* packed) const {
  const std::int64_t tasks = map_.batch * map_.groups * tiles_h_ * tiles_w_ * splits_;
  parallel_for(tasks, threads_, [&](std::int64_t task) { run_tile(v, packed, task); });
}

template <class T>
void ShiftGemmPlan<T>::run_tile(const ConvViews& v, const void* packed, std::int64_t task) const {
  Tile t{};
  TaskDigits digits(task);
  const std::int64_t split = digits.next(splits_);
  t.column_tile = digits.next(tiles_w_);
  const std::int64_t row_tile = digits.next(tiles_h_);
  t.group = digits.next(map_.groups);
  t.n = digits.rest();
  t.panel_begin = split_at(panels(), splits_, split), t.panel_end = split_at(panels(), splits_, split + 1);
  t.y0 = split_at(map_.h.out_size, tiles_h_, row_tile), t.y1 = split_at(map_.h.out_size, tiles_h_, row_tile + 1);
  t.x0 = tile_column(t.column_tile);
  t.x1 = tile_column(t.column_tile + 1);

  t.staged = static_cast<T*>(thread_arena(Arena::workspace, static_cast<std::size_t>(workspace_bytes())));
  t.pixels = t.staged + staged_size();
  t.partial = t.pixels + pixels_size();
  t.spill = t.partial + partial_size();
  t.gathered = t.spill + spill_size();
  if (block_.channel_lanes) {
    t.skip = skips_ && WeightPanels<T>::finite(packed);
    t.weights = weights_.group(packed, t.group);
  } else {
    t.weights = reinterpret_cast<const T*>(v.weight) + t.group * group_weights();
    const T* const bias = reinterpret_cast<const T*>(v.bias);
    t.bias = bias ? bias + t.group * map_.out_channels : nullptr;
    if (bias && blocks() > 1) {
      T* const repeated = t.gathered + gathered_size();
      for (std::int64_t k = 0; k < map_.out_channels; ++k)
        repeated[k] = bias[(t.group * map_.out_channels + k) / blocks()];
      t.bias = repeated;
    }
  }

  for (std::int64_t chunk = 0; chunk < chunks_; ++chunk) {
    t.chunk_begin = split_at(map_.in_channels, chunks_, chunk);
    t.chunk_channels = split_at(map_.in_channels, chunks_, chunk + 1) - t.chunk_begin;
    block_.packs_pixels ? pack_chunk(v, t) : bring_pixels(v, t, 0, t.chunk_channels);
    if (gathers()) gather_weights(t);
    block_.channel_lanes ? sweep_channel_lanes(v, t) : sweep_pixel_lanes(v, t);
  }
}

// The tile's input is some channels of the chunk, from `first` on: where they are, or staged.
template <class T>
void ShiftGemmPlan<T>::bring_pixels(const ConvViews& v, Tile& t, std::int64_t first, std::int64_t channels) const {
  if (block_.in_place) {
    t.input_row = map_.h.step * map_.w.map.size;
    t.input_channel = v.input_stride[1] / element_;
    t.input = reinterpret_cast<const T*>(map_source(map_, v, t.n, t.group, t.chunk_begin + first)) +
              t.y0 * t.input_row + t.x0;
  } else {
    stage(v, t, first, channels);
    t.input = t.staged;
    t.input_row = staged_w_.length;
    t.input_channel = channel_stride_;
  }
}

template <class T>
void ShiftGemmPlan<T>::stage(const ConvViews& v, const Tile& t, std::int64_t first, std::int64_t channels) const {
  const bool zero_rows = !t.skip || block_.paired;  // of a pair, one row may have a tap in the padding
  stage_channels<T>(
      set_, map_, staged_h_, pieces_[static_cast<std::size_t>(t.column_tile)], v, t.n, t.group, t.chunk_begin + first,
      {t.staged, channel_stride_, staged_w_.length, nullptr, 0, 0, 0, channels, t.y0, t.y1, block_.tile_h, zero_rows});
}

// The tile's input is the chunk, packed row by row of the tile, in runs or in blocks.
template <class T>
void ShiftGemmPlan<T>::pack_chunk(const ConvViews& v, Tile& t) const {
  for (std::int64_t c = 0, channels; c < t.chunk_channels; c += channels) {
    channels = std::min(packed_together, t.chunk_channels - c);
    bring_pixels(v, t, c, channels);
    for (std::int64_t y = 0; y < t.height(); ++y) {
      const T* const from = t.input + tap_input(0, 0) + y * t.input_row;
      T* const to = t.pixels + y * pixel_row_;
      if (block_.channel_lanes)
        for (const Run& run : runs_[static_cast<std::size_t>(t.column_tile)])
          pack_run(set_, from + (run.x - t.x0), t.input_channel, channels, run.pixels, to + run.input + c * run_width_,
                   run_width_);
      else
        pack_line(set_, block_.line_tiles(t.width(), set_).whole, from, t.input_channel, c, channels, t.width(), to,
                  block_size_);
    }
  }
  t.input = t.pixels;
  t.input_row = pixel_row_;
  t.input_channel = run_width_;
}

template <class T>
void ShiftGemmPlan<T>::gather_weights(const Tile& t) const {
  for (std::int64_t panel = t.panel_begin; panel < t.panel_end; ++panel) {
    const std::int64_t k = panel_at(panel), rows = panel_at(panel + 1) - k;
    const T* const from = t.weights + k * map_.weight_out + t.chunk_begin * map_.weight_in;
    T* const to = t.gathered + panel * gathered_panel();
    for (std::int64_t i = 0; i < map_.h.count; ++i)
      for (std::int64_t j = 0; j < map_.w.count; ++j)
        set_.pack({from + map_.kernel_index(i, j), map_.weight_out, map_.weight_in, rows, rows, t.chunk_channels,
                   to + (i * map_.w.count + j) * block_.rows, map_.taps() * block_.rows});
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
  a.weight_step = block_.channel_lanes ? weights_.channel_size()
                  : gathers()          ? map_.taps() * block_.rows
                                       : map_.weight_in;
  a.weight_row = gathers() ? 1 : map_.weight_out;
  a.out_channel_stride = v.out_stride[1] / element_;
  a.fetch_out = fetches_out_;
  return a;
}

template <class T>
void ShiftGemmPlan<T>::sweep_channel_lanes(const ConvViews& v, const Tile& t) const {
  const auto& runs = runs_[static_cast<std::size_t>(t.column_tile)];
  const std::int64_t columns = panel_columns();
  const bool first = t.chunk_begin == 0, last = t.chunk_begin + t.chunk_channels == map_.in_channels;
  GemmArgs<T> a = tile_args(v, t);
  const std::ptrdiff_t out_channel = a.out_channel_stride;
  const std::int64_t most_lines = block_.paired ? 2 : 1;

  // While a panel of weights serves all runs of the tile, the next one is fetched.
  const auto run_count = static_cast<std::int64_t>(runs.size());
  const std::int64_t turns =
      map_.taps() == 1 ? t.chunk_channels / set_.steps_a_turn : t.chunk_channels * (map_.taps() / set_.taps_a_turn);
  const WeightsAhead<T> ahead(set_, t.chunk_channels * a.weight_step, turns,
                              block_.prefetch ? ceil_div(t.height(), most_lines) * run_count : 0);

  struct Panel {
    const T *bias, *weights, *next;  // of the last panel, its own weights: what lies behind them is not used
    T *partial, *out;                // of the tile's first pixel
    std::int64_t first, channels;
    const GemmKernel<T>* kernels;
  };
  const auto find_panel = [&](std::int64_t panel) {
    const std::int64_t begin = panel_at(panel), vectors = panel_at(panel + 1) - begin, k = begin * set_.lanes;
    const T* const bias = t.weights + panel * weights_.panel_size();
    const T* const weights = bias + columns + t.chunk_begin * a.weight_step;
    return Panel{bias,
                 weights,
                 panel + 1 < t.panel_end ? weights + weights_.panel_size() : weights,
                 t.partial + columns * (panel - t.panel_begin) * t.height() * t.width(),
                 output(v, t, k, t.y0, t.x0),
                 k,
                 std::min(vectors * set_.lanes, map_.out_channels - k),
                 kernels_[static_cast<std::size_t>(vectors)]};
  };
  const std::ptrdiff_t out_row = v.out_stride[2] / element_, out_column = v.out_stride[3] / element_;
  const bool dense = dense_rows(v, t);
  a.partial_row = columns;
  // `lines` rows of the tile from row y of it on, one or two, in one register tile; `use` counts those of a panel.
  const auto run_panel = [&](std::int64_t y, std::int64_t lines, const Run& run, std::int64_t use, const Panel& panel) {
    const std::int64_t x = run.x - t.x0;
    a.bias = panel.bias;
    a.weights = panel.weights;
    ahead.tell(a, use, panel.weights, panel.next);
    T* const partial = panel.partial + columns * (y * t.width() + lines * x);
    a.partial_in = first ? nullptr : partial;
    a.partial_out = last ? nullptr : partial;
    a.out_channels = panel.channels;
    const bool spill = lines > 1 ? !dense || run.pixels < t.width() : !out_rows_;
    a.out = spill ? t.spill : panel.out + y * out_row + x * out_column;
    a.out_channel_stride = spill ? spill_row() : out_channel;
    a.out_room = spill ? spill_row() : row_end(t, y, dense) - x;
    panel.kernels[lines * run.pixels - 1].run(a);
    if (!spill || !last) return;
    for (std::int64_t line = 0; line < lines; ++line)
      copy_pixels(v, t, t.spill + line * run.pixels, spill_row(), run.pixels, panel.first, panel.channels,
                  t.y0 + y + line, run.x);
  };
  const auto run_rows = [&](std::int64_t y, std::int64_t lines, std::int64_t use, const auto& for_each_panel) {
    std::int64_t tap_begin = 0, tap_end = map_.h.count;
    if (t.skip) map_.h.used_taps(t.y0 + y, t.y0 + y + lines, tap_begin, tap_end);
    for (const Run& run : runs) {
      const std::int64_t table = t.skip ? run.table : 0;
      const std::int64_t tap_columns = t.skip ? run.columns : map_.w.count;
      a.taps = taps_.data() + table_begin_[static_cast<std::size_t>(table)] + tap_begin * tap_columns;
      a.tap_count = (tap_end - tap_begin) * tap_columns;
      a.input = t.input + y * t.input_row + run.input;
      a.input_gap = lines > 1 ? t.input_row - run.pixels : 0;
      for_each_panel([&](const Panel& panel) { run_panel(y, lines, run, use, panel); });
      ++use;
    }
  };
  const auto run_tile_rows = [&](const auto& for_each_panel) {
    std::int64_t use = 0;
    for (std::int64_t y = 0; y < t.height(); y += most_lines, use += run_count)
      run_rows(y, std::min(most_lines, t.height() - y), use, for_each_panel);
  };
  if (block_.panels_outer) {
    for (std::int64_t p = t.panel_begin; p < t.panel_end; ++p) {
      const Panel panel = find_panel(p);
      run_tile_rows([&](const auto& run) { run(panel); });
    }
  } else {
    run_tile_rows([&](const auto& run) {
      for (std::int64_t p = t.panel_begin; p < t.panel_end; ++p) run(find_panel(p));
    });
  }
}

// A line of pixels is a row of the tile, or all its rows with the halo's columns between them, which are computed and
// dropped: vectors that may write them go straight to the output, to be overwritten by the row that lies there, the
// others by way of the spill.
template <class T>
void ShiftGemmPlan<T>::sweep_pixel_lanes(const ConvViews& v, const Tile& t) const {
  const std::int64_t lines = block_.flat ? 1 : t.height(), pitch = block_.flat ? staged_w_.length : t.width();
  const std::int64_t pixels = block_.flat ? (t.height() - 1) * pitch + t.width() : t.width();
  const std::int64_t vectors = ceil_div(pixels, set_.lanes);
  // In place the last block of a line is moved back to end with it; or it runs on into the next line, whose pixels are
  // computed again later.
  const Blocking::LineTiles tiles = block_.line_tiles(pixels, set_);
  const std::int64_t beyond = block_.copies() ? 0 : tiles.covered(set_) - pixels;
  const bool first = t.chunk_begin == 0, last = t.chunk_begin + t.chunk_channels == map_.in_channels;
  const std::ptrdiff_t out_row = v.out_stride[2] / element_, out_channel = v.out_stride[1] / element_;
  const bool dense = dense_rows(v, t);
  const bool run_on = block_.flat && dense && pitch == t.width();               // vectors lie across rows in both
  const bool one_row = out_rows_ && (!block_.flat || pitch % set_.lanes == 0);  // vectors lie in one row each
  std::ptrdiff_t places[most_pixel_vectors], adjacent[most_pixel_vectors], adjacent_halves[most_pixel_halves];
  for (int i = 0; i < most_pixel_vectors; ++i) adjacent[i] = i * set_.lanes;
  for (int i = 0; i < most_pixel_halves; ++i) adjacent_halves[i] = i * set_.half_lanes;

  struct Block {
    std::int64_t begin, size;     // pixels of the line
    std::int64_t vectors, lanes;  // of a vector
    std::int64_t back;            // pixels by which it is moved back
    std::int64_t y, x;            // of the tile
    std::int64_t index;           // in the line
    std::int64_t count;           // of a single panel: such blocks side by side, none of which spills
    const GemmKernel<T>* kernels;
  };
  // Fills `places`, where its vectors lie from the first of them on.
  const auto lies_in_rows = [&](const Block& b) {
    bool fits = true;
    std::int64_t y = b.y, x = b.x;
    for (std::int64_t i = 0; i < b.vectors; ++i, x += b.lanes) {
      if (x == pitch) x = 0, ++y;
      places[i] = (y - b.y) * out_row + (x - b.x);
      fits = fits && x + b.lanes <= row_end(t, y, dense);
    }
    return fits;
  };
  GemmArgs<T> a = tile_args(v, t);
  const bool single_chunk = first && last;
  // While panels of weights pass over pixels that were read in place, from beyond L2, those of the next block are
  // fetched, or of the next tile, if panels pass over the whole line. A call fetches as many lines of each channel as
  // it has register tiles.
  const bool fetches = fetches_pixels_ && lines == 1 && single_chunk && t.panel_end - t.panel_begin > 1;
  std::int64_t lines_ahead = 0;  // that are fetched already
  const auto tell_pixels = [&](const Block& b, bool first_panel) {
    constexpr std::int64_t line = 64 / sizeof(T);
    const bool whole_line = block_.panels_outer;
    const std::int64_t size = whole_line ? t.width() : b.size;
    if (first_panel) lines_ahead = 0;
    const bool fetch = fetches && !(whole_line && first_panel) && lines_ahead * line < size;
    a.prefetch = fetch ? (whole_line ? t.input : a.input) + size + lines_ahead * line : a.input;
    a.prefetch_step = fetch ? a.input_step : 0;
    if (fetch) lines_ahead += a.further + 1;
  };
  const auto run_block = [&](std::int64_t line, const Block& b, std::int64_t panel_begin, std::int64_t panel_end) {
    const std::int64_t from = b.begin - b.back, size = b.size;
    const bool in_rows = one_row && block_.flat;
    const bool spill = in_rows  ? !lies_in_rows(b)
                       : run_on ? from + size > pixels
                                : !one_row || b.x + size > row_end(t, b.y, dense);
    a.input = t.input + line * t.input_row + (block_.packs_pixels ? b.index * block_size_ : from);
    if (block_.packs_pixels) a.input_step = size;
    a.out_vectors = in_rows && !spill ? places : b.lanes == set_.lanes ? adjacent : adjacent_halves;
    a.out_channel_stride = spill ? size : out_channel;
    a.partial_row = size;
    T* const out = spill ? t.spill : output(v, t, 0, t.y0 + b.y, t.x0 + b.x);
    // Panels of equally many channels follow each other in the weights and in the output.
    const auto equal_panels = [&](std::int64_t panel, std::int64_t channels) {
      std::int64_t count = 1;
      if (single_chunk && !spill)
        while (panel + count < panel_end && panel_at(panel + count + 1) - panel_at(panel + count) == channels) ++count;
      return count;
    };
    for (std::int64_t panel = panel_begin, panels; panel < panel_end; panel += panels) {
      const std::int64_t k = panel_at(panel), channels = panel_at(panel + 1) - k;
      panels = equal_panels(panel, channels);
      a.further = std::max(b.count, panels) - 1;
      a.next.input = b.count == 1 ? 0 : block_.packs_pixels ? block_size_ : size;
      a.next.weights = b.count > 1 ? 0 : gathers() ? gathered_panel() : channels * map_.weight_out;
      a.next.bias = b.count > 1 ? 0 : channels;
      a.next.out = b.count > 1 ? size : channels * out_channel;
      a.weights = gathers() ? t.gathered + panel * gathered_panel()
                            : t.weights + k * map_.weight_out + t.chunk_begin * map_.weight_in;
      a.bias = t.bias ? t.bias + k : nullptr;
      T* const partial = t.partial + (k * lines + line * channels) * vectors * set_.lanes + b.begin * channels;
      a.partial_in = first ? nullptr : partial;
      a.partial_out = last ? nullptr : partial;
      a.out = spill ? out : out + k * out_channel;
      tell_pixels(b, panel == t.panel_begin);
      b.kernels[channels - 1].run(a);
      if (!spill || !last) continue;
      std::int64_t y = b.y, x = b.x;
      for (std::int64_t p = from, end = std::min(from + size, pixels); p < end; p += pitch - x, x = 0, ++y) {
        const std::int64_t left = std::min(t.width() - x, end - p);
        if (left > 0) copy_pixels(v, t, out + (p - from), size, left, k, channels, t.y0 + y, t.x0 + x);
      }
    }
  };
  const auto run_line = [&](std::int64_t line, std::int64_t panel_begin, std::int64_t panel_end) {
    Block b{};
    b.y = line;
    for (; b.index < tiles.count(); b.index += b.count) {
      const bool halves = b.index == tiles.whole.count, wider = b.index < tiles.whole.larger;
      b.vectors = halves ? tiles.halves : tiles.whole.size + (wider ? 1 : 0);
      b.lanes = halves ? set_.half_lanes : set_.lanes;
      b.size = b.vectors * b.lanes;
      b.kernels = halves ? half_kernels_[b.vectors] : kernels_[static_cast<std::size_t>(b.vectors)];
      if (b.index == tiles.count() - 1) b.back = beyond, b.x -= beyond;
      b.count = 1;
      if (!block_.flat && one_row && single_chunk && panel_end - panel_begin == 1 && !halves)
        b.count = std::clamp<std::int64_t>((row_end(t, b.y, dense) - b.x) / b.size, 1,
                                           (wider ? tiles.whole.larger : tiles.whole.count) - b.index);
      run_block(line, b, panel_begin, panel_end);
      b.begin += b.count * b.size;
      b.x += b.count * b.size;
      while (block_.flat && b.x >= pitch) b.x -= pitch, ++b.y;
    }
  };
  for (std::int64_t begin = 0; begin < lines; begin += block_.lines) {
    const std::int64_t end = std::min(lines, begin + block_.lines);
    const std::int64_t together = block_.panels_outer ? 1 : t.panel_end - t.panel_begin;
    for (std::int64_t panel = t.panel_begin; panel < t.panel_end; panel += together)
      for (std::int64_t line = begin; line < end; ++line) run_line(line, panel, panel + together);
  }
}

template class ShiftGemmPlan<float>;
template class ShiftGemmPlan<double>;

}  // namespace tileconv
