// The kernels of Winograd's algorithm on every instruction set: the transforms against the direct sum that they stand
// for, the products against plain loops.
#include <algorithm>
#include <cmath>

#include "kernels/kernels.h"
#include "test_support.h"

namespace tileconv::test {
namespace {

template <class T>
class Winograd : public testing::Test {};
using Elements = testing::Types<float, double>;
TYPED_TEST_SUITE(Winograd, Elements, );

// One in channel and one out channel in every lane: a row of tiles is a convolution of that lane's image with its
// kernel.
template <class T>
struct Row {
  const KernelSet<T>& set;
  const WinogradKernel<T>& kernel;
  int tiles, column;  // pixels lie `column` vectors apart
  int taps_h = kernel.taps_h, taps_w = kernel.taps_w, outputs_h = kernel.outputs_h(), outputs_w = kernel.outputs_w();
  int width = tiles * outputs_w + taps_w - 1;
  std::int64_t row = std::int64_t{width} * column * set.lanes;
  Guarded<T> image{static_cast<std::size_t>((kernel.window_h() - 1) * row + ((width - 1) * column + 1) * set.lanes),
                   Edge::end};
  Guarded<T> kernels{static_cast<std::size_t>(taps_h * taps_w * set.lanes), Edge::end};
  Guarded<T> bias{static_cast<std::size_t>(set.lanes), Edge::end};
  std::vector<T> out = std::vector<T>(static_cast<std::size_t>(outputs_h * row), nan<T>);

  T pixel(int y, int x, int lane) { return image[y * row + (x * column) * set.lanes + lane]; }
  T tap(int i, int j, int lane) { return kernels[(i * taps_w + j) * set.lanes + lane]; }
  T output(int y, int x, int lane) const {
    return out[static_cast<std::size_t>(y * row + (x * column) * set.lanes + lane)];
  }
  double expected(int y, int x, int lane) {
    double sum = bias[lane];
    for (int i = 0; i < taps_h; ++i)
      for (int j = 0; j < taps_w; ++j) sum += double(pixel(y + i, x + j, lane)) * double(tap(i, j, lane));
    return sum;
  }

