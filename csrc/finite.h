// Whether values are finite: what decides if products with zero padding may be left out.
#pragma once

#include <cstdint>
#include <cstring>

namespace tileconv {

// No exponent field of `n` adjacent values, aligned or not, is all ones. The last argument only names the type.
template <class Bits>
bool no_full_exponent(const void* values, std::int64_t n, Bits exponent) noexcept {
  const char* p = static_cast<const char*>(values);
  Bits found = 0;  // a word as wide as the values, so that compilers compare whole vectors
  for (std::int64_t i = 0; i < n; ++i, p += sizeof(Bits)) {
    Bits bits;
    std::memcpy(&bits, p, sizeof bits);
    found |= static_cast<Bits>((bits & exponent) == exponent);
  }
  return found == 0;
}
inline bool all_finite(const void* values, std::int64_t n, float) noexcept {
  return no_full_exponent<std::uint32_t>(values, n, 0x7f800000u);
}
inline bool all_finite(const void* values, std::int64_t n, double) noexcept {
  return no_full_exponent<std::uint64_t>(values, n, 0x7ff0000000000000u);
}

}  // namespace tileconv
