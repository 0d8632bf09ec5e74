// Staging a tile: the rows that its outputs reach, of some channels, in the layout of the staged axes.
#pragma once

#include "staging.h"

namespace tileconv {

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
};

template <class T>
void stage_tile(const KernelSet<T>& set, const AxisTaps& axis, const StagedAxis& staged,
                const std::vector<StagePiece>& pieces, const StageTile<T>& t) {
  StageArgs<T> a{nullptr,          t.destination_channel,
                 nullptr,          t.source_channel,
                 t.source_element, t.channels,
                 pieces.data(),    static_cast<std::int64_t>(pieces.size()),
                 t.pitch};
  for (const Segment& segment : staged.segments) {
    const std::int64_t rows = segment.count - t.tile_h + t.y1 - t.y0;
    const auto source_at = [&](std::int64_t u) { return axis.map((t.y0 + u) * axis.step + segment.first); };
    for (std::int64_t u = 0; u < rows;) {
      const std::int64_t row = source_at(u);
      a.destination = t.destination + (segment.position + u) * t.pitch;
      a.source = row < 0 ? nullptr : t.source + row * t.source_row;
      std::int64_t together = 1;
      // A kernel call for each row costs more than a short row: of a single channel, rows that follow one another are
      // staged in one call, as if they were channels.
      if (t.channels == 1) {
        while (u + together < rows && row >= 0 && source_at(u + together) == row + together * axis.step) ++together;
        a.destination_channel = t.pitch;
        a.source_channel = axis.step * t.source_row;
        a.channels = together;
      }
      set.stage(a);
      u += together;
    }
  }
}

}  // namespace tileconv
