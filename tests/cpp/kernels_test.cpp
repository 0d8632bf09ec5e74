// Every register tile of every kernel table of this machine against plain loops, and what tiles may read and write.
#include "kernels/kernels.h"

#include <algorithm>

#include "plan.h"
#include "test_support.h"

namespace tileconv::test {
namespace {

template <class T>
class Kernels : public testing::Test {};
using Elements = testing::Types<float, double>;
TYPED_TEST_SUITE(Kernels, Elements, );

// The tables of register tiles, and how many lanes the vectors of each have.
template <class T>
struct TileTable {
  const char* name;
  const GemmKernel<T>* kernels;
  int count, lanes, next_vectors;
};
template <class T>
std::vector<TileTable<T>> tile_tables(const KernelSet<T>& set) {
  std::vector<TileTable<T>> tables = {{"channel lanes", set.channel_lanes, set.channel_lanes_count, set.lanes, 1},
                                      {"pixel lanes", set.pixel_lanes, set.pixel_lanes_count, set.lanes, 1}};
  if (set.half_lanes > 0)
    tables.push_back({"pixel halves", set.pixel_halves, set.pixel_halves_count, set.half_lanes, 2});
  return tables;
}

// A register tile with its orientation: the two differ in where weights and partial sums lie.
template <class T>
struct Tile {
  const GemmKernel<T>& kernel;
  bool channel_lanes;
  int lanes;

  int columns() const { return kernel.vectors * lanes; }
  int channels() const { return channel_lanes ? columns() : kernel.rows; }
  int pixels() const { return channel_lanes ? kernel.rows : columns(); }
  // Partial sums: rows some way apart.
  int partial_row() const { return columns() + lanes; }
  int partial_size() const { return kernel.rows * partial_row(); }
  int partial(int m, int p) const { return channel_lanes ? p * partial_row() + m : m * partial_row() + p; }
};

template <class T, class F>
void for_each_tile(const KernelSet<T>& set, F f) {
  for (const TileTable<T>& table : tile_tables(set))
    for (int i = 0; i < table.count; ++i) {
      const GemmKernel<T>& kernel = table.kernels[i];
      SCOPED_TRACE(std::string(table.name) + ", " + std::to_string(kernel.rows) + " rows x " +
                   std::to_string(kernel.vectors) + " vectors");
      f(Tile<T>{kernel, table.kernels == set.channel_lanes, table.lanes});
      if (testing::Test::HasFailure()) return;
    }
}

template <class T, class F>
void for_each_tile(F f) {
  for_each_set<T>([&](const KernelSet<T>& set) { for_each_tile<T>(set, f); });
}

TYPED_TEST(Kernels, TablesListEveryTileUpToALargest) {
  for_each_set<TypeParam>([](const KernelSet<TypeParam>& set) {
    EXPECT_TRUE(set.lanes > 0 && 64 % (set.lanes * sizeof(TypeParam)) == 0) << set.lanes;
    for (const auto& [name, table, count, lanes, next_vectors] : tile_tables(set)) {
      SCOPED_TRACE(name);
      int rows = 0, vectors = 1;
      for (int i = 0; i < count; ++i) {
        const bool wider = table[i].vectors == vectors + next_vectors;
        EXPECT_TRUE(wider || table[i].vectors == vectors) << "row " << i;
        EXPECT_EQ(table[i].rows, wider ? 1 : rows + 1) << "row " << i;
        EXPECT_TRUE(table[i].single_tap != nullptr && table[i].taps != nullptr) << "row " << i;
        rows = table[i].rows, vectors = table[i].vectors;
        EXPECT_EQ(&find_kernel(table, count, rows, vectors), table + i);
      }
    }
  });
}

// ---- The register tiles ----

// Taps as (input offset, index of the weight): none, one, a row, out of order with an input read twice, and negative; a
// turn of three and what is left, and two of them.
const std::vector<std::vector<Tap>> tap_tables = {{},
                                                  {{0, 0}},
                                                  {{0, 0}, {1, 1}, {2, 2}},
                                                  {{7, 2}, {0, 0}, {3, 1}, {3, 3}},
                                                  {{-5, 1}, {4, 0}},
                                                  {{2, 3}, {1, 0}, {0, 1}, {-5, 2}, {7, 3}},
                                                  {{0, 0}, {1, 1}, {2, 2}, {-4, 3}, {4, 0}, {7, 1}, {3, 2}}};
// The vectors of a row of pixel lanes, one behind the other.
std::vector<std::ptrdiff_t> adjacent_vectors(int lanes) {
  std::vector<std::ptrdiff_t> places;
  for (int v = 0; v < most_pixel_vectors; ++v) places.push_back(v * lanes);
  return places;
}

// Steps around some turns of a loop that takes four, in another that takes two of these.
constexpr int most_steps = 37, weights_per_step = 4, lowest_tap = -5, highest_tap = 7, gap = 3;

// The operands of one tile. The input ends where reading is allowed to end, and is not aligned to a vector.
template <class T>
struct Operands {
  Tile<T> tile;
  std::ptrdiff_t input_step, weight_unit, weight_row;
  Guarded<T> input, weights, bias, partial;
  std::vector<Tap> taps;
  std::vector<std::ptrdiff_t> places;

