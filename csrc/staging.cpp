// Layout of staged axes; see staging.h.
#include "staging.h"

#include <algorithm>
#include <numeric>

namespace tileconv {
namespace {

// Taps i and i + period leave the same remainder by step, and lie `shift` outputs apart.
struct Phases {
  std::int64_t period, shift;
  explicit Phases(const AxisTaps& axis) {
    const std::int64_t common = std::gcd(axis.step, axis.difference);
    period = axis.step / common;
    shift = std::abs(axis.difference) / common;
  }
};

// The least i >= 0 with i * each >= distance, for each > 0.
std::int64_t first_from(std::int64_t distance, std::int64_t each) {
  return distance <= 0 ? 0 : (distance - 1) / each + 1;
}

}  // namespace

bool AxisTaps::inside() const noexcept {
  if (count == 0) return true;
  return lowest() >= 0 && (out_size - 1) * step + lowest() + reach() <= map.size;
}

void AxisTaps::used_taps(std::int64_t from, std::int64_t to, std::int64_t& begin, std::int64_t& end) const noexcept {
  begin = 0;
  end = count;
  if (map.mode != PaddingMode::zeros || difference == 0) return;
  // Used are the taps from -(to - 1) * step to map.size - 1 - from * step.
  const std::int64_t below = -(to - 1) * step - first, above = map.size - 1 - from * step - first;
  if (difference > 0) {
    begin = std::min(count, first_from(below, difference));
    end = std::clamp(first_from(above + 1, difference), begin, count);
  } else {
    begin = std::min(count, first_from(-above, -difference));
    end = std::clamp(first_from(-below + 1, -difference), begin, count);
  }
}

void AxisTaps::used_outputs(std::int64_t i, std::int64_t& begin, std::int64_t& end) const noexcept {
  begin = 0;
  end = out_size;
  if (map.mode != PaddingMode::zeros) return;
  const auto outputs_below = [&](std::int64_t coordinate) {
    return std::min(out_size, first_from(coordinate - tap(i), step));
  };
  begin = outputs_below(0);
  end = std::max(begin, outputs_below(map.size));
}

double AxisTaps::used_share() const noexcept {
  double used = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    std::int64_t begin = 0, end = 0;
    used_outputs(i, begin, end);
    used += static_cast<double>(end - begin);
  }
  return count * out_size == 0 ? 1 : used / static_cast<double>(count * out_size);
}

std::int64_t AxisTaps::staged_length(std::int64_t tile) const noexcept {
  const Phases phases(*this);
  const std::int64_t chains = std::min(phases.period, count);
  return chains * tile + (count - chains) * std::min(phases.shift, tile);
}

StagedAxis make_staged_axis(const AxisTaps& axis, std::int64_t tile) {
  const Phases phases(axis);
  const bool shared = phases.shift <= tile;
  StagedAxis staged;
  staged.tap_position.resize(static_cast<std::size_t>(axis.count));
  for (std::int64_t phase = 0; phase < std::min(phases.period, axis.count); ++phase) {
    const std::int64_t last = phase + (axis.count - 1 - phase) / phases.period * phases.period;
    // From the lowest coordinate up.
    const bool rising = axis.difference >= 0;
    const std::int64_t step = rising ? phases.period : -phases.period;
    std::int64_t left = (last - phase) / phases.period + 1;
    for (std::int64_t i = rising ? phase : last; left > 0; i += step, --left) {
      const bool joins = shared && i != (rising ? phase : last);
      if (!joins) staged.segments.push_back({axis.tap(i), 0, staged.length});
      Segment& segment = staged.segments.back();
      const std::int64_t shift = (axis.tap(i) - segment.first) / axis.step;
      segment.count = shift + tile;
      staged.tap_position[static_cast<std::size_t>(i)] = segment.position + shift;
      staged.length = segment.position + segment.count;
    }
  }
  return staged;
}

std::vector<StagePiece> make_pieces(const AxisTaps& axis, const StagedAxis& staged, std::int64_t tile,
                                    std::int64_t from, std::int64_t to) {
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

std::vector<StagePiece> make_pieces(const AxisMap& map, std::int64_t first, std::int64_t count, std::int64_t step) {
  AxisTaps single;
  single.out_size = count;
  single.step = step;
  single.map = map;
  single.first = first;
  return make_pieces(single, make_staged_axis(single, count), count, 0, count);
}

}  // namespace tileconv
