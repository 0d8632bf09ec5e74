// Staging and packing on every instruction set against plain loops, and what they may read and write.
#include <algorithm>

#include "kernels/kernels.h"
#include "stage_tile.h"
#include "test_support.h"

namespace tileconv::test {
namespace {

template <class T>
class DataMovement : public testing::Test {};
using Elements = testing::Types<float, double>;
TYPED_TEST_SUITE(DataMovement, Elements, );

// ---- Staging ----

// Stages rows of bytes that lie against an inaccessible page, and compares with a loop over the pieces.
template <class T>
class Stager {
 public:
  Stager(const KernelSet<T>& set, std::size_t bytes)
      : set_(set), at_begin_(bytes, Edge::begin), at_end_(bytes, Edge::end) {
    Random random(3);
    for (auto* memory : {&at_begin_, &at_end_})
      for (char& byte : *memory) byte = static_cast<char>(random());
  }

  // Elements are `element` bytes apart, channels `distance`, or one behind the other; the bytes that the pieces read
  // are exactly those that may be read, but for `shift` bytes at the edge. Then rows in the channels' place, and both.
  void check(std::vector<StagePiece> pieces, std::ptrdiff_t element, std::int64_t channels, Edge edge,
             std::ptrdiff_t shift, std::ptrdiff_t distance = 0) {
    std::ptrdiff_t low = 0, high = 0, length = 0;
    bool any = false;
    for (const StagePiece& piece : pieces) {
      length = piece.position + piece.length;
      for (std::int64_t i = 0; i < piece.count; i += std::max<std::int64_t>(1, piece.count - 1)) {
        const std::ptrdiff_t at = (piece.source + i * piece.step) * element;
        low = any ? std::min(low, at) : at;
        high = any ? std::max(high, at) : at;
        any = true;
      }
    }
    const std::ptrdiff_t span = any ? high - low + static_cast<std::ptrdiff_t>(sizeof(T)) : 0;
    const std::ptrdiff_t behind = any ? span + 5 : 0, plane = distance ? distance : behind;
    const auto run_all = [&](Rows all, Rows each) {
      const std::ptrdiff_t total = any ? (all.count - 1) * all.distance + (each.count - 1) * each.distance + span : 0;
      const char* const first = edge == Edge::begin ? at_begin_.data() + shift : at_end_.end() - total - shift;
      run(pieces, first - low, element, all, each, length);
    };
    run_all({channels, plane}, {1, 0});
    if (channels == 1) return;
    run_all({1, 0}, {channels, plane});
    run_all({channels, plane}, {2, channels * plane});
    run_all({2, channels * plane}, {channels, plane});
  }

  // As the axis of a map without taps.
  void check_nothing() { run({}, at_begin_.data(), static_cast<std::ptrdiff_t>(sizeof(T)), {3, 8}, {1, 0}, 0); }

  void check_zeros(std::int64_t length, std::int64_t channels, std::int64_t rows) {
    run({{0, length, length, 0, 0, 1}}, nullptr, static_cast<std::ptrdiff_t>(sizeof(T)), {channels, 8}, {rows, 8},
        length);
  }

 private:
  struct Rows {
    std::int64_t count;
    std::ptrdiff_t distance;  // bytes
  };

  // Rows of a channel adjoin, behind each channel there is room for a vector.
  void run(const std::vector<StagePiece>& pieces, const char* source, std::ptrdiff_t element, Rows channels, Rows rows,
           std::int64_t length) {
    const std::int64_t front = 1, stride = rows.count * length + set_.lanes + 3;
    std::vector<T> staged(static_cast<std::size_t>(front + channels.count * stride), guard), expected = staged;
    for (std::int64_t c = 0; c < channels.count; ++c)
      for (std::int64_t r = 0; r < rows.count; ++r)
        for (const StagePiece& piece : pieces)
          for (std::int64_t i = 0; i < piece.length; ++i) {
            T value = 0;
            if (source && i >= piece.lead && i < piece.lead + piece.count)
              std::memcpy(&value,
                          source + c * channels.distance + r * rows.distance +
                              (piece.source + (i - piece.lead) * piece.step) * element,
                          sizeof value);
            expected[static_cast<std::size_t>(front + c * stride + r * length + piece.position + i)] = value;
          }
    StageArgs<T> a{};
    a.destination = staged.data() + front;
    a.destination_channel = stride;
    a.source = source;
    a.source_channel = channels.distance;
    a.source_element = element;
    a.channels = channels.count;
    a.pieces = pieces.data();
    a.piece_count = static_cast<std::int64_t>(pieces.size());
    a.row_length = length;
    a.rows = rows.count;
    a.destination_row = length;
    a.source_row = rows.distance;
    set_.stage(a);
    // The last row of a channel may be overrun by a vector.
    for (std::int64_t c = 1; c <= channels.count; ++c)
      std::fill_n(staged.begin() + front + c * stride - set_.lanes - 3, set_.lanes, guard);
    ASSERT_EQ(std::memcmp(staged.data(), expected.data(), staged.size() * sizeof(T)), 0)
        << channels.count << " channels of " << rows.count << " rows, elements " << element << " bytes apart, "
        << pieces.size() << " pieces, last: " << (pieces.empty() ? "" : describe(pieces.back()));
  }

