// The sums before and after matrix products, on every instruction set, against plain loops.
#include <cmath>
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

// The seven products of blocks of one element each are a product of 2 x 2 matrices.
TYPED_TEST(ProductSums, OfBlocksMakeStrassensProducts) {
  using T = TypeParam;
  for_each_set<T>([](const KernelSet<T>& set) {
    const auto lanes = static_cast<std::size_t>(set.lanes);
    Random random(5);
    std::vector<std::vector<T>> a(4, std::vector<T>(lanes)), b(4, std::vector<T>(lanes));
    for (auto* matrix : {&a, &b})
      for (auto& block : *matrix) fill_integers(block, random);
    std::vector<T> s(4 * lanes, nan<T>), t(4 * lanes, nan<T>);
    set.strassen_weights(
        {{a[0].data(), a[1].data(), a[2].data(), a[3].data()}, 0, s.data(), set.lanes, 0, 1, set.lanes});
    set.strassen_input({{b[0].data(), b[1].data(), b[2].data(), b[3].data()}, 0, t.data(), set.lanes, 0, 1, set.lanes});
    for (std::size_t i = 0; i < lanes; ++i) {
      const T p[] = {a[0][i] * b[0][i],
                     a[1][i] * b[2][i],
                     a[3][i] * t[i],
                     s[i] * t[lanes + i],
                     s[lanes + i] * t[2 * lanes + i],
                     s[2 * lanes + i] * t[3 * lanes + i],
                     s[3 * lanes + i] * b[3][i]};
      EXPECT_EQ(p[0] + p[1], a[0][i] * b[0][i] + a[1][i] * b[2][i]);
      EXPECT_EQ(p[0] + p[4] + p[3] + p[6], a[0][i] * b[1][i] + a[1][i] * b[3][i]);
      EXPECT_EQ(p[0] + p[4] + p[5] + p[2], a[2][i] * b[0][i] + a[3][i] * b[2][i]);
      EXPECT_EQ(p[0] + p[4] + p[5] + p[3], a[2][i] * b[1][i] + a[3][i] * b[3][i]);
    }
  });
}

}  // namespace
}  // namespace tileconv::test
