// Staged axes: what the taps find at their positions is what the definition of the convolution reads.
#include "staging.h"

#include <algorithm>
#include <numeric>

#include "test_support.h"

namespace tileconv::test {
namespace {

std::string describe(const AxisTaps& a) {
  return std::string(padding_mode_name(a.map.mode)) + " of size " + std::to_string(a.map.size) + ", " +
         std::to_string(a.out_size) + " outputs, step " + std::to_string(a.step) + ", " + std::to_string(a.count) +
         " taps from " + std::to_string(a.first) + " by " + std::to_string(a.difference);
}

// Calls f(axis) for every step, difference and count of taps, with sizes and paddings that vary along.
template <class F>
void for_each_axis(F f) {
  const std::int64_t sizes[] = {1, 2, 5, 16, 41}, pads[] = {0, 1, 3, 40};
  std::size_t turn = 0;
  for (std::int64_t step = 1; step <= 5; ++step)
    for (std::int64_t difference = -7; difference <= 20; ++difference)
      for (std::int64_t count = 1; count <= 7; ++count)
        for (int mode = 0; difference != 0 && mode < padding_mode_count; ++mode) {
          AxisTaps axis;
          axis.step = step;
          axis.difference = difference;
          axis.count = count;
          axis.map = {static_cast<PaddingMode>(mode), sizes[turn % 5]};
          axis.first = -pads[turn / 5 % 4] + (difference < 0 ? -difference * (count - 1) : 0);
          axis.out_size = 1 + static_cast<std::int64_t>(turn++ % 23);
          SCOPED_TRACE(describe(axis));
          f(axis);
          if (testing::Test::HasFailure()) return;
        }
}

// Source indices by staged position, -1 for zeros, as kernels fill them from the pieces.
std::vector<std::int64_t> fill(const std::vector<StagePiece>& pieces, std::int64_t length) {
  constexpr std::int64_t unset = -2;
  std::vector<std::int64_t> staged(static_cast<std::size_t>(length), unset);
  std::int64_t last = 0;
  for (const StagePiece& piece : pieces) {
    EXPECT_GE(piece.position, last) << "pieces out of order";
    EXPECT_LE(piece.position + piece.length, length);
    EXPECT_GE(piece.length, piece.lead + piece.count);
    last = piece.position + piece.length;
    for (std::int64_t i = 0; i < piece.length && piece.position + i < length; ++i) {
      const bool zero = i < piece.lead || i >= piece.lead + piece.count;
      staged[static_cast<std::size_t>(piece.position + i)] = zero ? -1 : piece.source + (i - piece.lead) * piece.step;
    }
  }
  return staged;
}

TEST(StagedAxis, TapsFindTheirCoordinates) {
  for_each_axis([](const AxisTaps& axis) {
    for (const std::int64_t tile : {1, 2, 3, 8, 13}) {
      const StagedAxis staged = make_staged_axis(axis, tile);
      ASSERT_EQ(staged.length, axis.staged_length(tile));
      for (std::int64_t from = 0; from < axis.out_size; from += tile) {
        const std::int64_t to = std::min(from + tile, axis.out_size);
        const auto sources = fill(make_pieces(axis, staged, tile, from, to), staged.length);
        for (std::int64_t i = 0; i < axis.count; ++i)
          for (std::int64_t t = 0; t < to - from; ++t)
            ASSERT_EQ(sources[static_cast<std::size_t>(staged.tap_position[static_cast<std::size_t>(i)] + t)],
                      axis.map((from + t) * axis.step + axis.tap(i)))
                << "tap " << i << " of output " << from + t << ", tiles of " << tile;
      }
    }
  });
}

// Neither more than the taps read one by one, nor than the input between the first and the last of them.
TEST(StagedAxis, LengthIsBoundedByTapsAndByTheHalo) {
  for_each_axis([](const AxisTaps& axis) {
    for (const std::int64_t tile : {1, 2, 3, 8, 13, 100}) {
      const std::int64_t extent = (tile - 1) * axis.step + (axis.count - 1) * std::abs(axis.difference) + 1;
      EXPECT_LE(axis.staged_length(tile), std::min(axis.count * tile, extent)) << "tiles of " << tile;
    }
  });
}

TEST(AxisTaps, UsedTapsLeaveOutOnlyZeros) {
  for_each_axis([](const AxisTaps& axis) {
    for (std::int64_t from = 0; from < axis.out_size; ++from)
      for (const std::int64_t length : {std::int64_t{1}, std::int64_t{3}, axis.out_size - from}) {
        const std::int64_t to = std::min(from + length, axis.out_size);
        std::int64_t begin = -1, end = -1;
        axis.used_taps(from, to, begin, end);
        ASSERT_TRUE(0 <= begin && begin <= end && end <= axis.count);
        for (std::int64_t i = 0; i < axis.count; ++i) {
          bool reads = false;
          for (std::int64_t t = from; t < to; ++t) reads = reads || axis.map(t * axis.step + axis.tap(i)) >= 0;
          const bool used = begin <= i && i < end;
          ASSERT_TRUE(used || !reads) << "tap " << i << " of the outputs " << from << " to " << to << " is left out";
          ASSERT_TRUE(!used || reads || to - from > 1) << "tap " << i << " of output " << from << " reads a zero";
        }
      }
  });
}

TEST(AxisTaps, InsideMeansThatNoTapLeavesTheSource) {
  for_each_axis([](const AxisTaps& axis) {
    bool inside = true;
    for (std::int64_t t = 0; t < axis.out_size; ++t)
      for (std::int64_t i = 0; i < axis.count; ++i) {
        const std::int64_t x = t * axis.step + axis.tap(i);
        inside = inside && x >= 0 && x < axis.map.size;
      }
    EXPECT_EQ(axis.inside(), inside);
  });
}

}  // namespace
}  // namespace tileconv::test
