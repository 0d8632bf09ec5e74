// Layout of staged axes; see staging.h.
#include "staging.h"

#include <algorithm>
#include <numeric>

namespace tileconv {
namespace {

std::int64_t modulo(std::int64_t x, std::int64_t n) noexcept {
  const std::int64_t r = x % n;
  return r < 0 ? r + n : r;
}

}  // namespace

bool AxisTaps::inside() const noexcept {
  for (const std::int64_t f : first)
    if (f < 0 || (out_size - 1) * step + f >= map.size) return false;
  return true;
}

void AxisTaps::used_taps(std::int64_t from, std::int64_t to, std::int64_t& begin, std::int64_t& end) const noexcept {
  const auto unused = [&](std::int64_t i) {
    const std::int64_t f = first[static_cast<std::size_t>(i)];
    return (to - 1) * step + f < 0 || from * step + f >= map.size;
  };
  begin = 0;
  end = static_cast<std::int64_t>(first.size());
  if (map.mode != PaddingMode::zeros) return;
  while (begin < end && unused(begin)) ++begin;
  while (begin < end && unused(end - 1)) --end;
}

StagedAxis make_staged_axis(const AxisTaps& axis, std::int64_t tile) {
  const std::size_t taps = axis.first.size();
  std::vector<std::size_t> order(taps);
  std::iota(order.begin(), order.end(), std::size_t{0});
  const auto key = [&](std::size_t i) { return std::pair(modulo(axis.first[i], axis.step), axis.first[i]); };
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return key(a) < key(b); });

  StagedAxis staged;
  staged.tap_position.resize(taps);
  for (std::size_t n = 0; n < taps; ++n) {
    const std::size_t i = order[n];
    const std::int64_t first = axis.first[i];
    Segment* last = staged.segments.empty() ? nullptr : &staged.segments.back();
    if (!last || modulo(first - last->first, axis.step) != 0 || (first - last->first) / axis.step > last->count) {
      staged.segments.push_back({first, tile, last ? last->position + last->count : 0});
      last = &staged.segments.back();
    }
    const std::int64_t shift = (first - last->first) / axis.step;
    last->count = shift + tile;
    staged.tap_position[i] = last->position + shift;
    staged.length = last->position + last->count;
  }
  return staged;
}

std::vector<StagePiece> make_pieces(const AxisTaps& axis, const StagedAxis& staged, std::int64_t tile, std::int64_t from,
                                    std::int64_t to) {
  std::vector<StagePiece> pieces;
  for (const Segment& segment : staged.segments) {
    const std::int64_t count = segment.count - tile + (to - from);
    StagePiece piece{segment.position, 0, 0, 0, 0, 1};
    for (std::int64_t u = 0; u < count; ++u) {
      const std::int64_t source = axis.map((from + u) * axis.step + segment.first);
      const std::int64_t step = source - (piece.source + (piece.count - 1) * piece.step);
      const bool closed = piece.length > piece.lead + piece.count;
      if (source < 0) {
        if (piece.count == 0) ++piece.lead;
      } else if (piece.count == 0) {
        piece.source = source;
        piece.count = 1;
      } else if (!closed && (piece.count == 1 || step == piece.step)) {
        piece.step = piece.count == 1 ? source - piece.source : piece.step;
        ++piece.count;
      } else {
        pieces.push_back(piece);
        piece = {segment.position + u, 0, 0, 1, source, 1};
      }
      ++piece.length;
    }
    pieces.push_back(piece);
  }
  return pieces;
}

}  // namespace tileconv
