// AxisMap: the only place that knows the padding modes. Every stage, gradient fold and reference loop asks it.
#pragma once

#include <cstdint>

namespace tileconv {

enum class PaddingMode : std::uint8_t { zeros, reflect, replicate, circular, symmetric };
constexpr int padding_mode_count = 5;
const char* padding_mode_name(PaddingMode mode) noexcept;

// Maps a coordinate of one axis, which may lie outside [0, size), to the source index it takes its value from, or to -1
// where the value is zero. With x the coordinate and n the size:
//   zeros      -1 outside
//   replicate  clamp(x, 0, n - 1)
//   reflect    ... 2 1 | 0 1 .. n-1 | n-2 n-3 ...   (the edge is not repeated)
//   symmetric  ... 1 0 | 0 1 .. n-1 | n-1 n-2 ...   (the edge is repeated)
//   circular   x mod n
struct AxisMap {
  PaddingMode mode;
  std::int64_t size;

  std::int64_t operator()(std::int64_t x) const noexcept {
    return static_cast<std::uint64_t>(x) < static_cast<std::uint64_t>(size) ? x : outside(x);
  }

  // How far the padding may reach out on either side of the axis.
  std::int64_t largest_padding() const noexcept;

 private:
  std::int64_t outside(std::int64_t x) const noexcept;
};

}  // namespace tileconv
