// The register tiles of the shifted GEMM (contract: GemmArgs in kernels.h), in both orientations, and their tables.
// Included by kernels_isa.cpp alone, inside its anonymous namespace.
//
// Why two: with channel lanes a tile of any width wastes no lane on pixels, its weight loads are aligned, and taps that
// fall into the padding can be left out row by row; but out channels must fill vectors and the output is transposed.
// Pixel lanes fit few out channels, and short sums whose transposition would show.
//
// A tile's budget: rows * vectors sums, one register per vector of the operand that is loaded, one for the broadcast.
#pragma once

constexpr int whole_vectors(int n, int lanes) { return (n + lanes - 1) / lanes * lanes; }

// Vectors over out channels. tile: `rows` pixels of `columns` channels as they were summed, with room behind them for
// whole vectors of pixels. Stored as out[channel * stride + pixel]. Whole vectors are stored where there is room, as
// what follows is overwritten by its own tile later: a store of less takes several.
template <class T>
TILECONV_NOINLINE void store_transposed(const T* tile, int rows, int columns, const GemmArgs<T>& a) noexcept {
  constexpr int lanes = Vec<T>::lanes;
  const std::ptrdiff_t stride = a.out_channel_stride;
  T* out_channels = a.out;
  for (std::int64_t left = a.out_channels; left > 0; left -= lanes, tile += lanes, out_channels += lanes * stride) {
    const T* from = tile;
    for (int row = 0; row < rows; row += lanes) {
      Vec<T> block[lanes];
      TILECONV_UNROLL
      for (int r = 0; r < lanes; ++r, from += columns) block[r] = Vec<T>::load(from);
      Vec<T>::transpose(block);
      T* out = out_channels + row;
      const std::int64_t pixels = a.out_room - row < lanes ? rows - row : lanes;
      if (pixels >= lanes && left >= lanes) {
        TILECONV_UNROLL
        for (int c = 0; c < lanes; ++c, out += stride) block[c].store(out);
        continue;
      }
      TILECONV_UNROLL
      for (int c = 0; c < lanes; ++c, out += stride) {
        if (c >= left) break;
        store_upto(block[c], out, pixels);
      }
    }
  }
}

// Compilers that see one loop after another give their sums other registers, of which short steps leave none, and move
// and spill them within the loops: here the sums begin anew.
template <class V, int rows, int vectors>
TILECONV_INLINE void begin_anew(V (&sum)[rows][vectors]) {
  if (!short_steps) return;
  TILECONV_UNROLL
  for (int m = 0; m < rows; ++m) {
    TILECONV_UNROLL
    for (int v = 0; v < vectors; ++v) TILECONV_OPAQUE_VECTOR(sum[m][v].v);
  }
}

// step(x, w) for every channel and tap adds to the sums, fetch() comes before those of a turn. A single tap has
// for_steps instead: an inner loop for it would take registers and ports that the multiply-adds need.
template <class T, class Fetch, class Step, class Sums>
TILECONV_INLINE void for_taps(const GemmArgs<T>& a, const T* input, const T* weights, Fetch& fetch, Step step,
                              Sums& sum) {
  if (a.tap_count == 0) return;
  const Tap* const end = a.taps + a.tap_count;
  const Tap* const last_turn = end - a.tap_count % taps_a_turn;
  for (std::int64_t s = a.steps; s > 0; --s) {
    const Tap* tap = a.taps;
    for (; tap != last_turn; tap += taps_a_turn) {
      fetch();
      for_constants<taps_a_turn>([&](auto i) TILECONV_INLINE_LAMBDA {
        step(At<T, sizeof(T)>{input, tap[i.value].input}, At<T, sizeof(T)>{weights, tap[i.value].weight});
      });
    }
    begin_anew(sum);
    for (; taps_a_turn > 1 && tap != end; ++tap)
      step(At<T, sizeof(T)>{input, tap->input}, At<T, sizeof(T)>{weights, tap->weight});
    input += a.input_step;
    weights += a.weight_step;
  }
}

template <class V, int rows, int vectors, class T>
TILECONV_INLINE void load_partial(V (&sum)[rows][vectors], const GemmArgs<T>& a) {
  TILECONV_UNROLL
  for (int m = 0; m < rows; ++m) {
    TILECONV_UNROLL
    for (int v = 0; v < vectors; ++v) sum[m][v] = V::load(a.partial_in + m * a.partial_row + v * V::lanes);
  }
}

