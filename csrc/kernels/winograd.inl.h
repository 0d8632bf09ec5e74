// The transforms of Winograd's algorithm on 6 x 6 windows of the input: F(m x m, r x r) for m + r = 7. Multiplied
// element by element with a transformed r x r kernel, a window gives m x m outputs: 36 products for what takes 144
// directly (r = 3 and 4), or 100 (r = 2 and 5).
//
//   out = A^T [ (G g G^T) * (B^T d B) ] A
//
// Of kernels with a single tap along an axis only the other axis is transformed, F(m, r): 6 products for 12 or 10.
//
// The interpolation points are 0, 1, -1, 1/2, -2 and infinity: mixing a point with the negative reciprocal keeps the
// coefficients small, and the error at a third of that of 0, +-1, +-2 (B. Barabasz, A. Anderson, K. Soodhalter, D.
// Gregg, "Error analysis and improving the accuracy of Winograd convolution for deep neural networks", ACM TOMS 46,
// 2020). The matrices follow from the points by Toom-Cook (A. Lavin, S. Gray, "Fast algorithms for convolutional neural
// networks", 2016). B depends on the points alone; A^T has m rows, and G r columns, of their powers. Unfinished tiles
// leave out the last points (winograd_windows.h), which the order of the points takes into account:
//
//         1 -3/2  -2  3/2  1  0                1  1  1   1   1  0                  1       1  0  0   ..
//         0  -1  1/2  5/2  1  0                0  1 -1  1/2 -2  0                 1/3      1  1  1   ..
//   B^T = 0   1 -5/2  1/2  1  0        A^T  =  0  1  1  1/4  4  0          G  =  -1/3   *  1 -1  1   ..
//         0  -2  -1    2   1  0                ..                               -16/15     1 1/2 1/4 ..
//         0  1/2 -1  -1/2  1  0                0  1 ..          1                1/15      1 -2  4   ..
//         0   1 -3/2  -2  3/2 1                                                    1       0  0  ..  1
//
// Vectors run over channels, so every step is a plain sum of vectors. Included by kernels_isa.cpp alone, inside its
// anonymous namespace.
#pragma once

// to = B^T d of a column or row of a window, by the common parts d3 - d1 and d4 - d2.
template <class V>
TILECONV_INLINE void window_sums(const V (&d)[winograd_window_size], V (&to)[winograd_window_size]) {
  using T = typename V::Element;
  const V three_halves = V::broadcast(T(1.5)), two = V::broadcast(T(2)), minus_half = V::broadcast(T(-0.5));
  const V t = d[3] - d[1], s = d[4] - d[2];
  const V odd = V::fma(three_halves, d[3], s), even = V::fma(three_halves, d[2], t);
  to[0] = V::fma(three_halves, t, (d[0] - d[2]) + s);
  to[1] = odd + even;
  to[2] = odd - even;
  to[3] = V::fma(two, t, s);
  to[4] = V::fma(minus_half, t, s);
  to[5] = V::fma(three_halves, s, (d[5] - d[3]) - t);
}
template <class V>
TILECONV_INLINE void window_sums(const V (&d)[1], V (&to)[1]) {
  to[0] = d[0];
}

// A window of 36 sums does not fit in registers, half of one fits in 32: two passes over the input take less time than
// what stores and loads of the sums in between would, where a core takes two cycles for a store. With 16 registers even
// thirds leave too few.
constexpr int window_rows_a_pass = vector_registers >= 32 ? winograd_window_size / 2 : winograd_window_size;

