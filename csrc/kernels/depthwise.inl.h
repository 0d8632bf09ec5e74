// One input plane to one output plane (contract: PlaneArgs in kernels.h): the kernel of depthwise convolution and of
// filters on single images. Included by kernels_isa.cpp alone, inside its anonymous namespace.
//
// With one multiply-add for each loaded element the load ports are the limit, and unaligned loads take two slots. So
// several output rows are computed at once: a loaded vector of input serves every one of them that its row reaches.
#pragma once

// Output rows of one pass: 7 divides the sizes of most networks' images (7, 14, 28, 56, 112, 224) and leaves 32
// registers room for the nine weights of a 3x3 kernel.
constexpr int plane_rows = vector_registers == 32 ? 7 : 4;

template <class T>
TILECONV_INLINE typename Vec<T>::Mask column_mask(std::int64_t x, const PlaneArgs<T>& a) {
  return Vec<T>::mask_between(lane<T>(a.column_begin - x), lane<T>(a.column_end - x));
}

// The sums of plane_rows output vectors at column x. Kernel sizes and stride are compile-time where they are not 0;
// then each input vector is loaded once.
template <class T, int kernel_h, int kernel_w, int stride, bool masked>
TILECONV_INLINE void plane_sums(const PlaneArgs<T>& a, const T* const* rows, std::int64_t x,
                                Vec<T> (&sum)[plane_rows]) {
  using V = Vec<T>;
  TILECONV_UNROLL
  for (int r = 0; r < plane_rows; ++r) sum[r] = V::broadcast(a.bias);
  if constexpr (stride > 0) {
    typename V::Mask mask[kernel_w];
    TILECONV_UNROLL
    for (int j = 0; j < kernel_w; ++j)
      if (masked) mask[j] = column_mask(x + a.columns[j], a);
    TILECONV_UNROLL
    for (int q = 0; q < (plane_rows - 1) * stride + kernel_h; ++q) {
      const T* const row = rows[q] + x;
      TILECONV_UNROLL
      for (int j = 0; j < kernel_w; ++j) {
        const V value = masked ? V::load_masked(row + a.columns[j], mask[j]) : V::load(row + a.columns[j]);
        TILECONV_UNROLL
        for (int r = 0; r < plane_rows; ++r) {
          const int i = q - r * stride;
          if (i >= 0 && i < kernel_h) sum[r] = V::fma(V::broadcast(a.weights[i * kernel_w + j]), value, sum[r]);
        }
      }
    }
  } else {
    for (std::int64_t i = 0; i < a.kernel_h; ++i)
      for (std::int64_t j = 0; j < a.kernel_w; ++j) {
        const V weight = V::broadcast(a.weights[i * a.kernel_w + j]);
        const std::int64_t column = x + a.columns[j];
        const typename V::Mask mask = column_mask(column, a);
        TILECONV_UNROLL
        for (int r = 0; r < plane_rows; ++r) {
          const T* const from = rows[r * a.row_step + i * a.row_tap] + column;
          sum[r] = V::fma(weight, masked ? V::load_masked(from, mask) : V::load(from), sum[r]);
        }
      }
  }
}

template <class T, int kernel_h, int kernel_w, int stride>
void plane(const PlaneArgs<T>& a) noexcept {
  constexpr int lanes = Vec<T>::lanes;
  std::ptrdiff_t lowest = 0, highest = 0;
  const std::int64_t columns = kernel_w > 0 ? kernel_w : a.kernel_w;
  for (std::int64_t j = 0; j < columns; ++j) {
    lowest = j == 0 || a.columns[j] < lowest ? a.columns[j] : lowest;
    highest = j == 0 || a.columns[j] > highest ? a.columns[j] : highest;
  }
  for (std::int64_t y = 0; y < a.height; y += plane_rows) {
    const T* const* const rows = a.rows + y * (stride > 0 ? stride : a.row_step);
    for (std::int64_t x = 0; x < a.width; x += lanes) {
      Vec<T> sum[plane_rows];
      if (x + lowest >= a.column_begin && x + highest + lanes <= a.column_end)
        plane_sums<T, kernel_h, kernel_w, stride, false>(a, rows, x, sum);
      else
        plane_sums<T, kernel_h, kernel_w, stride, true>(a, rows, x, sum);
      const std::int64_t left = a.width - x;
      TILECONV_UNROLL
      for (int r = 0; r < plane_rows; ++r) {
        if (left >= lanes)
          sum[r].store(a.out[y + r] + x);
        else
          sum[r].store_first(a.out[y + r] + x, left);
      }
    }
  }
}

// Small sizes with stride 1 are also what a strided layer's input gradient is made of. The last one takes any size,
// stride and dilation.
#define TILECONV_PLANE(kernel_h, kernel_w, stride) {kernel_h, kernel_w, stride, plane<T, kernel_h, kernel_w, stride>}
template <class T>
constexpr PlaneKernel<T> plane_table[] = {
    TILECONV_PLANE(3, 3, 1), TILECONV_PLANE(3, 3, 2), TILECONV_PLANE(5, 5, 1), TILECONV_PLANE(5, 5, 2),
    TILECONV_PLANE(7, 7, 1), TILECONV_PLANE(7, 7, 2), TILECONV_PLANE(1, 1, 1), TILECONV_PLANE(1, 2, 1),
    TILECONV_PLANE(2, 1, 1), TILECONV_PLANE(2, 2, 1), TILECONV_PLANE(2, 3, 1), TILECONV_PLANE(3, 2, 1),
    TILECONV_PLANE(3, 4, 1), TILECONV_PLANE(4, 3, 1), TILECONV_PLANE(4, 4, 1), TILECONV_PLANE(0, 0, 0),
};
constexpr int plane_table_size = sizeof(plane_table<float>) / sizeof(*plane_table<float>);
