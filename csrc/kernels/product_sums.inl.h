// Sums before and after the matrix products of bilinear algorithms, which trade multiplications for additions. Included
// by kernels_isa.cpp alone, inside its anonymous namespace.
#pragma once

template <class T, int count>
TILECONV_INLINE void sum_pixels_of(const PixelSumArgs<T>& a) {
  using V = Vec<T>;
  // Ascending channels, descending pixels: what a vector writes too much is written again.
  for (std::int64_t i = (a.pixels - 1) / V::lanes * V::lanes; i >= 0; i -= V::lanes) {
    const auto mask = V::mask_between(0, lane<T>(a.pixels - i));
    const T* source[count];
    TILECONV_UNROLL
    for (int k = 0; k < count; ++k) source[k] = a.source[k] + i;
    T* out = a.out + i;
    for (std::int64_t c = 0; c < a.channels; ++c) {
      V sum = V::load_masked(source[0], mask);
      TILECONV_UNROLL
      for (int k = 1; k < count; ++k) sum = sum + V::load_masked(source[k], mask);
      sum.store(out);
      TILECONV_UNROLL
      for (int k = 0; k < count; ++k) source[k] += a.source_channel;
      out += a.out_channel;
    }
  }
}
template <class T>
void sum_pixels(const PixelSumArgs<T>& a) noexcept {
  switch (a.count) {
    case 1: return sum_pixels_of<T, 1>(a);
    case 2: return sum_pixels_of<T, 2>(a);
    default: return sum_pixels_of<T, 4>(a);
  }
}

// The last pixels of many are taken as a whole vector, moved back to end with them.
template <class T, int count>
TILECONV_INLINE bool sum_products_of(const ProductSumArgs<T>& a) {
  using V = Vec<T>;
  constexpr int lanes = V::lanes;
  const V bias = V::load(a.bias), zero = V::broadcast(T(0));
  V finite = zero;
  for (std::int64_t i = 0; i < a.pixels; i += lanes) {
    const std::int64_t at = i + lanes > a.pixels && a.pixels >= lanes ? a.pixels - lanes : i, left = a.pixels - at;
    V pixel[lanes];
    TILECONV_UNROLL
    for (int j = 0; j < lanes; ++j) {
      // Behind the last pixel it is taken again.
      const std::ptrdiff_t from = (at + (j < left ? j : left - 1)) * a.product_row;
      V sum = V::load(a.product[0] + from);
      TILECONV_UNROLL
      for (int k = 1; k < count; ++k) sum = sum + V::load(a.product[k] + from);
      pixel[j] = sum + bias;
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
  return all_zero(finite);
}
template <class T>
bool sum_products(const ProductSumArgs<T>& a) noexcept {
  switch (a.count) {
    case 1: return sum_products_of<T, 1>(a);
    case 2: return sum_products_of<T, 2>(a);
    default: return sum_products_of<T, 4>(a);
  }
}
