// Staging rows of a few vectors, whose masks and permutations are made once for all rows of a call; and how a call goes
// from row to row. Included by kernels_isa.cpp alone, inside its anonymous namespace.
#pragma once

// The rows of a call, inner loop in outer loop.
struct RowLoops {
  std::int64_t outer, inner;
  std::ptrdiff_t outer_to, inner_to, outer_from, inner_from;
  // How much further the row lies that is staged `rows` rows later.
  std::ptrdiff_t ahead(std::int64_t rows) const {
    return rows <= inner ? rows * inner_from : (rows + inner - 1) / inner * outer_from;
  }
};

// The inner one goes to what is nearer in the source: the hardware's prefetcher follows.
template <class T>
TILECONV_INLINE RowLoops row_loops(const StageArgs<T>& a) {
  const auto size = [](std::ptrdiff_t stride) { return stride < 0 ? -stride : stride; };
  const bool along_rows = a.rows > 1 && (a.channels == 1 || size(a.source_row) <= size(a.source_channel));
  if (along_rows) return {a.channels, a.rows, a.destination_channel, a.destination_row, a.source_channel, a.source_row};
  return {a.rows, a.channels, a.destination_row, a.destination_channel, a.source_row, a.source_channel};
}

// row(to, from) for each.
template <class T, class Row>
TILECONV_INLINE void for_rows(const StageArgs<T>& a, const RowLoops& loops, Row row) {
  T* to = a.destination;
  const char* from = a.source;
  for (std::int64_t i = loops.outer; i > 0; --i, to += loops.outer_to, from += loops.outer_from) {
    T* inner_to = to;
    const char* inner_from = from;
    for (std::int64_t j = loops.inner; j > 0; --j, inner_to += loops.inner_to, inner_from += loops.inner_from)
      row(inner_to, inner_from);
  }
}

// A part of a source row, from `first` bytes on, of which the elements [begin, end) are loaded. Of every `step` vectors
// of it, once they are dealt, the first are stored: vector i behind those before it at position to[i] of the row.
template <int step>
struct NarrowSource {
  std::ptrdiff_t first;
  std::int64_t begin, end;
  std::int64_t to[step];
};

// The source of one piece: its elements are the even ones of a step of 2.
template <class T, int step>
TILECONV_INLINE NarrowSource<step> source_of(const StagePiece& piece, std::ptrdiff_t source_element) {
  const std::int64_t begin = piece.lead * step, end = piece.count > 0 ? begin + (piece.count - 1) * step + 1 : begin;
  return {piece.source * source_element - begin * static_cast<std::ptrdiff_t>(sizeof(T)), begin, end, {piece.position}};
}

// Of two pieces whose elements take turns. False if they do not, or if the second piece has the even elements.
template <class T>
TILECONV_INLINE bool source_of_turns(const StagePiece& even, const StagePiece& odd, std::ptrdiff_t source_element,
                                     NarrowSource<2>& both) {
  both = source_of<T, 2>(even, source_element);
  const NarrowSource<2> second = source_of<T, 2>(odd, source_element);
  if (second.first != both.first + source_element || even.count == 0 || odd.count == 0) return false;
  const std::int64_t begin = second.begin + 1, end = second.end + 1;
  if (begin - both.begin > 1 || both.begin - begin > 1 || end - both.end > 1 || both.end - end > 1) return false;
  both.begin = begin < both.begin ? begin : both.begin;
  both.end = end > both.end ? end : both.end;
  both.to[1] = odd.position;
  return true;
}

// Rows of so many vectors, from one or two sources, each dealt to `rows` rows: all masks are made once for all of them.
template <class T, int step, int sources, int rows, int vectors>
TILECONV_NOINLINE void stage_narrow(const StageArgs<T>& a, const NarrowSource<step> (&source)[sources]) noexcept {
  constexpr int lanes = Vec<T>::lanes;
  typename Vec<T>::Mask mask[sources][vectors * step];
  TILECONV_UNROLL
  for (int k = 0; k < sources; ++k) {
    TILECONV_UNROLL
    for (int i = 0; i < vectors * step; ++i)
      mask[k][i] = Vec<T>::mask_between(lane<T>(source[k].begin - i * lanes), lane<T>(source[k].end - i * lanes));
  }
  const RowLoops loops = row_loops(a);
  const std::ptrdiff_t ahead = loops.ahead(12);
  for_rows(a, loops, [&](T* to, const char* from) TILECONV_INLINE_LAMBDA {
    TILECONV_UNROLL
    for (int k = 0; k < sources; ++k) {
      const T* const row = reinterpret_cast<const T*>(from + source[k].first);
      Vec<T> value[vectors][step];
      TILECONV_UNROLL
      for (int i = 0; i < vectors; ++i) {
        TILECONV_UNROLL
        for (int s = 0; s < step; ++s) {
          const T* const p = row + (i * step + s) * lanes;
          if (k == 0) TILECONV_PREFETCH(reinterpret_cast<const char*>(p) + ahead);
          value[i][s] = Vec<T>::load_masked(p, mask[k][i * step + s]);
        }
        deal<step>(value[i]);
      }
      TILECONV_UNROLL
      for (int r = 0; r < rows; ++r) {
        TILECONV_UNROLL
        for (int i = 0; i < vectors; ++i) value[i][r].store(to + source[k].to[r] + i * lanes);
      }
    }
  });
}

