// Vec<float> and Vec<double> in 256-bit registers, of which there are 16. Tails are loaded by vector masks, and stored
// in up to three parts: a masked store is some 40 operations on AMD's cores (store_spread has no other way).
#pragma once

constexpr int vector_registers = 16;

// A step of a register tile is twelve multiply-adds, six cycles, in which a core issues some 30 instructions; but one
// that shares its issue slots with a neighbour, another thread of its own or another machine's, gets 15 to 20 of them:
// what is not a multiply-add or a load then costs as much as one. (Zen 3 with a busy neighbour: 72 % of the peak by
// single steps, 85 % by four.)
constexpr int steps_a_turn = 4, taps_a_turn = 3;  // most kernels have three columns

// The body of add_product. Where register tiles leave no register free, compilers choose the form of the instruction
// that overwrites a factor, and move and spill the sums around it; in another order than the source's they need more
// registers than there are.
#if defined(_MSC_VER) && !defined(__clang__)
#define TILECONV_FMA_IN_PLACE(instruction) sum = fma(a, b, sum)
#else
#define TILECONV_FMA_IN_PLACE(instruction) \
  __asm__ volatile(instruction " %2, %1, %0" : "+x"(sum.v) : "x"(a.v), "x"(b.v))
#endif

// The bodies of load_at and broadcast_at, which read memory that no kernel writes: how much of it, and on which side of
// the base, need not be exact. Sanitizers do not see into them.
#if (defined(_MSC_VER) && !defined(__clang__)) || defined(__SANITIZE_ADDRESS__)
constexpr bool says_addresses = false;
#else
constexpr bool says_addresses = true;
#define TILECONV_LOAD_AT(instruction)                                                      \
  const auto& memory = *reinterpret_cast<const char (*)[1 << 30]>(base);                   \
  Vec r;                                                                                   \
  if constexpr (scale == 0)                                                                \
    __asm__(instruction " %c2(%1), %0" : "=x"(r.v) : "r"(base), "i"(offset), "m"(memory)); \
  else                                                                                     \
    __asm__(instruction " %c3(%1,%2,%c4), %0"                                              \
            : "=x"(r.v)                                                                    \
            : "r"(base), "r"(index), "i"(offset), "i"(scale), "m"(memory));                \
  return r
#endif

// Sliding window over -1 and 0: the mask of the first n elements of b bytes starts at word 8 - n * b / 4.
alignas(32) constexpr std::int32_t mask_words[16] = {-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0};

template <>
struct Vec<float> {
  using Element = float;
  using Half = Vec;
  static constexpr int lanes = 8;
  __m256 v;

  static TILECONV_INLINE __m256i first(std::int64_t n) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(mask_words + 8 - n));
  }
  static TILECONV_INLINE Vec load(const float* p) { return {_mm256_loadu_ps(p)}; }
#ifdef TILECONV_LOAD_AT
  template <int offset, int scale>
  static TILECONV_INLINE Vec load_at(const float* base, [[maybe_unused]] std::ptrdiff_t index) {
    TILECONV_LOAD_AT("vmovups");
  }
  template <int offset, int scale>
  static TILECONV_INLINE Vec broadcast_at(const float* base, [[maybe_unused]] std::ptrdiff_t index) {
    TILECONV_LOAD_AT("vbroadcastss");
  }
