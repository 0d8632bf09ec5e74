// Staging rows of a view (contract: StageArgs in kernels.h); whether values are finite; and the loop that measures the
// FMA peak. Included by kernels_isa.cpp alone, inside its anonymous namespace.
#pragma once

template <class T>
TILECONV_INLINE T load_unaligned(const char* p) {
  T value;
  memcpy(&value, p, sizeof value);
  return value;
}

template <class T>
TILECONV_INLINE void stage_zeros(T* to, std::int64_t count) {
  const Vec<T> zero = Vec<T>::broadcast(T(0));
  for (std::int64_t i = 0; i < count; i += Vec<T>::lanes) zero.store(to + i);
}

// The zeros before and behind a piece's elements.
template <class T>
TILECONV_INLINE void stage_ends(T* to, const StagePiece& piece) {
  const std::int64_t end = piece.lead + piece.count;
  if (piece.lead > 0) stage_zeros(to, piece.lead);
  if (piece.length > end) stage_zeros(to + end, piece.length - end);
}

// Adjacent elements, zeros before and behind: vectors that lie across an end are loaded by mask. `ahead` bytes further
// is the row that is staged soon: rows of different channels are a plane apart, where no hardware prefetcher follows.
template <class T>
TILECONV_INLINE void stage_adjacent(T* to, const char* from, const StagePiece& piece, std::ptrdiff_t ahead) {
  constexpr int lanes = Vec<T>::lanes;
  const T* const source = reinterpret_cast<const T*>(from) - piece.lead;
  const std::int64_t end = piece.lead + piece.count;
  std::int64_t i = 0;
  for (; i < end; i += lanes) {
    TILECONV_PREFETCH(reinterpret_cast<const char*>(source + i) + ahead);
    if (i >= piece.lead && end - i >= lanes)
      Vec<T>::load(source + i).store(to + i);
    else
      Vec<T>::load_masked(source + i, Vec<T>::mask_between(lane<T>(piece.lead - i), lane<T>(end - i))).store(to + i);
  }
  for (; i < piece.length; i += lanes) Vec<T>::broadcast(T(0)).store(to + i);
}

// from[t * n + k] goes to to[k * to_row + t], for k < rows and t < count. Nothing behind the last of them is read; the
// last vectors are moved back to end with the rows.
template <int n, int rows, class T>
TILECONV_NOINLINE void deal_elements(T* to, std::ptrdiff_t to_row, const T* from, std::int64_t count,
                                     std::ptrdiff_t ahead) noexcept {
  constexpr int lanes = Vec<T>::lanes;
  Vec<T> v[n];
  std::int64_t at = 0;
  for (; at + lanes < count; at += lanes) {
    TILECONV_UNROLL
    for (int k = 0; k < n; ++k) {
      const T* const p = from + at * n + k * lanes;
      TILECONV_PREFETCH(reinterpret_cast<const char*>(p) + ahead);
      v[k] = Vec<T>::load(p);
    }
    deal<n>(v);
    TILECONV_UNROLL
    for (int k = 0; k < rows; ++k) v[k].store(to + k * to_row + at);
  }
  if (count >= lanes) at = count - lanes;
  const std::int64_t left = count - at, elements = (left - 1) * n + rows;
  TILECONV_UNROLL
  for (int k = 0; k < n; ++k) {
    const T* const p = from + at * n + k * lanes;
    TILECONV_PREFETCH(reinterpret_cast<const char*>(p) + ahead);
    v[k] = Vec<T>::load_masked(p, Vec<T>::mask_between(0, lane<T>(elements - k * lanes)));
  }
  deal<n>(v);
  TILECONV_UNROLL
  for (int k = 0; k < rows; ++k) store_upto(v[k], to + k * to_row + at, left);
}

