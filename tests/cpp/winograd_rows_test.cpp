// The kernels of Winograd's algorithm down the columns: windows, products and outputs against the direct sum that they
// stand for, on every instruction set.
#include <algorithm>
#include <array>
#include <limits>
#include <utility>

#include "kernels/kernels.h"
#include "shift_map.h"
#include "test_support.h"

namespace tileconv::test {
namespace {

template <class T>
class WinogradRows : public testing::Test {};
using Elements = testing::Types<float, double>;
TYPED_TEST_SUITE(WinogradRows, Elements, );

// Of the three taps along a row.
using Kinds = std::array<WinogradRowTaps, 2>;
constexpr Kinds whole_rows{{{3, 0, 0}}}, last_zero{{{0, 3, 0}}}, first_zero{{{0, 0, 3}}}, of_every_kind{{{1, 1, 1}}},
    in_another_order{{{0, 1, 1}, {1, 0, 0}}};

// Three taps along each of the rows that a row of tiles reads, of two in channels.
template <class T>
struct TileRow {
  static constexpr std::int64_t in_channels = 2, columns = 3;

  const KernelSet<T>& set;
  const WinogradRowKernel<T>& kernel;
  std::int64_t width, rows;
  Kinds kinds = whole_rows;
  std::int64_t taps = kernel.taps, channels = kernel.channels, in_w = width + columns - 1;
  std::int64_t pitch = in_w + 2 * set.lanes, out_row = width + 1, out_channel = rows * out_row + 3;
  std::int64_t points = kernel.points;
  Guarded<T> image{static_cast<std::size_t>(in_channels * points * in_w), Edge::end};
  std::vector<T> kernels = std::vector<T>(static_cast<std::size_t>(channels * in_channels * taps * columns));
  Guarded<T> bias{static_cast<std::size_t>(channels), Edge::end};
  Guarded<T> out{static_cast<std::size_t>((channels - 1) * out_channel + (rows - 1) * out_row + width), Edge::end};

  std::size_t tap_at(std::int64_t k, std::int64_t c, std::int64_t i, std::int64_t j) const {
    return static_cast<std::size_t>(((k * in_channels + c) * taps + i) * columns + j);
  }
  double expected(std::int64_t k, std::int64_t y, std::int64_t x, bool with_bias) {
    double sum = with_bias ? bias[k] : T(0);
    for (std::int64_t c = 0; c < in_channels; ++c)
      for (std::int64_t i = 0; i < taps; ++i)
        for (std::int64_t j = 0; j < columns; ++j)
          sum += double(image[(c * points + y + i) * in_w + x + j]) * double(kernels[tap_at(k, c, i, j)]);
    return sum;
  }

  void fill() {
    Random random(4);
    fill_normals(image, random);
    fill_normals(kernels, random);
    for (std::size_t n = 0; n < kernels.size(); ++n) {
      const auto at = static_cast<std::int64_t>(n), row = at / columns % taps;
      if ((lacks_first(at % columns) && row == 0) || (lacks_last(at % columns) && row == taps - 1)) kernels[n] = 0;
    }
    fill_normals(bias, random);
    std::fill(out.begin(), out.end(), nan<T>);
  }
  // The kind of tap j: what the counts say, one after the other.
  bool lacks_first(std::int64_t j) const { return kind_of(j) == 2; }
  bool lacks_last(std::int64_t j) const { return kind_of(j) == 1; }
  // Whether all outputs came out finite. Windows that no tap needs are not numbers.
  bool run(bool with_bias) {
    std::vector<T> windows(static_cast<std::size_t>(in_channels * points * pitch), nan<T>);
    WinogradRowWindowArgs<T> a{};
    for (std::int64_t i = 0; i < points; ++i) {
      a.rows[i] = image.data() + i * in_w;
      a.row_channel[i] = points * in_w;
    }
    a.channels = in_channels, a.columns = in_w;
    a.out = windows.data(), a.out_channel = points * pitch, a.out_position = pitch;
    kernel.windows[0](a);
    for (std::int64_t c = 0; c < in_channels; ++c) {
      if (kinds[0].first_zero == columns) std::fill_n(windows.begin() + c * points * pitch, pitch, nan<T>);
      if (kinds[0].last_zero == columns)
        std::fill_n(windows.begin() + (c * points + points - 1) * pitch, pitch, nan<T>);
    }
    const std::vector<T> weights = transformed();
    const std::ptrdiff_t tap_columns[columns] = {0, 1, 2};
    const std::int64_t kinds_count = kinds[1].whole + kinds[1].last_zero + kinds[1].first_zero > 0 ? 2 : 1;
    return kernel.run({windows.data(), points * pitch, pitch, tap_columns, kinds.data(), kinds_count, in_channels,
                       weights.data(), with_bias ? bias.data() : nullptr, out.data(), out_channel, out_row, rows,
                       width});
  }

