// Vec<float> and Vec<double> in 512-bit registers, of which there are 32; tails by mask registers.
#pragma once

constexpr int vector_registers = 32, steps_a_turn = 1, taps_a_turn = 1;
constexpr bool says_addresses = false;

// Half a register, for what is left of a row of pixels.
template <class T>
struct HalfVec;

template <>
struct HalfVec<float> {
  using Element = float;
  static constexpr int lanes = 8;
  __m256 v;

  static TILECONV_INLINE __mmask8 first(std::int64_t n) { return static_cast<__mmask8>((1u << n) - 1u); }
  static TILECONV_INLINE HalfVec load(const float* p) { return {_mm256_loadu_ps(p)}; }
  static TILECONV_INLINE HalfVec load_first(const float* p, std::int64_t n) {
    return {_mm256_maskz_loadu_ps(first(n), p)};
  }
  using Mask = __mmask8;
  static TILECONV_INLINE Mask mask_of(LaneBits bits) { return static_cast<Mask>(bits); }
  static TILECONV_INLINE HalfVec load_masked(const float* p, Mask mask) { return {_mm256_maskz_loadu_ps(mask, p)}; }
  static TILECONV_INLINE HalfVec in_order(HalfVec a) { return a; }
  static TILECONV_INLINE HalfVec even_odd(HalfVec a, HalfVec b) {
    return {_mm256_permutex2var_ps(a.v, _mm256_setr_epi32(0, 2, 4, 6, 9, 11, 13, 15), b.v)};
  }
  static TILECONV_INLINE HalfVec even(HalfVec a, HalfVec b) {
    return {_mm256_permutex2var_ps(a.v, _mm256_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14), b.v)};
  }
  static TILECONV_INLINE HalfVec odd(HalfVec a, HalfVec b) {
    return {_mm256_permutex2var_ps(a.v, _mm256_setr_epi32(1, 3, 5, 7, 9, 11, 13, 15), b.v)};
  }
  template <int n>
  static TILECONV_INLINE HalfVec shift_in(HalfVec a, HalfVec b) {
    if (n == 0) return a;
    return {_mm256_castsi256_ps(_mm256_alignr_epi32(_mm256_castps_si256(b.v), _mm256_castps_si256(a.v), n))};
  }
  TILECONV_INLINE LaneBits not_zero() const { return _mm256_cmp_ps_mask(v, _mm256_setzero_ps(), _CMP_NEQ_UQ); }
  static TILECONV_INLINE HalfVec broadcast(float x) { return {_mm256_set1_ps(x)}; }
  TILECONV_INLINE void store(float* p) const { _mm256_storeu_ps(p, v); }
  TILECONV_INLINE void store_first(float* p, std::int64_t n) const { _mm256_mask_storeu_ps(p, first(n), v); }
  static TILECONV_INLINE HalfVec fma(HalfVec a, HalfVec b, HalfVec c) { return {_mm256_fmadd_ps(a.v, b.v, c.v)}; }
  static TILECONV_INLINE void add_product(HalfVec& sum, HalfVec a, HalfVec b) { sum = fma(a, b, sum); }
  static TILECONV_INLINE HalfVec kept(HalfVec a) {
    TILECONV_OPAQUE_VECTOR(a.v);
    return a;
  }
  friend TILECONV_INLINE HalfVec operator+(HalfVec a, HalfVec b) { return {_mm256_add_ps(a.v, b.v)}; }
  friend TILECONV_INLINE HalfVec operator-(HalfVec a, HalfVec b) { return {_mm256_sub_ps(a.v, b.v)}; }
  friend TILECONV_INLINE HalfVec operator*(HalfVec a, HalfVec b) { return {_mm256_mul_ps(a.v, b.v)}; }
};

template <>
struct HalfVec<double> {
  using Element = double;
  static constexpr int lanes = 4;
  __m256d v;

