// Packing: weights by transposition, pixels in blocks. Included by kernels_isa.cpp alone, inside its anonymous
// namespace.
#pragma once

template <class T>
TILECONV_INLINE std::int64_t lane(std::int64_t i) {
  return i < 0 ? 0 : i < Vec<T>::lanes ? i : Vec<T>::lanes;
}

template <class V>
TILECONV_INLINE V load_upto(const typename V::Element* p, std::int64_t n) {
  return n >= V::lanes ? V::load(p) : V::load_first(p, n > 0 ? n : 0);
}
template <class V>
TILECONV_INLINE void store_upto(const V& v, typename V::Element* p, std::int64_t n) {
  if (n >= V::lanes)
    v.store(p);
  else
    v.store_first(p, n);
}
// Of the first n lanes. A sum of 0 * y, by fma, stays 0 as long as every y is finite.
template <class V>
TILECONV_INLINE bool all_zero(const V& v, std::int64_t n = V::lanes) {
  return (v.not_zero() & ((1u << (n < V::lanes ? n : V::lanes)) - 1u)) == 0;
}

// Where the columns from `first` on are written, one after the other.
template <class T>
struct PackedColumns {
  TILECONV_INLINE PackedColumns(const PackArgs<T>& a, std::int64_t first)
      : to(a.destination + first * a.destination_column),
        step(a.destination_column),
        run_step(a.run_step),
        run_columns(a.run_columns),
        left(a.columns) {
    if (run_columns == 0) return;
    const std::int64_t run = first / run_columns;
    left = (run + 1) * run_columns - first;
    to += run * run_step;
  }
  TILECONV_INLINE T* next() {
    T* const column = to;
    to += step;
    if (--left == 0) to += run_step, left = run_columns;
    return column;
  }
  T* to;
  std::ptrdiff_t step, run_step;
  std::int64_t run_columns, left;  // of this run
};

template <class T>
TILECONV_NOINLINE void pack_rows(const PackArgs<T>& a) noexcept {
  PackedColumns<T> to(a, 0);
  for (std::int64_t column = 0; column < a.columns; ++column) {
    T* const packed = to.next();
    for (std::int64_t row = 0; row < a.padded_rows; row += Vec<T>::lanes)
      store_upto(load_upto<Vec<T>>(a.source + column * a.source_column + row, a.rows - row), packed + row,
                 a.padded_rows - row);
  }
}

template <class T>
TILECONV_NOINLINE void pack_elements(const PackArgs<T>& a) noexcept {
  PackedColumns<T> to(a, 0);
  for (std::int64_t column = 0; column < a.columns; ++column) {
    T* const packed = to.next();
    for (std::int64_t row = 0; row < a.padded_rows; ++row)
      packed[row] = row < a.rows ? a.source[row * a.source_row + column * a.source_column] : T(0);
  }
}

// Transposes up to lanes x lanes elements. Whole: all of them.
template <class T, bool whole>
TILECONV_INLINE void pack_block(const PackArgs<T>& a, std::int64_t row, std::int64_t column) {
  constexpr int lanes = Vec<T>::lanes;
  const T* const from = a.source + row * a.source_row + column;
  const std::int64_t rows = a.rows - row, width = a.columns - column;
  const auto mask = Vec<T>::mask_between(0, lane<T>(width));
  Vec<T> block[lanes];
  TILECONV_UNROLL
  for (int r = 0; r < lanes; ++r) {
    if constexpr (whole)
      block[r] = Vec<T>::load(from + r * a.source_row);
    else
      block[r] = r < rows ? Vec<T>::load_masked(from + r * a.source_row, mask) : Vec<T>::broadcast(T(0));
  }
  Vec<T>::transpose(block);
  PackedColumns<T> to(a, column);
  TILECONV_UNROLL
  for (int c = 0; c < lanes; ++c) {
    if constexpr (whole)
      block[c].store(to.next() + row);
    else if (c < width)
      store_upto(block[c], to.next() + row, a.padded_rows - row);
  }
}

// The last block of a long row or column is moved back to end with it.
template <class T>
void pack(const PackArgs<T>& a) noexcept {
  if (a.source_row == 1) return pack_rows(a);
  if (a.source_column != 1) return pack_elements(a);
  constexpr int lanes = Vec<T>::lanes;
  const auto begin = [](std::int64_t at, std::int64_t size) {
    return at + lanes > size && size >= lanes ? size - lanes : at;
  };
  for (std::int64_t r = 0; r < a.padded_rows; r += lanes) {
    const std::int64_t row = a.padded_rows == a.rows ? begin(r, a.rows) : r;
    for (std::int64_t c = 0; c < a.columns; c += lanes) {
      const std::int64_t column = begin(c, a.columns);
      if (a.rows - row >= lanes && a.columns - column >= lanes)
        pack_block<T, true>(a, row, column);
      else
        pack_block<T, false>(a, row, column);
    }
  }
}

// A row is fetched while the one before it is copied, since no hardware prefetcher follows from plane to plane.
template <class T, int width>
void pixel_blocks_of(const PixelBlockArgs<T>& a) noexcept {
  constexpr int lanes = Vec<T>::lanes, size = width * lanes;
  const T* row = a.source;
  T* to = a.out;
  for (std::int64_t c = 0; c < a.channels; ++c, row += a.source_channel, to += size) {
    T* block = to;
    std::int64_t i = 0;
    for (; i + size <= a.pixels; i += size, block += a.out_block)
      for_constants<width>([&](auto v) TILECONV_INLINE_LAMBDA {
        constexpr int at = v.value * lanes;
        if constexpr (at * sizeof(T) % 64 == 0) TILECONV_PREFETCH(row + i + at + a.source_channel);
        Vec<T>::load(row + i + at).store(block + at);
      });
    for (; i < a.pixels; i += lanes, block += lanes) {
      TILECONV_PREFETCH(row + i + a.source_channel);
      Vec<T>::load_masked(row + i, Vec<T>::mask_between(0, lane<T>(a.pixels - i))).store(block);
    }
  }
}
template <class T>
void pixel_blocks(const PixelBlockArgs<T>& a) noexcept {
  for_constants<most_pixel_vectors>([&](auto v) TILECONV_INLINE_LAMBDA {
    if (a.width == v.value + 1) pixel_blocks_of<T, v.value + 1>(a);
  });
}