template <class T, int rows, int most, int step, int sources>
TILECONV_INLINE bool stage_narrow_upto(const StageArgs<T>& a, std::int64_t vectors,
                                       const NarrowSource<step> (&source)[sources]) {
  if constexpr (most > 1)
    if (vectors < most) return stage_narrow_upto<T, rows, most - 1>(a, vectors, source);
  if (vectors == most) stage_narrow<T, step, sources, rows, most>(a, source);
  return vectors == most;
}

// Rows of a vector or two that read elements of one: it is loaded once, from `first` bytes on, `count` elements, and
// permuted for each vector of the row. Its lane i is element from[i], zero where bit i of `used` is not set.
template <int lanes>
struct PermutedSource {
  static constexpr int most_vectors = 2;
  std::ptrdiff_t first;
  std::int64_t count;
  std::int32_t from[most_vectors][lanes];
  LaneBits used[most_vectors];
};

// False if the rows are not such.
template <class T>
TILECONV_INLINE bool permuted_source(const StageArgs<T>& a, std::int64_t length, PermutedSource<Vec<T>::lanes>& to) {
  constexpr int lanes = Vec<T>::lanes;
  if (a.source_element != sizeof(T) || length > to.most_vectors * lanes) return false;
  std::int64_t lowest = INT64_MAX, highest = INT64_MIN;
  for (const StagePiece* piece = a.pieces; piece != a.pieces + a.piece_count; ++piece) {
    if (piece->count == 0) continue;
    const std::int64_t begin = piece->source, end = begin + (piece->count - 1) * piece->step;
    const std::int64_t low = begin < end ? begin : end, high = begin < end ? end : begin;
    lowest = low < lowest ? low : lowest;
    highest = high > highest ? high : highest;
  }
  if (highest < lowest || highest - lowest >= lanes) return false;
  to = {lowest * a.source_element, highest - lowest + 1, {}, {}};
  for (const StagePiece* piece = a.pieces; piece != a.pieces + a.piece_count; ++piece)
    for (std::int64_t i = 0; i < piece->count; ++i) {
      const std::int64_t at = piece->position + piece->lead + i;
      to.from[at / lanes][at % lanes] = static_cast<std::int32_t>(piece->source - lowest + i * piece->step);
      to.used[at / lanes] = static_cast<LaneBits>(to.used[at / lanes] | 1 << at % lanes);
    }
  return true;
}

template <class T, int vectors>
TILECONV_NOINLINE void stage_permuted(const StageArgs<T>& a, const PermutedSource<Vec<T>::lanes>& source) noexcept {
  using V = Vec<T>;
  typename V::Index index[vectors];
  typename V::Mask used[vectors];
  TILECONV_UNROLL
  for (int i = 0; i < vectors; ++i) index[i] = V::index_at(source.from[i]), used[i] = V::mask_of(source.used[i]);
  const typename V::Mask all = V::mask_between(0, source.count);
  const RowLoops loops = row_loops(a);
  const std::ptrdiff_t ahead = loops.ahead(12);
  for_rows(a, loops, [&](T* to, const char* row) TILECONV_INLINE_LAMBDA {
    const char* const p = row + source.first;
    TILECONV_PREFETCH(p + ahead);
    const V value = V::load_masked(reinterpret_cast<const T*>(p), all);
    TILECONV_UNROLL
    for (int i = 0; i < vectors; ++i)
      V::blended(V::broadcast(T(0)), V::permuted(value, index[i]), used[i]).store(to + i * V::lanes);
  });
}

// False, and nothing done, if the rows are not narrow.
template <class T>
TILECONV_INLINE bool stage_narrow(const StageArgs<T>& a) {
  const auto vectors = [](const StagePiece& piece) { return (piece.length + Vec<T>::lanes - 1) / Vec<T>::lanes; };
  const StagePiece& first = *a.pieces;
  const std::ptrdiff_t step = first.step * a.source_element, element = a.source_element;
  if (a.piece_count == 1 && step == sizeof(T)) {
    const NarrowSource<1> source[] = {source_of<T, 1>(first, element)};
    return stage_narrow_upto<T, 1, 4>(a, vectors(first), source);
  }
  const StagePiece& last = a.pieces[a.piece_count - 1];
  const std::int64_t length = last.position + last.length;
  PermutedSource<Vec<T>::lanes> permuted;
  if (permuted_source(a, length, permuted)) {
    length > Vec<T>::lanes ? stage_permuted<T, 2>(a, permuted) : stage_permuted<T, 1>(a, permuted);
    return true;
  }
  if (step != 2 * sizeof(T)) return false;
  if (a.piece_count == 1) {
    const NarrowSource<2> source[] = {source_of<T, 2>(first, element)};
    return stage_narrow_upto<T, 1, 2>(a, vectors(first), source);
  }
  const StagePiece& second = a.pieces[1];
  if (a.piece_count != 2 || second.step != first.step || vectors(second) != vectors(first)) return false;
  NarrowSource<2> turns[1];
  if (element == sizeof(T) && source_of_turns<T>(first, second, element, turns[0]))
    return stage_narrow_upto<T, 2, 4>(a, vectors(first), turns);
  const NarrowSource<2> both[] = {source_of<T, 2>(first, element), source_of<T, 2>(second, element)};
  return stage_narrow_upto<T, 1, 2>(a, vectors(first), both);
}
