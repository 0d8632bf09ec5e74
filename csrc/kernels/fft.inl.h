// Fourier transforms of the columns of complex matrices in panels (contract: FftArgs in kernels.h): lanes are columns,
// so that there is no shuffle in them. Included by kernels_isa.cpp alone, inside its anonymous namespace.
//
// Forward by decimation in frequency, backward by decimation in time (Gentleman and Sande; Cooley and Tukey). Each
// undoes the other's order, so no element is ever moved.
#pragma once

// A stage has its elements in registers.
constexpr int fft_most_radix = vector_registers >= 32 ? 8 : 4;

template <class T>
struct Complex {
  Vec<T> re, im;
  static TILECONV_INLINE Complex load(const T* re, const T* im) { return {Vec<T>::load(re), Vec<T>::load(im)}; }
  TILECONV_INLINE void store(T* to_re, T* to_im) const { re.store(to_re), im.store(to_im); }
  friend TILECONV_INLINE Complex operator+(Complex a, Complex b) { return {a.re + b.re, a.im + b.im}; }
  friend TILECONV_INLINE Complex operator-(Complex a, Complex b) { return {a.re - b.re, a.im - b.im}; }
  friend TILECONV_INLINE Complex operator*(Complex a, Complex b) {
    return {a.re * b.re - a.im * b.im, Vec<T>::fma(a.re, b.im, a.im * b.re)};
  }
  TILECONV_INLINE Complex times_conjugate(Complex b) const {
    return {Vec<T>::fma(im, b.im, re * b.re), im * b.re - re * b.im};
  }
};

// a + i b or, forward, a - i b.
template <bool backward, class T>
TILECONV_INLINE Complex<T> plus_turned(Complex<T> a, Complex<T> b) {
  return backward ? Complex<T>{a.re - b.im, a.im + b.re} : Complex<T>{a.re + b.im, a.im - b.re};
}

// x[k] = sum over q of x[q] exp(-+2 pi i q k / radix): the even outputs are those of the sums of elements half the
// radix apart, the odd ones of their differences, turned by q / radix.
template <bool backward, class T>
TILECONV_INLINE void butterfly(Complex<T> (&x)[2]) {
  const Complex<T> sum = x[0] + x[1];
  x[1] = x[0] - x[1];
  x[0] = sum;
}
template <bool backward, class T>
TILECONV_INLINE void butterfly(Complex<T> (&x)[4]) {
  const Complex<T> even = x[0] + x[2], odd = x[1] + x[3], left = x[0] - x[2], right = x[1] - x[3];
  x[0] = even + odd;
  x[1] = plus_turned<backward>(left, right);
  x[2] = even - odd;
  x[3] = plus_turned<!backward>(left, right);
}
template <bool backward, class T>
TILECONV_INLINE void butterfly(Complex<T> (&x)[8]) {
  using C = Complex<T>;
  C even[4] = {x[0] + x[4], x[1] + x[5], x[2] + x[6], x[3] + x[7]};
  const C a = x[0] - x[4], b = x[1] - x[5], c = x[2] - x[6], d = x[3] - x[7];
  butterfly<backward>(even);
  // b and d are turned by 1 / 8 and 3 / 8, which is b -+ i b and -(d +- i d), over sqrt 2.
  const Vec<T> root = Vec<T>::broadcast(T(0.70710678118654752440));
  const auto scaled = [&](C z) TILECONV_INLINE_LAMBDA { return C{root * z.re, root * z.im}; };
  const C left = plus_turned<backward>(a, c), right = plus_turned<!backward>(a, c);
  const C b_turned = plus_turned<backward>(b, b), d_turned = plus_turned<!backward>(d, d);
  const C sum = scaled(b_turned - d_turned), difference = scaled(b_turned + d_turned);
  TILECONV_UNROLL
  for (int k = 0; k < 4; ++k) x[2 * k] = even[k];
  x[1] = left + sum;
  x[3] = plus_turned<backward>(right, difference);
  x[5] = left - sum;
  x[7] = plus_turned<!backward>(right, difference);
}

// One stage of n elements: every transform of `length` of them, which begin length apart. Alone: of one element from
// each part, whose twiddles are 1.
template <class T, int radix, bool backward, bool alone>
TILECONV_INLINE void fft_stage(T* re, T* im, std::int64_t n, std::int64_t length, const T* twiddles) {
  using C = Complex<T>;
  constexpr int lanes = Vec<T>::lanes;
  const std::int64_t parts = alone ? 1 : length / radix, part = parts * lanes;
  for (std::int64_t j = 0; j < parts; ++j, twiddles += 2 * (radix - 1)) {
    const auto twiddle = [&](int q) TILECONV_INLINE_LAMBDA {
      return C{Vec<T>::broadcast(twiddles[2 * q - 2]), Vec<T>::broadcast(twiddles[2 * q - 1])};
    };
    for (std::int64_t at = j * lanes; at < n * lanes; at += length * lanes) {
      if (radix == 8) TILECONV_OPAQUE(twiddles);  // more than there are registers for
      C x[radix];
      TILECONV_UNROLL
      for (int q = 0; q < radix; ++q) x[q] = C::load(re + at + q * part, im + at + q * part);
      if (backward && !alone) {
        TILECONV_UNROLL
        for (int q = 1; q < radix; ++q) x[q] = x[q].times_conjugate(twiddle(q));
      }
      butterfly<backward>(x);
      if (!backward && !alone) {
        TILECONV_UNROLL
        for (int q = 1; q < radix; ++q) x[q] = x[q] * twiddle(q);
      }
      TILECONV_UNROLL
      for (int q = 0; q < radix; ++q) x[q].store(re + at + q * part, im + at + q * part);
    }
  }
}

