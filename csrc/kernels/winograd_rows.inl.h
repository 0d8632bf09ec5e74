// Winograd's algorithm down the columns of an image, F(m, r) with pixels in the lanes (contract: WinogradRowArgs in
// kernels.h). The other axis goes tap by tap, as in a direct sum, so that any width of kernel is welcome, and the sums
// of all positions stay in registers until they are outputs.
//
// Up to r = 4 the points are the six of winograd.inl.h, whose transforms along one axis these are. F(4, 5) has eight:
// 0, +-1, +-2, +-1/2 and infinity, 8 products for 20. With the parts of even and odd powers e and o of a pair of
// points, which differ by the sign of o:
//
//   point    B^T d                                                   A^T: y_i is the sum of       G g
//   0        d0 - d6 + 21/4 (d4 - d2)                                m0 (i = 0)                   g0
//   +-1      e = d2 - 17/4 d4 + d6,     o = d1 - 17/4 d3 + d5        (+-1)^i m                    -2/9 g(+-1)
//   +-2      e = d2/4 - 5/4 d4 + d6,    o = d1/2 - 5/2 d3 + 2 d5     (+-2)^i m                    1/90 g(+-2)
//   +-1/2    e = 4 d2 - 5 d4 + d6,      o = 2 d1 - 5/2 d3 + d5/2     (+-1/2)^i m                  32/45 g(+-1/2)
//   infinity d7 - d1 + 21/4 (d3 - d5)                                m7 (i = 3)                   g4
//
// with g(x) = g0 + g1 x + .. + g4 x^4. Included by kernels_isa.cpp alone, inside its anonymous namespace.
#pragma once

// factor * a + b
template <class V>
TILECONV_INLINE V times(double factor, const V& a, const V& b) {
  return V::fma(V::broadcast(static_cast<typename V::Element>(factor)), a, b);
}

template <class V, int points>
TILECONV_INLINE void row_window_sums(const V (&d)[points], V (&to)[points]) {
  if constexpr (points == winograd_window_size) {
    window_sums(d, to);
  } else {
    const auto pair = [&](int p, const V& even, const V& odd) { to[p] = even + odd, to[p + 1] = even - odd; };
    to[0] = times(5.25, d[4] - d[2], d[0] - d[6]);
    pair(1, times(-4.25, d[4], d[2] + d[6]), times(-4.25, d[3], d[1] + d[5]));
    const V half = V::broadcast(0.5), two = V::broadcast(2);
    pair(3, times(0.25, d[2], times(-1.25, d[4], d[6])), times(2, d[5], times(-2.5, d[3], half * d[1])));
    pair(5, times(4, d[2], times(-5, d[4], d[6])), times(0.5, d[5], times(-2.5, d[3], two * d[1])));
    to[7] = times(5.25, d[3] - d[5], d[7] - d[1]);
  }
}

template <int taps, class V, int points>
TILECONV_INLINE void row_output_sums(const V (&m)[points], V (&y)[points + 1 - taps]) {
  if constexpr (points == winograd_window_size) {
    output_sums<taps>(m, y);
  } else {
    const V even_1 = m[1] + m[2], odd_1 = m[1] - m[2], even_2 = m[3] + m[4], odd_2 = m[3] - m[4];
    const V even_half = m[5] + m[6], odd_half = m[5] - m[6];
    y[0] = (m[0] + even_1) + (even_2 + even_half);
    y[1] = times(2, odd_2, times(0.5, odd_half, odd_1));
    y[2] = times(4, even_2, times(0.25, even_half, even_1));
    y[3] = times(8, odd_2, times(0.125, odd_half, odd_1 + m[7]));
  }
}

template <class T, int taps, int points>
void winograd_row_weights(const WinogradWeightArgs<T>& a) noexcept {
  using V = Vec<T>;
  if constexpr (points == winograd_window_size) {
    winograd_weights<T, taps, 1>(a);
  } else {
    const T zeros[V::lanes] = {};
    const T* from = a.weights;
    T* out = a.out;
    for (std::int64_t c = 0; c < a.channels; ++c, from += a.weight_channel, out += a.out_channel) {
      V g[taps];
      TILECONV_UNROLL
      for (int i = 0; i < taps; ++i) g[i] = V::load(a.tap_at[i] < 0 ? zeros : from + a.tap_at[i]);
      const auto store = [&](int p, double scale, const V& value) {
        (V::broadcast(T(scale)) * value).store(out + p * a.out_position);
      };
      const auto pair = [&](int p, double scale, double x) {
        const V even = times(x * x * x * x, g[4], times(x * x, g[2], g[0]));
        const V odd = times(x * x * x, g[3], V::broadcast(T(x)) * g[1]);
        store(p, scale, even + odd);
        store(p + 1, scale, even - odd);
      };
      store(0, 1, g[0]);
      pair(1, -2.0 / 9, 1);
      pair(3, 1.0 / 90, 2);
      pair(5, 32.0 / 45, 0.5);
      store(7, 1, g[4]);
    }
  }
}

