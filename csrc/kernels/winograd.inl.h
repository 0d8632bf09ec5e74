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

// to[0 .. 6 * step) = B^T from[0 .. 6): the rows by their common parts d3 - d1 and d4 - d2.
template <class V>
TILECONV_INLINE void window_sums(const V& d0, const V& d1, const V& d2, const V& d3, const V& d4, const V& d5, V* to,
                                 int step) {
  using T = typename V::Element;
  const V three_halves = V::broadcast(T(1.5)), two = V::broadcast(T(2)), minus_half = V::broadcast(T(-0.5));
  const V t = d3 - d1, s = d4 - d2;
  to[0] = V::fma(three_halves, t, (d0 - d2) + s);
  to[step] = V::fma(three_halves, d2 + d3, s + t);
  to[2 * step] = V::fma(three_halves, d3 - d2, s - t);
  to[3 * step] = V::fma(two, t, s);
  to[4 * step] = V::fma(minus_half, t, s);
  to[5 * step] = V::fma(three_halves, s, (d5 - d3) - t);
}

// Neighbouring windows share columns.
template <class T, int taps_h, int taps_w>
void winograd_input(const WinogradInputArgs<T>& a) noexcept {
  using V = Vec<T>;
  constexpr int height = winograd_window(taps_h), width = winograd_window(taps_w), outputs = winograd_outputs(taps_w);
  constexpr int shared = width - outputs;
  V half[height][width];  // B^T d, a column for each column of the window
  const auto column = [&](const T* from, int j) {
    V d[height];
    TILECONV_UNROLL
    for (int i = 0; i < height; ++i) d[i] = V::load(from + i * a.input_row);
    if constexpr (taps_h > 1)
      window_sums(d[0], d[1], d[2], d[3], d[4], d[5], &half[0][j], width);
    else
      half[0][j] = d[0];
  };
  TILECONV_UNROLL
  for (int j = 0; j < shared; ++j) column(a.input + j * a.input_column, outputs + j);
  const T* input = a.input;
  T* out = a.out;
  for (std::int64_t tile = 0; tile < a.tiles; ++tile) {
    TILECONV_UNROLL
    for (int i = 0; i < height; ++i) {
      TILECONV_UNROLL
      for (int j = 0; j < shared; ++j) half[i][j] = half[i][outputs + j];
    }
    TILECONV_UNROLL
    for (int j = shared; j < width; ++j) column(input + j * a.input_column, j);
    TILECONV_UNROLL
    for (int i = 0; i < height; ++i) {
      V row[width];
      if constexpr (taps_w > 1)
        window_sums(half[i][0], half[i][1], half[i][2], half[i][3], half[i][4], half[i][5], row, 1);
      else
        row[0] = half[i][0];
      TILECONV_UNROLL
      for (int j = 0; j < width; ++j) row[j].store(out + (i * width + j) * a.out_position);
    }
    input += outputs * a.input_column;
    out += a.out_tile;
  }
}

// to[0 .. outputs * step) = A^T from[0 .. window), of so many taps.
template <int taps, class V>
TILECONV_INLINE void output_sums(const V* from, int from_step, V* to, int step) {
  using T = typename V::Element;
  if constexpr (taps == 1) {
    to[0] = from[0];
  } else {
    constexpr int outputs = winograd_outputs(taps);
    const V m0 = from[0], m1 = from[from_step], m2 = from[2 * from_step], m3 = from[3 * from_step],
            m4 = from[4 * from_step], m5 = from[5 * from_step];
    const V sum = m1 + m2, difference = m1 - m2;
    to[0] = (m0 + sum) + (m3 + m4);
    TILECONV_UNROLL
    for (int i = 1; i < outputs; ++i) {
      const T power = T(1 << i);
      const V even = i % 2 ? difference : sum, rest = i == outputs - 1 ? even + m5 : even;
      to[i * step] = V::fma(V::broadcast(i % 2 ? -power : power), m4, V::fma(V::broadcast(1 / power), m3, rest));
    }
  }
}

template <class T, int taps_h, int taps_w>
bool winograd_output(const WinogradOutputArgs<T>& a) noexcept {
  using V = Vec<T>;
  constexpr int height = winograd_window(taps_h), width = winograd_window(taps_w);
  constexpr int rows = winograd_outputs(taps_h), columns = winograd_outputs(taps_w);
  const V bias = V::load(a.bias), zero = V::broadcast(T(0));
  V finite = zero;
  const T* input = a.input;
  T* out = a.out;
  for (std::int64_t tile = 0; tile < a.tiles; ++tile) {
    V half[height][columns];
    TILECONV_UNROLL
    for (int i = 0; i < height; ++i) {
      V m[width];
      TILECONV_UNROLL
      for (int j = 0; j < width; ++j) m[j] = V::load(input + (i * width + j) * a.input_position);
      output_sums<taps_w>(m, 1, half[i], 1);
    }
    TILECONV_UNROLL
    for (int x = 0; x < columns; ++x) {
      V y[rows];
      output_sums<taps_h>(&half[0][x], columns, y, 1);
      TILECONV_UNROLL
      for (int i = 0; i < rows; ++i) {
        y[i] = y[i] + bias;
        finite = V::fma(y[i], zero, finite);
        y[i].store(out + i * a.out_row + x * a.out_column);
      }
    }
    input += a.input_tile;
    out += a.out_tile;
  }
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