  static TILECONV_INLINE __mmask8 first(std::int64_t n) { return static_cast<__mmask8>((1u << n) - 1u); }
  static TILECONV_INLINE HalfVec load(const double* p) { return {_mm256_loadu_pd(p)}; }
  static TILECONV_INLINE HalfVec load_first(const double* p, std::int64_t n) {
    return {_mm256_maskz_loadu_pd(first(n), p)};
  }
  using Mask = __mmask8;
  static TILECONV_INLINE Mask mask_of(LaneBits bits) { return static_cast<Mask>(bits); }
  static TILECONV_INLINE HalfVec load_masked(const double* p, Mask mask) { return {_mm256_maskz_loadu_pd(mask, p)}; }
  static TILECONV_INLINE HalfVec in_order(HalfVec a) { return a; }
  static TILECONV_INLINE HalfVec even_odd(HalfVec a, HalfVec b) {
    return {_mm256_permutex2var_pd(a.v, _mm256_setr_epi64x(0, 2, 5, 7), b.v)};
  }
  static TILECONV_INLINE HalfVec even(HalfVec a, HalfVec b) {
    return {_mm256_permutex2var_pd(a.v, _mm256_setr_epi64x(0, 2, 4, 6), b.v)};
  }
  static TILECONV_INLINE HalfVec odd(HalfVec a, HalfVec b) {
    return {_mm256_permutex2var_pd(a.v, _mm256_setr_epi64x(1, 3, 5, 7), b.v)};
  }
  template <int n>
  static TILECONV_INLINE HalfVec shift_in(HalfVec a, HalfVec b) {
    if (n == 0) return a;
    return {_mm256_castsi256_pd(_mm256_alignr_epi64(_mm256_castpd_si256(b.v), _mm256_castpd_si256(a.v), n))};
  }
  TILECONV_INLINE LaneBits not_zero() const { return _mm256_cmp_pd_mask(v, _mm256_setzero_pd(), _CMP_NEQ_UQ); }
  static TILECONV_INLINE HalfVec broadcast(double x) { return {_mm256_set1_pd(x)}; }
  TILECONV_INLINE void store(double* p) const { _mm256_storeu_pd(p, v); }
  TILECONV_INLINE void store_first(double* p, std::int64_t n) const { _mm256_mask_storeu_pd(p, first(n), v); }
  static TILECONV_INLINE HalfVec fma(HalfVec a, HalfVec b, HalfVec c) { return {_mm256_fmadd_pd(a.v, b.v, c.v)}; }
  static TILECONV_INLINE void add_product(HalfVec& sum, HalfVec a, HalfVec b) { sum = fma(a, b, sum); }
  static TILECONV_INLINE HalfVec kept(HalfVec a) {
    TILECONV_OPAQUE_VECTOR(a.v);
    return a;
  }
  friend TILECONV_INLINE HalfVec operator+(HalfVec a, HalfVec b) { return {_mm256_add_pd(a.v, b.v)}; }
  friend TILECONV_INLINE HalfVec operator-(HalfVec a, HalfVec b) { return {_mm256_sub_pd(a.v, b.v)}; }
  friend TILECONV_INLINE HalfVec operator*(HalfVec a, HalfVec b) { return {_mm256_mul_pd(a.v, b.v)}; }
};

template <>
struct Vec<float> {
  using Element = float;
  using Half = HalfVec<float>;
  static constexpr int lanes = 16;
  __m512 v;