// Rows [first, first + count) of the windows. Neighbouring windows share columns.
template <class T, int taps_h, int taps_w, int first, int count>
TILECONV_INLINE void winograd_input_rows(const WinogradInputArgs<T>& a, const T* input, T* out, std::int64_t tiles) {
  using V = Vec<T>;
  constexpr int height = winograd_window(taps_h), width = winograd_window(taps_w), outputs = winograd_outputs(taps_w);
  constexpr int shared = width - outputs;
  const std::ptrdiff_t input_row = a.input_row, input_column = a.input_column;
  const std::ptrdiff_t out_position = a.out_position, out_tile = a.out_tile;
  V half[count][width];  // of B^T d, a column for each column of the window
  const auto next_column = [&](int j) TILECONV_INLINE_LAMBDA {
    V d[height], sums[height];
    TILECONV_UNROLL
    for (int i = 0; i < height; ++i) d[i] = V::load(input + i * input_row);
    window_sums(d, sums);
    TILECONV_UNROLL
    for (int i = 0; i < count; ++i) half[i][j] = sums[first + i];
    input += input_column;
  };
  TILECONV_UNROLL
  for (int j = outputs; j < width; ++j) next_column(j);
  out += first * width * out_position;
  for (; tiles > 0; --tiles, out += out_tile) {
    TILECONV_UNROLL
    for (int i = 0; i < count; ++i) {
      TILECONV_UNROLL
      for (int j = 0; j < shared; ++j) half[i][j] = half[i][outputs + j];
    }
    TILECONV_UNROLL
    for (int j = shared; j < width; ++j) next_column(j);
    T* position = out;
    TILECONV_UNROLL
    for (int i = 0; i < count; ++i) {
      V row[width];
      window_sums(half[i], row);
      TILECONV_UNROLL
      for (int j = 0; j < width; ++j) {
        row[j].store(position);
        position += out_position;
        TILECONV_OPAQUE(position);
      }
    }
  }
}

// f(first, tiles) for all tiles of a row or, of several passes, for parts of it that stay in L1 from pass to pass.
template <int passes, class F>
TILECONV_INLINE void for_tiles_of_passes(std::int64_t tiles, F f) {
  if constexpr (passes == 1) return f(0, tiles);
  constexpr std::int64_t most = 8;
  for (std::int64_t first = 0, count; first < tiles; first += count) {
    const std::int64_t left = tiles - first;
    count = left > 2 * most ? most : left > most ? (left + 1) / 2 : left;
    f(first, count);
  }
}

template <class T, int taps_h, int taps_w>
void winograd_input(const WinogradInputArgs<T>& a) noexcept {
  constexpr int height = winograd_window(taps_h), count = height < window_rows_a_pass ? height : window_rows_a_pass;
  for_tiles_of_passes<height / count>(a.tiles, [&](std::int64_t first, std::int64_t tiles) TILECONV_INLINE_LAMBDA {
    for_constants<height / count>([&](auto pass) TILECONV_INLINE_LAMBDA {
      winograd_input_rows<T, taps_h, taps_w, pass.value * count, count>(
          a, a.input + first * winograd_outputs(taps_w) * a.input_column, a.out + first * a.out_tile, tiles);
    });
  });
}

// Of the n-th step of the sums of outputs: they begin with the point 1, which is part of all, and end with 0.
constexpr int output_position(int window, int n) { return (n + 1) % window; }

// y += A^T m, the part of a position, in the order above.
template <int taps, int position, class V>
TILECONV_INLINE void add_position(const V& m, V* y) {
  using T = typename V::Element;
  constexpr int outputs = winograd_outputs(taps), last = winograd_window(taps) - 1;
  if constexpr (last == 0) {
    y[0] = m;
  } else if constexpr (position == 0) {
    y[0] = y[0] + m;
  } else if constexpr (position == last) {
    y[outputs - 1] = y[outputs - 1] + m;
  } else {
    TILECONV_UNROLL
    for (int i = 0; i < outputs; ++i) {
      const T power = T(1 << i);
      if constexpr (position == 1)
        y[i] = m;
      else if constexpr (position == 2)
        y[i] = i % 2 ? y[i] - m : y[i] + m;
      else if (i == 0)
        y[i] = y[i] + m;
      else
        y[i] = V::fma(V::broadcast(position == 3 ? 1 / power : i % 2 ? -power : power), m, y[i]);
    }
  }
}

// y = A^T m of a column or row of products.
template <int taps, class V>
TILECONV_INLINE void output_sums(const V (&m)[winograd_window(taps)], V (&y)[winograd_outputs(taps)]) {
  for_constants<winograd_window(taps)>([&](auto n) TILECONV_INLINE_LAMBDA {
    constexpr int position = output_position(winograd_window(taps), n.value);
    add_position<taps, position>(m[position], y);
  });
}

