// Data movement: staging rows of a view, spreading pixels, and the loop that measures the FMA peak.
// Included by kernels_isa.cpp alone, inside its anonymous namespace.
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