// The windows of as many columns as a vector has for each turn, or of those that are left.
template <class V, int turns, class T, int points>
TILECONV_INLINE void row_window(const WinogradRowWindowArgs<T>& a, const T* const (&row)[points], std::int64_t x,
                                T* out) {
  V d[turns][points], sums[points];
  TILECONV_UNROLL
  for (int i = 0; i < points; ++i) {
    V columns[turns];
    TILECONV_UNROLL
    for (int k = 0; k < turns; ++k) {
      const std::int64_t first = x + k * V::lanes;
      columns[k] = load_upto<V>(row[i] + first, a.columns - first);
    }
    if constexpr (turns > 1) deal<turns>(columns);
    TILECONV_UNROLL
    for (int k = 0; k < turns; ++k) d[k][i] = columns[k];
  }
  TILECONV_UNROLL
  for (int k = 0; k < turns; ++k) {
    row_window_sums(d[k], sums);
    TILECONV_UNROLL
    for (int i = 0; i < points; ++i) sums[i].store(out + k * a.out_turn + i * a.out_position + x / turns);
  }
}

template <class T, int points, int turns>
void winograd_row_windows(const WinogradRowWindowArgs<T>& a) noexcept {
  using V = Vec<T>;
  constexpr int half = turns == 1 ? half_lanes<T> : 0;
  const T* row[points];
  TILECONV_UNROLL
  for (int i = 0; i < points; ++i) row[i] = a.rows[i];
  T* out = a.out;
  for (std::int64_t c = 0; c < a.channels; ++c) {
    std::int64_t x = 0;
    for (; x + half < a.columns; x += turns * V::lanes) row_window<V, turns>(a, row, x, out);
    if constexpr (half > 0)
      if (x < a.columns) row_window<typename V::Half, turns>(a, row, x, out);
    TILECONV_UNROLL
    for (int i = 0; i < points; ++i) row[i] += a.row_channel[i];
    out += a.out_channel;
  }
}