// Rows [first, first + count) of the outputs, column by column of the products: little more than these outputs is in
// registers. The bias is added to the product of the point 1, a part of every output. Outputs are added up to see
// whether they are finite: what overflows only there is computed again for nothing.
template <class T, int taps_h, int taps_w, int first, int count>
TILECONV_INLINE Vec<T> winograd_output_rows(const WinogradOutputArgs<T>& a, const T* input, T* out,
                                            std::int64_t tiles) {
  using V = Vec<T>;
  constexpr int height = winograd_window(taps_h), width = winograd_window(taps_w);
  constexpr int columns = winograd_outputs(taps_w);
  const std::ptrdiff_t input_position = a.input_position, input_tile = a.input_tile;
  const std::ptrdiff_t out_row = a.out_row, out_column = a.out_column, out_tile = a.out_tile;
  const V bias = V::load(a.bias), zero = V::broadcast(T(0));
  V finite = zero;
  out += first * out_row;
  for (; tiles > 0; --tiles, input += input_tile, out += out_tile) {
    V y[count][columns];
    const T* column = input;
    for_constants<width>([&](auto n) TILECONV_INLINE_LAMBDA {
      constexpr int j = output_position(width, n.value);
      column = j == 0 ? input : column + input_position;
      TILECONV_OPAQUE(column);
      V m[height], half[winograd_outputs(taps_h)];
      TILECONV_UNROLL
      for (int i = 0; i < height; ++i) m[i] = V::load(column + i * width * input_position);
      constexpr int one_h = height > 1, one_w = width > 1;
      if constexpr (j == one_w) m[one_h] = m[one_h] + bias;
      output_sums<taps_h>(m, half);
      TILECONV_UNROLL
      for (int i = 0; i < count; ++i) add_position<taps_w, j>(half[first + i], y[i]);
    });
    T* row = out;
    TILECONV_UNROLL
    for (int i = 0; i < count; ++i) {
      T* to = row;
      TILECONV_UNROLL
      for (int x = 0; x < columns; ++x) {
        y[i][x].store(to);
        to += out_column;
        TILECONV_OPAQUE(to);
        if (x % 2 == 1)
          finite = V::fma(y[i][x - 1] + y[i][x], zero, finite);
        else if (x == columns - 1)
          finite = V::fma(y[i][x], zero, finite);
      }
      row += out_row;
      TILECONV_OPAQUE(row);
    }
  }
  return finite;
}

template <class T, int taps_h, int taps_w>
bool winograd_output(const WinogradOutputArgs<T>& a) noexcept {
  constexpr int rows = winograd_outputs(taps_h), most = 16;  // outputs of a pass
  constexpr int count = rows * winograd_outputs(taps_w) > most ? (rows + 1) / 2 : rows;
  Vec<T> finite = Vec<T>::broadcast(T(0));
  for_tiles_of_passes<count == rows ? 1 : 2>(
      a.tiles, [&](std::int64_t first, std::int64_t tiles) TILECONV_INLINE_LAMBDA {
        const T* const input = a.input + first * a.input_tile;
        T* const out = a.out + first * a.out_tile;
        finite = finite + winograd_output_rows<T, taps_h, taps_w, 0, count>(a, input, out, tiles);
        if constexpr (count < rows)
          finite = finite + winograd_output_rows<T, taps_h, taps_w, count, rows - count>(a, input, out, tiles);
      });
  return all_zero(finite);
}

// to[0 .. window * step) = G from[0 .. taps).
template <class T, int taps>
TILECONV_INLINE void tap_sums(const Vec<T> (&from)[taps], Vec<T>* to, int step) {
  using V = Vec<T>;
  to[0] = from[0];
  if constexpr (taps > 1) {
    const V third = V::broadcast(T(1) / T(3));
    V even = from[0], odd = from[1];
    V at_half = from[taps - 1], at_minus_two = from[0];  // the former times 2^(taps - 1)
    TILECONV_UNROLL
    for (int j = 2; j < taps; ++j) (j % 2 ? odd : even) = (j % 2 ? odd : even) + from[j];
    TILECONV_UNROLL
    for (int j = taps - 2; j >= 0; --j) {
      at_half = V::fma(V::broadcast(T(1 << (taps - 1 - j))), from[j], at_half);
    }
    TILECONV_UNROLL
    for (int j = 1; j < taps; ++j)
      at_minus_two = V::fma(V::broadcast(T(j % 2 ? -(1 << j) : 1 << j)), from[j], at_minus_two);
    to[step] = third * (even + odd);
    to[2 * step] = third * (odd - even);
    to[3 * step] = V::broadcast(T(-16) / T(15) / T(1 << (taps - 1))) * at_half;
    to[4 * step] = V::broadcast(T(1) / T(15)) * at_minus_two;
    to[5 * step] = from[taps - 1];
  }
}

