// Elements that take turns: dealt out among vectors, and spread from rows. Included by kernels_isa.cpp alone, inside
// its anonymous namespace.
#pragma once

// Of n vectors, n odd: element t * n + k of all, t = 0, 1, .., lies in a lane of its own, as n and the count of lanes
// have no common divisor. lanes[k][i] are those in vector i; order[k][t] is that of t, and turn[k] its inverse.
template <int n, int count>
struct OddDeal {
  LaneBits lanes[n][n] = {};
  std::int32_t order[n][count] = {}, turn[n][count] = {};
  constexpr OddDeal() {
    for (int k = 0; k < n; ++k)
      for (int t = 0; t < count; ++t) {
        const int at = t * n + k;
        lanes[k][at / count] = static_cast<LaneBits>(lanes[k][at / count] | 1 << at % count);
        order[k][t] = at % count;
        turn[k][at % count] = t;
      }
  }
};
template <int n, int count>
constexpr OddDeal<n, count> odd_deal;

// Elements t * n + k of the vectors, t = 0, 1, .., go to vector k; n is odd or a power of two.
template <int n, class T>
TILECONV_INLINE void deal(Vec<T> (&v)[n]) {
  if constexpr (n % 2 == 1 && n > 1) {
    constexpr const auto& table = odd_deal<n, Vec<T>::lanes>;
    Vec<T> dealt[n];
    TILECONV_UNROLL
    for (int k = 0; k < n; ++k) {
      Vec<T> mixed = v[0];
      TILECONV_UNROLL
      for (int i = 1; i < n; ++i) mixed = Vec<T>::blended(mixed, v[i], Vec<T>::mask_of(table.lanes[k][i]));
      dealt[k] = Vec<T>::permuted(mixed, Vec<T>::index_at(table.order[k]));
    }
    TILECONV_UNROLL
    for (int k = 0; k < n; ++k) v[k] = dealt[k];
  } else if constexpr (n > 1) {
    Vec<T> even[n / 2], odd[n / 2];
    TILECONV_UNROLL
    for (int i = 0; i < n / 2; ++i) {
      even[i] = Vec<T>::even(v[2 * i], v[2 * i + 1]);
      odd[i] = Vec<T>::odd(v[2 * i], v[2 * i + 1]);
    }
    deal<n / 2>(even);
    deal<n / 2>(odd);
    TILECONV_UNROLL
    for (int i = 0; i < n / 2; ++i) v[2 * i] = even[i], v[2 * i + 1] = odd[i];
  }
}

// Rows that take turns in their target, as channels do where they are innermost; n is odd.
template <int n, class T>
TILECONV_NOINLINE void spread_in_turns(const SpreadArgs<T>& a) noexcept {
  constexpr int lanes = Vec<T>::lanes;
  constexpr const auto& table = odd_deal<n, lanes>;
  std::int64_t i = 0;
  for (; i + lanes <= a.count; i += lanes) {
    Vec<T> row[n];
    TILECONV_UNROLL
    for (int k = 0; k < n; ++k)
      row[k] = Vec<T>::permuted(Vec<T>::load(a.from + k * a.from_row + i), Vec<T>::index_at(table.turn[k]));
    TILECONV_UNROLL
    for (int j = 0; j < n; ++j) {
      Vec<T> mixed = row[0];
      TILECONV_UNROLL
      for (int k = 1; k < n; ++k) mixed = Vec<T>::blended(mixed, row[k], Vec<T>::mask_of(table.lanes[k][j]));
      mixed.store(a.to + n * i + j * lanes);
    }
  }
  for (; i < a.count; ++i)
    for (int k = 0; k < n; ++k) a.to[n * i + k] = a.from[k * a.from_row + i];
}

template <class T>
void spread(const SpreadArgs<T>& a) noexcept {
  constexpr int lanes = Vec<T>::lanes;
  if (a.to_row == 1 && a.rows == 3 && a.to_element == 3) return spread_in_turns<3>(a);
  if (a.to_row == 1 && a.rows >= lanes / 2)
    return pack<T>({a.from, a.from_row, 1, a.rows, a.rows, a.count, a.to, a.to_element});
  for (std::int64_t row = 0; row < a.rows; ++row) {
    const T* const from = a.from + row * a.from_row;
    T* const to = a.to + row * a.to_row;
    if (a.to_element < 1 || a.to_element > 2) {
      for (std::int64_t i = 0; i < a.count; ++i) to[i * a.to_element] = from[i];
      continue;
    }
    for (std::int64_t i = 0; i < a.count; i += lanes) {
      const std::int64_t left = a.count - i;
      const Vec<T> value = left >= lanes ? Vec<T>::load(from + i) : Vec<T>::load_first(from + i, left);
      if (a.to_element == 2)
        value.store_spread(to + 2 * i, left < lanes ? left : lanes);
      else if (left >= lanes)
        value.store(to + i);
      else
        value.store_first(to + i, left);
    }
  }
}