  void fill() {
    Random random(3);
    fill_normals(image, random);
    fill_normals(kernels, random);
    fill_normals(bias, random);
  }
  std::ptrdiff_t position() const { return std::ptrdiff_t{tiles} * set.lanes; }
  // Of all tiles, position by position.
  std::vector<T> products() {
    const auto lanes = static_cast<std::size_t>(set.lanes), positions = static_cast<std::size_t>(kernel.positions());
    std::vector<T> weights(positions * lanes, nan<T>);
    std::vector<std::ptrdiff_t> tap_at(static_cast<std::size_t>(taps_h * taps_w));
    for (std::size_t i = 0; i < tap_at.size(); ++i) tap_at[i] = static_cast<std::ptrdiff_t>(i * lanes);
    kernel.weights({kernels.data(), tap_at.data(), 0, weights.data(), set.lanes, 0, 1});
    const auto size = static_cast<std::size_t>(position());
    std::vector<T> windows(positions * size, nan<T>);
    kernel.input({image.data(), row, std::ptrdiff_t{column} * set.lanes, windows.data(), position(), set.lanes, tiles});
    for (std::size_t p = 0; p < positions; ++p)
      for (std::size_t i = 0; i < size; ++i) windows[p * size + i] *= weights[p * lanes + i % lanes];
    return windows;
  }
  // Whether all outputs came out finite.
  bool run() {
    const std::vector<T> all = products();
    return kernel.output({all.data(), position(), set.lanes, bias.data(), out.data(), row,
                          std::ptrdiff_t{column} * set.lanes, std::ptrdiff_t{outputs_w} * column * set.lanes, tiles});
  }
};

template <class T, class F>
void for_each_kernel(F f) {
  for_each_set<T>([&](const KernelSet<T>& set) {
    ASSERT_EQ(set.winograd_count, 12);
    for (int i = 0; i < set.winograd_count; ++i) {
      const WinogradKernel<T>& kernel = set.winograd[i];
      ASSERT_EQ(kernel.outputs_h() + kernel.taps_h, kernel.window_h() + 1);
      ASSERT_EQ(kernel.outputs_w() + kernel.taps_w, kernel.window_w() + 1);
      f(set, set.winograd[i]);
    }
  });
}

TYPED_TEST(Winograd, TransformsGiveTheDirectSum) {
  for_each_kernel<TypeParam>([](const KernelSet<TypeParam>& set, const WinogradKernel<TypeParam>& kernel) {
    for (const int tiles : {1, 2, 5})
      for (const int column : {1, 3}) {
        Row<TypeParam> row{set, kernel, tiles, column};
        row.fill();
        EXPECT_TRUE(row.run());
        const double bound = sizeof(TypeParam) == 4 ? 2e-5 : 4e-14;
        for (int y = 0; y < row.outputs_h; ++y)
          for (int x = 0; x < tiles * row.outputs_w; ++x)
            for (int lane = 0; lane < set.lanes; ++lane)
              ASSERT_NEAR(row.output(y, x, lane), row.expected(y, x, lane), bound)
                  << row.taps_h << " x " << row.taps_w << " taps, row " << y << ", column " << x << " of " << tiles
                  << " tiles, lane " << lane;
      }
  });
}

// However a row is cut in parts, a tile has the bits that it has alone.
TYPED_TEST(Winograd, TilesDoNotDependOnTheirRow) {
  using T = TypeParam;
  for_each_kernel<T>([](const KernelSet<T>& set, const WinogradKernel<T>& kernel) {
    for (const int tiles : {2, 7, 8, 9, 15, 16, 17, 18, 25}) {
      Row<T> row{set, kernel, tiles, 1}, alone{set, kernel, 1, 1};
      row.fill();
      ASSERT_TRUE(row.run());
      std::copy(row.kernels.begin(), row.kernels.end(), alone.kernels.begin());
      std::copy(row.bias.begin(), row.bias.end(), alone.bias.begin());
      for (int tile = 0; tile < tiles; ++tile) {
        for (int y = 0; y < kernel.window_h(); ++y)
          std::copy_n(row.image.data() + y * row.row + tile * row.outputs_w * set.lanes, alone.row,
                      alone.image.data() + y * alone.row);
        ASSERT_TRUE(alone.run());
        for (int y = 0; y < row.outputs_h; ++y)
          for (int x = 0; x < row.outputs_w; ++x)
            for (int lane = 0; lane < set.lanes; ++lane)
              ASSERT_EQ(row.output(y, tile * row.outputs_w + x, lane), alone.output(y, x, lane))
                  << row.taps_h << " x " << row.taps_w << " taps, tile " << tile << " of " << tiles << ": " << y << ", "
                  << x;
      }
    }
  });
}

// Rows of outputs that adjoin: what the last tile writes beyond its row, the first one overwrites, from the last to the
// first tile.
TYPED_TEST(Winograd, RowsOfOutputsMayAdjoin) {
  using T = TypeParam;
  for_each_kernel<T>([](const KernelSet<T>& set, const WinogradKernel<T>& kernel) {
    for (const int tiles : {2, 9, 17}) {
      Row<T> row{set, kernel, tiles, 1};
      row.fill();
      ASSERT_TRUE(row.run());
      const std::vector<T> products = row.products();
      const std::ptrdiff_t lanes = set.lanes, tile = row.outputs_w * lanes, last = tiles - 1;
      for (std::ptrdiff_t lacking = 0; lacking < row.outputs_w; ++lacking) {
        const std::ptrdiff_t width = tiles * row.outputs_w - lacking, out_row = width * lanes;
        Guarded<T> out(static_cast<std::size_t>((row.outputs_h - 1) * out_row + tiles * tile), Edge::end);
        ASSERT_TRUE(kernel.output({products.data() + last * lanes, row.position(), -lanes, row.bias.data(),
                                   out.data() + last * tile, out_row, lanes, -tile, tiles}));
        for (int y = 0; y < row.outputs_h; ++y)
          for (int x = 0; x < width; ++x)
            for (int lane = 0; lane < set.lanes; ++lane)
              ASSERT_EQ(out[y * out_row + x * lanes + lane], row.output(y, x, lane))
                  << row.taps_h << " x " << row.taps_w << " taps, row " << y << ", column " << x << " of " << width;
      }
    }
  });
}

// Wherever in a window a value is that is not finite, every output whose sum holds it tells.
TYPED_TEST(Winograd, OutputsTellWhatIsNotFinite) {
  for_each_kernel<TypeParam>([](const KernelSet<TypeParam>& set, const WinogradKernel<TypeParam>& kernel) {
    constexpr TypeParam infinity = std::numeric_limits<TypeParam>::infinity();
    for (const TypeParam value : {nan<TypeParam>, infinity, -infinity})
      for (int y = 0; y < kernel.window_h(); ++y)
        for (int x = 0; x < kernel.window_w(); ++x) {
          Row<TypeParam> row{set, kernel, 1, 1};
          row.fill();
          const int lane = (y * kernel.window_w() + x) % set.lanes;
          row.image[y * row.row + x * set.lanes + lane] = value;
          EXPECT_FALSE(row.run()) << row.taps_h << " x " << row.taps_w << " taps: " << y << ", " << x;
          // A pixel is tap (y - i, x - j) of output (i, j).
          for (int i = std::max(0, y - row.taps_h + 1); i <= std::min(y, row.outputs_h - 1); ++i)
            for (int j = std::max(0, x - row.taps_w + 1); j <= std::min(x, row.outputs_w - 1); ++j)
              EXPECT_FALSE(std::isfinite(row.output(i, j, lane)))
                  << row.taps_h << " x " << row.taps_w << " taps: " << y << ", " << x << " at " << i << ", " << j;
        }
    // In any part of a row of tiles.
    for (const int tile : {0, 8, 9, 16}) {
      Row<TypeParam> row{set, kernel, 17, 1};
      row.fill();
      row.image[tile * row.outputs_w * set.lanes] = infinity;
      EXPECT_FALSE(row.run()) << row.taps_h << " x " << row.taps_w << " taps, tile " << tile;
    }
    Row<TypeParam> row{set, kernel, 2, 1};
    row.fill();
    row.bias[set.lanes - 1] = nan<TypeParam>;
    EXPECT_FALSE(row.run()) << row.taps_h << " x " << row.taps_w << " taps, bias";
  });
}

TYPED_TEST(Winograd, ProductsAreExactOnSmallIntegers) {
  using T = TypeParam;
  for_each_set<T>([](const KernelSet<T>& set) {
    int rows = 0, vectors = 1;
    for (int i = 0; i < set.product_count; ++i) {
      const ProductKernel<T>& kernel = set.product[i];
      ASSERT_TRUE(kernel.vectors == vectors ? kernel.rows == rows + 1
                                            : kernel.vectors == vectors + 1 && kernel.rows == 1)
          << "row " << i << " of the table";
      rows = kernel.rows, vectors = kernel.vectors;
      const std::ptrdiff_t columns = vectors * set.lanes, room = columns + 3;
      for (const std::int64_t steps : {1, 2, 3, 4, 7, 17, 32, 37})
        for (const int pieces : {0, 1, 3})  // 0: the kernel of a single one
          for (const auto& [accumulate, adjacent_rows] :
               {std::pair{false, false}, {false, true}, {true, false}, {true, true}}) {
            Random random(8);
            const int tiles = 1 + static_cast<int>((steps + pieces) % 3), all_rows = tiles * rows;
            const std::ptrdiff_t products = 1 + (steps + rows) % 3;
            // Either the steps of a row are adjacent, or the rows of a step.
            const std::ptrdiff_t row = adjacent_rows ? 1 : steps + 2, step = adjacent_rows ? all_rows + 2 : 1;
            // The last of the pieces comes first in memory.
            const std::ptrdiff_t left_size = (all_rows - 1) * row + (steps - 1) * step + 1,
                                 right_size = (steps - 1) * room + columns, all = std::max(1, pieces);
            Guarded<T> left(static_cast<std::size_t>(products * all * left_size), Edge::end),
                right(static_cast<std::size_t>(products * all * right_size), Edge::end),
                out(static_cast<std::size_t>((products * all_rows - 1) * room + columns), Edge::end);
            fill_integers(left, random);
            fill_integers(right, random);
            fill_integers(out, random);
            const std::vector<T> before(out.begin(), out.end());
            std::vector<ProductPiece> further;
            for (std::ptrdiff_t p = 1; p < all; ++p) further.push_back({-p * left_size, -p * right_size});
            const T* const last_right = right.data() + (all - 1) * right_size;
            const std::ptrdiff_t done_rows = (tiles - 1) * rows * row, done_out = (tiles - 1) * rows * room;
            (pieces == 0 ? kernel.run : kernel.run_pieces)(
                {left.data() + (all - 1) * left_size,
                 row,
                 step,
                 last_right,
                 room,
                 steps,
                 further.data(),
                 all - 1,
                 last_right,
                 37,
                 accumulate,
                 out.data(),
                 room,
                 tiles - 1,
                 {rows * row, rows * room},
                 products - 1,
                 {all * left_size - done_rows, all * right_size, all_rows * room - done_out},
                 nullptr});
            for (std::ptrdiff_t at = 0; at < static_cast<std::ptrdiff_t>(out.size()); ++at) {
              const std::ptrdiff_t m = at / room, n = at % room, q = m / all_rows;
              T sum = n >= columns || accumulate ? before[static_cast<std::size_t>(at)] : T(0);
              for (std::ptrdiff_t p = q * all; p < (q + 1) * all; ++p)
                for (std::int64_t s = 0; s < steps && n < columns; ++s)
                  sum += left[p * left_size + m % all_rows * row + s * step] * right[p * right_size + s * room + n];
              ASSERT_EQ(out[at], sum) << products << " of " << tiles << " of " << rows << " x " << vectors << ", "
                                      << pieces << " pieces of " << steps << " steps, row " << m << ", column " << n;
            }
          }
    }
  });
}

TYPED_TEST(Winograd, BundleProductsAreExactOnSmallIntegers) {
  using T = TypeParam;
  for_each_set<T>([](const KernelSet<T>& set) {
    for (int i = 0; i < set.bundle_product_count; ++i) {
      const int rows = set.bundle_product[i].rows;
      ASSERT_EQ(rows, i + 1);
      for (const std::int64_t steps : {1, 2, 3, 7, 8})
        for (const auto& [tiles, products] : {std::pair{1, 1}, {3, 1}, {1, 2}, {3, 2}}) {
          Random random(5);
          const std::ptrdiff_t lanes = set.lanes, row = lanes + 3, column = lanes + 1, room = lanes + 2;
          const std::ptrdiff_t all_rows = tiles * rows;
          Guarded<T> left(static_cast<std::size_t>((products * all_rows - 1) * row + lanes), Edge::end),
              right(static_cast<std::size_t>((products * steps - 1) * column + lanes), Edge::end),
              out(static_cast<std::size_t>((products * all_rows - 1) * room + lanes), Edge::end);
          fill_integers(left, random);
          fill_integers(right, random);
          std::fill(out.begin(), out.end(), nan<T>);
          std::vector<std::int32_t> elements;
          for (std::int64_t k = 0; k < steps * lanes; ++k)
            elements.push_back(static_cast<std::int32_t>((k * k + 3 * k) % lanes));
          ProductArgs<T> a{};
          a.rows = left.data(), a.row = row, a.elements = elements.data();
          a.columns = right.data(), a.column_step = column, a.steps = steps;
          a.out = out.data(), a.out_row = room;
          a.further_tiles = tiles - 1, a.next = {rows * row, rows * room};
          a.further_products = products - 1, a.next_product = {rows * row, steps * column, rows * room};
          set.bundle_product[i].run(a);
          for (std::ptrdiff_t at = 0; at < static_cast<std::ptrdiff_t>(out.size()); ++at) {
            const std::ptrdiff_t m = at / room, n = at % room;
            T sum = n < lanes ? T(0) : nan<T>;
            for (std::int64_t s = 0; s < steps && n < lanes; ++s)
              sum += left[m * row + elements[static_cast<std::size_t>(s * lanes + n)]] *
                     right[(m / all_rows * steps + s) * column + n];
            ASSERT_TRUE(same_value(out[at], sum)) << products << " of " << tiles << " of " << rows << " rows, " << steps
                                                  << " steps, row " << m << ", column " << n;
          }
        }
    }
  });
}

}  // namespace
}  // namespace tileconv::test