template <class T, int taps_h, int taps_w>
void winograd_weights(const WinogradWeightArgs<T>& a) noexcept {
  using V = Vec<T>;
  constexpr int height = winograd_window(taps_h), width = winograd_window(taps_w);
  const T zeros[V::lanes] = {};
  const T* from = a.weights;
  T* out = a.out;
  for (std::int64_t c = 0; c < a.channels; ++c) {
    V half[height][taps_w];
    TILECONV_UNROLL
    for (int j = 0; j < taps_w; ++j) {
      V column[taps_h];
      TILECONV_UNROLL
      for (int i = 0; i < taps_h; ++i) {
        const std::ptrdiff_t at = a.tap_at[i * taps_w + j];
        column[i] = V::load(at < 0 ? zeros : from + at);
      }
      tap_sums<T, taps_h>(column, &half[0][j], taps_w);
    }
    TILECONV_UNROLL
    for (int i = 0; i < height; ++i) {
      V row[width];
      tap_sums<T, taps_w>(half[i], row, 1);
      TILECONV_UNROLL
      for (int j = 0; j < width; ++j) row[j].store(out + (i * width + j) * a.out_position);
    }
    from += a.weight_channel;
    out += a.out_channel;
  }
}

template <class T, int taps_h, int taps_w>
constexpr WinogradKernel<T> winograd_row = {taps_h, taps_w, winograd_input<T, taps_h, taps_w>,
                                            winograd_output<T, taps_h, taps_w>, winograd_weights<T, taps_h, taps_w>};
template <class T>
constexpr WinogradKernel<T> winograd_table[] = {winograd_row<T, 2, 2>, winograd_row<T, 3, 3>, winograd_row<T, 4, 4>,
                                                winograd_row<T, 5, 5>, winograd_row<T, 2, 1>, winograd_row<T, 3, 1>,
                                                winograd_row<T, 4, 1>, winograd_row<T, 5, 1>, winograd_row<T, 1, 2>,
                                                winograd_row<T, 1, 3>, winograd_row<T, 1, 4>, winograd_row<T, 1, 5>};
constexpr int winograd_table_size = sizeof winograd_table<Element> / sizeof *winograd_table<Element>;

// From register tile to register tile.
template <class T>
class ProductWalk {
 public:
  TILECONV_INLINE explicit ProductWalk(const ProductArgs<T>& a)
      : rows(a.rows), columns(a.columns), out(a.out), tiles_(a.further_tiles), products_(a.further_products) {}
  TILECONV_INLINE bool next(const ProductArgs<T>& a) {
    if (tiles_ > 0) {
      --tiles_;
      rows += a.next.rows;
      out += a.next.out;
      return true;
    }
    if (products_ == 0) return false;
    --products_;
    tiles_ = a.further_tiles;
    rows += a.next_product.rows;
    columns += a.next_product.columns;
    out += a.next_product.out;
    return true;
  }

  const T *rows, *columns;
  T* out;

 private:
  std::int64_t tiles_, products_;
};