template <class T, int rows, int vectors>
void channel_lanes(const GemmArgs<T>& a) noexcept {
  using V = Vec<T>;
  constexpr int columns = vectors * V::lanes;
  V sum[rows][vectors];
  if (a.partial_in) {
    load_partial(sum, a);
  } else {
    TILECONV_UNROLL
    for (int v = 0; v < vectors; ++v) {
      const V start = a.bias ? V::load(a.bias + v * V::lanes) : V::broadcast(T(0));
      TILECONV_UNROLL
      for (int m = 0; m < rows; ++m) sum[m][v] = start;
    }
  }

  if (a.fetch_out && !a.partial_out) {
    T* row = a.out;
    for (std::int64_t k = 0; k < a.out_channels; ++k, row += a.out_channel_stride) {
      TILECONV_PREFETCH(row);
      TILECONV_PREFETCH(row + rows - 1);
    }
  }
  // A line a turn, of a panel with few uses not every one: to ask for all gained nothing.
  FetchAhead<T, 1> ahead(a.prefetch, a.prefetch_step);
  const std::ptrdiff_t gap = a.input_gap;
  const auto step = [&](auto x, auto w) TILECONV_INLINE_LAMBDA {
    const auto second = rows % 2 == 0 ? decltype(x){x.base + gap, x.index} : x;
    add_outer_product(
        sum, [&](auto m) TILECONV_INLINE_LAMBDA { return (m.value < rows / 2 ? x : second).template value<m.value>(); },
        [&](auto v) TILECONV_INLINE_LAMBDA { return w.template vector<v.value * V::lanes>(); });
  };
  if (a.tap_count == 1)
    for_steps(a.steps, Indexed<T>(a.input + a.taps->input, a.input_step),
              Indexed<T>(a.weights + a.taps->weight, a.weight_step), ahead, step);
  else
    for_taps(a, a.input, a.weights, ahead, step, sum);

  alignas(64) T tile[whole_vectors(rows, V::lanes) * columns];
  T* const to = a.partial_out ? a.partial_out : tile;
  const std::ptrdiff_t stride = a.partial_out ? a.partial_row : columns;
  TILECONV_UNROLL
  for (int m = 0; m < rows; ++m) {
    TILECONV_UNROLL
    for (int v = 0; v < vectors; ++v) sum[m][v].store(to + m * stride + v * V::lanes);
  }
  if (!a.partial_out) store_transposed<T>(tile, rows, columns, a);
}

// Of vectors, or of half vectors at the end of a line. A single tap has code of its own: that of both together keeps
// too much in memory, and sums of few steps show it.
template <class V, int rows, int vectors, bool single_tap>
void pixel_lanes(const GemmArgs<typename V::Element>& a) noexcept {
  using T = typename V::Element;
  const T *input = a.input, *weights = a.weights, *bias = a.bias;
  T* out = a.out;
  for (std::int64_t left = a.further;; --left) {
    V sum[rows][vectors];
    if (a.partial_in) {
      load_partial(sum, a);
    } else if (bias) {
      TILECONV_UNROLL
      for (int v = 0; v < vectors; ++v) {
        const T* start = bias;
        TILECONV_OPAQUE(start);
        TILECONV_UNROLL
        for (int m = 0; m < rows; ++m) sum[m][v] = V::broadcast(start[m]);
      }
    } else {
      TILECONV_UNROLL
      for (int m = 0; m < rows; ++m) {
        TILECONV_UNROLL
        for (int v = 0; v < vectors; ++v) sum[m][v] = V::broadcast(T(0));
      }
    }

    if (a.fetch_out && !a.partial_out) {
      T* row = out;
      for (int m = 0; m < rows; ++m, row += a.out_channel_stride) {
        for (int v = 0; v < vectors; ++v) TILECONV_PREFETCH(row + a.out_vectors[v]);
        TILECONV_PREFETCH(row + a.out_vectors[vectors - 1] + V::lanes - 1);
      }
    }
    const Rows<T, rows> weight_rows(a.weight_row);
    const auto step = [&](auto x, auto w) TILECONV_INLINE_LAMBDA {
      const T* first = w.first_row();
      add_outer_product(
          sum,
          [&](auto m) TILECONV_INLINE_LAMBDA {
            return weight_rows.template at<m.value, decltype(w)::row_offset>(first).template value<0, V>();
          },
          [&](auto v) TILECONV_INLINE_LAMBDA { return x.template vector<v.value * V::lanes, V>(); });
    };
    if constexpr (single_tap) {
      constexpr std::ptrdiff_t line = 64 / sizeof(T);
      LineAhead<T> ahead(a.prefetch + (a.further - left) * line, a.prefetch_step);
      const Indexed<T> pixels(input + a.taps->input, a.input_step);
      begin_anew(sum);
      // Adjacent weights are offsets of their loads: no address is moved on between short steps.
      if (short_steps && a.weight_step == 1)
        for_steps(a.steps, pixels, Adjacent<T>(weights + a.taps->weight), ahead, step);
      else
        for_steps(a.steps, pixels, Stepped<T>(weights + a.taps->weight, a.weight_step), ahead, step);
      begin_anew(sum);
    } else {
      FetchNothing nothing;
      for_taps(a, input, weights, nothing, step, sum);
    }

    if (a.partial_out) {
      TILECONV_UNROLL
      for (int m = 0; m < rows; ++m) {
        TILECONV_UNROLL
        for (int v = 0; v < vectors; ++v) sum[m][v].store(a.partial_out + m * a.partial_row + v * V::lanes);
      }
      return;
    }
    std::ptrdiff_t place[vectors];
    TILECONV_UNROLL
    for (int v = 0; v < vectors; ++v) place[v] = a.out_vectors[v];
    T* row = out;
    TILECONV_UNROLL
    for (int m = 0; m < rows; ++m) {
      TILECONV_UNROLL
      for (int v = 0; v < vectors; ++v) sum[m][v].store(row + place[v]);
      row += a.out_channel_stride;
      TILECONV_OPAQUE(row);
    }
    if (left == 0) return;
    input += a.next.input;
    weights += a.next.weights;
    if (bias) bias += a.next.bias;
    out += a.next.out;
  }
}

