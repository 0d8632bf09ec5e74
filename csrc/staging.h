// How one axis of a padded, strided, dilated input is laid out in scratch memory, so that every kernel tap becomes a
// constant offset and adjacent outputs are adjacent elements, whatever stride, dilation and padding are.
//
// Output t of a tile and tap i read the coordinate (origin + t) * step + first[i]. Taps whose `first` leave the same
// remainder by `step` can share a segment: the coordinates first + step * u for u = 0, 1, ... A segment is continued from
// one tap to the next while that stages no more elements than a segment of its own would, so small dilations share a
// halo and large ones do not drag the rows between the taps along.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/kernels.h"
#include "padding.h"

namespace tileconv {

// One spatial axis of the map to be computed: output t, tap i reads coordinate t * step + first[i] of the source.
struct AxisTaps {
  std::int64_t out_size;
  std::int64_t step;
  AxisMap map;
  std::vector<std::int64_t> first;

  bool inside() const noexcept;  // no tap of any output touches the padding
  // The taps [begin, end) outside of which every tap of the outputs [from, to) falls into zero padding.
  void used_taps(std::int64_t from, std::int64_t to, std::int64_t& begin, std::int64_t& end) const noexcept;
};

struct Segment {
  std::int64_t first;     // coordinate of position 0 for the output 0
  std::int64_t count;     // positions, for a full tile
  std::int64_t position;  // where the segment starts in the staged axis
};

struct StagedAxis {
  std::vector<Segment> segments;
  std::vector<std::int64_t> tap_position;  // where output 0 of the tile finds tap i
  std::int64_t length = 0;                 // positions of all segments
};

StagedAxis make_staged_axis(const AxisTaps& axis, std::int64_t tile);

// The staged columns of the outputs [from, to), as runs of constant source step with their zeros; the sources are resolved
// by the map.
std::vector<StagePiece> make_pieces(const AxisTaps& axis, const StagedAxis& staged, std::int64_t tile, std::int64_t from,
                                    std::int64_t to);

}  // namespace tileconv
