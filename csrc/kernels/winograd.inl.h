// The three transforms of Winograd's F(4x4, 3x3): a 6 x 6 window of the input, multiplied element by element with a
// transformed 3 x 3 kernel, gives 4 x 4 outputs: 36 products for what takes 144 directly.
//
//   out = A^T [ (G g G^T) * (B^T d B) ] A
//
// The interpolation points are 0, 1, -1, 1/2, -2 and infinity: mixing a point with the negative reciprocal keeps the
// coefficients small, and the error at a third of that of 0, +-1, +-2 (B. Barabasz, A. Anderson, K. Soodhalter, D.
// Gregg, "Error analysis and improving the accuracy of Winograd convolution for deep neural networks", ACM TOMS 46,
// 2020). The matrices follow from the points by Toom-Cook (A. Lavin, S. Gray, "Fast algorithms for convolutional neural
// networks", 2016):
//
//         1 -3/2  -2  3/2  1  0           1     0     0            1  1  1   1   1  0
//         0  -1  1/2  5/2  1  0          1/3   1/3   1/3    A^T =  0  1 -1  1/2 -2  0
//   B^T = 0   1 -5/2  1/2  1  0    G =  -1/3   1/3  -1/3           0  1  1  1/4  4  0
//         0  -2  -1    2   1  0        -16/15 -8/15 -4/15          0  1 -1  1/8 -8  1
//         0  1/2 -1  -1/2  1  0         1/15  -2/15  4/15
//         0   1 -3/2  -2  3/2 1           0     0     1
//
// Vectors run over channels, so every step is a plain sum of vectors. Included by kernels_isa.cpp alone, inside its
// anonymous namespace.
#pragma once

// to[0 .. 6 * step) = B^T from[0 .. 6): the rows by their common parts d3 - d1 and d4 - d2.
template <class T>
TILECONV_INLINE void winograd_window(const Vec<T>& d0, const Vec<T>& d1, const Vec<T>& d2, const Vec<T>& d3,
                                     const Vec<T>& d4, const Vec<T>& d5, Vec<T>* to, int step) {
  using V = Vec<T>;
  const V three_halves = V::broadcast(T(1.5)), two = V::broadcast(T(2)), minus_half = V::broadcast(T(-0.5));
  const V t = d3 - d1, s = d4 - d2;
  to[0] = V::fma(three_halves, t, (d0 - d2) + s);
  to[step] = V::fma(three_halves, d2 + d3, s + t);
  to[2 * step] = V::fma(three_halves, d3 - d2, s - t);
  to[3 * step] = V::fma(two, t, s);
  to[4 * step] = V::fma(minus_half, t, s);
  to[5 * step] = V::fma(three_halves, s, (d5 - d3) - t);
}

template <class T>
void winograd_input(const WinogradInputArgs<T>& a) noexcept {
  using V = Vec<T>;
  V half[6][6];  // B^T d, a column for each column of the window; neighbouring windows share two
  const auto column = [&](const T* from, int j) {
    V d[6];
    TILECONV_UNROLL
    for (int i = 0; i < 6; ++i) d[i] = V::load(from + i * a.input_row);
    winograd_window<T>(d[0], d[1], d[2], d[3], d[4], d[5], &half[0][j], 6);
  };
  column(a.input, 4);
  column(a.input + a.input_column, 5);
  const T* input = a.input;
  T* out = a.out;
  for (std::int64_t tile = 0; tile < a.tiles; ++tile) {
    TILECONV_UNROLL
    for (int i = 0; i < 6; ++i) half[i][0] = half[i][4], half[i][1] = half[i][5];
    TILECONV_UNROLL
    for (int j = 2; j < 6; ++j) column(input + j * a.input_column, j);
    TILECONV_UNROLL
    for (int i = 0; i < 6; ++i) {
      V row[6];
      winograd_window<T>(half[i][0], half[i][1], half[i][2], half[i][3], half[i][4], half[i][5], row, 1);
      TILECONV_UNROLL
      for (int j = 0; j < 6; ++j) row[j].store(out + (i * 6 + j) * a.out_position);
    }
    input += 4 * a.input_column;
    out += a.out_tile;
  }
}

// to[0 .. 4 * step) = A^T from[0 .. 6).
template <class T>
TILECONV_INLINE void winograd_outputs(const Vec<T>& m0, const Vec<T>& m1, const Vec<T>& m2, const Vec<T>& m3,
                                      const Vec<T>& m4, const Vec<T>& m5, Vec<T>* to, int step) {
  using V = Vec<T>;
  const V sum = m1 + m2, difference = m1 - m2;
  to[0] = (m0 + sum) + (m3 + m4);
  to[step] = V::fma(V::broadcast(T(-2)), m4, V::fma(V::broadcast(T(0.5)), m3, difference));
  to[2 * step] = V::fma(V::broadcast(T(4)), m4, V::fma(V::broadcast(T(0.25)), m3, sum));
  to[3 * step] = V::fma(V::broadcast(T(-8)), m4, V::fma(V::broadcast(T(0.125)), m3, difference + m5));
}