// Any other step: one by one, but for strides 2 to 4 along adjacent elements.
template <class T>
TILECONV_INLINE void stage_strided(T* to, const char* from, const StagePiece& piece, std::ptrdiff_t step,
                                   std::ptrdiff_t ahead) {
  constexpr auto element = static_cast<std::ptrdiff_t>(sizeof(T));
  stage_ends(to, piece);
  to += piece.lead;
  const T* const source = reinterpret_cast<const T*>(from);
  if (step == 2 * element) {
    deal_elements<2, 1>(to, 0, source, piece.count, ahead);
  } else if (step == 3 * element) {
    deal_elements<3, 1>(to, 0, source, piece.count, ahead);
  } else if (step == 4 * element) {
    deal_elements<4, 1>(to, 0, source, piece.count, ahead);
  } else {
    for (std::int64_t i = 0; i < piece.count; ++i) to[i] = load_unaligned<T>(from + i * step);
  }
}

// `rows` that read adjacent elements, each the one `step` elements further next: whether they are dealt out faster than
// they are staged one by one, and how.
template <class T>
TILECONV_INLINE bool deals(std::int64_t rows, std::int64_t step) {
  return (rows >= 2 && rows <= 4 && step == rows) || rows >= Vec<T>::lanes / 2;
}
template <class T>
TILECONV_INLINE void deal_rows(T* to, std::ptrdiff_t to_row, const char* from, std::int64_t rows, std::int64_t step,
                               std::int64_t count, std::ptrdiff_t ahead) {
  const T* const source = reinterpret_cast<const T*>(from);
  if (rows == 2 && step == 2)
    deal_elements<2, 2>(to, to_row, source, count, ahead);
  else if (rows == 3 && step == 3)
    deal_elements<3, 3>(to, to_row, source, count, ahead);
  else if (rows == 4 && step == 4)
    deal_elements<4, 4>(to, to_row, source, count, ahead);
  else
    pack<T>({source, step, 1, count, count, rows, to, to_row});
}

// Adjacent channels of each pixel: elements of a patch, which take turns, or an array with its channels innermost.
// False, and nothing done, if that is not what they are or they are too few.
template <class T>
TILECONV_NOINLINE bool stage_adjacent_channels(const StageArgs<T>& a) noexcept {
  constexpr auto element = static_cast<std::ptrdiff_t>(sizeof(T));
  const StagePiece& piece = *a.pieces;
  const std::ptrdiff_t step = piece.step * a.source_element;
  if (a.piece_count != 1 || a.source_channel != element || step % element != 0 || !deals<T>(a.channels, step / element))
    return false;
  for (std::int64_t r = 0; r < a.rows; ++r) {
    T* const row = a.destination + r * a.destination_row + piece.position;
    for (std::int64_t c = 0; c < a.channels; ++c) stage_ends(row + c * a.destination_channel, piece);
    deal_rows(row + piece.lead, a.destination_channel, a.source + r * a.source_row + piece.source * a.source_element,
              a.channels, step / element, piece.count, 0);
  }
  return true;
}

// Pieces whose elements take turns, each a step behind the one before in scratch: those of a stride. False, and nothing
// done, if they do not.
template <class T>
TILECONV_NOINLINE bool stage_turns_of_pieces(const StageArgs<T>& a) noexcept {
  constexpr auto element = static_cast<std::ptrdiff_t>(sizeof(T));
  const std::int64_t n = a.piece_count;
  if (n < 2 || a.source_element != element || !deals<T>(n, n)) return false;
  const auto begin = [](const StagePiece& piece) { return piece.position + piece.lead; };
  const bool backwards = a.pieces[n - 1].source < a.pieces[0].source;
  const auto turn = [&](std::int64_t k) -> const StagePiece& { return a.pieces[backwards ? n - 1 - k : k]; };
  const StagePiece& first = turn(0);
  const std::int64_t distance = begin(turn(1)) - begin(first);
  std::int64_t common = first.count;
  for (std::int64_t k = 0; k < n; ++k) {
    const StagePiece& piece = turn(k);
    if (piece.step != n || piece.source != first.source + k || begin(piece) != begin(first) + k * distance)
      return false;
    common = piece.count < common ? piece.count : common;
  }
  const RowLoops loops = row_loops(a);
  const std::ptrdiff_t ahead = loops.ahead(8);
  for_rows(a, loops, [&](T* row, const char* source) {
    for (std::int64_t k = 0; k < n; ++k) stage_ends(row + a.pieces[k].position, a.pieces[k]);
    deal_rows(row + begin(first), distance, source + first.source * element, n, n, common, ahead);
    for (const StagePiece* piece = a.pieces; piece != a.pieces + n; ++piece)
      for (std::int64_t i = common; i < piece->count; ++i)
        row[begin(*piece) + i] = load_unaligned<T>(source + (piece->source + i * n) * element);
  });
  return true;
}