  static TILECONV_INLINE __mmask16 first(std::int64_t n) { return static_cast<__mmask16>((1u << n) - 1u); }
  static TILECONV_INLINE Vec load(const float* p) { return {_mm512_loadu_ps(p)}; }
  static TILECONV_INLINE Vec load_first(const float* p, std::int64_t n) { return {_mm512_maskz_loadu_ps(first(n), p)}; }
  using Mask = __mmask16;
  static TILECONV_INLINE Mask mask_between(std::int64_t begin, std::int64_t end) {
    return static_cast<Mask>(first(end) & ~first(begin));
  }
  static TILECONV_INLINE Mask mask_of(LaneBits bits) { return static_cast<Mask>(bits); }
  static TILECONV_INLINE Vec load_masked(const float* p, Mask mask) { return {_mm512_maskz_loadu_ps(mask, p)}; }
  // What the mask's lower half says of both halves of the vector, which are loaded and stored by themselves: few loads
  // of 32 bytes cross a cache line, most of 64 do, whatever their mask is.
  static TILECONV_INLINE Vec load_halves(const float* low, const float* high, Mask mask) {
    const auto half = static_cast<__mmask8>(mask);
    return {_mm512_insertf32x8(_mm512_castps256_ps512(_mm256_maskz_loadu_ps(half, low)),
                               _mm256_maskz_loadu_ps(half, high), 1)};
  }
  static TILECONV_INLINE Vec broadcast_halves(float low, float high) {
    return {_mm512_mask_blend_ps(static_cast<Mask>(~first(lanes / 2)), _mm512_set1_ps(low), _mm512_set1_ps(high))};
  }
  TILECONV_INLINE void store_halves(float* low, float* high, Mask mask) const {
    // A masked extract to memory, as compilers make one of both steps, touches what the mask leaves out.
    __m256 lower = _mm512_castps512_ps256(v), upper = _mm512_extractf32x8_ps(v, 1);
    TILECONV_OPAQUE_VECTOR(lower);
    TILECONV_OPAQUE_VECTOR(upper);
    _mm256_mask_storeu_ps(low, static_cast<__mmask8>(mask), lower);
    _mm256_mask_storeu_ps(high, static_cast<__mmask8>(mask), upper);
  }
  using Index = __m512i;
  static TILECONV_INLINE Index index_from(std::ptrdiff_t n) {
    const __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    return _mm512_add_epi32(lane, _mm512_set1_epi32(static_cast<int>(n)));
  }
  static TILECONV_INLINE Index index_at(const std::int32_t* p) { return _mm512_loadu_si512(p); }
  static TILECONV_INLINE Vec permuted(Vec a, Index index) { return {_mm512_permutexvar_ps(index, a.v)}; }
  static TILECONV_INLINE Vec permuted(Vec a, Index index, Mask mask) {
    return {_mm512_maskz_permutexvar_ps(mask, index, a.v)};
  }
  static TILECONV_INLINE Vec in_order(Vec a) { return a; }
  static TILECONV_INLINE Vec even_odd(Vec a, Vec b) {
    const __m512i index = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 17, 19, 21, 23, 25, 27, 29, 31);
    return {_mm512_permutex2var_ps(a.v, index, b.v)};
  }
  static TILECONV_INLINE Vec even(Vec a, Vec b) {
    const __m512i index = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    return {_mm512_permutex2var_ps(a.v, index, b.v)};
  }
  static TILECONV_INLINE Vec odd(Vec a, Vec b) {
    const __m512i index = _mm512_setr_epi32(1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
    return {_mm512_permutex2var_ps(a.v, index, b.v)};
  }
  template <int n>
  static TILECONV_INLINE Vec shift_in(Vec a, Vec b) {
    if (n == 0) return a;
    return {_mm512_castsi512_ps(_mm512_alignr_epi32(_mm512_castps_si512(b.v), _mm512_castps_si512(a.v), n))};
  }
  static TILECONV_INLINE Vec blended(Vec a, Vec b, Mask mask) { return {_mm512_mask_blend_ps(mask, a.v, b.v)}; }
  TILECONV_INLINE LaneBits not_zero() const { return _mm512_cmp_ps_mask(v, _mm512_setzero_ps(), _CMP_NEQ_UQ); }
  static TILECONV_INLINE Vec broadcast(float x) { return {_mm512_set1_ps(x)}; }
  TILECONV_INLINE void store(float* p) const { _mm512_storeu_ps(p, v); }
  TILECONV_INLINE void store_first(float* p, std::int64_t n) const { _mm512_mask_storeu_ps(p, first(n), v); }
  TILECONV_INLINE void store_spread(float* p, std::int64_t n) const {
    const __m512i low = _mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7);
    const __m512i high = _mm512_setr_epi32(8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13, 14, 14, 15, 15);
    const std::uint32_t even = 0x55555555u & static_cast<std::uint32_t>((std::uint64_t{1} << 2 * n) - 1);
    _mm512_mask_storeu_ps(p, static_cast<__mmask16>(even), _mm512_permutexvar_ps(low, v));
    _mm512_mask_storeu_ps(p + lanes, static_cast<__mmask16>(even >> lanes), _mm512_permutexvar_ps(high, v));
  }
  static TILECONV_INLINE Vec fma(Vec a, Vec b, Vec c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
  static TILECONV_INLINE void add_product(Vec& sum, Vec a, Vec b) { sum = fma(a, b, sum); }
  static TILECONV_INLINE Vec kept(Vec a) {
    TILECONV_OPAQUE_VECTOR(a.v);
    return a;
  }
  friend TILECONV_INLINE Vec operator+(Vec a, Vec b) { return {_mm512_add_ps(a.v, b.v)}; }
  friend TILECONV_INLINE Vec operator-(Vec a, Vec b) { return {_mm512_sub_ps(a.v, b.v)}; }
  friend TILECONV_INLINE Vec operator*(Vec a, Vec b) { return {_mm512_mul_ps(a.v, b.v)}; }

  // Pairs, then quads within 128-bit lanes, then the 128-bit lanes as a 4 x 4 transpose.
  static TILECONV_INLINE void transpose(Vec (&rows)[16]) {
    __m512 t[16];
    TILECONV_UNROLL
    for (int i = 0; i < 16; i += 4) {
      const __m512 ab_lo = _mm512_unpacklo_ps(rows[i].v, rows[i + 1].v),
                   ab_hi = _mm512_unpackhi_ps(rows[i].v, rows[i + 1].v);
      const __m512 cd_lo = _mm512_unpacklo_ps(rows[i + 2].v, rows[i + 3].v);
      const __m512 cd_hi = _mm512_unpackhi_ps(rows[i + 2].v, rows[i + 3].v);
      t[i] = _mm512_shuffle_ps(ab_lo, cd_lo, 0x44);
      t[i + 1] = _mm512_shuffle_ps(ab_lo, cd_lo, 0xee);
      t[i + 2] = _mm512_shuffle_ps(ab_hi, cd_hi, 0x44);
      t[i + 3] = _mm512_shuffle_ps(ab_hi, cd_hi, 0xee);
    }
    TILECONV_UNROLL
    for (int j = 0; j < 4; ++j) {
      const __m512 a = _mm512_shuffle_f32x4(t[j], t[4 + j], 0x88), b = _mm512_shuffle_f32x4(t[j], t[4 + j], 0xdd);
      const __m512 c = _mm512_shuffle_f32x4(t[8 + j], t[12 + j], 0x88),
                   d = _mm512_shuffle_f32x4(t[8 + j], t[12 + j], 0xdd);
      rows[j].v = _mm512_shuffle_f32x4(a, c, 0x88);
      rows[4 + j].v = _mm512_shuffle_f32x4(b, d, 0x88);
      rows[8 + j].v = _mm512_shuffle_f32x4(a, c, 0xdd);
      rows[12 + j].v = _mm512_shuffle_f32x4(b, d, 0xdd);
    }
  }
};