// All tile sizes within a register budget, as rows of a table: rows 1 .. most for every count of vectors.
// most(vectors) leaves room for the loaded vectors and the broadcast; 28 rows are enough to hide the FMA's latency.
constexpr int most_rows(int vectors) {
  const int fit = (vector_registers - vectors - 1) / vectors;
  return fit < 28 ? fit : 28;
}
template <class Family>
constexpr int table_size() {
  int n = 0;
  for (int v = 1; v <= Family::most_vectors; v += Family::next_vectors)
    n += most_rows(v) < Family::row_limit ? most_rows(v) : Family::row_limit;
  return n;
}

template <class T>
struct ChannelLanes {
  static constexpr int most_vectors = 4, next_vectors = 1, row_limit = 28;
  using Kernel = GemmKernel<T>;
  template <int rows, int vectors>
  static constexpr Kernel row() {
    constexpr auto run = channel_lanes<T, rows, vectors>;
    return {rows, vectors, run, run};
  }
};
template <class V, int most, int next>
struct PixelTiles {
  static constexpr int most_vectors = most, next_vectors = next, row_limit = 8;
  using Kernel = GemmKernel<typename V::Element>;
  template <int rows, int vectors>
  static constexpr Kernel row() {
    return {rows, vectors, pixel_lanes<V, rows, vectors, true>, pixel_lanes<V, rows, vectors, false>};
  }
};
template <class T>
using PixelLanes = PixelTiles<Vec<T>, most_pixel_vectors, 1>;
// Even counts of half vectors are whole ones.
template <class T>
using PixelHalves = PixelTiles<typename Vec<T>::Half, most_pixel_halves, 2>;

template <class T, template <class> class Tiles>
struct TileTable {
  using Family = Tiles<T>;
  static constexpr int size = table_size<Family>();
  typename Family::Kernel kernels[size];

  constexpr TileTable() : kernels{} {
    int next = 0;
    fill<1, Family::most_vectors>(next);
  }

 private:
  template <int vectors, int last>
  constexpr void fill(int& next) {
    constexpr int most = most_rows(vectors) < Family::row_limit ? most_rows(vectors) : Family::row_limit;
    fill_rows<1, most, vectors>(next);
    if constexpr (vectors < last) fill<vectors + Family::next_vectors, last>(next);
  }
  template <int rows, int last, int vectors>
  constexpr void fill_rows(int& next) {
    if constexpr (rows <= last) {
      kernels[next++] = Family::template row<rows, vectors>();
      fill_rows<rows + 1, last, vectors>(next);
    }
  }
};