template <class T>
bool winograd_output(const WinogradOutputArgs<T>& a) noexcept {
  using V = Vec<T>;
  constexpr int lanes = V::lanes;
  const V bias = V::load(a.bias), zero = V::broadcast(T(0));
  V finite = zero;  // stays 0 as long as every output is finite
  const T* input = a.input;
  T* out = a.out;
  for (std::int64_t tile = 0; tile < a.tiles; ++tile) {
    V half[6][4];
    TILECONV_UNROLL
    for (int i = 0; i < 6; ++i) {
      V m[6];
      TILECONV_UNROLL
      for (int j = 0; j < 6; ++j) m[j] = V::load(input + (i * 6 + j) * a.input_position);
      winograd_outputs<T>(m[0], m[1], m[2], m[3], m[4], m[5], half[i], 1);
    }
    TILECONV_UNROLL
    for (int x = 0; x < 4; ++x) {
      V y[4];
      winograd_outputs<T>(half[0][x], half[1][x], half[2][x], half[3][x], half[4][x], half[5][x], y, 1);
      TILECONV_UNROLL
      for (int i = 0; i < 4; ++i) {
        y[i] = y[i] + bias;
        finite = V::fma(y[i], zero, finite);
        y[i].store(out + i * a.out_row + x * a.out_column);
      }
    }
    input += a.input_tile;
    out += 4 * a.out_column;
  }
  T lane[lanes];
  finite.store(lane);
  bool all = true;
  for (int i = 0; i < lanes; ++i) all &= lane[i] == T(0);
  return all;
}

// to[0 .. 6 * step) = G from[0 .. 3).
template <class T>
TILECONV_INLINE void winograd_taps(const Vec<T>& g0, const Vec<T>& g1, const Vec<T>& g2, Vec<T>* to, int step) {
  using V = Vec<T>;
  const V third = V::broadcast(T(1) / T(3)), fifteenth = V::broadcast(T(1) / T(15));
  const V even = g0 + g2;
  to[0] = g0;
  to[step] = third * (even + g1);
  to[2 * step] = third * (g1 - even);
  to[3 * step] = V::broadcast(T(-4)) * fifteenth * V::fma(V::broadcast(T(4)), g0, V::fma(V::broadcast(T(2)), g1, g2));
  to[4 * step] = fifteenth * V::fma(V::broadcast(T(4)), g2, V::fma(V::broadcast(T(-2)), g1, g0));
  to[5 * step] = g2;
}

template <class T>
void winograd_weights(const WinogradWeightArgs<T>& a) noexcept {
  using V = Vec<T>;
  const T* from = a.weights;
  T* out = a.out;
  for (std::int64_t c = 0; c < a.channels; ++c) {
    V half[6][3];
    TILECONV_UNROLL
    for (int j = 0; j < 3; ++j)
      winograd_taps<T>(V::load(from + a.taps[j]), V::load(from + a.taps[3 + j]), V::load(from + a.taps[6 + j]),
                       &half[0][j], 3);
    TILECONV_UNROLL
    for (int i = 0; i < 6; ++i) {
      V row[6];
      winograd_taps<T>(half[i][0], half[i][1], half[i][2], row, 1);
      TILECONV_UNROLL
      for (int j = 0; j < 6; ++j) row[j].store(out + (i * 6 + j) * a.out_position);
    }
    from += a.weight_channel;
    out += a.out_channel;
  }
}

template <class T, int rows, int vectors>
void product(const ProductArgs<T>& a) noexcept {
  using V = Vec<T>;
  V sum[rows][vectors];
  TILECONV_UNROLL
  for (int m = 0; m < rows; ++m) {
    TILECONV_UNROLL
    for (int v = 0; v < vectors; ++v) sum[m][v] = V::broadcast(T(0));
  }
  const T *left = a.rows, *right = a.columns, *ahead = a.prefetch;
  const std::ptrdiff_t row = a.row, column_step = a.column_step, ahead_step = a.prefetch_step;
  for (std::int64_t s = a.steps; s > 0; --s) {
    TILECONV_PREFETCH_L2(ahead);
    V column[vectors];
    TILECONV_UNROLL
    for (int v = 0; v < vectors; ++v) column[v] = V::load(right + v * V::lanes);
    TILECONV_UNROLL
    for (int m = 0; m < rows; ++m) {
      const V value = V::broadcast(left[m * row]);
      TILECONV_UNROLL
      for (int v = 0; v < vectors; ++v) sum[m][v] = V::fma(value, column[v], sum[m][v]);
    }
    ahead += ahead_step;
    right += column_step;
    ++left;
  }
  TILECONV_UNROLL
  for (int m = 0; m < rows; ++m) {
    TILECONV_UNROLL
    for (int v = 0; v < vectors; ++v) {
      T* const out = a.out + m * a.out_row + v * V::lanes;
      (a.accumulate ? V::load(out) + sum[m][v] : sum[m][v]).store(out);
    }
  }
}

template <class T>
struct Products {
  static constexpr int most_vectors = 6, row_limit = 14;
  using Kernel = ProductKernel<T>;
  template <int rows, int vectors>
  static constexpr Kernel row() {
    return {rows, vectors, product<T, rows, vectors>};
  }
};
