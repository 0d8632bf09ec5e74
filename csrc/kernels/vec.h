// Vec<T>: one SIMD register of the instruction set this object is compiled for. The few operations that the kernels
// need, and no more:
//   Element, lanes, load, store (unaligned)
//   Half      for the end of a row of pixels: a vector of half as many lanes, where vectors are that long, else itself.
//             It has what the kernels of such rows need
//   load_first, store_first   the first n elements, 0 <= n <= lanes; the rest reads as 0, is not written
//   load_masked               elements of mask_between(begin, end), or those of mask_of(bits), bit i for element i; the
//                             rest reads as 0, its memory is not touched
//   store_spread              the first n <= lanes elements to p[0], p[2], .., touching nothing between
//   even_odd(a, b)            the even elements of a, then the odd ones of b, in an order that in_order(v) puts right
//   even(a, b), odd(a, b)     the even, or odd, elements of a, then of b
//   shift_in<n>(a, b)         with 32 registers alone: of a, then of b, the elements from n < lanes on
//   permuted(a, index)        lane i is element index[i] of a; index_at(p) loads them. With 32 registers there are also
//                             index_from(n), which is n, n + 1, .., and a mask that leaves 0 in other lanes
//   blended(a, b, mask)       of b in the lanes of the mask, of a in the others
//   not_zero()                bit i for a lane i that is not 0, or no number
//   broadcast, + - *, fma(a, b, c) = a * b + c, transpose of a lanes x lanes block
//   add_product(sum, a, b)    for the loops of register tiles: fma, into the register of the sum
//   kept(a)                   for the same: loaded once, where compilers would load it with each multiply-add
//   load_at<offset, scale>, broadcast_at<offset, scale>   (base, index): where says_addresses, for the same loops: from
//                             base + scale * index + offset bytes, in one instruction
// vector_registers: how many there are. steps_a_turn, taps_a_turn: steps of a register tile's sums in a turn of their
// loop, with one tap and with several. short_steps: there are more than one.
// Included by kernels_isa.cpp alone, inside its anonymous namespace.
#pragma once

#if defined(_MSC_VER) && !defined(__clang__)
#define TILECONV_INLINE __forceinline
#define TILECONV_INLINE_LAMBDA
#define TILECONV_NOINLINE __declspec(noinline)
#define TILECONV_UNROLL
#define TILECONV_OPAQUE(pointer) static_cast<void>(pointer)
#define TILECONV_PREFETCH(address) static_cast<void>(address)
#define TILECONV_PREFETCH_L2(address) static_cast<void>(address)
#else
#define TILECONV_INLINE inline __attribute__((always_inline))
#define TILECONV_INLINE_LAMBDA __attribute__((always_inline))
#define TILECONV_NOINLINE __attribute__((noinline))
// Register tiles are arrays of vectors: they live in registers only if every loop over them is unrolled.
#define TILECONV_UNROLL _Pragma("GCC unroll 64")
// What the pointer or offset was made of is unknown, and what was loaded through it is loaded again.
#define TILECONV_OPAQUE(pointer) __asm__("" : "+r"(pointer))
#define TILECONV_PREFETCH(address) __builtin_prefetch(address)
#define TILECONV_PREFETCH_L2(address) __builtin_prefetch(address, 0, 2)
#endif

// What made the vector is an instruction of its own. Those of the portable Vec are in no register that all targets
// share.
#if (defined(_MSC_VER) && !defined(__clang__)) || !defined(__AVX2__)
#define TILECONV_OPAQUE_VECTOR(vector) static_cast<void>(vector)
#else
#define TILECONV_OPAQUE_VECTOR(vector) __asm__("" : "+v"(vector))
#endif

template <class T>
struct Vec;

#if defined(__AVX512F__)
#include "vec_avx512.h"
#elif defined(__AVX2__)
#include "vec_avx2.h"
#else
#include "vec_portable.h"
#endif

// What a row of pixels may end with, besides vectors: elements of a half one, 0 without.
template <class T>
constexpr int half_lanes = Vec<T>::Half::lanes < Vec<T>::lanes ? Vec<T>::Half::lanes : 0;
