// Vec<T> in 16 bytes of plain C++, which compilers map to SSE2, NEON or scalars. Registers: 16, as on x86-64.
#pragma once

// As a vector type of the compiler, where there are some: sums that are arrays GCC 12 takes apart into scalars, a sixth
// as fast.
template <class T>
struct Lanes {
#if defined(__GNUC__)
  typedef T Type __attribute__((vector_size(16)));
#else
  struct Type {
    T element[16 / sizeof(T)];
    T& operator[](int i) { return element[i]; }
    T operator[](int i) const { return element[i]; }
    template <class F>
    static Type of(F f) {
      Type r;
      for (int i = 0; i < static_cast<int>(16 / sizeof(T)); ++i) r[i] = f(i);
      return r;
    }
    friend Type operator+(const Type& a, const Type& b) {
      return of([&](int i) { return a[i] + b[i]; });
    }
    friend Type operator-(const Type& a, const Type& b) {
      return of([&](int i) { return a[i] - b[i]; });
    }
    friend Type operator*(const Type& a, const Type& b) {
      return of([&](int i) { return a[i] * b[i]; });
    }
  };
#endif
};

constexpr int vector_registers = 16, steps_a_turn = 1, taps_a_turn = 1;
constexpr bool says_addresses = false;

template <class T>
struct Vec {
  using Element = T;
  using Half = Vec;
  static constexpr int lanes = 16 / sizeof(T);
  typename Lanes<T>::Type v;

  // Staging reads unaligned views: the language allows that only byte by byte.
  static TILECONV_INLINE T element(const T* p) {
    T x;
    memcpy(&x, p, sizeof x);
    return x;
  }
  static TILECONV_INLINE Vec load(const T* p) {
    Vec r;
    memcpy(&r.v, p, sizeof r.v);
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
  TILECONV_INLINE LaneBits not_zero() const {
    int bits = 0;
    for (int i = 0; i < lanes; ++i) bits |= (v[i] != 0) << i;
    return static_cast<LaneBits>(bits);
  }
  static TILECONV_INLINE Vec broadcast(T x) {
    if constexpr (lanes == 4)
      return {typename Lanes<T>::Type{x, x, x, x}};
    else
      return {typename Lanes<T>::Type{x, x}};
  }
  TILECONV_INLINE void store(T* p) const { memcpy(p, &v, sizeof v); }
  TILECONV_INLINE void store_first(T* p, std::int64_t n) const {
    for (int i = 0; i < lanes; ++i)
      if (i < n) p[i] = v[i];
  }
  TILECONV_INLINE void store_spread(T* p, std::int64_t n) const {
    for (int i = 0; i < lanes; ++i)
      if (i < n) p[2 * i] = v[i];
  }
  static TILECONV_INLINE Vec fma(const Vec& a, const Vec& b, const Vec& c) { return {a.v * b.v + c.v}; }
  static TILECONV_INLINE void add_product(Vec& sum, const Vec& a, const Vec& b) { sum = fma(a, b, sum); }
  static TILECONV_INLINE Vec kept(const Vec& a) { return a; }
  friend TILECONV_INLINE Vec operator+(const Vec& a, const Vec& b) { return {a.v + b.v}; }
  friend TILECONV_INLINE Vec operator-(const Vec& a, const Vec& b) { return {a.v - b.v}; }
  friend TILECONV_INLINE Vec operator*(const Vec& a, const Vec& b) { return {a.v * b.v}; }
  static TILECONV_INLINE void transpose(Vec (&rows)[lanes]) {
    for (int i = 0; i < lanes; ++i)
      for (int j = 0; j < i; ++j) {
        const T t = rows[i].v[j];
        rows[i].v[j] = rows[j].v[i];
        rows[j].v[i] = t;
      }
  }
};
