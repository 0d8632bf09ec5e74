// The sums before and after matrix products, on every instruction set, against plain loops.
#include <algorithm>
#include <cmath>
#include <deque>
#include <limits>
#include <memory>
#include <vector>

#include "kernels/kernels.h"
#include "test_support.h"

namespace tileconv::test {
namespace {

template <class T>
class ProductSums : public testing::Test {};
using Elements = testing::Types<float, double>;
TYPED_TEST_SUITE(ProductSums, Elements, );

TYPED_TEST(ProductSums, OfPixelsReadNothingElse) {
  using T = TypeParam;
  for_each_set<T>([](const KernelSet<T>& set) {
    const std::int64_t channels = 3;
    for (const int count : {1, 2, 4})
      for (std::int64_t pixels = 1; pixels <= 2 * set.lanes + 1; ++pixels)
        for (const std::int64_t room : {std::int64_t{0}, std::int64_t{1}, std::int64_t{set.lanes}}) {
          const std::int64_t row = pixels + 2, out_row = pixels + room;
          Random random(static_cast<std::uint32_t>(pixels));
          std::vector<std::unique_ptr<Guarded<T>>> sources;
          PixelSumArgs<T> a{};
          for (int k = 0; k < count; ++k) {
            sources.push_back(
                std::make_unique<Guarded<T>>(static_cast<std::size_t>((channels - 1) * row + pixels), Edge::end));
            fill_normals(*sources.back(), random);
            a.source[k] = sources.back()->data();
          }
          const std::int64_t last = (channels - 1) * out_row + (pixels + set.lanes - 1) / set.lanes * set.lanes;
          Guarded<T> out(static_cast<std::size_t>(last), Edge::end);
          std::fill(out.begin(), out.end(), nan<T>);
          a.count = count;
          a.source_channel = row;
          a.out = out.data();
          a.out_channel = out_row;
          a.channels = channels;
          a.pixels = pixels;
          set.sum_pixels(a);
          for (std::int64_t c = 0; c < channels; ++c)
            for (std::int64_t i = 0; i < pixels; ++i) {
              T sum = a.source[0][c * row + i];
              for (int k = 1; k < count; ++k) sum += a.source[k][c * row + i];
              ASSERT_EQ(out[c * out_row + i], sum) << count << " of " << pixels;
            }
        }
  });
}

TYPED_TEST(ProductSums, OfProductsWriteTheirPixelsAndTellWhatIsNotFinite) {
  using T = TypeParam;
  for_each_set<T>([](const KernelSet<T>& set) {
    const std::int64_t lanes = set.lanes, row = lanes + 3;
    for (const int count : {1, 2, 4})
      for (const std::int64_t channels : {std::int64_t{1}, lanes})
        for (std::int64_t pixels = 1; pixels <= 2 * lanes + 1; ++pixels) {
          Random random(static_cast<std::uint32_t>(pixels));
          std::vector<std::vector<T>> products(4, std::vector<T>(static_cast<std::size_t>(pixels * row)));
          ProductSumArgs<T> a{};
          for (int k = 0; k < count; ++k) {
            fill_normals(products[static_cast<std::size_t>(k)], random);
            a.product[k] = products[static_cast<std::size_t>(k)].data();
          }
          std::vector<T> bias(static_cast<std::size_t>(lanes));
          fill_normals(bias, random);
          const std::int64_t out_row = pixels + 1;
          Guarded<T> out(static_cast<std::size_t>((channels - 1) * out_row + pixels), Edge::end);
          std::fill(out.begin(), out.end(), nan<T>);
          a.count = count;
          a.product_row = row;
          a.pixels = pixels;
          a.bias = bias.data();
          a.out = out.data();
          a.out_row = out_row;
          a.channels = channels;
          ASSERT_TRUE(set.sum_products(a));
          for (std::int64_t c = 0; c < channels; ++c)
            for (std::int64_t x = 0; x < out_row && c * out_row + x < static_cast<std::int64_t>(out.size()); ++x) {
              T sum = x < pixels ? a.product[0][x * row + c] : nan<T>;
              for (int k = 1; k < count && x < pixels; ++k) sum += a.product[k][x * row + c];
              sum += bias[static_cast<std::size_t>(c)];
              if (x < pixels)
                ASSERT_EQ(out[c * out_row + x], sum) << count << " products, " << pixels << " pixels";
              else
                ASSERT_TRUE(std::isnan(out[c * out_row + x])) << "written behind " << pixels << " pixels";
            }
          products[static_cast<std::size_t>(count - 1)][static_cast<std::size_t>((pixels - 1) * row)] =
              std::numeric_limits<T>::infinity();
          ASSERT_FALSE(set.sum_products(a)) << pixels;
        }
  });
}

// The seven products of blocks of one element each are a product of 2 x 2 matrices. Blocks end with their last column,
// rows of sums with a vector.
TYPED_TEST(ProductSums, OfBlocksMakeStrassensProducts) {
  using T = TypeParam;
  for_each_set<T>([](const KernelSet<T>& set) {
    constexpr std::int64_t rows = 2;
    for (std::int64_t columns = 1; columns <= 2 * set.lanes + 1; ++columns) {
      const std::int64_t row = (columns + set.lanes - 1) / set.lanes * set.lanes, sum = rows * row;
      Random random(static_cast<unsigned>(columns));
      const auto size = static_cast<std::size_t>(rows * columns);
      std::deque<Guarded<T>> a, b;
      for (auto* matrix : {&a, &b})
        for (int k = 0; k < 4; ++k) fill_integers(matrix->emplace_back(size, Edge::end), random);
      Guarded<T> s(static_cast<std::size_t>(4 * sum), Edge::end), t(s.size(), Edge::end);
      for (auto* sums : {&s, &t}) std::fill(sums->begin(), sums->end(), nan<T>);
      const auto args = [&](std::deque<Guarded<T>>& m, Guarded<T>& out) {
        return StrassenSumArgs<T>{
            {m[0].data(), m[1].data(), m[2].data(), m[3].data()}, columns, out.data(), sum, row, rows, columns};
      };
      set.strassen_weights(args(a, s));
      set.strassen_input(args(b, t));
      for (std::ptrdiff_t i = 0; i < rows * columns; ++i) {
        const std::ptrdiff_t at = i / columns * row + i % columns;
        const auto sum_of = [&](Guarded<T>& of, std::int64_t k) { return of[k * sum + at]; };
        const T p[] = {a[0][i] * b[0][i],           a[1][i] * b[2][i],           a[3][i] * sum_of(t, 0),
                       sum_of(s, 0) * sum_of(t, 1), sum_of(s, 1) * sum_of(t, 2), sum_of(s, 2) * sum_of(t, 3),
                       sum_of(s, 3) * b[3][i]};
        EXPECT_EQ(p[0] + p[1], a[0][i] * b[0][i] + a[1][i] * b[2][i]);
        EXPECT_EQ(p[0] + p[4] + p[3] + p[6], a[0][i] * b[1][i] + a[1][i] * b[3][i]);
        EXPECT_EQ(p[0] + p[4] + p[5] + p[2], a[2][i] * b[0][i] + a[3][i] * b[2][i]);
        EXPECT_EQ(p[0] + p[4] + p[5] + p[3], a[2][i] * b[1][i] + a[3][i] * b[3][i]);
      }
    }
  });
}

}  // namespace
}  // namespace tileconv::test
