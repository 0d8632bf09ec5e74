// Fourier transforms of the columns of complex matrices in panels (contract: FftArgs in kernels.h): lanes are columns,
// so that there is no shuffle in them. Included by kernels_isa.cpp alone, inside its anonymous namespace.
//
// Radix 4 with a last stage of radix 2 where log2(n) is odd: forward by decimation in frequency, backward by decimation
// in time (Gentleman and Sande; Cooley and Tukey). Each undoes the other's order, so no element is ever moved.
#pragma once

template <class T>
struct Complex {
  Vec<T> re, im;
  static TILECONV_INLINE Complex load(const T* re, const T* im) { return {Vec<T>::load(re), Vec<T>::load(im)}; }
  TILECONV_INLINE void store(T* to_re, T* to_im) const { re.store(to_re), im.store(to_im); }
  friend TILECONV_INLINE Complex operator+(Complex a, Complex b) { return {a.re + b.re, a.im + b.im}; }
  friend TILECONV_INLINE Complex operator-(Complex a, Complex b) { return {a.re - b.re, a.im - b.im}; }
  // times i, times -i
  TILECONV_INLINE Complex turned(bool backward) const {
    const Vec<T> zero = Vec<T>::broadcast(T(0));
    return backward ? Complex{zero - im, re} : Complex{im, zero - re};
  }
  friend TILECONV_INLINE Complex operator*(Complex a, Complex b) {
    const Vec<T> zero = Vec<T>::broadcast(T(0));
    return {Vec<T>::fma(a.re, b.re, zero - a.im * b.im), Vec<T>::fma(a.re, b.im, a.im * b.re)};
  }
};

// One stage of a panel: every sub-transform of `length` elements, which begin length apart.
template <class T, bool backward>
TILECONV_INLINE void fft_stage_4(T* re, T* im, std::int64_t n, std::int64_t length, const T* twiddles) {
  using C = Complex<T>;
  constexpr int lanes = Vec<T>::lanes;
  const std::int64_t quarter = length / 4 * lanes;
  for (std::int64_t j = 0; j < length / 4; ++j, twiddles += 6) {
    C twiddle[3];
    TILECONV_UNROLL
    for (int q = 0; q < 3; ++q) {
      const Vec<T> sine = Vec<T>::broadcast(twiddles[2 * q + 1]);
      twiddle[q] = {Vec<T>::broadcast(twiddles[2 * q]), backward ? Vec<T>::broadcast(T(0)) - sine : sine};
    }
    for (std::int64_t at = j * lanes; at < n * lanes; at += length * lanes) {
      C x[4];
      TILECONV_UNROLL
      for (int q = 0; q < 4; ++q) x[q] = C::load(re + at + q * quarter, im + at + q * quarter);
      if (backward) {
        TILECONV_UNROLL
        for (int q = 1; q < 4; ++q) x[q] = x[q] * twiddle[q - 1];
      }
      const C even = x[0] + x[2], odd = x[1] + x[3], left = x[0] - x[2], right = (x[1] - x[3]).turned(backward);
      C y[4] = {even + odd, left + right, even - odd, left - right};
      if (!backward) {
        TILECONV_UNROLL
        for (int q = 1; q < 4; ++q) y[q] = y[q] * twiddle[q - 1];
      }
      TILECONV_UNROLL
      for (int q = 0; q < 4; ++q) y[q].store(re + at + q * quarter, im + at + q * quarter);
    }
  }
}

template <class T>
TILECONV_INLINE void fft_stage_2(T* re, T* im, std::int64_t n) {
  using C = Complex<T>;
  constexpr int lanes = Vec<T>::lanes;
  for (std::int64_t at = 0; at < n * lanes; at += 2 * lanes) {
    const C a = C::load(re + at, im + at), b = C::load(re + at + lanes, im + at + lanes);
    (a + b).store(re + at, im + at);
    (a - b).store(re + at + lanes, im + at + lanes);
  }
}

template <class T, bool backward>
void fft_columns(const FftArgs<T>& a) noexcept {
  const std::int64_t panel_size = a.n * Vec<T>::lanes;
  std::int64_t last = a.n;  // length of the sub-transforms when only a stage of radix 2 is left, or none
  while (last >= 4) last /= 4;
  for (std::int64_t panel = a.panel_begin; panel < a.panel_end; ++panel) {
    T *const re = a.re + panel * panel_size, *const im = a.im + panel * panel_size;
    if (!backward) {
      const T* twiddles = a.twiddles;
      for (std::int64_t length = a.n; length > last; length /= 4) {
        fft_stage_4<T, false>(re, im, a.n, length, twiddles);
        twiddles += length / 4 * 6;
      }
    }
    if (last == 2) fft_stage_2(re, im, a.n);
    if (backward) {
      const T* twiddles = a.twiddles + a.twiddle_count;
      for (std::int64_t length = 4 * last; length <= a.n; length *= 4) {
        twiddles -= length / 4 * 6;
        fft_stage_4<T, true>(re, im, a.n, length, twiddles);
      }
    }
  }
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