// All stages of n elements of a panel, from `length` on. Where they do not leave room for anything else in L1, the
// parts have theirs one after the other.
template <class T, bool backward>
void fft_stages(T* re, T* im, std::int64_t n, std::int64_t length, const T* twiddles) {
  if (length == 1) return;
  constexpr std::int64_t lanes = Vec<T>::lanes, fit = (16 << 10) / (2 * lanes * static_cast<int>(sizeof(T)));
  const int radix = fft_radix(length, fft_most_radix);
  const std::int64_t part = length / radix;
  const auto stage = [&] {
    for_constants<3>([&](auto i) TILECONV_INLINE_LAMBDA {
      constexpr int size = 2 << i.value;
      if constexpr (size <= fft_most_radix)
        if (radix == size)
          (part == 1 ? fft_stage<T, size, backward, true> : fft_stage<T, size, backward, false>)(re, im, n, length,
                                                                                                 twiddles);
    });
  };
  if (!backward) stage();
  const std::int64_t together = n > fit ? part : n;
  for (std::int64_t at = 0; at < n * lanes; at += together * lanes)
    fft_stages<T, backward>(re + at, im + at, together, part, twiddles + 2 * (radix - 1) * part);
  if (backward) stage();
}

template <class T, bool backward>
void fft_columns(const FftArgs<T>& a) noexcept {
  const std::int64_t panel_size = a.n * Vec<T>::lanes;
  for (std::int64_t panel = a.panel_begin; panel < a.panel_end; ++panel)
    fft_stages<T, backward>(a.re + panel * panel_size, a.im + panel * panel_size, a.n, a.n, a.twiddles);
}

template <class T>
void fft_load(const FftLoadArgs<T>& a) noexcept {
  using V = Vec<T>;
  constexpr int lanes = V::lanes;
  const std::int64_t end = a.lead + a.count;
  const T* const row = a.row - a.lead;
  T* to = a.matrix;
  for (std::int64_t x = 0; x < a.n; x += lanes, to += a.n * lanes) {
    if (x >= a.lead && x + lanes <= end) {
      TILECONV_PREFETCH(row + x + a.next);
      V::load(row + x).store(to);
    } else {
      V::load_masked(row + x, V::mask_between(lane<T>(a.lead - x), lane<T>(end - x))).store(to);
    }
  }
}

template <class T>
bool fft_store(const FftStoreArgs<T>& a) noexcept {
  using V = Vec<T>;
  constexpr int lanes = V::lanes;
  const V bias = V::broadcast(a.bias), zero = V::broadcast(T(0));
  V finite = zero;
  const T* from = a.matrix;
  for (std::int64_t x = 0; x < a.count; x += lanes, from += a.n * lanes) {
    const V y = V::load(from) + bias;
    store_upto(y, a.row + x, a.count - x);
    // Columns behind the last are sums of the same inputs.
    finite = V::fma(y, zero, finite);
  }
  return all_zero(finite);
}

// Rows of a matrix in panels become columns.
template <class T>
void fft_transpose(T* matrix, std::int64_t n) noexcept {
  using V = Vec<T>;
  constexpr int lanes = V::lanes;
  const auto block = [&](std::int64_t panel, std::int64_t row) { return matrix + (panel * n + row * lanes) * lanes; };
  const auto load = [](const T* from, V(&rows)[lanes]) {
    TILECONV_UNROLL
    for (int i = 0; i < lanes; ++i) rows[i] = V::load(from + i * lanes);
    V::transpose(rows);
  };
  const auto store = [](const V(&rows)[lanes], T* to) {
    TILECONV_UNROLL
    for (int i = 0; i < lanes; ++i) rows[i].store(to + i * lanes);
  };
  for (std::int64_t i = 0; i < n / lanes; ++i)
    for (std::int64_t j = 0; j <= i; ++j) {
      V a[lanes];
      load(block(i, j), a);
      if (i != j) {
        V b[lanes];
        load(block(j, i), b);
        store(b, block(i, j));
      }
      store(a, block(j, i));
    }
}

// to = a * b, element by element; `to` may be a.
template <class T>
void fft_product(const FftProductArgs<T>& args) noexcept {
  using C = Complex<T>;
  for (std::int64_t i = 0; i < args.count; i += Vec<T>::lanes)
    (C::load(args.a_re + i, args.a_im + i) * C::load(args.b_re + i, args.b_im + i))
        .store(args.to_re + i, args.to_im + i);
}
