// The padding modes; see padding.h.
#include "padding.h"

#include <limits>

namespace tileconv {
namespace {

std::int64_t modulo(std::int64_t x, std::int64_t n) noexcept {
  const std::int64_t r = x % n;
  return r < 0 ? r + n : r;
}

// A wave of the given period that runs up 0 .. n - 1 and back down.
std::int64_t triangle(std::int64_t x, std::int64_t n, std::int64_t period) noexcept {
  if (period == 0) return 0;
  const std::int64_t r = modulo(x, period);
  return r < n ? r : period - r - (period == 2 * n ? 1 : 0);
}

}  // namespace

const char* padding_mode_name(PaddingMode mode) noexcept {
  constexpr const char* names[padding_mode_count] = {"zeros", "reflect", "replicate", "circular", "symmetric"};
  return names[static_cast<int>(mode)];
}

std::int64_t AxisMap::outside(std::int64_t x) const noexcept {
  switch (mode) {
    case PaddingMode::zeros: return -1;
    case PaddingMode::replicate: return x < 0 ? 0 : size - 1;
    case PaddingMode::circular: return modulo(x, size);
    case PaddingMode::reflect: return triangle(x, size, 2 * (size - 1));
    case PaddingMode::symmetric: return triangle(x, size, 2 * size);
  }
  return -1;
}

std::int64_t AxisMap::largest_padding() const noexcept {
  switch (mode) {
    case PaddingMode::reflect: return size - 1;
    case PaddingMode::circular: return size;
    case PaddingMode::zeros:
    case PaddingMode::replicate:
    case PaddingMode::symmetric: break;
  }
  return std::numeric_limits<std::int64_t>::max();
}

}  // namespace tileconv