// Of a single piece or of several: the loop around the steps costs the single one, which is often short, a tenth.
template <class T, int rows, int vectors, bool several>
void product(const ProductArgs<T>& a) noexcept {
  using V = Vec<T>;
  FetchAhead<T, fetched_lines> ahead(a.prefetch, a.prefetch_step);
  const Rows<T, rows> value_rows(a.row);
  const std::ptrdiff_t out_row = a.out_row;
  for (ProductWalk<T> walk(a);;) {
    V sum[rows][vectors];
    TILECONV_UNROLL
    for (int m = 0; m < rows; ++m) {
      TILECONV_UNROLL
      for (int v = 0; v < vectors; ++v) sum[m][v] = V::broadcast(T(0));
    }
    const T *left = walk.rows, *right = walk.columns;
    const ProductPiece* piece = a.pieces;
    for (std::int64_t further = several ? a.further : 0;; --further) {
      for_steps(a.steps, Stepped<T>(left, a.row_step), Indexed<T>(right, a.column_step), ahead,
                [&](auto x, auto w) TILECONV_INLINE_LAMBDA {
                  const T* first = x.base;
                  add_outer_product(
                      sum,
                      [&](auto m) TILECONV_INLINE_LAMBDA { return value_rows.template at<m.value>(first).value(); },
                      [&](auto v) TILECONV_INLINE_LAMBDA {
                        // Where the tile leaves no register free, GCC 12 spills sums around loads by address.
                        if constexpr ((rows + 1) * vectors + 1 == vector_registers)
                          return V::load(w.address() + v.value * V::lanes);
                        else
                          return w.template vector<v.value * V::lanes>();
                      });
                });
      if (!several || further == 0) break;
      left = walk.rows + piece->rows;
      right = walk.columns + piece->columns;
      ++piece;
    }
    if (a.accumulate) {
      const T* row = walk.out;
      TILECONV_UNROLL
      for (int m = 0; m < rows; ++m) {
        TILECONV_UNROLL
        for (int v = 0; v < vectors; ++v) sum[m][v] = V::load(row + v * V::lanes) + sum[m][v];
        row += out_row;
        TILECONV_OPAQUE(row);
      }
    }
    T* row = walk.out;
    TILECONV_UNROLL
    for (int m = 0; m < rows; ++m) {
      TILECONV_UNROLL
      for (int v = 0; v < vectors; ++v) sum[m][v].store(row + v * V::lanes);
      row += out_row;
      TILECONV_OPAQUE(row);
    }
    if (!walk.next(a)) return;
  }
}

template <class T>
struct Products {
  static constexpr int most_vectors = 6, next_vectors = 1, row_limit = 14;
  using Kernel = ProductKernel<T>;
  template <int rows, int vectors>
  static constexpr Kernel row() {
    return {rows, vectors, product<T, rows, vectors, false>, product<T, rows, vectors, true>};
  }
};

// A vector of rows holds the channels of several groups. It is loaded once; what is broadcast elsewhere is a
// permutation of it here, which takes another port than the multiply-adds on some cores.
template <class T, int rows>
void bundle_product(const ProductArgs<T>& a) noexcept {
  using V = Vec<T>;
  for (ProductWalk<T> walk(a);;) {
    V row[rows], sum[rows];
    TILECONV_UNROLL
    for (int m = 0; m < rows; ++m) {
      row[m] = V::load(walk.rows + m * a.row);
      sum[m] = V::broadcast(T(0));
    }
    const T* columns = walk.columns;
    const std::int32_t* elements = a.elements;
    for (std::int64_t s = 0; s < a.steps; ++s, columns += a.column_step, elements += V::lanes) {
      const V column = V::load(columns);
      const typename V::Index index = V::index_at(elements);
      TILECONV_UNROLL
      for (int m = 0; m < rows; ++m) sum[m] = V::fma(column, V::permuted(row[m], index), sum[m]);
    }
    TILECONV_UNROLL
    for (int m = 0; m < rows; ++m) sum[m].store(walk.out + m * a.out_row);
    if (!walk.next(a)) return;
  }
}

#define TILECONV_BUNDLE(rows) {rows, 1, bundle_product<T, rows>, nullptr}
template <class T>
constexpr ProductKernel<T> bundle_table[] = {
    TILECONV_BUNDLE(1),  TILECONV_BUNDLE(2),  TILECONV_BUNDLE(3),  TILECONV_BUNDLE(4),
    TILECONV_BUNDLE(5),  TILECONV_BUNDLE(6),
#if defined(__AVX512F__)
    TILECONV_BUNDLE(7),  TILECONV_BUNDLE(8),  TILECONV_BUNDLE(9),  TILECONV_BUNDLE(10),
    TILECONV_BUNDLE(11), TILECONV_BUNDLE(12), TILECONV_BUNDLE(13), TILECONV_BUNDLE(14),
#endif
};
constexpr int bundle_table_size = sizeof(bundle_table<Element>) / sizeof(*bundle_table<Element>);