template <>
struct Vec<double> {
  using Element = double;
  using Half = HalfVec<double>;
  static constexpr int lanes = 8;
  __m512d v;

  static TILECONV_INLINE __mmask8 first(std::int64_t n) { return static_cast<__mmask8>((1u << n) - 1u); }
  static TILECONV_INLINE Vec load(const double* p) { return {_mm512_loadu_pd(p)}; }
  static TILECONV_INLINE Vec load_first(const double* p, std::int64_t n) {
    return {_mm512_maskz_loadu_pd(first(n), p)};
  }
  using Mask = __mmask8;
  static TILECONV_INLINE Mask mask_between(std::int64_t begin, std::int64_t end) {
    return static_cast<Mask>(first(end) & ~first(begin));
  }
  static TILECONV_INLINE Mask mask_of(LaneBits bits) { return static_cast<Mask>(bits); }
  static TILECONV_INLINE Vec load_masked(const double* p, Mask mask) { return {_mm512_maskz_loadu_pd(mask, p)}; }
  static TILECONV_INLINE Vec load_halves(const double* low, const double* high, Mask mask) {
    const auto half = static_cast<__mmask8>(mask);
    return {_mm512_insertf64x4(_mm512_castpd256_pd512(_mm256_maskz_loadu_pd(half, low)),
                               _mm256_maskz_loadu_pd(half, high), 1)};
  }
  static TILECONV_INLINE Vec broadcast_halves(double low, double high) {
    return {_mm512_mask_blend_pd(static_cast<Mask>(~first(lanes / 2)), _mm512_set1_pd(low), _mm512_set1_pd(high))};
  }
  TILECONV_INLINE void store_halves(double* low, double* high, Mask mask) const {
    // A masked extract to memory, as compilers make one of both steps, touches what the mask leaves out.
    __m256d lower = _mm512_castpd512_pd256(v), upper = _mm512_extractf64x4_pd(v, 1);
    TILECONV_OPAQUE_VECTOR(lower);
    TILECONV_OPAQUE_VECTOR(upper);
    _mm256_mask_storeu_pd(low, static_cast<__mmask8>(mask), lower);
    _mm256_mask_storeu_pd(high, static_cast<__mmask8>(mask), upper);
  }
  using Index = __m512i;
  static TILECONV_INLINE Index index_from(std::ptrdiff_t n) {
    const __m512i lane = _mm512_setr_epi64(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm512_add_epi64(lane, _mm512_set1_epi64(n));
  }
  static TILECONV_INLINE Index index_at(const std::int32_t* p) {
    return _mm512_cvtepi32_epi64(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  }
  static TILECONV_INLINE Vec permuted(Vec a, Index index) { return {_mm512_permutexvar_pd(index, a.v)}; }
  static TILECONV_INLINE Vec permuted(Vec a, Index index, Mask mask) {
    return {_mm512_maskz_permutexvar_pd(mask, index, a.v)};
  }
  static TILECONV_INLINE Vec in_order(Vec a) { return a; }
  static TILECONV_INLINE Vec even_odd(Vec a, Vec b) {
    const __m512i index = _mm512_setr_epi64(0, 2, 4, 6, 9, 11, 13, 15);
    return {_mm512_permutex2var_pd(a.v, index, b.v)};
  }
  static TILECONV_INLINE Vec even(Vec a, Vec b) {
    return {_mm512_permutex2var_pd(a.v, _mm512_setr_epi64(0, 2, 4, 6, 8, 10, 12, 14), b.v)};
  }
  static TILECONV_INLINE Vec odd(Vec a, Vec b) {
    return {_mm512_permutex2var_pd(a.v, _mm512_setr_epi64(1, 3, 5, 7, 9, 11, 13, 15), b.v)};
  }
  template <int n>
  static TILECONV_INLINE Vec shift_in(Vec a, Vec b) {
    if (n == 0) return a;
    return {_mm512_castsi512_pd(_mm512_alignr_epi64(_mm512_castpd_si512(b.v), _mm512_castpd_si512(a.v), n))};
  }
  static TILECONV_INLINE Vec blended(Vec a, Vec b, Mask mask) { return {_mm512_mask_blend_pd(mask, a.v, b.v)}; }
  TILECONV_INLINE LaneBits not_zero() const { return _mm512_cmp_pd_mask(v, _mm512_setzero_pd(), _CMP_NEQ_UQ); }
  static TILECONV_INLINE Vec broadcast(double x) { return {_mm512_set1_pd(x)}; }
  TILECONV_INLINE void store(double* p) const { _mm512_storeu_pd(p, v); }
  TILECONV_INLINE void store_first(double* p, std::int64_t n) const { _mm512_mask_storeu_pd(p, first(n), v); }
  TILECONV_INLINE void store_spread(double* p, std::int64_t n) const {
    const __m512i low = _mm512_setr_epi64(0, 0, 1, 1, 2, 2, 3, 3);
    const __m512i high = _mm512_setr_epi64(4, 4, 5, 5, 6, 6, 7, 7);
    const std::uint32_t even = 0x5555u & ((1u << 2 * n) - 1u);
    _mm512_mask_storeu_pd(p, static_cast<__mmask8>(even), _mm512_permutexvar_pd(low, v));
    _mm512_mask_storeu_pd(p + lanes, static_cast<__mmask8>(even >> lanes), _mm512_permutexvar_pd(high, v));
  }
  static TILECONV_INLINE Vec fma(Vec a, Vec b, Vec c) { return {_mm512_fmadd_pd(a.v, b.v, c.v)}; }
  static TILECONV_INLINE void add_product(Vec& sum, Vec a, Vec b) { sum = fma(a, b, sum); }
  static TILECONV_INLINE Vec kept(Vec a) {
    TILECONV_OPAQUE_VECTOR(a.v);
    return a;
  }
  friend TILECONV_INLINE Vec operator+(Vec a, Vec b) { return {_mm512_add_pd(a.v, b.v)}; }
  friend TILECONV_INLINE Vec operator-(Vec a, Vec b) { return {_mm512_sub_pd(a.v, b.v)}; }
  friend TILECONV_INLINE Vec operator*(Vec a, Vec b) { return {_mm512_mul_pd(a.v, b.v)}; }

  static TILECONV_INLINE void transpose(Vec (&rows)[8]) {
    __m512d t[8];
    TILECONV_UNROLL
    for (int i = 0; i < 8; i += 2) {
      t[i] = _mm512_unpacklo_pd(rows[i].v, rows[i + 1].v);
      t[i + 1] = _mm512_unpackhi_pd(rows[i].v, rows[i + 1].v);
    }
    TILECONV_UNROLL
    for (int j = 0; j < 2; ++j) {
      const __m512d a = _mm512_shuffle_f64x2(t[j], t[2 + j], 0x88), b = _mm512_shuffle_f64x2(t[j], t[2 + j], 0xdd);
      const __m512d c = _mm512_shuffle_f64x2(t[4 + j], t[6 + j], 0x88),
                    d = _mm512_shuffle_f64x2(t[4 + j], t[6 + j], 0xdd);
      rows[j].v = _mm512_shuffle_f64x2(a, c, 0x88);
      rows[2 + j].v = _mm512_shuffle_f64x2(b, d, 0x88);
      rows[4 + j].v = _mm512_shuffle_f64x2(a, c, 0xdd);
      rows[6 + j].v = _mm512_shuffle_f64x2(b, d, 0xdd);
    }
  }
};
