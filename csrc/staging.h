// How one axis of a padded, strided, dilated input is laid out in scratch memory, so that every kernel tap becomes a
// constant offset and adjacent outputs are adjacent elements, whatever stride, dilation and padding are.
//
// Output t of a tile and tap i read the coordinate (origin + t) * step + tap(i). Taps that leave the same remainder by
// `step` are a whole number of outputs apart and can share a segment, the coordinates tap + step * u for u = 0, 1, ...:
// small dilations share a halo. Where taps are further apart than the tile is long, each has a segment of its own, so
// that large dilations do not drag the rows between the taps along.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <numeric>
#include <vector>

#include "kernels/kernels.h"
#include "padding.h"

namespace tileconv {

// One spatial axis of the map to be computed: output t and tap i read coordinate t * step + tap(i) of the source.
struct AxisTaps {
  std::int64_t out_size = 0;
  std::int64_t step = 1;
  AxisMap map{PaddingMode::zeros, 0};
  std::int64_t first = 0, difference = 1, count = 1;

  std::int64_t tap(std::int64_t i) const noexcept { return first + i * difference; }
  // Where count > 0: the lowest tap, and the coordinates from there to the highest.
  std::int64_t lowest() const noexcept { return std::min(tap(0), tap(count - 1)); }
  std::int64_t reach() const noexcept { return std::abs(difference) * (count - 1) + 1; }
  // How many remainders by the step the taps leave: the coordinates of one are no other's.
  std::int64_t remainders() const noexcept { return std::min(step / std::gcd(step, difference), count); }
  bool inside() const noexcept;  // no tap of any output touches the padding
  // The taps [begin, end) outside of which every tap of the outputs [from, to) falls into zero padding.
  void used_taps(std::int64_t from, std::int64_t to, std::int64_t& begin, std::int64_t& end) const noexcept;
  // The outputs [begin, end) for which tap i does not fall into zero padding.
  void used_outputs(std::int64_t i, std::int64_t& begin, std::int64_t& end) const noexcept;
  // The share of all (output, tap) that does not fall into zero padding.
  double used_share() const noexcept;
  // Positions that a tile of outputs takes in scratch.
  std::int64_t staged_length(std::int64_t tile) const noexcept;
};

struct Segment {
  std::int64_t first;     // coordinate of position 0 for the output 0
  std::int64_t count;     // positions, for a full tile
  std::int64_t position;  // where the segment starts in the staged axis
};

struct StagedAxis {
  std::vector<Segment> segments;
  std::vector<std::int64_t> tap_position;  // where output 0 of the tile finds tap i
  std::int64_t length = 0;                 // positions of all segments, axis.staged_length(tile)
};

StagedAxis make_staged_axis(const AxisTaps& axis, std::int64_t tile);

// The staged columns of the outputs [from, to), as runs of constant source step with their zeros; the sources are
// resolved by the map.
std::vector<StagePiece> make_pieces(const AxisTaps& axis, const StagedAxis& staged, std::int64_t tile,
                                    std::int64_t from, std::int64_t to);
// The coordinates first, first + step, .., `count` of them, as such runs.
std::vector<StagePiece> make_pieces(const AxisMap& map, std::int64_t first, std::int64_t count, std::int64_t step = 1);

}  // namespace tileconv
