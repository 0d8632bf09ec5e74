// One input plane to one output plane (contract: PlaneArgs in kernels.h): the kernel of depthwise convolution and of
// filters on single images. Included by kernels_isa.cpp alone, inside its anonymous namespace.
//
// With one multiply-add for each loaded element the load ports are the limit, and unaligned loads take two slots. So
// several output rows are computed at once: a loaded vector of input serves every one of them that its row reaches.
#pragma once

// Output rows of one pass: 7 divides the sizes of most networks' images (7, 14, 28, 56, 112, 224) and leaves 32
// registers room for the nine weights of a 3x3 kernel.
constexpr int plane_rows = vector_registers == 32 ? 7 : 4;

template <class T, bool masked>
TILECONV_INLINE Vec<T> load_columns(const T* row, std::int64_t x, const PlaneArgs<T>& a) {
  if (!masked) return Vec<T>::load(row + x);
  return Vec<T>::load_between(row + x, lane<T>(a.column_begin - x), lane<T>(a.column_end - x));
}

// The sums of plane_rows output vectors at column x. Kernel sizes and stride are compile-time where they are not 0; then
// each input vector is loaded once.
template <class T, int kernel_h, int kernel_w, int stride, bool masked>
TILECONV_INLINE void plane_sums(const PlaneArgs<T>& a, std::int64_t x, Vec<T> (&sum)[plane_rows]) {
  TILECONV_UNROLL
  for (int r = 0; r < plane_rows; ++r) sum[r] = Vec<T>::broadcast(a.bias);
  if constexpr (stride > 0) {
    TILECONV_UNROLL
    for (int q = 0; q < (plane_rows - 1) * stride + kernel_h; ++q) {
      const T* const row = a.rows[q];
      TILECONV_UNROLL
      for (int j = 0; j < kernel_w; ++j) {
        const Vec<T> value = load_columns<T, masked>(row, x + a.columns[j], a);
        TILECONV_UNROLL
        for (int r = 0; r < plane_rows; ++r) {
          const int i = q - r * stride;
          if (i >= 0 && i < kernel_h) sum[r] = Vec<T>::fma(Vec<T>::broadcast(a.weights[i * kernel_w + j]), value, sum[r]);
        }
      }
    }
  } else {
    for (std::int64_t i = 0; i < a.kernel_h; ++i)
      for (std::int64_t j = 0; j < a.kernel_w; ++j) {
        const Vec<T> weight = Vec<T>::broadcast(a.weights[i * a.kernel_w + j]);
        TILECONV_UNROLL
        for (int r = 0; r < plane_rows; ++r)
          sum[r] = Vec<T>::fma(weight, load_columns<T, masked>(a.rows[r * a.row_step + i * a.row_tap], x + a.columns[j], a), sum[r]);
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
  for (std::int64_t x = 0; x < a.width; x += lanes) {
    Vec<T> sum[plane_rows];
    if (x + lowest >= a.column_begin && x + highest + lanes <= a.column_end)
      plane_sums<T, kernel_h, kernel_w, stride, false>(a, x, sum);
    else
      plane_sums<T, kernel_h, kernel_w, stride, true>(a, x, sum);
    const std::int64_t left = a.width - x;
    TILECONV_UNROLL
    for (int r = 0; r < plane_rows; ++r) {
      if (left >= lanes)
        sum[r].store(a.out[r] + x);
      else
        sum[r].store_first(a.out[r] + x, left);
    }
  }
}

// The last one takes any size, stride and dilation.
template <class T>
constexpr PlaneKernel<T> plane_table[] = {
    {3, 3, 1, plane<T, 3, 3, 1>}, {3, 3, 2, plane<T, 3, 3, 2>}, {5, 5, 1, plane<T, 5, 5, 1>}, {5, 5, 2, plane<T, 5, 5, 2>},
    {7, 7, 1, plane<T, 7, 7, 1>}, {7, 7, 2, plane<T, 7, 7, 2>}, {0, 0, 0, plane<T, 0, 0, 0>},
};
constexpr int plane_table_size = 7;