#endif
  static TILECONV_INLINE Vec load_first(const float* p, std::int64_t n) { return {_mm256_maskload_ps(p, first(n))}; }
  using Mask = __m256i;
  static TILECONV_INLINE Mask mask_between(std::int64_t begin, std::int64_t end) {
    return _mm256_andnot_si256(first(begin), first(end));
  }
  static TILECONV_INLINE Mask mask_of(LaneBits bits) {
    const __m256i own = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
    return _mm256_cmpeq_epi32(_mm256_and_si256(_mm256_set1_epi32(bits), own), own);
  }
  static TILECONV_INLINE Vec load_masked(const float* p, Mask mask) { return {_mm256_maskload_ps(p, mask)}; }
  using Index = __m256i;
  static TILECONV_INLINE Index index_at(const std::int32_t* p) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  }
  static TILECONV_INLINE Vec permuted(Vec a, Index index) { return {_mm256_permutevar8x32_ps(a.v, index)}; }
  static TILECONV_INLINE Vec even_odd(Vec a, Vec b) { return {_mm256_shuffle_ps(a.v, b.v, 0xd8)}; }
  static TILECONV_INLINE Vec in_order(Vec a) {
    return {_mm256_castpd_ps(_mm256_permute4x64_pd(_mm256_castps_pd(a.v), 0xd8))};
  }
  static TILECONV_INLINE Vec even(Vec a, Vec b) { return in_order({_mm256_shuffle_ps(a.v, b.v, 0x88)}); }
  static TILECONV_INLINE Vec odd(Vec a, Vec b) { return in_order({_mm256_shuffle_ps(a.v, b.v, 0xdd)}); }
  static TILECONV_INLINE Vec blended(Vec a, Vec b, Mask mask) {
    return {_mm256_blendv_ps(a.v, b.v, _mm256_castsi256_ps(mask))};
  }
  TILECONV_INLINE LaneBits not_zero() const {
    return static_cast<LaneBits>(_mm256_movemask_ps(_mm256_cmp_ps(v, _mm256_setzero_ps(), _CMP_NEQ_UQ)));
  }
  static TILECONV_INLINE Vec broadcast(float x) { return {_mm256_set1_ps(x)}; }
  TILECONV_INLINE void store(float* p) const { _mm256_storeu_ps(p, v); }
  TILECONV_INLINE void store_first(float* p, std::int64_t n) const {
    if (n >= lanes) return store(p);
    __m128 part = _mm256_castps256_ps128(v);
    if (n & 4) {
      _mm_storeu_ps(p, part);
      p += 4;
      part = _mm256_extractf128_ps(v, 1);
    }
    if (n & 2) {
      _mm_storel_pi(reinterpret_cast<__m64*>(p), part);
      p += 2;
      part = _mm_movehl_ps(part, part);
    }
    if (n & 1) _mm_store_ss(p, part);
  }
  TILECONV_INLINE void store_spread(float* p, std::int64_t n) const {
    const __m256i even = _mm256_setr_epi32(-1, 0, -1, 0, -1, 0, -1, 0);
    const __m256i low = _mm256_and_si256(even, mask_between(0, 2 * n < lanes ? 2 * n : lanes));
    const __m256i high = _mm256_and_si256(even, mask_between(0, 2 * n < lanes ? 0 : 2 * n - lanes));
    _mm256_maskstore_ps(p, low, _mm256_permutevar8x32_ps(v, _mm256_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3)));
    _mm256_maskstore_ps(p + lanes, high, _mm256_permutevar8x32_ps(v, _mm256_setr_epi32(4, 4, 5, 5, 6, 6, 7, 7)));
  }
  static TILECONV_INLINE Vec fma(Vec a, Vec b, Vec c) { return {_mm256_fmadd_ps(a.v, b.v, c.v)}; }
  static TILECONV_INLINE void add_product(Vec& sum, Vec a, Vec b) { TILECONV_FMA_IN_PLACE("vfmadd231ps"); }
  static TILECONV_INLINE Vec kept(Vec a) { return a; }
  friend TILECONV_INLINE Vec operator+(Vec a, Vec b) { return {_mm256_add_ps(a.v, b.v)}; }
  friend TILECONV_INLINE Vec operator-(Vec a, Vec b) { return {_mm256_sub_ps(a.v, b.v)}; }
  friend TILECONV_INLINE Vec operator*(Vec a, Vec b) { return {_mm256_mul_ps(a.v, b.v)}; }

  static TILECONV_INLINE void transpose(Vec (&rows)[8]) {
    __m256 t[8];
    TILECONV_UNROLL
    for (int i = 0; i < 8; i += 4) {
      const __m256 ab_lo = _mm256_unpacklo_ps(rows[i].v, rows[i + 1].v),
                   ab_hi = _mm256_unpackhi_ps(rows[i].v, rows[i + 1].v);
      const __m256 cd_lo = _mm256_unpacklo_ps(rows[i + 2].v, rows[i + 3].v);
      const __m256 cd_hi = _mm256_unpackhi_ps(rows[i + 2].v, rows[i + 3].v);
      t[i] = _mm256_shuffle_ps(ab_lo, cd_lo, 0x44);
      t[i + 1] = _mm256_shuffle_ps(ab_lo, cd_lo, 0xee);
      t[i + 2] = _mm256_shuffle_ps(ab_hi, cd_hi, 0x44);
      t[i + 3] = _mm256_shuffle_ps(ab_hi, cd_hi, 0xee);
    }
    TILECONV_UNROLL
    for (int j = 0; j < 4; ++j) {
      rows[j].v = _mm256_permute2f128_ps(t[j], t[4 + j], 0x20);
      rows[4 + j].v = _mm256_permute2f128_ps(t[j], t[4 + j], 0x31);
    }
  }
};

template <>
struct Vec<double> {
  using Element = double;
  using Half = Vec;
  static constexpr int lanes = 4;
  __m256d v;

  static TILECONV_INLINE __m256i first(std::int64_t n) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(mask_words + 8 - 2 * n));
  }
  static TILECONV_INLINE Vec load(const double* p) { return {_mm256_loadu_pd(p)}; }
#ifdef TILECONV_LOAD_AT
  template <int offset, int scale>
  static TILECONV_INLINE Vec load_at(const double* base, [[maybe_unused]] std::ptrdiff_t index) {
    TILECONV_LOAD_AT("vmovupd");
  }
  template <int offset, int scale>
  static TILECONV_INLINE Vec broadcast_at(const double* base, [[maybe_unused]] std::ptrdiff_t index) {
    TILECONV_LOAD_AT("vbroadcastsd");
  }
