// Whether values are finite: what decides if products with zero padding may be left out.
#pragma once

#include <cstdint>
#include <cstring>

namespace tileconv {

// No exponent field of `n` adjacent values, aligned or not, is all ones. The last argument only names the type.
inline bool all_finite(const void* values, std::int64_t n, float) noexcept {
  const char* p = static_cast<const char*>(values);
  bool finite = true;
  for (std::int64_t i = 0; i < n; ++i, p += sizeof(std::uint32_t)) {
    std::uint32_t bits;
    std::memcpy(&bits, p, sizeof bits);
    finite &= (bits & 0x7f800000u) != 0x7f800000u;
  }
  return finite;
}
inline bool all_finite(const void* values, std::int64_t n, double) noexcept {
  const char* p = static_cast<const char*>(values);
  bool finite = true;
  for (std::int64_t i = 0; i < n; ++i, p += sizeof(std::uint64_t)) {
    std::uint64_t bits;
    std::memcpy(&bits, p, sizeof bits);
    finite &= (bits & 0x7ff0000000000000u) != 0x7ff0000000000000u;
  }
  return finite;
}

}  // namespace tileconv
