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

// Channel c goes to destination + c * destination_channel; a row has `pitch` elements there.
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

// Rows 0 .. count - 1 of one channel to a.destination, `pitch` elements apart. A kernel call costs more than a short
// row: rows at equal distances are staged in one call, as if they were channels.
template <class T, class RowAt>
void stage_channel(const KernelSet<T>& set, StageArgs<T> a, std::int64_t pitch, std::ptrdiff_t source_row,
                   std::int64_t count, bool zero_rows, RowAt row_at) {
  const StageArgs<T> channel = a;
  a.destination_channel = pitch;
  for (std::int64_t u = 0; u < count; u += a.channels) {
    const std::int64_t row = row_at(u);
    a.channels = 1;
    a.destination = channel.destination + u * pitch;
    a.source = row < 0 ? nullptr : channel.source + row * source_row;
    if (row < 0) {
      if (zero_rows) set.stage(a);
      continue;
    }
    const std::int64_t distance = u + 1 < count ? row_at(u + 1) - row : 0;
    const auto follows = [&](std::int64_t next) { return next >= 0 && next == row + a.channels * distance; };
    while (u + a.channels < count && follows(row_at(u + a.channels))) ++a.channels;
    a.source_channel = distance * source_row;
    set.stage(a);
  }
}

// Stages rows 0 .. count - 1 to a.destination, `pitch` elements apart: row u is row_at(u) of the source; where that is
// negative, it is one of zeros, or left as it is without zero_rows. A row of all channels at a time; or channel by
// channel, if channels are few, or rows are wide and more than a few, which the hardware's prefetcher follows. Four and
// more channels that are adjacent in the source are read together, a row at a time.
template <class T, class RowAt>
void stage_rows(const KernelSet<T>& set, const StageArgs<T>& all, std::int64_t pitch, std::ptrdiff_t source_row,
                std::int64_t count, bool zero_rows, RowAt row_at) {
  StageArgs<T> a = all;
  constexpr std::int64_t wide = 128;
  const bool wide_rows = a.row_length >= wide && count > 3;
  if ((a.channels < count || wide_rows) && (a.channels < 4 || a.source_channel != sizeof(T))) {
    for (std::int64_t c = 0; c < all.channels; ++c) {
      stage_channel(set, a, pitch, source_row, count, zero_rows, row_at);
      a.destination += all.destination_channel;
      a.source += all.source_channel;
    }
    return;
  }
  for (std::int64_t u = 0; u < count; ++u) {
    const std::int64_t row = row_at(u);
    a.destination = all.destination + u * pitch;
    a.source = row < 0 ? nullptr : all.source + row * source_row;
    if (row >= 0 || zero_rows) set.stage(a);
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
