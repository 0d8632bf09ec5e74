// Depthwise sums with the channels in the lanes: no image is too narrow for its vectors, strides and dilations are mere
// offsets, every load is aligned, and where taps are adjacent a loaded pixel serves all of them. Included by
// kernels_isa.cpp alone, inside its anonymous namespace.
#pragma once

// Outputs that are computed together: 8 of a row, and with registers for it two rows, which share the weights. A single
// row's sums only just cover the latency of the multiply-adds.
constexpr int channel_row_block = 8, channel_row_lines = vector_registers == 32 ? 2 : 1;

// sum[r][x] += the products of `taps` taps of a row, as far apart as the pixels: each loaded pixel serves all of them.
// cut: only those of the pixels [inside_begin, inside_end).
template <bool cut, int lines, int pixels, int taps, class T>
TILECONV_INLINE void add_adjacent_taps(Vec<T> (&sum)[lines][pixels], const T* input, const ChannelRowArgs<T>& a,
                                       const T* weights, std::int64_t inside_begin, std::int64_t inside_end) {
  using V = Vec<T>;
  V weight[taps];
  TILECONV_UNROLL
  for (int j = 0; j < taps; ++j) weight[j] = V::kept(V::load(weights + j * V::lanes));
  TILECONV_UNROLL
  for (int u = 0; u < pixels + taps - 1; ++u) {
    if (!cut || (u >= inside_begin && u < inside_end)) {
      TILECONV_UNROLL
      for (int r = 0; r < lines; ++r) {
        const V loaded = V::load(input + r * a.input_row), pixel = taps > 1 ? V::kept(loaded) : loaded;
        TILECONV_UNROLL
        for (int j = 0; j < taps; ++j)
          if (u - j >= 0 && u - j < pixels) sum[r][u - j] = V::fma(weight[j], pixel, sum[r][u - j]);
      }
    }
    // Step by step: the compiler would keep an offset for every pixel, in registers that there are not.
    input += a.input_column;
    TILECONV_OPAQUE(input);
  }
}

// All taps of a row from j on, in blocks, the rest in smaller ones.
template <int block, bool cut, int lines, int pixels, class T>
TILECONV_INLINE void add_row(Vec<T> (&sum)[lines][pixels], const T* input, const ChannelRowArgs<T>& a, const T* weights,
                             std::int64_t j, std::int64_t inside_begin, std::int64_t inside_end) {
  for (; j + block <= a.kernel_w; j += block)
    add_adjacent_taps<cut, lines, pixels, block>(sum, input + j * a.tap_column, a, weights + j * Vec<T>::lanes,
                                                 inside_begin - j, inside_end - j);
  if constexpr (block > 1) add_row<block / 2, cut>(sum, input, a, weights, j, inside_begin, inside_end);
}

// The taps of a row in blocks of adjacent ones, a block of one for taps of any distance: then each multiply-add has a
// load of its own. `column`: which of the row's outputs is the first.
template <bool cut, int lines, int pixels, int block, class T>
TILECONV_INLINE void channel_row_part(const ChannelRowArgs<T>& a, std::int64_t column, const T* input,
                                      T* out) noexcept {
  using V = Vec<T>;
  V sum[lines][pixels];
  TILECONV_UNROLL
  for (int r = 0; r < lines; ++r) {
    TILECONV_UNROLL
    for (int x = 0; x < pixels; ++x) sum[r][x] = V::load(a.bias);
  }
  const T* weights = a.weights;
  const std::int64_t begin = a.inside_begin - column, end = a.inside_end - column;
  const auto for_each_tap_row = [&](auto add) TILECONV_INLINE_LAMBDA {
    for (std::int64_t i = 0; i < a.kernel_h; ++i) {
      add();
      input += a.tap_row;
      weights += a.weight_row;
    }
  };
  // Kernels of this very width, apart from the blocks of others: a tenth faster.
  if (block > 1 && a.kernel_w == block)
    for_each_tap_row([&]() TILECONV_INLINE_LAMBDA {
      add_adjacent_taps<cut, lines, pixels, block>(sum, input, a, weights, begin, end);
    });
  else
    for_each_tap_row([&]() TILECONV_INLINE_LAMBDA { add_row<block, cut>(sum, input, a, weights, 0, begin, end); });
  TILECONV_UNROLL
  for (int r = 0; r < lines; ++r) {
    TILECONV_UNROLL
    for (int x = 0; x < pixels; ++x) sum[r][x].store(out + r * a.out_row + x * a.out_column);
  }
}

template <class T, int block, bool cut, int lines>
void channel_lines(const ChannelRowArgs<T>& a, std::int64_t r) noexcept {
  const T* input = a.input + r * a.input_row;
  T* out = a.out + r * a.out_row;
  const std::int64_t parts = (a.width + channel_row_block - 1) / channel_row_block;
  for (std::int64_t part = 0, begin = 0; part < parts; ++part) {
    const std::int64_t end = a.width * (part + 1) / parts, pixels = end - begin;
    switch (pixels) {
      case 8: channel_row_part<cut, lines, 8, block>(a, begin, input, out); break;
      case 7: channel_row_part<cut, lines, 7, block>(a, begin, input, out); break;
      case 6: channel_row_part<cut, lines, 6, block>(a, begin, input, out); break;
      case 5: channel_row_part<cut, lines, 5, block>(a, begin, input, out); break;
      case 4: channel_row_part<cut, lines, 4, block>(a, begin, input, out); break;
      case 3: channel_row_part<cut, lines, 3, block>(a, begin, input, out); break;
      case 2: channel_row_part<cut, lines, 2, block>(a, begin, input, out); break;
      default: channel_row_part<cut, lines, 1, block>(a, begin, input, out); break;
    }
    input += pixels * a.input_column;
    out += pixels * a.out_column;
    begin = end;
  }
}

template <class T, int block, bool cut>
void channel_rows(const ChannelRowArgs<T>& a) noexcept {
  std::int64_t r = 0;
  for (; r + channel_row_lines <= a.height; r += channel_row_lines)
    channel_lines<T, block, cut, channel_row_lines>(a, r);
  for (; r < a.height; ++r) channel_lines<T, block, cut, 1>(a, r);
}
template <class T, int block>
void channel_row(const ChannelRowArgs<T>& a) noexcept {
  const bool cut = a.inside_begin > 0 || a.inside_end < a.width + a.kernel_w - 1;
  if constexpr (block > 1)
    cut ? channel_rows<T, block, true>(a) : channel_rows<T, block, false>(a);
  else
    channel_rows<T, block, false>(a);
}

// Kernels of adjacent taps and their widths, 0 for any; the last row takes taps of any distance.
template <class T>
constexpr ChannelRowKernel<T> channel_row_table[] = {{2, true, channel_row<T, 2>}, {3, true, channel_row<T, 3>},
                                                     {5, true, channel_row<T, 5>}, {7, true, channel_row<T, 7>},
                                                     {0, true, channel_row<T, 8>}, {0, false, channel_row<T, 1>}};
constexpr int channel_row_count = 6;

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
