// AxisMap against sequences written out, for every mode.
#include <limits>
#include <string>

#include "test_support.h"

namespace tileconv::test {
namespace {

// The sources of the coordinates in front of an axis, on it, and behind it; '.' is a zero.
struct Sequence {
  PaddingMode mode;
  const char *before, *axis, *after;
};

constexpr Sequence sequences[] = {
    {PaddingMode::zeros, ".......", "0", "......."},         {PaddingMode::zeros, ".......", "01", "......."},
    {PaddingMode::zeros, ".......", "012", "......."},       {PaddingMode::zeros, ".......", "0123", "......."},
    {PaddingMode::zeros, ".......", "01234", "......."},     {PaddingMode::reflect, "0000000", "0", "0000000"},
    {PaddingMode::reflect, "1010101", "01", "0101010"},      {PaddingMode::reflect, "1210121", "012", "1012101"},
    {PaddingMode::reflect, "1012321", "0123", "2101232"},    {PaddingMode::reflect, "1234321", "01234", "3210123"},
    {PaddingMode::replicate, "0000000", "0", "0000000"},     {PaddingMode::replicate, "0000000", "01", "1111111"},
    {PaddingMode::replicate, "0000000", "012", "2222222"},   {PaddingMode::replicate, "0000000", "0123", "3333333"},
    {PaddingMode::replicate, "0000000", "01234", "4444444"}, {PaddingMode::circular, "0000000", "0", "0000000"},
    {PaddingMode::circular, "1010101", "01", "0101010"},     {PaddingMode::circular, "2012012", "012", "0120120"},
    {PaddingMode::circular, "1230123", "0123", "0123012"},   {PaddingMode::circular, "3401234", "01234", "0123401"},
    {PaddingMode::symmetric, "0000000", "0", "0000000"},     {PaddingMode::symmetric, "1100110", "01", "1001100"},
    {PaddingMode::symmetric, "0012210", "012", "2100122"},   {PaddingMode::symmetric, "1233210", "0123", "3210012"},
    {PaddingMode::symmetric, "3443210", "01234", "4321001"},
};

TEST(AxisMap, FollowsTheSequences) {
  for (const Sequence& s : sequences) {
    const std::string text = std::string(s.before) + s.axis + s.after;
    const auto size = static_cast<std::int64_t>(std::strlen(s.axis));
    std::string mapped;
    for (std::int64_t x = -7; x < size + 7; ++x) {
      const std::int64_t source = AxisMap{s.mode, size}(x);
      mapped += source < 0 ? '.' : static_cast<char>('0' + source);
    }
    EXPECT_EQ(mapped, text) << padding_mode_name(s.mode) << " of size " << size;
  }
}

TEST(AxisMap, FarCoordinatesRepeatThePeriod) {
  constexpr std::int64_t far = 1'000'000'000'000;
  for (std::int64_t size = 1; size <= 5; ++size)
    for (std::int64_t x = -7; x < size + 7; ++x) {
      for (const auto& [mode, period] : {std::pair{PaddingMode::reflect, std::max<std::int64_t>(1, 2 * (size - 1))},
                                         {PaddingMode::symmetric, 2 * size},
                                         {PaddingMode::circular, size}}) {
        const AxisMap map{mode, size};
        EXPECT_EQ(map(x + far * period), map(x)) << padding_mode_name(mode) << " of size " << size << " at " << x;
        EXPECT_EQ(map(x - far * period), map(x)) << padding_mode_name(mode) << " of size " << size << " at " << x;
      }
      EXPECT_EQ((AxisMap{PaddingMode::replicate, size}(x + far)), size - 1);
      EXPECT_EQ((AxisMap{PaddingMode::replicate, size}(x - far)), 0);
      EXPECT_EQ((AxisMap{PaddingMode::zeros, size}(x + far)), -1);
      EXPECT_EQ((AxisMap{PaddingMode::zeros, size}(x - far)), -1);
    }
}

TEST(AxisMap, AnEmptyAxisIsAllZeros) {
  for (const std::int64_t x : {-3, -1, 0, 1, 3}) EXPECT_EQ((AxisMap{PaddingMode::zeros, 0}(x)), -1);
}

TEST(AxisMap, LargestPadding) {
  constexpr std::int64_t unlimited = std::numeric_limits<std::int64_t>::max();
  const std::int64_t expected[padding_mode_count] = {unlimited, 6, unlimited, 7, unlimited};
  for (int m = 0; m < padding_mode_count; ++m) {
    const auto mode = static_cast<PaddingMode>(m);
    EXPECT_EQ((AxisMap{mode, 7}.largest_padding()), expected[m]) << padding_mode_name(mode);
  }
}

}  // namespace
}  // namespace tileconv::test