  explicit Operands(const Tile<T>& t)
      : tile(t),
        input_step(t.pixels() + 9),
        weight_unit(t.channel_lanes ? t.channels() : 1),
        weight_row(t.channel_lanes ? 1 : most_steps * weights_per_step + 1),
        input(static_cast<std::size_t>(-lowest_tap + (most_steps - 1) * input_step + t.pixels() + gap + highest_tap),
              Edge::end),
        weights(static_cast<std::size_t>(
            (t.channel_lanes ? 1 : t.channels()) * weights_per_step * most_steps * weight_unit + t.channels())),
        bias(static_cast<std::size_t>(t.channels())),
        partial(static_cast<std::size_t>(t.partial_size())),
        places(adjacent_vectors(t.lanes)) {}

  template <class Fill>
  void fill(Fill fill_range) {
    Random random(1);
    for (auto* array : {&input, &weights, &bias, &partial}) fill_range(*array, random);
  }

  GemmArgs<T> args(const std::vector<Tap>& table, int steps, bool with_bias, bool with_partial) {
    taps = table;
    for (Tap& tap : taps) tap.weight *= weight_unit;
    GemmArgs<T> a{};
    a.input = input.data() - lowest_tap;
    a.weights = weights.data();
    a.taps = taps.data();
    a.tap_count = static_cast<std::int64_t>(taps.size());
    a.steps = steps;
    a.input_step = input_step;
    a.weight_step = (table.size() == 1 && with_bias ? 1 : weights_per_step) * weight_unit;
    a.weight_row = weight_row;
    a.bias = with_bias ? bias.data() : nullptr;
    a.partial_in = with_partial ? partial.data() : nullptr;
    a.partial_row = tile.partial_row();
    a.out_channels = tile.channels();
    a.out_vectors = places.data();
    a.input_gap = with_partial ? gap : 0;
    // What changes no value.
    a.fetch_out = with_bias;
    a.prefetch = weights.data();
    a.prefetch_step = with_bias ? 37 : 0;
    return a;
  }

