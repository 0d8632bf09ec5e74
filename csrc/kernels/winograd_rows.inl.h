// Winograd's algorithm down the columns of an image, F(m, r) with pixels in the lanes (contract: WinogradRowArgs in
// kernels.h): the transforms along one axis of winograd.inl.h, whose window_sums and output_sums these are. The other
// axis goes tap by tap, as in a direct sum, so that any width of kernel is welcome, and the sums of all six positions
// stay in registers until they are outputs. Included by kernels_isa.cpp alone, inside its anonymous namespace.
#pragma once

template <class T>
void winograd_row_windows(const WinogradRowWindowArgs<T>& a) noexcept {
  using V = Vec<T>;
  const T* row[winograd_window_size];
  TILECONV_UNROLL
  for (int i = 0; i < winograd_window_size; ++i) row[i] = a.rows[i];
  T* out = a.out;
  for (std::int64_t c = 0; c < a.channels; ++c) {
    for (std::int64_t x = 0; x < a.columns; x += V::lanes) {
      V d[winograd_window_size], sums[winograd_window_size];
      const std::int64_t left = a.columns - x;
      TILECONV_UNROLL
      for (int i = 0; i < winograd_window_size; ++i) d[i] = load_upto(row[i] + x, left);
      window_sums<T>(d[0], d[1], d[2], d[3], d[4], d[5], sums, 1);
      TILECONV_UNROLL
      for (int i = 0; i < winograd_window_size; ++i) sums[i].store(out + i * a.out_position + x);
    }
    TILECONV_UNROLL
    for (int i = 0; i < winograd_window_size; ++i) row[i] += a.row_channel[i];
    out += a.out_channel;
  }
}

// The sums of the position of the point 1 are part of every output: they start from the bias. Outputs are added up to
// see whether they are finite: what overflows only there is computed again for nothing.
template <class T, int taps, int channels>
bool winograd_row_products(const WinogradRowArgs<T>& a) noexcept {
  using V = Vec<T>;
  constexpr int positions = winograd_window_size, outputs = winograd_outputs(taps);
  const Rows<T, positions> position_rows(a.position);
  const V zero = V::broadcast(T(0));
  V finite = zero;  // stays 0 as long as every output is finite
  const std::int64_t width = a.width, rows = a.rows, last = width > V::lanes ? width - V::lanes : 0;
  const bool whole = width >= V::lanes && rows >= outputs;
  const std::ptrdiff_t out_channel = a.out_channel, out_row = a.out_row;
  for (std::int64_t x = 0;; x = x + V::lanes < last ? x + V::lanes : last) {
    V sum[positions][channels][1];
    TILECONV_UNROLL
    for (int p = 0; p < positions; ++p) {
      TILECONV_UNROLL
      for (int k = 0; k < channels; ++k) sum[p][k][0] = p == 1 && a.bias ? V::broadcast(a.bias[k]) : zero;
    }
    const T *input = a.input + x, *weights = a.weights;
    for (std::int64_t c = 0; c < a.in_channels; ++c, input += a.in_channel) {
      for (std::int64_t t = 0; t < a.tap_count; ++t) {
        const T* first = input + a.taps[t];
        for_constants<positions>([&](auto p) TILECONV_INLINE_LAMBDA {
          const auto column = position_rows.template at<p.value>(first);
          add_outer_product(
              sum[p.value],
              [&](auto k) TILECONV_INLINE_LAMBDA { return V::broadcast(weights[p.value * channels + k.value]); },
              [&](auto) TILECONV_INLINE_LAMBDA { return column.template vector<0>(); });
        });
        weights += positions * channels;
        TILECONV_OPAQUE(weights);
      }
    }
    T* out = a.out + x;
    TILECONV_UNROLL
    for (int k = 0; k < channels; ++k, out += out_channel) {
      V of_channel[positions], y[outputs];
      TILECONV_UNROLL
      for (int p = 0; p < positions; ++p) of_channel[p] = sum[p][k][0];
      output_sums<T, taps>(of_channel, 1, y, 1);
      V all = y[0];
      TILECONV_UNROLL
      for (int i = 1; i < outputs; ++i) all = all + y[i];
      finite = V::fma(all, zero, finite);
      T* row = out;
      TILECONV_UNROLL
      for (int i = 0; i < outputs; ++i, row += out_row) {
        if (whole)
          y[i].store(row);
        else if (i < rows)
          store_upto(y[i], row, width);
      }
    }
    if (x == last) break;
  }
  T lane[V::lanes];
  finite.store(lane);
  bool all = true;
  for (int i = 0; i < V::lanes && i < width; ++i) all &= lane[i] == T(0);
  return all;
}

// Six sums for each channel, a column and, of the narrow instruction sets, the weight.
constexpr int winograd_row_channels = (vector_registers - 2) / winograd_window_size - (vector_registers > 16);

template <class T>
struct WinogradRowTable {
  static constexpr int size = (winograd_most_taps - 1) * winograd_row_channels;
  WinogradRowKernel<T> kernels[size];

  constexpr WinogradRowTable() : kernels{} { fill<2, 1>(0); }

 private:
  template <int taps, int channels>
  constexpr void fill(int next) {
    kernels[next] = {taps, channels, winograd_row_products<T, taps, channels>};
    if constexpr (channels < winograd_row_channels)
      fill<taps, channels + 1>(next + 1);
    else if constexpr (taps < winograd_most_taps)
      fill<taps + 1, 1>(next + 1);
  }
};