template <class T>
void stage(const StageArgs<T>& a) noexcept {
  if (a.source && a.piece_count > 0 && (stage_narrow(a) || stage_adjacent_channels(a) || stage_turns_of_pieces(a)))
    return;
  RowLoops loops = row_loops(a);
  if (!a.source) {
    loops.outer_from = loops.inner_from = 0;
    return for_rows(a, loops, [&](T* row, const char*) { stage_zeros(row, a.row_length); });
  }
  const std::ptrdiff_t ahead = loops.ahead(8);
  for_rows(a, loops, [&](T* row, const char* source) {
    for (const StagePiece* piece = a.pieces; piece != a.pieces + a.piece_count; ++piece) {
      T* const to = row + piece->position;
      const char* const from = source + piece->source * a.source_element;
      const std::ptrdiff_t step = piece->step * a.source_element;
      if (step == static_cast<std::ptrdiff_t>(sizeof(T)))
        stage_adjacent<T>(to, from, *piece, ahead);
      else
        stage_strided<T>(to, from, *piece, step, ahead);
    }
  });
}

// 0 times a value is 0 unless the value is infinite or not a number: one multiply-add a vector tells. The last vector
// may overlap the one before it.
template <class T>
bool finite(const char* values, std::int64_t count) noexcept {
  using V = Vec<T>;
  if (count < V::lanes) {
    bool all = true;
    for (std::int64_t i = 0; i < count; ++i)
      all &= T(0) * load_unaligned<T>(values + i * static_cast<std::int64_t>(sizeof(T))) == T(0);
    return all;
  }
  const T* const from = reinterpret_cast<const T*>(values);
  constexpr int together = 4;
  const V zero = V::broadcast(T(0));
  V sum[together];
  TILECONV_UNROLL
  for (int i = 0; i < together; ++i) sum[i] = zero;
  std::int64_t at = 0;
  for (; at + together * V::lanes <= count; at += together * V::lanes) {
    TILECONV_UNROLL
    for (int i = 0; i < together; ++i) sum[i] = V::fma(V::load(from + at + i * V::lanes), zero, sum[i]);
  }
  for (; at + V::lanes <= count; at += V::lanes) sum[0] = V::fma(V::load(from + at), zero, sum[0]);
  sum[1] = V::fma(V::load(from + count - V::lanes), zero, sum[1]);
  return all_zero((sum[0] + sum[1]) + (sum[2] + sum[3]));
}

// Twelve sums cover the latency of two FMA units (4 to 5 cycles each) on every x86-64 machine and fit 16 registers.
constexpr int fma_per_iteration = 12;
template <class T>
void fma_loop(std::int64_t iterations) noexcept {
  Vec<T> sum[fma_per_iteration];
  TILECONV_UNROLL
  for (int i = 0; i < fma_per_iteration; ++i) sum[i] = Vec<T>::broadcast(T(i));
  Vec<T> factor = Vec<T>::broadcast(T(0.5)), term = Vec<T>::broadcast(T(1));
  for (; iterations > 0; --iterations) {
    TILECONV_UNROLL
    for (int i = 0; i < fma_per_iteration; ++i) sum[i] = Vec<T>::fma(sum[i], factor, term);
  }
  Vec<T> total = sum[0];
  TILECONV_UNROLL
  for (int i = 1; i < fma_per_iteration; ++i) total = Vec<T>::fma(total, factor, sum[i]);
  T last[Vec<T>::lanes];
  total.store(last);
  volatile T sink = last[0];  // keeps the sums from being optimised away
  static_cast<void>(sink);
}
