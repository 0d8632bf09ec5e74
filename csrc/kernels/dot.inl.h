// Dot products over pixels (contract: DotArgs in kernels.h): the register tile of weight gradients where a group has
// too few channels to fill a vector. Included by kernels_isa.cpp alone, inside its anonymous namespace.
#pragma once

// out[r] += the sum of row r's lanes, for `count` rows: transposed, so that lanes are added across registers.
template <class T>
TILECONV_NOINLINE void add_row_sums(const T* tile, int rows, int columns, const DotArgs<T>& a) noexcept {
  constexpr int lanes = Vec<T>::lanes;
  const Vec<T> one = Vec<T>::broadcast(T(1));
  const int count = rows * columns;
  alignas(64) T sums[lanes];
  T* out = a.out;
  int column = 0;
  for (int begin = 0; begin < count; begin += lanes) {
    Vec<T> block[lanes];
    TILECONV_UNROLL
    for (int r = 0; r < lanes; ++r) block[r] = Vec<T>::load(tile + (begin + r < count ? begin + r : count - 1) * lanes);
    Vec<T>::transpose(block);
    TILECONV_UNROLL
    for (int width = lanes / 2; width > 0; width /= 2) {
      TILECONV_UNROLL
      for (int r = 0; r < width; ++r) block[r] = Vec<T>::fma(block[r], one, block[r + width]);
    }
    block[0].store(sums);
    for (int r = 0; r < lanes && begin + r < count; ++r) {
      out[column] += sums[r];
      if (++column == columns) column = 0, out += a.out_row;
    }
  }
}

template <class T, int rows, int columns>
void dot(const DotArgs<T>& a) noexcept {
  using V = Vec<T>;
  V sum[rows][columns];
  const T* input[columns];
  TILECONV_UNROLL
  for (int n = 0; n < columns; ++n) {
    input[n] = a.input + a.offsets[n];
    TILECONV_UNROLL
    for (int m = 0; m < rows; ++m) sum[m][n] = V::broadcast(T(0));
  }
  const std::int64_t whole = a.width / V::lanes * V::lanes, rest = a.width - whole;
  for (std::int64_t y = 0; y < a.height; ++y) {
    const T* const grad = a.grad + y * a.grad_row;
    const std::ptrdiff_t row = y * a.input_row;
    for (std::int64_t x = 0; x < whole; x += V::lanes) {
      V g[rows];
      TILECONV_UNROLL
      for (int m = 0; m < rows; ++m) g[m] = V::load(grad + m * a.grad_channel + x);
      TILECONV_UNROLL
      for (int n = 0; n < columns; ++n) {
        const V value = V::load(input[n] + row + x);
        TILECONV_UNROLL
        for (int m = 0; m < rows; ++m) sum[m][n] = V::fma(g[m], value, sum[m][n]);
      }
    }
    if (rest > 0) {
      V g[rows];
      TILECONV_UNROLL
      for (int m = 0; m < rows; ++m) g[m] = V::load_first(grad + m * a.grad_channel + whole, rest);
      TILECONV_UNROLL
      for (int n = 0; n < columns; ++n) {
        const V value = V::load_first(input[n] + row + whole, rest);
        TILECONV_UNROLL
        for (int m = 0; m < rows; ++m) sum[m][n] = V::fma(g[m], value, sum[m][n]);
      }
    }
  }
  alignas(64) T tile[rows * columns * V::lanes];
  TILECONV_UNROLL
  for (int m = 0; m < rows; ++m) {
    TILECONV_UNROLL
    for (int n = 0; n < columns; ++n) sum[m][n].store(tile + (m * columns + n) * V::lanes);
  }
  add_row_sums<T>(tile, rows, columns, a);
}

// rows gradients and one input are held beside the sums. Twelve sums cover the latency; of a single row no more gain.
constexpr int most_dot_rows = 4;
constexpr int most_dot_columns(int rows) {
  const int fit = (vector_registers - rows - 1) / rows;
  return fit < 12 ? fit : 12;
}
constexpr int dot_table_size() {
  int n = 0;
  for (int rows = 1; rows <= most_dot_rows; ++rows) n += most_dot_columns(rows);
  return n;
}

template <class T>
struct DotTable {
  static constexpr int size = dot_table_size();
  DotKernel<T> kernels[size];
  constexpr DotTable() : kernels{} {
    int next = 0;
    fill<1, 1>(next);
  }

 private:
  template <int rows, int columns>
  constexpr void fill(int& next) {
    kernels[next++] = {rows, columns, dot<T, rows, columns>};
    if constexpr (columns < most_dot_columns(rows))
      fill<rows, columns + 1>(next);
    else if constexpr (rows < most_dot_rows)
      fill<rows + 1, 1>(next);
  }
};