  static std::string describe(const StagePiece& piece) {
    return "lead " + std::to_string(piece.lead) + ", count " + std::to_string(piece.count) + ", length " +
           std::to_string(piece.length) + ", step " + std::to_string(piece.step);
  }

  static constexpr T guard = T(12345);
  const KernelSet<T>& set_;
  Guarded<char> at_begin_, at_end_;
};

TYPED_TEST(DataMovement, StagingCopiesEveryPiece) {
  using T = TypeParam;
  constexpr auto size = static_cast<std::ptrdiff_t>(sizeof(T));
  for_each_set<T>([](const KernelSet<T>& set) {
    Stager<T> stager(set, 1 << 14);
    const int n = set.lanes;
    for (const std::int64_t lead : {0, 1, n - 1, n, n + 1})
      for (const std::int64_t count : {0, 1, 2, n - 1, n, n + 1, 2 * n, 2 * n + 1})
        for (const std::int64_t trail : {0, 1, n - 1, n, n + 1})
          for (const std::int64_t step : {1, 2, 3, -1, 0})
            for (const std::ptrdiff_t element : {size, 2 * size, -size, std::ptrdiff_t{0}, size + 1})
              for (const Edge edge : {Edge::begin, Edge::end})
                for (const std::ptrdiff_t shift : {0, 1}) {
                  const StagePiece piece{0, lead + count + trail, lead, count, 2, step};
                  stager.check({piece}, element, shift ? 3 : 1, edge, shift);
                  if (testing::Test::HasFatalFailure()) return;
                }
    for (const std::int64_t length : {0, 1, n - 1, n, n + 1, 5 * n + 2})
      for (const std::int64_t rows : {1, 3}) stager.check_zeros(length, 2, rows);
    stager.check_nothing();
  });
}

TYPED_TEST(DataMovement, StagingOverwritesTheOverrunOfAnEarlierPiece) {
  using T = TypeParam;
  for_each_set<T>([](const KernelSet<T>& set) {
    Stager<T> stager(set, 1 << 14);
    Random random(4);
    const auto upto = [&](int most) { return static_cast<std::int64_t>(random() % static_cast<unsigned>(most + 1)); };
    for (int round = 0; round < 2000; ++round) {
      std::vector<StagePiece> pieces;
      std::int64_t position = 0;
      for (std::int64_t left = 1 + upto(4); left > 0; --left) {
        const std::int64_t lead = upto(set.lanes), count = upto(2 * set.lanes), trail = upto(set.lanes);
        pieces.push_back({position, lead + count + trail, lead, count, upto(9), upto(4) - 1});
        position += lead + count + trail + upto(1);
      }
      for (std::size_t i = 0; i + 1 < pieces.size(); ++i)  // no gaps: they would keep the overrun
        pieces[i].length = pieces[i + 1].position - pieces[i].position;
      stager.check(pieces, static_cast<std::ptrdiff_t>(sizeof(T)), 1 + upto(2), round % 2 ? Edge::begin : Edge::end,
                   upto(1));
      if (testing::Test::HasFatalFailure()) return;
    }
  });
}

TYPED_TEST(DataMovement, StagingDealsOutWhatTakesTurns) {
  using T = TypeParam;
  constexpr auto size = static_cast<std::ptrdiff_t>(sizeof(T));
  for_each_set<T>([](const KernelSet<T>& set) {
    Stager<T> stager(set, 1 << 16);
    const int n = set.lanes;
    for (const int rows : {2, 3, 4, 5, 7, 8, 14, 16, 17})
      for (const std::int64_t count : {0, 1, n - 1, n, n + 1, 3 * n + 2})
        for (const std::int64_t lead : {0, 1, n + 1})
          for (const std::int64_t trail : {0, 2})
            for (const Edge edge : {Edge::begin, Edge::end})
              for (const std::ptrdiff_t shift : {0, 1}) {
                // The pieces of a stride, of which the first ones may have an element more, and be longer or shorter
                // before their elements; channels that are adjacent in every step, and with a gap behind them.
                for (const int more : {0, 1, rows})
                  for (const bool swapped : {false, true}) {
                    std::vector<StagePiece> pieces;
                    std::int64_t position = 0;
                    for (int k = 0; k < rows; ++k) {
                      const std::int64_t own = lead + (swapped && k == 0 ? 1 : 0), taken = count + (k < more ? 1 : 0);
                      pieces.push_back({position, own + taken + trail, own, taken, swapped ? rows - 1 - k : k, rows});
                      position += pieces.back().length;
                    }
                    stager.check(pieces, size, shift ? 3 : 1, edge, shift);
                    if (testing::Test::HasFatalFailure()) return;
                  }
                for (const int step : {rows, rows + 1, -rows}) {
                  const StagePiece piece{0, lead + count + trail, lead, count, 2, step};
                  stager.check({piece}, size, rows, edge, shift, size);
                  if (testing::Test::HasFatalFailure()) return;
                }
              }
  });
}

// Stretches of rows that rise, fall or stay, rows of zeros between; or these are left out, as what lies there may be.
TYPED_TEST(DataMovement, StagedRowsFollowTheirMap) {
  using T = TypeParam;
  constexpr auto size = static_cast<std::ptrdiff_t>(sizeof(T));
  for_each_set<T>([](const KernelSet<T>& set) {
    Random random(8);
    const auto upto = [&](int most) { return static_cast<std::int64_t>(random() % static_cast<unsigned>(most + 1)); };
    constexpr std::int64_t image_rows = 9;
    for (int round = 0; round < 2000; ++round) {
      std::vector<std::int64_t> rows;
      while (static_cast<std::int64_t>(rows.size()) < 12) {
        const std::int64_t distance = upto(5) - 2;
        std::int64_t row = upto(image_rows) - 1;
        for (std::int64_t left = 1 + upto(4); left > 0; --left, row += distance)
          rows.push_back(row < 0 || row >= image_rows ? -1 : row);
      }
      const std::int64_t channels = 1 + upto(3), width = 1 + upto(2 * set.lanes), step = 1 + upto(1);
      const std::int64_t lead = upto(2), count = (width - 1) / step + 1, length = lead + count + upto(2);
      const std::int64_t row_count = static_cast<std::int64_t>(rows.size()), channel = row_count * length + set.lanes;
      const bool innermost = upto(1) == 1, zero_rows = upto(1) == 1;
      const std::int64_t element = innermost ? channels : 1, plane = innermost ? 1 : image_rows * width;
      Guarded<T> source(static_cast<std::size_t>(channels * image_rows * width), Edge::end);
      fill_normals(source, random);
      std::vector<T> staged(static_cast<std::size_t>(channels * channel), nan<T>);
      const StagePiece piece{0, length, lead, count, 0, step};
      stage_rows<T>(set,
                    {staged.data(), channel, reinterpret_cast<const char*>(source.data()), plane * size, element * size,
                     channels, &piece, 1, length},
                    length, width * element * size, row_count, zero_rows,
                    [&](std::int64_t u) { return rows[static_cast<std::size_t>(u)]; });
      for (std::int64_t c = 0; c < channels; ++c)
        for (std::int64_t u = 0; u < row_count; ++u) {
          const std::int64_t row = rows[static_cast<std::size_t>(u)];
          if (row < 0 && !zero_rows) continue;
          for (std::int64_t i = 0; i < length; ++i) {
            const bool inside = row >= 0 && i >= lead && i < lead + count;
            const T expected =
                inside
                    ? source[static_cast<std::size_t>(c * plane + row * width * element + (i - lead) * step * element)]
                    : T(0);
            ASSERT_EQ(staged[static_cast<std::size_t>(c * channel + u * length + i)], expected)
                << "channel " << c << " of " << channels << ", row " << u << " from " << row << ", element " << i
                << ", width " << width << ", step " << step << (innermost ? ", channels innermost" : "");
          }
        }
    }
  });
}

// ---- Packing ----

TYPED_TEST(DataMovement, PackingTransposesAndPadsWithZeros) {
  using T = TypeParam;
  for_each_set<T>([](const KernelSet<T>& set) {
    Random random(5);
    const std::int64_t n = set.lanes, sizes[] = {1, 2, n - 1, n, n + 1, 2 * n - 1, 2 * n, 2 * n + 1};
    constexpr std::int64_t run_step = 5;
    for (const std::int64_t rows : sizes)
      for (const std::int64_t columns : sizes)
        for (const std::int64_t padding : {std::int64_t{0}, std::int64_t{1}, n})
          // Columns adjacent, rows adjacent, neither.
          for (const auto& [row, column] :
               {std::pair{columns + 3, std::int64_t{1}}, {std::int64_t{1}, rows + 3}, {2 * columns, std::int64_t{2}}})
            for (const std::int64_t run : {std::int64_t{0}, std::int64_t{1}, std::int64_t{3}, n - 1, n, n + 1}) {
              const std::int64_t padded = rows + padding, stride = padded + 2;
              const auto place = [&](std::int64_t c) { return c * stride + (run > 0 ? c / run * run_step : 0); };
              Guarded<T> source(static_cast<std::size_t>((rows - 1) * row + (columns - 1) * column + 1), Edge::end);
              fill_normals(source, random);
              std::vector<T> packed(static_cast<std::size_t>(place(columns)), nan<T>), expected = packed;
              for (std::int64_t c = 0; c < columns; ++c)
                for (std::int64_t r = 0; r < padded; ++r)
                  expected[static_cast<std::size_t>(place(c) + r)] = r < rows ? source[r * row + c * column] : T(0);
              set.pack({source.data(), row, column, rows, padded, columns, packed.data(), stride, run, run_step});
              ASSERT_TRUE(std::equal(packed.begin(), packed.end(), expected.begin(), same_value<T>))
                  << rows << " rows, " << columns << " columns, strides " << row << ", " << column << ", runs of "
                  << run;
            }
  });
}

// ---- Spreading ----

TYPED_TEST(DataMovement, SpreadingTouchesNothingBetween) {
  using T = TypeParam;
  for_each_set<T>([](const KernelSet<T>& set) {
    Random random(7);
    const std::int64_t n = set.lanes, sizes[] = {1, 2, 3, n / 2, n - 1, n, n + 1, 2 * n + 1};
    for (const std::int64_t rows : sizes)
      for (const std::int64_t count : sizes)
        // Elements apart, and rows behind each other; rows apart by an element, and elements by more than all rows.
        for (const auto& [row, element] : {std::pair{count + 1, std::int64_t{1}},
                                           {2 * count, std::int64_t{2}},
                                           {5 * count + 1, std::int64_t{5}},
                                           {std::int64_t{1}, rows},
                                           {std::int64_t{1}, rows + 3}}) {
          const std::int64_t from_row = count + 2;
          Guarded<T> from(static_cast<std::size_t>((rows - 1) * from_row + count), Edge::end);
          fill_normals(from, random);
          const auto size = static_cast<std::size_t>((rows - 1) * row + (count - 1) * element + 1);
          Guarded<T> to(size, Edge::end);
          std::fill(to.begin(), to.end(), nan<T>);
          std::vector<T> expected(size, nan<T>);
          for (std::int64_t r = 0; r < rows; ++r)
            for (std::int64_t i = 0; i < count; ++i)
              expected[static_cast<std::size_t>(r * row + i * element)] = from[r * from_row + i];
          set.spread({from.data(), from_row, rows, count, to.data(), row, element});
          ASSERT_TRUE(std::equal(to.begin(), to.end(), expected.begin(), same_value<T>))
              << rows << " rows of " << count << ", " << row << " apart, elements " << element;
        }
  });
}

TYPED_TEST(DataMovement, PackingBlocksCopiesEveryPixel) {
  using T = TypeParam;
  for_each_set<T>([](const KernelSet<T>& set) {
    Random random(6);
    for (std::int64_t width = 1; width <= most_pixel_vectors; ++width) {
      const std::int64_t n = set.lanes, size = width * n;
      for (const std::int64_t pixels :
           {std::int64_t{1}, n - 1, n, n + 1, size - 1, size, size + 1, 3 * size, 4 * size - 1})
        for (const std::int64_t channels : {1, 2, 5})
          for (const Edge edge : {Edge::begin, Edge::end}) {
            if (pixels == 0) continue;
            const std::int64_t plane = pixels + 3, block = (channels + 1) * size;
            const std::int64_t whole = (pixels + n - 1) / n * n, blocks = (whole + size - 1) / size;
            Guarded<T> source(static_cast<std::size_t>((channels - 1) * plane + pixels), edge);
            fill_normals(source, random);
            std::vector<T> packed(static_cast<std::size_t>(blocks * block), nan<T>), expected = packed;
            for (std::int64_t c = 0; c < channels; ++c)
              for (std::int64_t i = 0; i < whole; ++i)
                expected[static_cast<std::size_t>(i / size * block + c * size + i % size)] =
                    i < pixels ? source[static_cast<std::size_t>(c * plane + i)] : T(0);
            set.pixel_blocks({source.data(), plane, packed.data(), block, channels, pixels, width});
            ASSERT_TRUE(std::equal(packed.begin(), packed.end(), expected.begin(), same_value<T>))
                << channels << " channels of " << pixels << " pixels, blocks of " << width << " vectors";
          }
    }
  });
}

}  // namespace
}  // namespace tileconv::test
