// Vec<T> in plain C++: 16 bytes, which compilers map to SSE2, NEON or scalars. Registers: 16, as on x86-64.
#pragma once

constexpr int vector_registers = 16, steps_a_turn = 1, taps_a_turn = 1;
constexpr bool says_addresses = false;

template <class T>
struct Vec {
  using Element = T;
  using Half = Vec;
  static constexpr int lanes = 16 / sizeof(T);
  T v[lanes];

  // Staging reads unaligned views: the language allows that only byte by byte.
  static TILECONV_INLINE T element(const T* p) {
    T x;
    memcpy(&x, p, sizeof x);
    return x;
  }
  static TILECONV_INLINE Vec load(const T* p) {
    Vec r;
    memcpy(r.v, p, sizeof r.v);
    return r;
  }
  static TILECONV_INLINE Vec load_first(const T* p, std::int64_t n) {
    Vec r;
    for (int i = 0; i < lanes; ++i) r.v[i] = i < n ? element(p + i) : T(0);
    return r;
  }
  using Mask = LaneBits;
  static TILECONV_INLINE Mask mask_of(LaneBits bits) { return bits; }
  static TILECONV_INLINE Mask mask_between(std::int64_t begin, std::int64_t end) {
    return static_cast<Mask>((1 << end) - (1 << (begin < end ? begin : end)));
  }
  static TILECONV_INLINE Vec load_masked(const T* p, Mask mask) {
    Vec r;
    for (int i = 0; i < lanes; ++i) r.v[i] = mask >> i & 1 ? element(p + i) : T(0);
    return r;
  }
  using Index = const std::int32_t*;
  static TILECONV_INLINE Index index_at(const std::int32_t* p) { return p; }
  static TILECONV_INLINE Vec permuted(const Vec& a, Index index) {
    Vec r;
    for (int i = 0; i < lanes; ++i) r.v[i] = a.v[index[i]];
    return r;
  }
  static TILECONV_INLINE Vec in_order(const Vec& a) { return a; }
  static TILECONV_INLINE Vec even_odd(const Vec& a, const Vec& b) {
    Vec r;
    for (int i = 0; i < lanes; ++i) r.v[i] = i < lanes / 2 ? a.v[2 * i] : b.v[2 * i + 1 - lanes];
    return r;
  }
  static TILECONV_INLINE Vec even(const Vec& a, const Vec& b) {
    Vec r;
    for (int i = 0; i < lanes; ++i) r.v[i] = i < lanes / 2 ? a.v[2 * i] : b.v[2 * i - lanes];
    return r;
  }
  static TILECONV_INLINE Vec odd(const Vec& a, const Vec& b) {
    Vec r;
    for (int i = 0; i < lanes; ++i) r.v[i] = i < lanes / 2 ? a.v[2 * i + 1] : b.v[2 * i + 1 - lanes];
    return r;
  }
  static TILECONV_INLINE Vec blended(const Vec& a, const Vec& b, Mask mask) {
    Vec r;
    for (int i = 0; i < lanes; ++i) r.v[i] = mask >> i & 1 ? b.v[i] : a.v[i];
    return r;
  }
  static TILECONV_INLINE Vec broadcast(T x) {
    Vec r;
    for (int i = 0; i < lanes; ++i) r.v[i] = x;
    return r;
  }
  TILECONV_INLINE void store(T* p) const {
    for (int i = 0; i < lanes; ++i) p[i] = v[i];
  }
  TILECONV_INLINE void store_first(T* p, std::int64_t n) const {
    for (int i = 0; i < lanes; ++i)
      if (i < n) p[i] = v[i];
  }
  TILECONV_INLINE void store_spread(T* p, std::int64_t n) const {
    for (int i = 0; i < lanes; ++i)
      if (i < n) p[2 * i] = v[i];
  }
  static TILECONV_INLINE Vec fma(const Vec& a, const Vec& b, const Vec& c) {
    Vec r;
    for (int i = 0; i < lanes; ++i) r.v[i] = a.v[i] * b.v[i] + c.v[i];
    return r;
  }
  static TILECONV_INLINE void add_product(Vec& sum, const Vec& a, const Vec& b) { sum = fma(a, b, sum); }
  static TILECONV_INLINE Vec kept(const Vec& a) { return a; }
  friend TILECONV_INLINE Vec operator+(const Vec& a, const Vec& b) {
    Vec r;
    for (int i = 0; i < lanes; ++i) r.v[i] = a.v[i] + b.v[i];
    return r;
  }
  friend TILECONV_INLINE Vec operator-(const Vec& a, const Vec& b) {
    Vec r;
    for (int i = 0; i < lanes; ++i) r.v[i] = a.v[i] - b.v[i];
    return r;
  }
  friend TILECONV_INLINE Vec operator*(const Vec& a, const Vec& b) {
    Vec r;
    for (int i = 0; i < lanes; ++i) r.v[i] = a.v[i] * b.v[i];
    return r;
  }
  static TILECONV_INLINE void transpose(Vec (&rows)[lanes]) {
    for (int i = 0; i < lanes; ++i)
      for (int j = 0; j < i; ++j) {
        const T t = rows[i].v[j];
        rows[i].v[j] = rows[j].v[i];
        rows[j].v[i] = t;
      }
  }
};
