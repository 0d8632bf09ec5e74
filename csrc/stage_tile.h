// Staging a tile: the rows that its outputs reach, of some channels, in the layout of the staged axes; or any rows.
#pragma once

#include "shift_map.h"
#include "staging.h"

namespace tileconv {

// The pieces of a row.
struct Pieces {
  const StagePiece* first;
  std::int64_t count;
  Pieces(const StagePiece& piece) : first(&piece), count(1) {}  // NOLINT: implicit on purpose
  Pieces(const std::vector<StagePiece>& pieces)                 // NOLINT: implicit on purpose
      : first(pieces.data()), count(static_cast<std::int64_t>(pieces.size())) {}
};

// Channel c goes to destination + c * destination_channel; a row has `pitch` elements there. Behind the last row of
// each channel there is room for a vector, which may be overrun.
template <class T>
struct StageTile {
  T* destination;
  std::ptrdiff_t destination_channel;
  std::int64_t pitch;
  const char* source;                                         // channel 0, row 0, column 0
  std::ptrdiff_t source_channel, source_row, source_element;  // bytes
  std::int64_t channels;
  std::int64_t y0, y1;  // the tile's output rows
  std::int64_t tile_h;  // the tile height that `staged` was made for
  bool zero_rows;       // whether rows in zero padding are written; else no tap reads them
};

// Stages rows 0 .. count - 1 to a.destination, `pitch` elements apart: row u is row_at(u) of the source; where that is
// negative, it is one of zeros, or left as it is without zero_rows. Rows at equal distances are one call of the kernel.
template <class T, class RowAt>
void stage_rows(const KernelSet<T>& set, const StageArgs<T>& all, std::int64_t pitch, std::ptrdiff_t source_row,
                std::int64_t count, bool zero_rows, RowAt row_at) {
  constexpr std::int64_t none = -1;
  const auto row = [&](std::int64_t u) { return u < count ? std::max<std::int64_t>(none, row_at(u)) : none; };
  std::int64_t next = row(0);
  for (std::int64_t u = 0, end = 0; u < count; u = end) {
    const std::int64_t first = next;
    next = row(++end);
    const std::int64_t distance = next - first;
    while (end < count && next == (first < 0 ? none : first + (end - u) * distance) && (next < 0) == (first < 0))
      next = row(++end);
    if (first < 0 && !zero_rows) continue;
    StageArgs<T> a = all;
    a.destination += u * pitch;
    a.source = first < 0 ? nullptr : a.source + first * source_row;
    a.rows = end - u;
    a.destination_row = pitch;
    a.source_row = distance * source_row;
    set.stage(a);
  }
}

template <class T>
void stage_tile(const KernelSet<T>& set, const AxisTaps& axis, const StagedAxis& staged, Pieces pieces,
                const StageTile<T>& t) {
  for (const Segment& segment : staged.segments)
    stage_rows<T>(set,
                  {t.destination + segment.position * t.pitch, t.destination_channel, t.source, t.source_channel,
                   t.source_element, t.channels, pieces.first, pieces.count, t.pitch},
                  t.pitch, t.source_row, segment.count - t.tile_h + t.y1 - t.y0, t.zero_rows,
                  [&](std::int64_t u) { return axis.map((t.y0 + u) * axis.step + segment.first); });
}

// Channels of a map from `first` of a group of image n on, `all.channels` of them; the fields of their source are
// filled in here. Elements of a patch are at equal distances along its rows alone.
template <class T>
void stage_channels(const KernelSet<T>& set, const ShiftMap& map, const StagedAxis& staged, Pieces pieces,
                    const ConvViews& v, std::int64_t n, std::int64_t group, std::int64_t first,
                    const StageTile<T>& all) {
  const bool patches = map.patch_elements() > 1;
  StageTile<T> t = all;
  t.source_channel = v.input_stride[patches ? 3 : 1];
  t.source_row = v.input_stride[2];
  t.source_element = v.input_stride[3];
  for (std::int64_t c = 0; c < all.channels; c += t.channels) {
    const std::int64_t channel = first + c, left = all.channels - c;
    t.channels = patches ? std::min(map.patch_w - channel % map.patch_w, left) : left;
    t.destination = all.destination + c * all.destination_channel;
    t.source = map_source(map, v, n, group, channel);
    stage_tile<T>(set, map.h, staged, pieces, t);
  }
}

}  // namespace tileconv