// The sums of the position of the point 1 are part of every output: they start from the bias. Outputs are added up to
// see whether they are finite: what overflows only there is computed again for nothing. Their lines are fetched before
// the sums, where the stores of so many rows would wait for them: up to a quarter of outputs beyond L2, nothing within.
template <class T, int points, int taps, int channels, bool all_whole>
TILECONV_NOINLINE bool row_products(const WinogradRowArgs<T>& a) noexcept {
  constexpr int outputs = points + 1 - taps, lanes = Vec<T>::lanes;
  const Rows<T, points> position_rows(a.position);
  const std::int64_t width = a.width, rows = a.rows, whole_taps = a.kinds->whole;
  const std::ptrdiff_t out_channel = a.out_channel, out_row = a.out_row;
  // Outputs from column x on, a vector of this kind or the columns that there are. Returns 0 in the lanes whose outputs
  // are all finite, NaN in others.
  const auto products = [&](auto kind, std::int64_t x) TILECONV_INLINE_LAMBDA {
    using V = decltype(kind);
    const V zero = V::broadcast(T(0));
    V finite = zero;
    const bool full = width >= V::lanes && rows >= outputs;
    V sum[points][channels][1];
    TILECONV_UNROLL
    for (int p = 0; p < points; ++p) {
      TILECONV_UNROLL
      for (int k = 0; k < channels; ++k) sum[p][k][0] = p == 1 && a.bias ? V::broadcast(a.bias[k]) : zero;
    }
    T* out = a.out + x;
    const T* fetched = out;
    for (int k = 0; k < channels; ++k, fetched += out_channel)
      for (int i = 0; i < outputs && i < rows; ++i) TILECONV_PREFETCH(fetched + i * out_row + V::lanes - 1);
    const T *input = a.input + x, *weights = a.weights;
    const auto add_taps = [&](const std::ptrdiff_t* tap, std::int64_t count, auto first,
                              auto last) TILECONV_INLINE_LAMBDA {
      for (std::int64_t t = 0; t < count; ++t) {
        const T* window = input + tap[t];
        for_constants<last.value, first.value>([&](auto p) TILECONV_INLINE_LAMBDA {
          const auto column = position_rows.template at<p.value>(window);
          add_outer_product(
              sum[p.value],
              [&](auto k) TILECONV_INLINE_LAMBDA { return V::broadcast(weights[p.value * channels + k.value]); },
              [&](auto) TILECONV_INLINE_LAMBDA { return column.template vector<0, V>(); });
        });
        weights += points * channels;
        TILECONV_OPAQUE(weights);
      }
    };
    for (std::int64_t c = 0; c < a.in_channels; ++c, input += a.in_channel) {
      if constexpr (all_whole) {
        add_taps(a.taps, whole_taps, Constant<0>(), Constant<points>());
      } else {
        const std::ptrdiff_t* tap = a.taps;
        for (const WinogradRowTaps* n = a.kinds; n < a.kinds + a.kinds_count; ++n) {
          add_taps(tap, n->whole, Constant<0>(), Constant<points>());
          add_taps(tap += n->whole, n->last_zero, Constant<0>(), Constant<points - 1>());
          add_taps(tap += n->last_zero, n->first_zero, Constant<1>(), Constant<points>());
          tap += n->first_zero;
        }
      }
    }
    TILECONV_UNROLL
    for (int k = 0; k < channels; ++k, out += out_channel) {
      V of_channel[points], y[outputs];
      TILECONV_UNROLL
      for (int p = 0; p < points; ++p) of_channel[p] = sum[p][k][0];
      row_output_sums<taps>(of_channel, y);
      V all = y[0];
      TILECONV_UNROLL
      for (int i = 1; i < outputs; ++i) all = all + y[i];
      finite = V::fma(all, zero, finite);
      T* row = out;
      TILECONV_UNROLL
      for (int i = 0; i < outputs; ++i, row += out_row) {
        if (full)
          y[i].store(row);
        else if (i < rows)
          store_upto(y[i], row, width);
      }
    }
    return finite;
  };

  // The last vector is moved back to end where the row does; where a half one reaches that far, it is a half one.
  const std::int64_t left = width % lanes;
  const bool half = left > 0 && left <= half_lanes<T>;
  const std::int64_t end = half ? width - left : width, last = width > lanes ? width - lanes : 0;
  Vec<T> finite = Vec<T>::broadcast(T(0));
  for (std::int64_t x = 0; x < end; x += lanes) finite = finite + products(Vec<T>(), x < last ? x : last);
  bool all = all_zero(finite, width);
  if constexpr (half_lanes<T> > 0) {
    using Half = typename Vec<T>::Half;
    if (half) all &= all_zero(products(Half(), width > Half::lanes ? width - Half::lanes : 0), width);
  }
  return all;
}

// Between loops of different kinds of taps compilers move sums from register to register: the common kind has a code of
// its own, 3 to 6 % faster.
template <class T, int points, int taps, int channels>
bool winograd_row_products(const WinogradRowArgs<T>& a) noexcept {
  const bool all_whole = a.kinds_count == 1 && a.kinds->last_zero + a.kinds->first_zero == 0;
  return all_whole ? row_products<T, points, taps, channels, true>(a)
                   : row_products<T, points, taps, channels, false>(a);
}

// A sum of each point for each channel, a column and, of the narrow instruction sets, the weight.
constexpr int winograd_row_channels(int points) {
  const int fit = (vector_registers - 2) / points;
  return fit < 4 ? fit : 4;
}

template <class T>
struct WinogradRowTable {
  static constexpr int size = 3 * winograd_row_channels(6) + winograd_row_channels(8);
  WinogradRowKernel<T> kernels[size];

  constexpr WinogradRowTable() : kernels{} {
    int next = 0;
    fill<6, 2>(next);
    fill<6, 3>(next);
    fill<6, 4>(next);
    fill<8, 5>(next);
  }

 private:
  template <int points, int taps, int channels = 1>
  constexpr void fill(int& next) {
    kernels[next++] = {points,
                       taps,
                       channels,
                       {winograd_row_windows<T, points, 1>, winograd_row_windows<T, points, 2>},
                       winograd_row_weights<T, taps, points>,
                       winograd_row_products<T, points, taps, channels>};
    if constexpr (channels < winograd_row_channels(points)) fill<points, taps, channels + 1>(next);
  }
};