 private:
  int kind_of(std::int64_t j) const {
    for (const WinogradRowTaps& next : kinds) {
      const std::int64_t counts[] = {next.whole, next.last_zero, next.first_zero};
      for (int kind = 0; kind < 3; j -= counts[kind++])
        if (j < counts[kind]) return kind;
    }
    return 0;
  }
  // Lanes are out channels.
  std::vector<T> transformed() const {
    std::vector<T> weights, lanes(static_cast<std::size_t>(taps * set.lanes)),
        positions(static_cast<std::size_t>(points * set.lanes));
    std::ptrdiff_t rows_at[winograd_most_taps];
    for (std::int64_t i = 0; i < taps; ++i) rows_at[i] = i * set.lanes;
    for (std::int64_t c = 0; c < in_channels; ++c)
      for (std::int64_t j = 0; j < columns; ++j) {
        for (std::int64_t i = 0; i < taps; ++i)
          for (std::int64_t k = 0; k < channels; ++k)
            lanes[static_cast<std::size_t>(i * set.lanes + k)] = kernels[tap_at(k, c, i, j)];
        kernel.weights({lanes.data(), rows_at, 0, positions.data(), set.lanes, 0, 1});
        for (std::int64_t p = 0; p < points; ++p)
          for (std::int64_t k = 0; k < channels; ++k)
            weights.push_back(positions[static_cast<std::size_t>(p * set.lanes + k)]);
      }
    return weights;
  }
};

template <class T, class F>
void for_each_row(F f) {
  for_each_set<T>([&](const KernelSet<T>& set) {
    ASSERT_GE(set.winograd_rows_count, 4);
    for (int i = 0; i < set.winograd_rows_count; ++i) {
      const WinogradRowKernel<T>& kernel = set.winograd_rows[i];
      const std::int64_t lanes = set.lanes;
      for (const std::int64_t width : {std::int64_t{1}, lanes / 2, lanes / 2 + 1, lanes - 1, lanes, lanes + 1,
                                       lanes + lanes / 2, 2 * lanes, 3 * lanes - 1})
        for (std::int64_t rows = 1; rows <= kernel.outputs(); ++rows) f(set, kernel, width, rows);
    }
  });
}

TYPED_TEST(WinogradRows, GiveTheDirectSumAndWriteNothingElse) {
  using T = TypeParam;
  for_each_row<T>([](const auto& set, const auto& kernel, std::int64_t width, std::int64_t rows) {
    for (const auto& [kinds, with_bias] : {std::pair{whole_rows, false},
                                           {whole_rows, true},
                                           {last_zero, true},
                                           {first_zero, true},
                                           {of_every_kind, false},
                                           {in_another_order, true}}) {
      TileRow<T> tiles{set, kernel, width, rows, kinds};
      tiles.fill();
      EXPECT_TRUE(tiles.run(with_bias));
      const double bound = sizeof(T) == 4 ? 2e-5 : 4e-14;
      for (std::int64_t i = 0; i < static_cast<std::int64_t>(tiles.out.size()); ++i) {
        const std::int64_t k = i / tiles.out_channel, y = i % tiles.out_channel / tiles.out_row,
                           x = i % tiles.out_channel % tiles.out_row;
        if (x >= width || y >= rows)
          ASSERT_NE(tiles.out[i], tiles.out[i]) << "written beside the outputs";
        else
          ASSERT_NEAR(tiles.out[i], tiles.expected(k, y, x, with_bias), bound)
              << kernel.taps << " taps, channel " << k << " of " << kernel.channels << ", row " << y << " of " << rows
              << ", column " << x << " of " << width;
      }
    }
  });
}

// Even columns are in one part, odd ones in the other, and all as if there were a single turn.
TYPED_TEST(WinogradRows, WindowsTakeTurns) {
  using T = TypeParam;
  for_each_set<T>([](const KernelSet<T>& set) {
    constexpr std::int64_t channels = 2, turns = 2;
    for (int i = 0; i < set.winograd_rows_count; ++i)
      for (std::int64_t columns = 1; columns <= 4 * set.lanes + 1; ++columns) {
        const WinogradRowKernel<T>& kernel = set.winograd_rows[i];
        const std::int64_t points = kernel.points, lanes = set.lanes;
        const auto rounded = [&](std::int64_t n) { return ceil_div(n, lanes) * lanes; };
        const std::int64_t part = rounded(ceil_div(columns, turns)) + 3, pitch = turns * part + 5;
        Guarded<T> image(static_cast<std::size_t>(channels * points * columns), Edge::end);
        Random random(7);
        fill_normals(image, random);
        std::vector<T> plain(static_cast<std::size_t>(channels * points * rounded(columns))),
            dealt(static_cast<std::size_t>(channels * points * pitch), nan<T>);
        WinogradRowWindowArgs<T> a{};
        for (std::int64_t row = 0; row < points; ++row) {
          a.rows[row] = image.data() + row * columns;
          a.row_channel[row] = points * columns;
        }
        a.channels = channels, a.columns = columns;
        a.out = plain.data(), a.out_channel = points * rounded(columns), a.out_position = rounded(columns);
        kernel.windows[0](a);
        a.out = dealt.data(), a.out_channel = points * pitch, a.out_position = pitch, a.out_turn = part;
        kernel.windows[turns - 1](a);
        for (std::int64_t row = 0; row < channels * points; ++row)
          for (std::int64_t x = 0; x < pitch; ++x) {
            const T value = dealt[static_cast<std::size_t>(row * pitch + x)];
            const std::int64_t column = x < turns * part ? x % part * turns + x / part : columns;
            if (column < columns) {
              ASSERT_EQ(value, plain[static_cast<std::size_t>(row * rounded(columns) + column)])
                  << kernel.taps << " taps, row " << row << ", column " << column << " of " << columns;
            } else if (x >= turns * part || x % part >= part - 3) {
              ASSERT_NE(value, value) << "written behind the windows";
            }
          }
      }
  });
}

// Wherever an output reads a value that is not finite: at a corner of the window.
TYPED_TEST(WinogradRows, TellWhatIsNotFinite) {
  using T = TypeParam;
  for_each_row<T>([](const auto& set, const auto& kernel, std::int64_t width, std::int64_t rows) {
    for (const T value : {nan<T>, std::numeric_limits<T>::infinity(), -std::numeric_limits<T>::infinity()})
      for (const auto& [kinds, y] : {std::pair{whole_rows, std::int64_t{0}},
                                     {whole_rows, rows - 1 + kernel.taps - 1},
                                     {first_zero, std::int64_t{1}},
                                     {last_zero, rows - 1 + kernel.taps - 2}}) {
        TileRow<T> tiles{set, kernel, width, rows, kinds};
        for (const std::int64_t x : {std::int64_t{0}, tiles.in_w - 1}) {
          tiles.fill();
          tiles.image[(kernel.points + y) * tiles.in_w + x] = value;
          EXPECT_FALSE(tiles.run(false)) << kernel.taps << " taps, row " << y << ", column " << x
                                         << " of the window, width " << width;
        }
      }
  });
}

}  // namespace
}  // namespace tileconv::test
