// Strassen's algorithm for matrix products: C = A B in 2 x 2 blocks by seven products of blocks instead of eight. In
// the form of Winograd, with the fewest additions (Strassen, Gaussian elimination is not optimal, 1969; Winograd, On
// multiplication of 2 x 2 matrices, 1971):
//
//   S1 = A21 + A22    T1 = B12 - B11    P0 = A11 B11    P4 = S2 T2    C11 = P0 + P1
//   S2 = S1 - A11     T2 = B22 - T1     P1 = A12 B21    P5 = S3 T3    C12 = P0 + P4 + P3 + P6
//   S3 = A11 - A21    T3 = B22 - B12    P2 = A22 T4     P6 = S4 B22   C21 = P0 + P4 + P5 + P2
//   S4 = A12 - S2     T4 = B21 - T2     P3 = S1 T1                    C22 = P0 + P4 + P5 + P3
//
// Included by kernels_isa.cpp alone, inside its anonymous namespace.
#pragma once

// Sums of blocks: T4, T1, T2, T3 of the input, S1, S2, S3, S4 of the weights, in the order of the products.
template <class T, bool weights>
void strassen_sums(const StrassenSumArgs<T>& a) noexcept {
  using V = Vec<T>;
  const std::int64_t whole = a.columns / V::lanes * V::lanes;
  const auto mask = V::mask_between(0, lane<T>(a.columns - whole));
  for (std::int64_t r = 0; r < a.rows; ++r) {
    const std::ptrdiff_t row = r * a.block_row;
    T* const out = a.out + r * a.out_row;
    const auto add = [&](std::int64_t i, auto load) TILECONV_INLINE_LAMBDA {
      const V b11 = load(a.block[0] + row + i), b12 = load(a.block[1] + row + i), b21 = load(a.block[2] + row + i),
              b22 = load(a.block[3] + row + i);
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
        sum[0] = b21 - sum[2];
      }
      TILECONV_UNROLL
      for (int k = 0; k < 4; ++k) sum[k].store(out + k * a.out_sum + i);
    };
    for (std::int64_t i = 0; i < whole; i += V::lanes) add(i, [](const T* from) { return V::load(from); });
    if (whole < a.columns) add(whole, [&](const T* from) { return V::load_masked(from, mask); });
  }
}
