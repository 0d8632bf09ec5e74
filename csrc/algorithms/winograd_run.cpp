// The run of a winograd plan: windows, products, outputs of one strip of bands.
#include "../channel_rows.h"
#include "../parallel.h"
#include "direct_sum.h"
#include "winograd.h"

namespace tileconv {

template <class T>
void WinogradPlan<T>::pack(const ConvViews& v, void* packed) const {
  if (!frozen_) return weights_.pack(map_, v, threads_, packed);
  const auto size = static_cast<std::size_t>(kernels_size() * element);
  parallel_for(map_.groups * panels(), threads_, [&](std::int64_t task) {
    T* panel = static_cast<T*>(packed) + task * positions() * position_size();
    T* const scratch = static_cast<T*>(thread_arena(Arena::workspace, size));
    for (std::int64_t chunk = 0; chunk < chunks(); ++chunk) {
      const std::int64_t c = chunk_begin(chunk), channels = chunk_begin(chunk + 1) - c;
      transform_weights(v, residues_.front(), task / panels(), task % panels(), c, channels, scratch, panel,
                        position_size());
      panel += chunk_size();
    }
  });
}

template <class T>
void WinogradPlan<T>::run(const ConvViews& v, const void* packed) const {
  parallel_for(group_parts_ * shares_.tasks(), threads_, [&](std::int64_t task) {
    const std::int64_t part = task / shares_.tasks();
    run_strip(v, packed, split_at(map_.groups, group_parts_, part), split_at(map_.groups, group_parts_, part + 1),
              strip(task % shares_.tasks()));
  });
}

template <class T>
void WinogradPlan<T>::run_strip(const ConvViews& v, const void* packed, std::int64_t first_group,
                                std::int64_t last_group, const Strip& strip) const {
  Workspace w{};
  char* const memory = static_cast<char*>(thread_arena(Arena::workspace, static_cast<std::size_t>(workspace_bytes())));
  w.windows = reinterpret_cast<T*>(memory + register_tiles_bytes() + product_pieces_bytes());
  w.sums = w.windows + windows_size();
  w.scratch = w.sums + sums_size();
  w.outputs = w.scratch + windows_.scratch_size();
  w.direct = w.outputs + outputs_size();
  w.weights = w.direct + direct_size();
  w.kernels = w.weights + positions() * chunk_position();
  const std::int64_t last = std::min(map_.batch * windows_.bands_per_image(), strip.end + windows_.h.pieces - 1);
  w.order = windows_.order(strip.begin, strip.end);
  cut_tiles(strip.begin, strip.end, reinterpret_cast<RegisterTiles*>(memory),
            reinterpret_cast<ProductPiece*>(memory + register_tiles_bytes()), w);
  clear_unneeded(w);
  const auto residues = static_cast<std::int64_t>(residues_.size());
  for (std::int64_t group = first_group; group < last_group; ++group) {
    w.panels = from_panels_ ? weights_.group(packed, group) : nullptr;
    const T* const transformed = frozen_ ? static_cast<const T*>(packed) + group * group_size() : nullptr;
    windows_.transform(v, strip.begin, last, w.order, group * bundle_ * map_.in_channels, in_planes(group), w.scratch,
                       w.windows, window_position(), window_row());
    for (std::int64_t panel = strip.first_panel; panel < strip.last_panel; ++panel)
      for (std::int64_t first = 0; first < residues; first += together_) {
        multiply(v, w, transformed, group, panel, first);
        for (std::int64_t r = first; r < first + together_; ++r) {
          const T* const sums = w.sums + (r - first) * residue_sums();
          Order order = w.order;
          for (std::int64_t b = strip.begin; b < strip.end; ++b)
            order = finish(v, w, residues_[static_cast<std::size_t>(r)], sums, group, panel, b, order);
        }
      }
  }
}

// The register tiles of the bands [begin, end), for every position, and its pieces. Positions that the same kinds of
// tiles need have the same register tiles.
template <class T>
void WinogradPlan<T>::cut_tiles(std::int64_t begin, std::int64_t end, RegisterTiles* tiles, ProductPiece* placed,
                                Workspace& w) const {
  std::int64_t register_tiles = 0;  // of a position
  const auto cut = [&](std::int64_t window, std::int64_t tile, std::int64_t count, std::int64_t below) {
    const auto parts = EvenParts::of_at_most(count, product_.rows);
    parts.for_each_size([&](std::int64_t part, std::int64_t of_a_size, std::int64_t rows) {
      *tiles++ = {window + parts.begin(part), tile + parts.begin(part), rows, of_a_size, below};
    });
    register_tiles += parts.count;
  };
  // Of a kernel in pieces: rows of tiles, as long as each continues the one before.
  const auto cut_rows = [&] {
    std::int64_t window = 0, tile = 0, last_window = 0, last_tile = 0, last_below = 0;
    for (std::int64_t b = begin; b < end; ++b) {
      std::int64_t below = 0;
      if (windows_.h.pieces > 1)
        windows_.for_each_window_row(windows_.band(b),
                                     [&](std::int64_t, std::int64_t, std::int64_t n, std::size_t) { below += n; });
      const std::int64_t first = window;
      windows_.for_each_tile_row(windows_.band(b), [&](std::int64_t, std::int64_t, std::int64_t n, std::size_t) {
        if (window - last_window != tile - last_tile || below != last_below) {
          cut(last_window, last_tile, tile - last_tile, last_below);
          last_window = window, last_tile = tile, last_below = below;
        }
        window += n + windows_.w.pieces - 1;
        tile += n;
      });
      if (below > 0) window = first + below;
    }
    cut(last_window, last_tile, tile - last_tile, last_below);
  };
  for (std::int64_t position = 0; position < positions(); ++position) {
    PositionTiles& found = w.tiles[position];
    const std::int64_t alike = windows_.first_alike(position);
    found = w.tiles[alike];
    if (position == 0 || pieces() > 1) {
      found.pieces = placed + position * pieces();
      place_pieces(position, 0, found);
    } else {
      // A single one, which every position needs as it is.
      found.pieces = w.tiles->pieces, found.further_pieces = w.tiles->further_pieces, found.below = w.tiles->below;
    }
    if (alike < position) continue;
    found.begin = tiles;
    register_tiles = 0;
    if (cut_in_pieces())
      cut_rows();
    else
      windows_.for_each_stretch(w.order, position,
                                [&](std::int64_t tile, std::int64_t count) { cut(tile, tile, count, 0); });
    found.end = tiles;
    found.register_tiles = register_tiles;
  }
}

// The products that are left out, for all panels.
template <class T>
void WinogradPlan<T>::clear_unneeded(const Workspace& w) const {
  for (std::size_t k = 0; k < windows_.kinds().size(); ++k) {
    const std::int64_t first = w.order[k] * panel_columns(), size = w.order[k + 1] * panel_columns() - first;
    for (std::int64_t r = 0; r < together_ && size > 0; ++r)
      for (std::int64_t position = 0; position < positions(); ++position)
        if (!windows_.kinds()[k].needs(position))
          std::fill_n(w.sums + r * residue_sums() + position * sum_position() + first, size, T(0));
  }
}

// Kernels of a residue, for a panel, piece by piece: from(first, count, vector) is where those of `count` in channels
// lie, the taps of a vector of out channels tap_size apart. A few channels of all vectors at a time: what they write to
// the positions stays in L1 until its lines are full.
template <class T>
template <class From>
void WinogradPlan<T>::transform_kernels(const Residue& r, std::ptrdiff_t tap_size, std::int64_t panel,
                                        std::int64_t channels, T* out, std::ptrdiff_t out_position, From from) const {
  constexpr std::int64_t most_taps = winograd_most_taps * winograd_most_taps;
  std::ptrdiff_t tap_at[winograd_most_pieces * most_taps];
  for (std::int64_t p = 0; p < pieces(); ++p)
    for (std::int64_t i = 0; i < kernel_.taps_h; ++i)
      for (std::int64_t j = 0; j < kernel_.taps_w; ++j) {
        const KernelPiece& piece = pieces_[static_cast<std::size_t>(p)];
        const std::int64_t h = tap_h(piece, i), w = tap_w(piece, j);
        tap_at[p * most_taps + i * kernel_.taps_w + j] =
            h < 0 || w < 0
                ? -1
                : tap_size * (r.h.kernel(windows_.h.original(h)) * map_.kernel_w + r.w.kernel(windows_.w.original(w)));
      }
  for (std::int64_t first = 0; first < channels; first += transformed_together)
    for (std::int64_t vector = 0; vector < panel_begin(panel + 1) - panel_begin(panel); ++vector) {
      const std::int64_t count = std::min(transformed_together, channels - first);
      const T* const kernels = from(first, count, vector);
      T* to = out + first * panel_columns() + vector * set_.lanes;
      for (std::int64_t p = 0; p < pieces(); ++p, to += channel_chunk_ * panel_columns())
        kernel_.weights({kernels, tap_at + p * most_taps, map_.kernel_elements * tap_size, to, out_position,
                         panel_columns(), count});
    }
}

// Those of `channels` in channels, from c on, from where the caller has them: elements of one kernel are adjacent, and
// those of the next in channel follow.
template <class T>
void WinogradPlan<T>::transform_weights(const ConvViews& v, const Residue& r, std::int64_t group, std::int64_t panel,
                                        std::int64_t c, std::int64_t channels, T* scratch, T* out,
                                        std::ptrdiff_t out_position) const {
  const std::int64_t lanes = set_.lanes, begin = panel_begin(panel);
  transform_kernels(
      r, lanes, panel, channels, out, out_position, [&](std::int64_t first, std::int64_t count, std::int64_t vector) {
        set_.pack({group_weights(v, group) + (begin + vector) * lanes * map_.weight_out + (c + first) * map_.weight_in,
                   map_.weight_out, 1, channels_of(begin + vector, out_channels(group)), lanes,
                   map_.kernel_elements * count, scratch, lanes});
        return scratch;
      });
}

// Scattered kernels of a chunk, in a panel: from those that were packed before, or as they are brought there now.
template <class T>
const T* WinogradPlan<T>::chunk_panel(const ConvViews& v, const Workspace& w, std::int64_t group, std::int64_t panel,
                                      std::int64_t c, std::int64_t channels) const {
  if (w.panels) return w.panels + panel * weights_.panel_size() + weights_.columns() + c * weights_.channel_size();
  for (std::int64_t i = 0; i < channels; ++i)
    weights_.pack_columns(map_, reinterpret_cast<const T*>(v.weight), group, panel, c + i, map_.kernel_elements,
                          w.kernels + i * weights_.channel_size());
  return w.kernels;
}

// The products of a panel. Tiles are the rows of the register tile and are broadcast; out channels are its vectors.
template <class T>
void WinogradPlan<T>::multiply(const ConvViews& v, Workspace& w, const T* packed, std::int64_t group,
                               std::int64_t panel, std::int64_t first_residue) const {
  const std::int64_t vectors = panel_begin(panel + 1) - panel_begin(panel);
  const ProductKernel<T>* const kernels =
      bundle_ > 1 ? set_.bundle_product : find_products(set_, static_cast<int>(vectors));
  ProductArgs<T> a{};
  a.row = window_row();
  a.row_step = windows_.w.segments;
  a.column_step = a.out_row = panel_columns();
  a.elements = elements_.data();
  const std::int64_t size = chunk_size(), window_step = window_position(), sum_step = sum_position();
  // How many positions from this one on are one call: their register tiles are the same, and so is the one piece. Each
  // size of register tiles passes over the weights of all positions: of several sizes that pays where these are few.
  constexpr std::int64_t few_weights = 32;  // vectors of a position
  const auto together = [&](std::int64_t position) {
    const PositionTiles& tiles = w.tiles[position];
    const std::int64_t alike = windows_.first_alike(position);
    std::int64_t count = 1;
    if (pieces() == 1 && chunks() == 1 && (tiles.end - tiles.begin == 1 || map_.in_channels * vectors <= few_weights))
      while (position + count < positions() && windows_.first_alike(position + count) == alike) ++count;
    return count;
  };
  // Of so many positions, whose weights lie `weight_step` apart.
  const auto multiply_chunk = [&](std::int64_t position, std::int64_t count, std::int64_t chunk, const T* weights,
                                  std::ptrdiff_t weight_step, T* sums) {
    PositionTiles& tiles = w.tiles[position];
    const std::int64_t channel = chunk_begin(chunk);
    a.steps = chunk_begin(chunk + 1) - channel;
    const ProductPiece& first = *tiles.pieces;
    a.columns = weights + first.columns;
    a.pieces = tiles.pieces + 1;
    a.further = tiles.further_pieces;
    a.accumulate = chunk > 0;
    a.further_products = count - 1;
    // While a chunk of in channels serves all tiles of a position, the weights that follow are fetched.
    const std::int64_t turns = (a.further + 1) * (a.steps / set_.steps_a_turn);
    const WeightsAhead<T> ahead(set_, (a.further + 1) * a.steps * a.column_step, turns,
                                frozen_ ? tiles.register_tiles : 0);
    const T* const windows = w.windows + position * window_step + channel * a.row_step;
    T* const out = sums + position * sum_step;
    std::int64_t done = 0;
    for (const RegisterTiles* alike = tiles.begin; alike != tiles.end; ++alike) {
      if (alike->below != tiles.below) place_pieces(position, alike->below, tiles);
      a.rows = windows + alike->window * a.row + first.rows;
      a.out = out + alike->tile * a.out_row;
      a.further_tiles = alike->count - 1;
      a.next = {alike->rows * a.row, alike->rows * a.out_row};
      a.next_product = {window_step - a.further_tiles * a.next.rows, weight_step,
                        sum_step - a.further_tiles * a.next.out};
      const ProductKernel<T>& kernel = kernels[alike->rows - 1];
      ahead.tell(a, done, weights, weights + size);
      (a.further > 0 ? kernel.run_pieces : kernel.run)(a);
      done += alike->count;
    }
  };
  if (packed) {
    for (std::int64_t position = 0, count; position < positions(); position += count) {
      count = together(position);
      const T* weights = packed + (panel * positions() + position) * position_size();
      for (std::int64_t chunk = 0; chunk < chunks(); ++chunk, weights += size)
        multiply_chunk(position, count, chunk, weights, position_size(), w.sums);
    }
    return;
  }
  for (std::int64_t chunk = 0; chunk < chunks(); ++chunk) {
    const std::int64_t c = chunk_begin(chunk), channels = chunk_begin(chunk + 1) - c;
    const T* const packed_panel = map_.scattered_weights() ? chunk_panel(v, w, group, panel, c, channels) : nullptr;
    for (std::int64_t r = 0; r < together_; ++r) {
      const Residue& residue = residues_[static_cast<std::size_t>(first_residue + r)];
      if (packed_panel)
        transform_kernels(residue, weights_.columns(), panel, channels, w.weights, chunk_position(),
                          [&](std::int64_t first, std::int64_t, std::int64_t vector) {
                            return packed_panel + first * weights_.channel_size() + vector * set_.lanes;
                          });
      else
        transform_weights(v, residue, group, panel, c, channels, w.kernels, w.weights, chunk_position());
      for (std::int64_t position = 0, count; position < positions(); position += count) {
        count = together(position);
        multiply_chunk(position, count, chunk, w.weights + position * chunk_position(), chunk_position(),
                       w.sums + r * residue_sums());
      }
    }
  }
}

template <class T>
void WinogradPlan<T>::place_pieces(std::int64_t position, std::int64_t below, PositionTiles& tiles) const {
  ProductPiece* next = tiles.pieces;
  for (std::size_t n = needed_begin_[position]; n < needed_begin_[position + 1]; ++n) {
    const std::int64_t i = needed_pieces_[n];
    const KernelPiece& piece = pieces_[static_cast<std::size_t>(i)];
    *next = {piece.segment_h * map_.in_channels * windows_.w.segments + piece.segment_w +
                 (piece.below * below + piece.beside) * window_row(),
             i * channel_chunk_ * panel_columns()};
    if (next != tiles.pieces) next->rows -= tiles.pieces->rows, next->columns -= tiles.pieces->columns;
    ++next;
  }
  tiles.further_pieces = next - tiles.pieces - 1;
  tiles.below = below;
}

// The outputs of a band, whose tiles are the next in order; returns what follows them.
template <class T>
typename WinogradPlan<T>::Order WinogradPlan<T>::finish(const ConvViews& v, const Workspace& w, const Residue& r,
                                                        const T* sums, std::int64_t group, std::int64_t panel,
                                                        std::int64_t b, const Order& order) const {
  const Band& band = windows_.band(b);
  const std::int64_t lanes = set_.lanes, column = windows_.w.dilation * lanes;
  // Rows adjoin: what the last tile of a row writes beyond it, where the next row begins, the first tile overwrites,
  // since tiles are taken from the last to the first.
  const bool adjoin = windows_.w.dilation == 1 && band.x1 - band.x0 >= kernel_.outputs_w();
  const std::int64_t width = adjoin ? band.x1 - band.x0 : windows_.band_width();
  const std::int64_t tile = kernel_.outputs_w() * windows_.w.dilation, out_row = width * lanes;
  const std::ptrdiff_t step = columns_ * v.out_stride[3] / element;
  T bias[64 / sizeof(float)];
  Order next = order;
  for (std::int64_t vector = panel_begin(panel); vector < panel_begin(panel + 1); ++vector) {
    const std::int64_t channels = channels_of(vector, out_channels(group));
    const std::int64_t channel = group * map_.out_channels + vector * lanes;
    load_bias(v, channel, channels, lanes, bias);
    const T* const from = sums + (vector - panel_begin(panel)) * lanes;
    next = order;
    bool finite = true;
    windows_.for_each_tile_row(band, [&](std::int64_t y, std::int64_t x, std::int64_t tiles, std::size_t kind) {
      const std::int64_t first = windows_.take(next, tiles, kind);
      finite &= kernel_.output({from + (first + tiles - 1) * panel_columns(), sum_position(), -panel_columns(), bias,
                                w.outputs + y * out_row + (x + (tiles - 1) * tile) * lanes, out_row, column,
                                -tile * lanes, tiles});
    });
    if (!finite) {
      sum_directly(v, w, r, group, b, vector);
      continue;
    }
    for_each_output_row(v, r, b, channel, width, [&](std::int64_t row, std::int64_t x, std::int64_t pixels, T* out) {
      write_pixels(set_, w.outputs + row * out_row + x * lanes, pixels, channels, out, v.out_stride[1] / element, step,
                   w.direct);
    });
  }
  return next;
}

// The band's outputs of a vector of channels by the direct sum, one running sum over (channel, row, column) as
// shift_gemm computes it. Vectors run over pixels, on into the next staged row, where their values are dropped.
template <class T>
void WinogradPlan<T>::sum_directly(const ConvViews& v, const Workspace& w, const Residue& r, std::int64_t group,
                                   std::int64_t b, std::int64_t vector) const {
  const Band& band = windows_.band(b);
  const std::int64_t lanes = set_.lanes, line = line_size(), width = band.x1 - band.x0;
  const std::int64_t channels = channels_of(vector, out_channels(group));
  const std::int64_t channel = group * map_.out_channels + vector * lanes, own = std::min(channels, own_out_channels());
  GemmArgs<T> a{};
  a.taps = direct_taps_.data() + (&r - residues_.data()) * map_.taps();
  a.tap_count = map_.taps();
  a.input_step = windows_.channel_pitch();
  a.weight_step = map_.weight_in;
  a.weight_row = map_.weight_out;
  a.partial_row = a.out_channel_stride = line;
  for (std::int64_t k = 0; k < channels; k += own) {  // the channels of each of a bundle, or all
    a.bias = v.bias ? reinterpret_cast<const T*>(v.bias) + channel + k : nullptr;
    const std::int64_t first = (group * bundle_ + k / own) * map_.in_channels;
    for (std::int64_t c = 0; c < map_.in_channels; c += a.steps) {
      a.steps = std::min(windows_.staged_channels(), map_.in_channels - c);
      windows_.stage(v, band, windows_.image(b), first + c, a.steps, w.scratch);
      a.weights = group_weights(v, group) + (vector * lanes + k) * map_.weight_out + c * map_.weight_in;
      for (std::int64_t row = 0; row < band.rows; ++row) {
        a.input = w.scratch + row * windows_.row_size();
        a.out = w.direct + row * lanes * line + k * line;
        a.partial_in = c > 0 ? a.out : nullptr;
        sum_row_directly(set_, a, own, width);
      }
    }
  }
  for_each_output_row(v, r, b, channel, lanes * line,
                      [&](std::int64_t row, std::int64_t x, std::int64_t count, T* out) {
                        set_.spread({w.direct + row * lanes * line + x, line, channels, count, out,
                                     v.out_stride[1] / element, columns_ * v.out_stride[3] / element});
                      });
}

template class WinogradPlan<float>;
template class WinogradPlan<double>;

}  // namespace tileconv