#endif
  static TILECONV_INLINE Vec load_first(const double* p, std::int64_t n) { return {_mm256_maskload_pd(p, first(n))}; }
  using Mask = __m256i;
  static TILECONV_INLINE Mask mask_between(std::int64_t begin, std::int64_t end) {
    return _mm256_andnot_si256(first(begin), first(end));
  }
  static TILECONV_INLINE Mask mask_of(LaneBits bits) {
    const __m256i own = _mm256_setr_epi64x(1, 2, 4, 8);
    return _mm256_cmpeq_epi64(_mm256_and_si256(_mm256_set1_epi64x(bits), own), own);
  }
  static TILECONV_INLINE Vec load_masked(const double* p, Mask mask) { return {_mm256_maskload_pd(p, mask)}; }
  // Of the halves of the elements: 2 i and 2 i + 1 for element i.
  using Index = __m256i;
  static TILECONV_INLINE Index index_at(const std::int32_t* p) {
    const __m256i i = _mm256_cvtepu32_epi64(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
    const __m256i first = _mm256_add_epi64(i, i);
    return _mm256_or_si256(first, _mm256_slli_epi64(_mm256_or_si256(first, _mm256_set1_epi64x(1)), 32));
  }
  static TILECONV_INLINE Vec permuted(Vec a, Index index) {
    return {_mm256_castps_pd(_mm256_permutevar8x32_ps(_mm256_castpd_ps(a.v), index))};
  }
  static TILECONV_INLINE Vec even_odd(Vec a, Vec b) { return {_mm256_shuffle_pd(a.v, b.v, 0xa)}; }
  static TILECONV_INLINE Vec in_order(Vec a) { return {_mm256_permute4x64_pd(a.v, 0xd8)}; }
  static TILECONV_INLINE Vec even(Vec a, Vec b) { return in_order({_mm256_shuffle_pd(a.v, b.v, 0x0)}); }
  static TILECONV_INLINE Vec odd(Vec a, Vec b) { return in_order({_mm256_shuffle_pd(a.v, b.v, 0xf)}); }
  static TILECONV_INLINE Vec blended(Vec a, Vec b, Mask mask) {
    return {_mm256_blendv_pd(a.v, b.v, _mm256_castsi256_pd(mask))};
  }
  TILECONV_INLINE LaneBits not_zero() const {
    return static_cast<LaneBits>(_mm256_movemask_pd(_mm256_cmp_pd(v, _mm256_setzero_pd(), _CMP_NEQ_UQ)));
  }
  static TILECONV_INLINE Vec broadcast(double x) { return {_mm256_set1_pd(x)}; }
  TILECONV_INLINE void store(double* p) const { _mm256_storeu_pd(p, v); }
  TILECONV_INLINE void store_first(double* p, std::int64_t n) const {
    if (n >= lanes) return store(p);
    __m128d part = _mm256_castpd256_pd128(v);
    if (n & 2) {
      _mm_storeu_pd(p, part);
      p += 2;
      part = _mm256_extractf128_pd(v, 1);
    }
    if (n & 1) _mm_store_sd(p, part);
  }
  TILECONV_INLINE void store_spread(double* p, std::int64_t n) const {
    const __m256i even = _mm256_setr_epi64x(-1, 0, -1, 0);
    const __m256i low = _mm256_and_si256(even, mask_between(0, 2 * n < lanes ? 2 * n : lanes));
    const __m256i high = _mm256_and_si256(even, mask_between(0, 2 * n < lanes ? 0 : 2 * n - lanes));
    _mm256_maskstore_pd(p, low, _mm256_permute4x64_pd(v, 0x50));
    _mm256_maskstore_pd(p + lanes, high, _mm256_permute4x64_pd(v, 0xfa));
  }
  static TILECONV_INLINE Vec fma(Vec a, Vec b, Vec c) { return {_mm256_fmadd_pd(a.v, b.v, c.v)}; }
  static TILECONV_INLINE void add_product(Vec& sum, Vec a, Vec b) { TILECONV_FMA_IN_PLACE("vfmadd231pd"); }
  static TILECONV_INLINE Vec kept(Vec a) { return a; }
  friend TILECONV_INLINE Vec operator+(Vec a, Vec b) { return {_mm256_add_pd(a.v, b.v)}; }
  friend TILECONV_INLINE Vec operator-(Vec a, Vec b) { return {_mm256_sub_pd(a.v, b.v)}; }
  friend TILECONV_INLINE Vec operator*(Vec a, Vec b) { return {_mm256_mul_pd(a.v, b.v)}; }

  static TILECONV_INLINE void transpose(Vec (&rows)[4]) {
    const __m256d a = _mm256_unpacklo_pd(rows[0].v, rows[1].v), b = _mm256_unpackhi_pd(rows[0].v, rows[1].v);
    const __m256d c = _mm256_unpacklo_pd(rows[2].v, rows[3].v), d = _mm256_unpackhi_pd(rows[2].v, rows[3].v);
    rows[0].v = _mm256_permute2f128_pd(a, c, 0x20);
    rows[1].v = _mm256_permute2f128_pd(b, d, 0x20);
    rows[2].v = _mm256_permute2f128_pd(a, c, 0x31);
    rows[3].v = _mm256_permute2f128_pd(b, d, 0x31);
  }
};