  // The formula of GemmArgs.
  T expected(const GemmArgs<T>& a, int m, int p) const {
    const bool second = tile.channel_lanes && tile.pixels() % 2 == 0 && p >= tile.pixels() / 2;
    T sum = a.partial_in ? a.partial_in[tile.partial(m, p)] : a.bias ? a.bias[m] : T(0);
    for (std::int64_t s = 0; s < a.steps; ++s)
      for (std::int64_t t = 0; t < a.tap_count; ++t)
        sum += a.weights[m * weight_row + s * a.weight_step + a.taps[t].weight] *
               a.input[p + (second ? a.input_gap : 0) + s * a.input_step + a.taps[t].input];
    return sum;
  }
};

TYPED_TEST(Kernels, TilesComputeTheFormula) {
  using T = TypeParam;
  for_each_tile<T>([](const Tile<T>& tile) {
    Operands<T> operands(tile);
    operands.fill([](auto& range, Random& random) { fill_integers(range, random); });
    const int channels = tile.channels(), pixels = tile.pixels();
    std::vector<T> out(static_cast<std::size_t>(channels * pixels));
    Guarded<T> partial(static_cast<std::size_t>(tile.partial_size()));

    const auto check = [&](const std::vector<Tap>& table, int steps, bool with_bias, bool with_partial,
                           bool to_partial) {
      GemmArgs<T> a = operands.args(table, steps, with_bias, with_partial);
      std::fill(out.begin(), out.end(), nan<T>);
      std::fill(partial.begin(), partial.end(), nan<T>);
      a.partial_out = to_partial ? partial.data() : nullptr;
      a.out = to_partial ? nullptr : out.data();
      a.out_channel_stride = a.out_room = pixels;
      tile.kernel.run(a);
      for (int m = 0; m < channels; ++m)
        for (int p = 0; p < pixels; ++p)
          ASSERT_EQ(to_partial ? partial[tile.partial(m, p)] : out[static_cast<std::size_t>(m * pixels + p)],
                    operands.expected(a, m, p))
              << "channel " << m << ", pixel " << p << " of " << table.size() << " taps, " << steps << " steps, "
              << (with_bias ? "bias, " : "") << (with_partial ? "partial in, " : "")
              << (to_partial ? "partial out" : "");
    };
    for (const auto& table : tap_tables)
      for (const int steps : {0, 1, 2, 3, 4, 7, 9, 32, 33, most_steps})
        for (const bool with_bias : {false, true})
          for (const bool with_partial : {false, true})
            for (const bool to_partial : {false, true}) {
              check(table, steps, with_bias, with_partial, to_partial);
              if (testing::Test::HasFatalFailure()) return;
            }
  });
}

TYPED_TEST(Kernels, TilesWriteOnlyWhatTheyMay) {
  using T = TypeParam;
  for_each_tile<T>([](const Tile<T>& tile) {
    Operands<T> operands(tile);
    operands.fill([](auto& range, Random& random) { fill_integers(range, random); });
    const int channels = tile.channels(), pixels = tile.pixels();
    GemmArgs<T> a = operands.args(tap_tables[1], 1, true, false);
    for (int real = tile.channel_lanes ? 1 : channels; real <= channels; ++real)
      for (const int spare : {0, 1, tile.lanes - 1, tile.lanes, 2 * tile.lanes}) {
        const int room = pixels + (tile.channel_lanes ? spare : 0), stride = room + 3, front = 1;
        std::vector<T> out(static_cast<std::size_t>(front + channels * stride), nan<T>);
        a.out = out.data() + front;
        a.out_channel_stride = stride;
        a.out_channels = real;
        a.out_room = room;
        tile.kernel.run(a);
        ASSERT_NE(out[0], out[0]) << "wrote in front of the output";
        for (int m = 0; m < channels; ++m)
          for (int p = 0; p < stride; ++p) {
            const T value = a.out[m * stride + p];
            const bool written = m < real && p < pixels, free = m < real && p < room;
            ASSERT_TRUE(written ? value == operands.expected(a, m, p) : free || value != value)
                << value << " in channel " << m << " of " << real << ", pixel " << p << " of " << pixels << ", room "
                << room;
          }
      }
  });
}

// With pixel lanes, vectors may lie anywhere in the output: rows that are narrower than a vector, here by one pixel,
// are written in ascending order, so that each vector's last pixel becomes the next one's first.
TYPED_TEST(Kernels, PixelLanesWriteVectorsInOrder) {
  using T = TypeParam;
  for_each_tile<T>([](const Tile<T>& tile) {
    if (tile.channel_lanes) return;
    Operands<T> operands(tile);
    operands.fill([](auto& range, Random& random) { fill_integers(range, random); });
    GemmArgs<T> a = operands.args(tap_tables[2], most_steps, true, false);
    const int width = tile.lanes - 1, vectors = tile.kernel.vectors, row = vectors * width + 1;
    for (int v = 0; v < vectors; ++v) operands.places[static_cast<std::size_t>(v)] = v * width;
    std::vector<T> out(static_cast<std::size_t>(tile.channels() * row), nan<T>);
    a.out = out.data();
    a.out_channel_stride = row;
    tile.kernel.run(a);
    for (int m = 0; m < tile.channels(); ++m)
      for (int p = 0; p < row; ++p) {
        const int v = std::min(p / std::max(width, 1), vectors - 1);
        ASSERT_EQ(out[static_cast<std::size_t>(m * row + p)], operands.expected(a, m, v * tile.lanes + p - v * width))
            << "channel " << m << ", pixel " << p;
      }
  });
}

TYPED_TEST(Kernels, PixelLanesGoOnToFurtherTiles) {
  using T = TypeParam;
  for_each_tile<T>([](const Tile<T>& tile) {
    if (tile.channel_lanes) return;
    Operands<T> operands(tile);
    operands.fill([](auto& range, Random& random) { fill_integers(range, random); });
    const int channels = tile.channels(), pixels = tile.pixels(), further = 2;
    GemmArgs<T> a = operands.args(tap_tables[2], 1, false, false);
    std::vector<T> bias(static_cast<std::size_t>(channels + further)),
        out(static_cast<std::size_t>((1 + further) * channels * pixels), nan<T>);
    for (std::size_t i = 0; i < bias.size(); ++i) bias[i] = static_cast<T>(3 * i);
    a.out = out.data();
    a.out_channel_stride = pixels;
    a.further = further;
    a.next = {a.input_step, a.weight_step, 1, channels * pixels};
    for (const T* start : {static_cast<const T*>(bias.data()), static_cast<const T*>(nullptr)}) {
      a.bias = start;
      tile.kernel.run(a);
      GemmArgs<T> one = a;
      for (int n = 0; n <= further; ++n) {
        for (int m = 0; m < channels; ++m)
          for (int p = 0; p < pixels; ++p)
            ASSERT_EQ(out[static_cast<std::size_t>((n * channels + m) * pixels + p)], operands.expected(one, m, p))
                << "tile " << n << ", channel " << m << ", pixel " << p;
        one.input += a.next.input;
        one.weights += a.next.weights;
        if (start) one.bias += a.next.bias;
      }
    }
  });
}

// The order of a sum is the same in every tile of either orientation, and across a cut into two chunks: each gives the
// bits of 1 x 1 tiles.
TYPED_TEST(Kernels, TilesAndChunksGiveTheSameBits) {
  using T = TypeParam;
  constexpr std::ptrdiff_t channels = 64, pixels = 128;  // no tile is larger
  constexpr std::ptrdiff_t input_step = pixels + 9, weight_step = weights_per_step * channels;
  Guarded<T> input(most_steps * input_step), weights(most_steps * weight_step), bias(channels),
      partial(32 * 2 * pixels);
  Random random(2);
  for (auto* array : {&input, &weights, &bias}) fill_normals(*array, random);
  std::vector<Tap> taps;

  const auto args = [&](std::ptrdiff_t m, std::ptrdiff_t p, int step, int steps) {
    GemmArgs<T> a{};
    a.input = input.data() + step * input_step + p;
    a.weights = weights.data() + step * weight_step + m;
    a.taps = taps.data();
    a.tap_count = static_cast<std::int64_t>(taps.size());
    a.steps = steps;
    a.input_step = input_step;
    a.weight_step = weight_step;
    a.weight_row = 1;
    a.bias = bias.data() + m;
    return a;
  };
  const auto check = [&](const KernelSet<T>& set) {
    constexpr std::ptrdiff_t single = 0;
    std::vector<T> sums(channels * pixels);
    for (std::ptrdiff_t m = 0; m < channels; ++m)
      for (std::ptrdiff_t p = 0; p < pixels; p += set.lanes) {
        GemmArgs<T> a = args(m, p, 0, most_steps);
        a.out_vectors = &single;
        a.out = sums.data() + m * pixels + p;
        set.pixel_lanes[0].run(a);
      }
    for_each_tile<T>(set, [&](const Tile<T>& tile) {
      const int width = tile.pixels();
      const std::vector<std::ptrdiff_t> places = adjacent_vectors(tile.lanes);
      ASSERT_TRUE(tile.channels() <= channels && width <= pixels &&
                  tile.partial_size() <= static_cast<int>(partial.size()));
      for (const int cut : {0, 2, most_steps}) {
        std::vector<T> out(static_cast<std::size_t>(tile.channels() * width), nan<T>);
        GemmArgs<T> first = args(0, 0, 0, cut), second = args(0, 0, cut, most_steps - cut);
        first.out_vectors = second.out_vectors = places.data();
        first.partial_row = second.partial_row = tile.partial_row();
        if (cut > 0) {
          first.partial_out = partial.data();
          tile.kernel.run(first);
          second.partial_in = partial.data();
        }
        if (cut == most_steps) {  // partial sums updated in place
          second.partial_out = partial.data();
          tile.kernel.run(second);
          second.partial_out = nullptr;
        }
        second.out = out.data();
        second.out_channel_stride = second.out_room = width;
        second.out_channels = tile.channels();
        tile.kernel.run(second);
        for (int m = 0; m < tile.channels(); ++m)
          ASSERT_EQ(std::memcmp(out.data() + m * width, sums.data() + m * pixels,
                                sizeof(T) * static_cast<std::size_t>(width)),
                    0)
              << "channel " << m << ", cut after step " << cut;
      }
    });
  };
  for (const auto& table : {tap_tables[1], tap_tables[3]}) {
    taps = table;
    for (Tap& tap : taps) tap.weight *= channels;
    for_each_set<T>(check);
  }
}

// ---- Dot products ----

TYPED_TEST(Kernels, DotTableListsEveryTileUpToALargest) {
  for_each_set<TypeParam>([](const KernelSet<TypeParam>& set) {
    ASSERT_GT(set.dot_count, 0);
    int rows = 1, columns = 0;
    for (int i = 0; i < set.dot_count; ++i) {
      const bool higher = set.dot[i].rows == rows + 1;
      EXPECT_TRUE(higher || set.dot[i].rows == rows) << "row " << i;
      EXPECT_EQ(set.dot[i].columns, higher ? 1 : columns + 1) << "row " << i;
      rows = set.dot[i].rows, columns = set.dot[i].columns;
    }
  });
}

TYPED_TEST(Kernels, DotProductsAddToTheOutput) {
  using T = TypeParam;
  for_each_set<T>([](const KernelSet<T>& set) {
    Random random(8);
    for (int i = 0; i < set.dot_count; ++i) {
      const DotKernel<T>& kernel = set.dot[i];
      for (const std::int64_t height : {0, 1, 3})
        for (const std::int64_t width : {1, set.lanes - 1, set.lanes, set.lanes + 1, 4 * set.lanes + 2}) {
          const std::ptrdiff_t grad_row = width + 2, input_row = width + 5, grad_channel = height * grad_row + 1;
          std::vector<std::ptrdiff_t> offsets;
          for (int n = 0; n < kernel.columns; ++n) offsets.push_back((n * 5 + 3) % kernel.columns);
          const std::ptrdiff_t last = *std::max_element(offsets.begin(), offsets.end()),
                               rows = std::max<std::ptrdiff_t>(height, 1) - 1;
          // Nothing may be read behind the last pixel.
          Guarded<T> grad(static_cast<std::size_t>((kernel.rows - 1) * grad_channel + rows * grad_row + width),
                          Edge::end);
          Guarded<T> input(static_cast<std::size_t>(last + rows * input_row + width), Edge::end);
          const int out_row = kernel.columns + 2;
          std::vector<T> out(static_cast<std::size_t>(kernel.rows * out_row));
          fill_integers(grad, random);
          fill_integers(input, random);
          fill_integers(out, random);
          std::vector<T> expected = out;
          for (int m = 0; m < kernel.rows; ++m)
            for (int n = 0; n < kernel.columns; ++n)
              for (std::int64_t y = 0; y < height; ++y)
                for (std::int64_t x = 0; x < width; ++x)
                  expected[static_cast<std::size_t>(m * out_row + n)] +=
                      grad[m * grad_channel + y * grad_row + x] *
                      input[offsets[static_cast<std::size_t>(n)] + y * input_row + x];
          kernel.run({grad.data(), grad_channel, grad_row, input.data(), offsets.data(), input_row, height, width,
                      out.data(), out_row});
          ASSERT_EQ(out, expected) << kernel.rows << " x " << kernel.columns << " of " << height << " x " << width
                                   << " pixels";
        }
    }
  });
}

// ---- The peak ----

TYPED_TEST(Kernels, FmaLoopRuns) {
  for_each_set<TypeParam>([](const KernelSet<TypeParam>& set) {
    EXPECT_GT(set.fma_per_iteration, 0);
    for (const std::int64_t iterations : {0, 1, 1000}) set.fma_loop(iterations);
  });
}

TYPED_TEST(Kernels, FiniteTellsEveryPlace) {
  using T = TypeParam;
  for_each_set<T>([](const KernelSet<T>& set) {
    const auto is_finite = [&](Guarded<T>& values) {
      return set.finite(reinterpret_cast<const char*>(values.data()), static_cast<std::int64_t>(values.size()));
    };
    for (std::size_t count = 0; count < static_cast<std::size_t>(9 * set.lanes + 3); ++count) {
      Guarded<T> values(count, Edge::end);
      Random random(count);
      fill_normals(values, random);
      EXPECT_TRUE(is_finite(values)) << count;
      for (std::size_t at = 0; at < count; ++at) {
        const T before = values[at];
        for (const T value : {std::numeric_limits<T>::max(), std::numeric_limits<T>::lowest(), T(-0.0),
                              std::numeric_limits<T>::denorm_min()}) {
          values[at] = value;
          EXPECT_TRUE(is_finite(values)) << value << " at " << at << " of " << count;
        }
        for (const T value : {nan<T>, std::numeric_limits<T>::infinity(), -std::numeric_limits<T>::infinity()}) {
          values[at] = value;
          EXPECT_FALSE(is_finite(values)) << value << " at " << at << " of " << count;
        }
        values[at] = before;
      }
    }
  });
}

}  // namespace
}  // namespace tileconv::test
