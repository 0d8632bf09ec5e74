// Rows whose lanes are channels: the kernels against plain loops on every instruction set, and the transposition of
// rows of any view.
#include "channel_rows.h"

#include "test_support.h"

namespace tileconv::test {
namespace {

template <class T>
class ChannelRows : public testing::Test {};
using Elements = testing::Types<float, double>;
TYPED_TEST_SUITE(ChannelRows, Elements, );

// `height` rows of `width` outputs with pixels `column` vectors apart, taps `tap` apart (negative: rows run backwards).
// Of adjacent taps' pixels, `before` and `behind` are outside of the image.
template <class T>
void check_rows(const KernelSet<T>& set, const ChannelRowKernel<T>& kernel, std::int64_t kernel_h,
                std::int64_t kernel_w, std::int64_t height, std::int64_t width, std::int64_t column, std::int64_t tap,
                std::int64_t before, std::int64_t behind) {
  Random random(5);
  const std::int64_t lanes = set.lanes, sign = tap < 0 ? -1 : 1, step = 2;
  const std::int64_t pitch = (width - 1) * column + std::max<std::int64_t>(0, kernel_w - 1) * sign * tap + 1;
  const std::int64_t in_rows = (height - 1) * step + kernel_h;
  Guarded<T> input(static_cast<std::size_t>(in_rows * pitch * lanes), sign > 0 ? Edge::end : Edge::begin);
  const std::int64_t weight_vectors = std::max<std::int64_t>(0, kernel_h * (kernel_w + 1) - 1);
  Guarded<T> weights(static_cast<std::size_t>(weight_vectors * lanes), Edge::end);
  Guarded<T> bias(static_cast<std::size_t>(lanes), Edge::end),
      out(static_cast<std::size_t>(height * width * lanes), Edge::end);
  fill_integers(input, random);
  fill_integers(weights, random);
  fill_integers(bias, random);
  std::fill(out.begin(), out.end(), nan<T>);

  ChannelRowArgs<T> a{};
  a.input_row = step * pitch * lanes;
  a.input_column = sign * column * lanes;
  a.tap_row = pitch * lanes;
  a.tap_column = tap * lanes;
  a.kernel_h = kernel_h, a.kernel_w = kernel_w;
  a.weights = weights.data();
  a.weight_row = (kernel_w + 1) * lanes;
  a.bias = bias.data();
  a.out_row = width * lanes;
  a.out_column = sign * lanes;
  a.height = height, a.width = width;
  a.inside_begin = before, a.inside_end = width + kernel_w - 1 - behind;
  // Backwards, the first pixel and its first tap are the last of the row.
  const std::int64_t first = sign > 0 ? 0 : pitch - 1;
  a.input = input.data() + first * lanes;
  a.out = out.data() + (sign > 0 ? 0 : width - 1) * lanes;
  kernel.run(a);

  for (std::int64_t y = 0; y < height; ++y)
    for (std::int64_t x = 0; x < width; ++x)
      for (std::int64_t lane = 0; lane < lanes; ++lane) {
        T sum = bias[lane];
        for (std::int64_t i = 0; i < kernel_h; ++i)
          for (std::int64_t j = kernel.adjacent ? std::max<std::int64_t>(0, before - x) : 0;
               j < (kernel.adjacent ? std::min(kernel_w, a.inside_end - x) : kernel_w); ++j)
            sum += weights[(i * (kernel_w + 1) + j) * lanes + lane] *
                   input[((y * step + i) * pitch + first + x * sign * column + j * tap) * lanes + lane];
        const T value = out[(y * width + (sign > 0 ? x : width - 1 - x)) * lanes + lane];
        ASSERT_EQ(value, sum) << "kernel " << kernel_h << " x " << kernel_w << ", pixel (" << y << ", " << x << ") of "
                              << height << " x " << width << ", column " << column << ", tap " << tap << ", " << before
                              << " pixels before and " << behind << " behind the image";
      }
}

TYPED_TEST(ChannelRows, KernelsComputeTheirFormula) {
  for_each_set<TypeParam>([](const KernelSet<TypeParam>& set) {
    const ChannelRowKernel<TypeParam>& last = set.channel_row[set.channel_row_count - 1];
    EXPECT_TRUE(last.kernel_w == 0 && !last.adjacent);
    for (int i = 0; i < set.channel_row_count; ++i) {
      const ChannelRowKernel<TypeParam>& kernel = set.channel_row[i];
      for (const std::int64_t kernel_w : {0, 1, 2, 3, 4, 5, 7, 8, 9, 17})
        for (const std::int64_t width : {1, 2, 7, 8, 9, 16, 33})
          for (const std::int64_t column : {1, 2})
            for (const std::int64_t tap : {1, -1, 3}) {
              if (kernel.adjacent && std::abs(tap) != column) continue;
              const std::int64_t pixels = std::max<std::int64_t>(0, width + kernel_w - 1);
              check_rows(set, kernel, 0, kernel_w, 2, width, column, tap, 0, 0);
              for (const std::int64_t height : {0, 1, 2, 3})
                for (const auto& [before, behind] : {std::pair<std::int64_t, std::int64_t>{0, 0},
                                                     {1, 0},
                                                     {0, 1},
                                                     {kernel_w - 1, kernel_w / 2},
                                                     {pixels / 2, pixels / 3},
                                                     {pixels, 0}}) {
                  if (before < 0 || before + behind > pixels) continue;
                  check_rows(set, kernel, 2, kernel_w, height, width, column, tap, before, behind);
                  if (testing::Test::HasFatalFailure()) return;
                }
            }
    }
  });
}

TYPED_TEST(ChannelRows, ProductsComputeTheirFormula) {
  using T = TypeParam;
  for_each_set<T>([](const KernelSet<T>& set) {
    for (const std::int64_t taps : {1, 2, 9, 11, 12, 13, 25, 49})
      for (const std::int64_t width : {1, 5})
        for (const std::int64_t column : {1, 2}) {
          Random random(4);
          const std::int64_t lanes = set.lanes, height = 3, pitch = width * column + 2, reach = taps / 2 + 1;
          Guarded<T> input(static_cast<std::size_t>(((height - 1) * pitch + (width - 1) * column + reach) * lanes),
                           Edge::end);
          Guarded<T> grad(static_cast<std::size_t>(height * width * lanes), Edge::end),
              out(static_cast<std::size_t>(taps * lanes), Edge::end);
          fill_integers(input, random);
          fill_integers(grad, random);
          fill_integers(out, random);
          std::vector<T> expected(out.begin(), out.end());
          std::vector<std::ptrdiff_t> offsets;
          for (std::int64_t t = 0; t < taps; ++t) offsets.push_back(t / 2 * lanes);
          for (std::int64_t t = 0; t < taps; ++t)
            for (std::int64_t y = 0; y < height; ++y)
              for (std::int64_t x = 0; x < width; ++x)
                for (std::int64_t lane = 0; lane < lanes; ++lane)
                  expected[static_cast<std::size_t>(t * lanes + lane)] +=
                      grad[(y * width + x) * lanes + lane] *
                      input[(y * pitch + x * column) * lanes + offsets[static_cast<std::size_t>(t)] + lane];
          set.channel_products({input.data(), pitch * lanes, column * lanes, offsets.data(), taps, grad.data(), height,
                                width, out.data()});
          for (std::ptrdiff_t i = 0; i < static_cast<std::ptrdiff_t>(out.size()); ++i)
            ASSERT_EQ(out[i], expected[static_cast<std::size_t>(i)])
                << taps << " taps, width " << width << ", column " << column << ", element " << i;
        }
  });
}

// Adjacent, strided, reversed and unaligned views; channels that are adjacent; fewer channels than lanes; no source.
TYPED_TEST(ChannelRows, AreTransposedFromAnyView) {
  using T = TypeParam;
  struct View {
    std::ptrdiff_t channel, column, shift;  // in elements; bytes
  };
  for_each_set<T>([](const KernelSet<T>& set) {
    const std::int64_t lanes = set.lanes, size = 40;
    const std::vector<StagePiece> pieces = {{0, 9, 2, 6, 3, 1}, {9, 5, 0, 4, 30, -2}};
    const std::int64_t length = 14;
    for (const View& view : {View{size, 1, 0}, View{1, lanes, 0}, View{2 * size, -2, 0}, View{size, 1, 1}})
      for (const std::int64_t channels : {std::int64_t{1}, lanes - 1, lanes}) {
        Random random(6);
        std::vector<char> memory(static_cast<std::size_t>((2 * size + 1) * (lanes + 2)) * sizeof(T) + 1);
        const std::ptrdiff_t origin = view.column < 0 ? size * 2 : 0;
        const auto at = [&](std::int64_t c, std::int64_t x) {
          return memory.data() +
                 (origin + c * view.channel + x * view.column) * static_cast<std::ptrdiff_t>(sizeof(T)) + view.shift;
        };
        for (std::int64_t c = 0; c < channels; ++c)
          for (std::int64_t x = 0; x < size; ++x) {
            const T value = static_cast<T>(100 * c + x + 1);
            std::memcpy(at(c, x), &value, sizeof value);
          }
        constexpr auto element = static_cast<std::ptrdiff_t>(sizeof(T));
        std::vector<T> scratch(static_cast<std::size_t>(lanes * (length + lanes)), nan<T>);
        Guarded<T> out(static_cast<std::size_t>(length * lanes), Edge::end);
        std::fill(out.begin(), out.end(), nan<T>);
        transpose_row<T>(set, pieces, length, {at(0, 0), view.channel * element, view.column * element, channels},
                         scratch.data(), out.data());
        const std::int64_t sources[] = {-1, -1, 3, 4, 5, 6, 7, 8, -1, 30, 28, 26, 24, -1};
        for (std::int64_t x = 0; x < length; ++x)
          for (std::int64_t c = 0; c < lanes; ++c) {
            const T expected = c < channels && sources[x] >= 0 ? static_cast<T>(100 * c + sources[x] + 1) : T(0);
            ASSERT_EQ(out[x * lanes + c], expected) << "column " << x << ", channel " << c << " of " << channels;
          }
        transpose_row<T>(set, pieces, length, {nullptr, 0, 0, channels}, scratch.data(), out.data());
        for (const T value : out) ASSERT_EQ(value, T(0));
      }
  });
}

}  // namespace
}  // namespace tileconv::test
