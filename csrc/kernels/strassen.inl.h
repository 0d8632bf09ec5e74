// Strassen's algorithm for matrix products: C = A B in 2 x 2 blocks by seven products of blocks instead of eight. In
// the form of Winograd, with the fewest additions (Strassen, Gaussian elimination is not optimal, 1969; Winograd, On
// multiplication of 2 x 2 matrices, 1971):
//
//   S1 = A21 + A22    T1 = B12 - B11    P0 = A11 B11    P4 = S2 T2    C11 = P0 + P1
//   S2 = S1 - A11     T2 = B22 - T1     P1 = A12 B21    P5 = S3 T3    C12 = P0 + P4 + P3 + P6
//   S3 = A11 - A21    T3 = B22 - B12    P2 = A22 T4     P6 = S4 B22   C21 = P0 + P4 + P5 - P2
//   S4 = A12 - S2     T4 = T2 - B21     P3 = S1 T1                    C22 = P0 + P4 + P5 + P3
//
// Included by kernels_isa.cpp alone, inside its anonymous namespace.
#pragma once

// Sums of blocks: T4, T1, T2, T3 of the input, S1, S2, S3, S4 of the weights, in the order of the products.
template <class T, bool weights>
void strassen_sums(const StrassenSumArgs<T>& a) noexcept {
  using V = Vec<T>;
  for (std::int64_t r = 0; r < a.rows; ++r) {
    const std::ptrdiff_t row = r * a.block_row;
    T* const out = a.out + r * a.out_row;
    for (std::int64_t i = 0; i < a.columns; i += V::lanes) {
      const V b11 = V::load(a.block[0] + row + i), b12 = V::load(a.block[1] + row + i),
              b21 = V::load(a.block[2] + row + i), b22 = V::load(a.block[3] + row + i);
      V sum[4];
      if constexpr (weights) {
        sum[0] = b21 + b22;
        sum[1] = sum[0] - b11;
        sum[2] = b11 - b21;
        sum[3] = b12 - sum[1];
      } else {
        sum[1] = b12 - b11;
        sum[2] = b22 - sum[1];
        sum[3] = b22 - b12;
        sum[0] = sum[2] - b21;
      }
      TILECONV_UNROLL
      for (int k = 0; k < 4; ++k) sum[k].store(out + k * a.out_sum + i);
    }
  }
}

// Element 11, 12, 21 or 22 of C, by the number of its block.
template <class T, int block>
TILECONV_INLINE Vec<T> strassen_element(const T* from, std::ptrdiff_t product) {
  const auto p = [&](int i) TILECONV_INLINE_LAMBDA { return Vec<T>::load(from + i * product); };
  if constexpr (block == 0) return p(0) + p(1);
  if constexpr (block == 1) return p(0) + p(4) + p(3) + p(6);
  if constexpr (block == 2) return p(0) + p(4) + p(5) - p(2);
  return p(0) + p(4) + p(5) + p(3);
}

// The last pixels of many are taken as a whole vector, moved back to end with them.
template <class T, int block>
bool strassen_output(const StrassenOutputArgs<T>& a) noexcept {
  using V = Vec<T>;
  constexpr int lanes = V::lanes;
  const V bias = V::load(a.bias), zero = V::broadcast(T(0));
  V finite = zero;
  for (std::int64_t i = 0; i < a.pixels; i += lanes) {
    const std::int64_t at = i + lanes > a.pixels && a.pixels >= lanes ? a.pixels - lanes : i, left = a.pixels - at;
    const T* const from = a.products + at * a.product_row;
    V pixel[lanes];
    TILECONV_UNROLL
    for (int j = 0; j < lanes; ++j) {
      // Behind the last pixel it is taken again.
      const std::int64_t row = j < left ? j : left - 1;
      pixel[j] = strassen_element<T, block>(from + row * a.product_row, a.product) + bias;
      finite = V::fma(pixel[j], zero, finite);
    }
    V::transpose(pixel);
    T* out = a.out + at;
    const T* next = a.next_out ? a.next_out + at : out;
    TILECONV_UNROLL
    for (int c = 0; c < lanes; ++c) {
      if (c >= a.channels) break;
      TILECONV_PREFETCH(next);
      store_upto(pixel[c], out, left);
      out += a.out_row;
      next += a.out_row;
    }
  }
  T lane[lanes];
  finite.store(lane);
  bool all = true;
  for (int i = 0; i < lanes; ++i) all &= lane[i] == T(0);
  return all;
}
