// Rows of a vector of channels with the channels innermost: what kernels read, and write, whose lanes are channels. The
// padding of columns is resolved on the way.
#pragma once

#include <algorithm>
#include <initializer_list>
#include <optional>
#include <utility>
#include <vector>

#include "staging.h"

namespace tileconv {

// Where a row comes from: its first channel's column 0 (nullptr: a row of zeros), strides in bytes, and how many
// channels there are, `lanes` at the most.
struct ChannelRow {
  const char* source;
  std::ptrdiff_t channel, column;
  std::int64_t channels;
};

// The columns of such rows: the pieces of a row; and, if one of these has all `image_w` columns of the image, that one
// and the others, with the zeros beside it.
struct RowColumns {
  RowColumns(std::vector<StagePiece> of_a_row, std::int64_t image_w) : pieces(std::move(of_a_row)) {
    for (const StagePiece& piece : pieces) {
      if (whole || piece.count < image_w || piece.step != 1) {
        edges.push_back(piece);
        continue;
      }
      whole = piece;
      const std::int64_t end = piece.lead + piece.count, trail = piece.length - end;
      if (piece.lead > 0) edges.push_back({piece.position, piece.lead, piece.lead, 0, 0, 1});
      if (trail > 0) edges.push_back({piece.position + end, trail, trail, 0, 0, 1});
    }
    if (!whole) edges.clear();
  }
  std::vector<StagePiece> pieces, edges;
  std::optional<StagePiece> whole;
};

// Whether the elements of an array are at addresses that are multiples of their size, whole elements apart.
template <class T>
bool is_aligned(const char* source, std::initializer_list<std::ptrdiff_t> strides) {
  constexpr auto element = static_cast<std::ptrdiff_t>(sizeof(T));
  return reinterpret_cast<std::uintptr_t>(source) % sizeof(T) == 0 &&
         std::all_of(strides.begin(), strides.end(), [](std::ptrdiff_t stride) { return stride % element == 0; });
}

// Writes element x of the row as the vector to + x * lanes, zeros in the lanes without a channel. `scratch` takes
// lanes * (row_length + lanes) elements; it is used only where the source is not aligned.
template <class T>
void transpose_row(const KernelSet<T>& set, const std::vector<StagePiece>& pieces, std::int64_t row_length,
                   const ChannelRow& row, T* scratch, T* to) {
  const std::int64_t lanes = set.lanes;
  constexpr auto element = static_cast<std::ptrdiff_t>(sizeof(T));
  if (!row.source) {
    std::fill_n(to, row_length * lanes, T(0));
    return;
  }
  if (!is_aligned<T>(row.source, {row.channel, row.column})) {
    const std::int64_t pitch = row_length + lanes;
    set.stage({scratch, pitch, row.source, row.channel, row.column, row.channels, pieces.data(),
               static_cast<std::int64_t>(pieces.size()), row_length});
    set.pack({scratch, pitch, 1, row.channels, lanes, row_length, to, lanes});
    return;
  }
  for (const StagePiece& piece : pieces) {
    T* const begin = to + piece.position * lanes;
    std::fill_n(begin, piece.lead * lanes, T(0));
    const std::int64_t end = piece.lead + piece.count;
    if (piece.count > 0)
      set.pack({reinterpret_cast<const T*>(row.source) + piece.source * (row.column / element), row.channel / element,
                piece.step * (row.column / element), row.channels, lanes, piece.count, begin + piece.lead * lanes,
                lanes});
    std::fill_n(begin + end * lanes, (piece.length - end) * lanes, T(0));
  }
}

// Rows of an image, of which `first` is row 0.
struct ChannelRows {
  ChannelRow first;
  std::ptrdiff_t row;
};

// Row i < rows, of row_length elements, to + i * pitch * lanes: row source(i) of the image; or zeros, if that is
// zero_row; kept_row is left as it is. Of images whose rows adjoin, those that follow each other are transposed as one,
// so that narrow ones fill the vectors too.
constexpr std::int64_t zero_row = -1, kept_row = -2;
template <class T, class Source>
void transpose_rows(const KernelSet<T>& set, const RowColumns& columns, std::int64_t row_length, std::int64_t pitch,
                    const ChannelRows& image, std::int64_t rows, Source source, T* scratch, T* to) {
  constexpr auto element = static_cast<std::ptrdiff_t>(sizeof(T));
  const std::int64_t lanes = set.lanes;
  ChannelRow row = image.first;
  const bool adjoin = columns.whole && image.row == columns.whole->count * row.column &&
                      is_aligned<T>(row.source, {row.channel, row.column});
  for (std::int64_t i = 0, next = 0; i < rows; i = next) {
    const std::int64_t from = source(i);
    next = i + 1;
    if (from == kept_row) continue;
    row.source = from == zero_row ? nullptr : image.first.source + from * image.row;
    const bool joined = adjoin && row.source;
    if (joined) {
      while (next < rows && source(next) == from + next - i) ++next;
      const StagePiece& whole = *columns.whole;
      set.pack({reinterpret_cast<const T*>(row.source), row.channel / element, row.column / element, row.channels,
                lanes, (next - i) * whole.count, to + (i * pitch + whole.position + whole.lead) * lanes, lanes,
                whole.count, (pitch - whole.count) * lanes});
    }
    const std::vector<StagePiece>& pieces = joined ? columns.edges : columns.pieces;
    for (std::int64_t r = i; r < next && !pieces.empty(); ++r, row.source += joined ? image.row : 0)
      transpose_row(set, pieces, row_length, row, scratch, to + r * pitch * lanes);
  }
}

// The way back: out[c * out_channel + x * out_pixel] = from[x * lanes + c] for c < channels, x < pixels. `scratch`
// takes channels * pixels elements; it is used only where neither pixels nor channels are adjacent.
template <class T>
void write_pixels(const KernelSet<T>& set, const T* from, std::int64_t pixels, std::int64_t channels, T* out,
                  std::ptrdiff_t out_channel, std::ptrdiff_t out_pixel, T* scratch) {
  const std::int64_t lanes = set.lanes;
  if (out_pixel == 1 || pixels == 1) {
    set.pack({from, lanes, 1, pixels, pixels, channels, out, out_channel});
  } else if (out_channel == 1) {
    set.pack({from, 1, lanes, channels, channels, pixels, out, out_pixel});
  } else {
    set.pack({from, lanes, 1, pixels, pixels, channels, scratch, pixels});
    set.spread({scratch, pixels, channels, pixels, out, out_channel, out_pixel});
  }
}

}  // namespace tileconv
