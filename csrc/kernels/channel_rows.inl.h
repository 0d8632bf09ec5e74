// Depthwise sums with the channels in the lanes: no image is too narrow for its vectors, strides and dilations are mere
// offsets, every load is aligned, and each multiply-add takes its pixel straight from memory. Included by
// kernels_isa.cpp alone, inside its anonymous namespace.
#pragma once

// Outputs that are computed together: enough to hide the latency of the sums.
constexpr int channel_row_block = 8;

template <class T, int pixels>
TILECONV_INLINE void channel_row_part(const ChannelRowArgs<T>& a, const T* input, T* out) noexcept {
  using V = Vec<T>;
  V sum[pixels];
  const V bias = V::load(a.bias);
  TILECONV_UNROLL
  for (int x = 0; x < pixels; ++x) sum[x] = bias;
  const std::ptrdiff_t column = a.input_column;
  for (const Tap *tap = a.taps, *const end = tap + a.tap_count; tap != end; ++tap) {
    const V weight = V::load(a.weights + tap->weight);
    const T* const from = input + tap->input;
    TILECONV_UNROLL
    for (int x = 0; x < pixels; ++x) sum[x] = V::fma(weight, V::load(from + x * column), sum[x]);
  }
  TILECONV_UNROLL
  for (int x = 0; x < pixels; ++x) sum[x].store(out + x * V::lanes);
}

template <class T>
void channel_row(const ChannelRowArgs<T>& a) noexcept {
  const T* input = a.input;
  T* out = a.out;
  const std::int64_t parts = (a.width + channel_row_block - 1) / channel_row_block;
  for (std::int64_t part = 0, begin = 0; part < parts; ++part) {
    const std::int64_t end = a.width * (part + 1) / parts, pixels = end - begin;
    switch (pixels) {
      case 8: channel_row_part<T, 8>(a, input, out); break;
      case 7: channel_row_part<T, 7>(a, input, out); break;
      case 6: channel_row_part<T, 6>(a, input, out); break;
      case 5: channel_row_part<T, 5>(a, input, out); break;
      case 4: channel_row_part<T, 4>(a, input, out); break;
      case 3: channel_row_part<T, 3>(a, input, out); break;
      case 2: channel_row_part<T, 2>(a, input, out); break;
      default: channel_row_part<T, 1>(a, input, out); break;
    }
    input += pixels * a.input_column;
    out += pixels * Vec<T>::lanes;
    begin = end;
  }
}

// Taps whose sums are kept in registers at a time.
constexpr int channel_product_block = 12;

template <class T, int taps>
TILECONV_NOINLINE void channel_products_of(const ChannelProductArgs<T>& a, std::int64_t first) noexcept {
  using V = Vec<T>;
  V sum[taps];
  const T* from[taps];
  TILECONV_UNROLL
  for (int t = 0; t < taps; ++t) sum[t] = V::broadcast(T(0)), from[t] = a.input + a.taps[first + t];
  const T* grad = a.grad;
  for (std::int64_t y = 0; y < a.height; ++y) {
    const T* const end = grad + a.width * V::lanes;
    std::ptrdiff_t at = y * a.input_row;
    for (; grad != end; grad += V::lanes, at += a.input_column) {
      const V value = V::load(grad);
      TILECONV_UNROLL
      for (int t = 0; t < taps; ++t) sum[t] = V::fma(value, V::load(from[t] + at), sum[t]);
    }
  }
  TILECONV_UNROLL
  for (int t = 0; t < taps; ++t) {
    T* const out = a.out + (first + t) * V::lanes;
    (V::load(out) + sum[t]).store(out);
  }
}

template <class T>
void channel_products(const ChannelProductArgs<T>& a) noexcept {
  const std::int64_t parts = (a.tap_count + channel_product_block - 1) / channel_product_block;
  for (std::int64_t part = 0, begin = 0; part < parts; ++part) {
    const std::int64_t end = a.tap_count * (part + 1) / parts;
    switch (end - begin) {
      case 12: channel_products_of<T, 12>(a, begin); break;
      case 11: channel_products_of<T, 11>(a, begin); break;
      case 10: channel_products_of<T, 10>(a, begin); break;
      case 9: channel_products_of<T, 9>(a, begin); break;
      case 8: channel_products_of<T, 8>(a, begin); break;
      case 7: channel_products_of<T, 7>(a, begin); break;
      case 6: channel_products_of<T, 6>(a, begin); break;
      case 5: channel_products_of<T, 5>(a, begin); break;
      case 4: channel_products_of<T, 4>(a, begin); break;
      case 3: channel_products_of<T, 3>(a, begin); break;
      case 2: channel_products_of<T, 2>(a, begin); break;
      default: channel_products_of<T, 1>(a, begin); break;
    }
    begin = end;
  }
}
