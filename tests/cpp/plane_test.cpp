// The kernels of planes (depthwise) on every instruction set against a plain loop, and what they may read and write.
#include "kernels/kernels.h"
#include "test_support.h"

namespace tileconv::test {
namespace {

template <class T>
class Planes : public testing::Test {};
using Elements = testing::Types<float, double>;
TYPED_TEST_SUITE(Planes, Elements, );

struct Size {
  std::int64_t kernel_h, kernel_w, stride_h, stride_w;
};

// `out_width` outputs a row of three planes, from images `width` wide whose memory begins or ends at an inaccessible
// page, with `before` columns of zero padding. Rows are those of the image in turn, and rows of zeros. With `alike`, a
// kernel that adds in the same order, these are the same bits of normal values; else sums of integers are exact.
template <class T>
void check(const KernelSet<T>& set, const PlaneKernel<T>& kernel, const Size& size, std::int64_t height,
           std::int64_t width, std::int64_t out_width, std::int64_t before, Edge edge,
           const PlaneKernel<T>* alike = nullptr) {
  Random random(9);
  constexpr std::int64_t planes = 3, image_rows = 4;
  const bool paired = kernel.paired(), one_load = kernel.kernel_w > 0 && !paired;
  const std::int64_t lanes = paired ? kernel.most_width : set.lanes;
  const std::int64_t pass = std::max(kernel.rows, alike ? alike->rows : 0);
  const std::int64_t row_count = (std::max(height, pass) - 1) * size.stride_h + size.kernel_h;
  Guarded<T> input(static_cast<std::size_t>(planes * image_rows * width), edge);
  Guarded<T> zeros(static_cast<std::size_t>(width), edge);
  const auto fill = [&](auto& values) { alike ? fill_normals(values, random) : fill_integers(values, random); };
  fill(input);
  std::fill(zeros.begin(), zeros.end(), T(0));
  std::vector<std::ptrdiff_t> rows;
  for (std::int64_t q = 0; q < row_count; ++q) rows.push_back(q % 5 == 4 ? no_row : q % 5 * width);
  Guarded<const T*> pointers(2 * rows.size(), edge);
  std::vector<T> weights(static_cast<std::size_t>(planes * size.kernel_h * size.kernel_w)), bias = {T(3), T(-2), T(5)};
  fill(weights);
  std::vector<std::ptrdiff_t> columns;
  for (std::int64_t j = 0; j < size.kernel_w; ++j) columns.push_back((kernel.kernel_w > 0 ? j : 3 * j) - before);

  std::vector<std::int64_t> loads;
  for (std::int64_t s = 0; one_load && s <= size.stride_w; ++s) loads.push_back(columns[0] + s * lanes);
  for (std::int64_t j = 0; !one_load && j < size.kernel_w; ++j)
    for (std::int64_t s = 0; s < (paired ? 1 : size.stride_w); ++s)
      loads.push_back(columns[static_cast<std::size_t>(j)] + s * (lanes - 1));
  std::vector<LaneBits> bits;
  std::int64_t inner_begin = 0, inner_end = 0;
  for (std::int64_t x = 0; x < out_width; x += lanes) {
    bool inner = true;
    for (const std::int64_t load : loads) {
      LaneBits in_image = 0;
      for (std::int64_t i = 0; i < lanes; ++i) {
        const std::int64_t column = x * size.stride_w + load + i * (paired ? size.stride_w : 1);
        if (column >= 0 && column < width) in_image = static_cast<LaneBits>(in_image | 1 << i);
        inner = inner && column >= 0 && column < width;
      }
      bits.push_back(paired ? static_cast<LaneBits>(in_image | in_image << lanes) : in_image);
    }
    if (inner && inner_end == 0) inner_begin = x;
    if (inner) inner_end = x + lanes;
  }

  const std::int64_t room = out_width + 3, plane_room = height * room + 5;
  std::vector<T> out(static_cast<std::size_t>(planes * plane_room), nan<T>);
  std::vector<std::ptrdiff_t> out_rows;
  for (std::int64_t y = 0; y < height; ++y) out_rows.push_back(y * room);
  PlaneArgs<T> a{};
  a.input = input.data(), a.input_plane = image_rows * width;
  a.rows = rows.data(), a.row_count = row_count, a.scratch = pointers.data(), a.zeros = zeros.data();
  a.columns = columns.data(), a.weights = weights.data(), a.bias = bias.data();
  a.out = out.data(), a.out_plane = plane_room, a.out_rows = out_rows.data();
  a.planes = planes, a.height = height, a.width = out_width, a.in_width = width;
  a.kernel_h = size.kernel_h, a.kernel_w = size.kernel_w, a.stride_h = size.stride_h;
  a.inner_begin = inner_begin, a.inner_end = inner_end;
  a.lanes = bits.data(), a.loads = static_cast<std::int64_t>(loads.size());
  kernel.run(a);

  std::vector<T> expected(out.size(), nan<T>);
  a.out = expected.data();
  if (alike) alike->run(a);
  for (std::int64_t p = 0; p < planes && !alike; ++p)
    for (std::int64_t y = 0; y < height; ++y)
      for (std::int64_t x = 0; x < out_width; ++x) {
        T sum = bias[static_cast<std::size_t>(p)];
        for (std::int64_t i = 0; i < size.kernel_h; ++i)
          for (std::int64_t j = 0; j < size.kernel_w; ++j) {
            const std::int64_t column = x * size.stride_w + columns[static_cast<std::size_t>(j)];
            const std::ptrdiff_t row = rows[static_cast<std::size_t>(y * size.stride_h + i)];
            if (row == no_row || column < 0 || column >= width) continue;
            sum += weights[static_cast<std::size_t>((p * size.kernel_h + i) * size.kernel_w + j)] *
                   input[p * image_rows * width + row + column];
          }
        expected[static_cast<std::size_t>(p * plane_room + y * room + x)] = sum;
      }
  for (std::size_t i = 0; i < out.size(); ++i)
    ASSERT_TRUE(same_value(out[i], expected[i]))
        << out[i] << " instead of " << expected[i] << " at " << i << ", " << height << " rows of " << out_width
        << " from " << width << ", kernel " << size.kernel_h << " x " << size.kernel_w << ", stride " << size.stride_h
        << " x " << size.stride_w << ", " << before << " columns of padding";
}

// The kernel sizes that the kernel is for, or some of them.
template <class T>
std::vector<Size> sizes_of(const PlaneKernel<T>& kernel) {
  std::vector<Size> sizes;
  for (const std::int64_t kernel_h : {1, 2, 3, 4, 6, 7, 11, 16})
    for (const std::int64_t kernel_w : {1, 3, 9})
      for (const std::int64_t stride_h : {1, 3}) {
        const Size size{kernel.kernel_h > 0 ? kernel.kernel_h : kernel_h,
                        kernel.kernel_w > 0 ? kernel.kernel_w : kernel_w,
                        kernel.stride_h > 0 ? kernel.stride_h : stride_h, kernel.stride_w};
        const auto same = [&](const Size& s) {
          return s.kernel_h == size.kernel_h && s.kernel_w == size.kernel_w && s.stride_h == size.stride_h;
        };
        if (std::none_of(sizes.begin(), sizes.end(), same)) sizes.push_back(size);
      }
  return sizes;
}

TYPED_TEST(Planes, ComputeTheirFormula) {
  for_each_set<TypeParam>([](const KernelSet<TypeParam>& set) {
    for (int i = 0; i < set.plane_count; ++i)
      for (const Size& size : sizes_of(set.plane[i]))
        for (const std::int64_t height :
             {1, set.plane[i].rows - 1, set.plane[i].rows, 2 * set.plane[i].rows + 1, set.plane[i].rolls() ? 8 : 1})
          for (const int width :
               {1, 2, set.lanes / 2 - 1, set.lanes / 2, set.lanes - 1, set.lanes, set.lanes + 1, 2 * set.lanes - 3,
                2 * set.lanes - 2, 5 * set.lanes + 3, 9 * set.lanes, 13 * set.lanes + 1, 24 * set.lanes}) {
            if (width > 6 * set.lanes && !set.plane[i].rolls()) continue;  // no more than vectors in the middle
            const int most_width = set.plane[i].most_width;
            if (width < 1 || (most_width > 0 && width > most_width * size.stride_w)) continue;
            // Where rows are loaded as a whole, outputs may be fewer or more than what is in them.
            const std::int64_t in_row = (width - 1) / size.stride_w + 1;
            std::vector<std::int64_t> out_widths = {in_row};
            if (in_row > 2 && most_width > 0) out_widths.push_back(in_row - 2);
            if (in_row + 1 < most_width) out_widths.push_back(in_row + 2);
            for (const std::int64_t out_width : out_widths)
              for (const std::int64_t before : {0, 1, 5, 40})
                for (const Edge edge : {Edge::begin, Edge::end}) {
                  check(set, set.plane[i], size, height, width, out_width, before, edge);
                  if (testing::Test::HasFatalFailure()) return;
                }
          }
  });
}

// Which of the two is faster depends on the batch, which must not show in the bits.
TYPED_TEST(Planes, RowByRowOrInPassesTheBitsAreTheSame) {
  for_each_set<TypeParam>([](const KernelSet<TypeParam>& set) {
    for (int i = 0; i < set.plane_count; ++i) {
      const PlaneKernel<TypeParam>& rolling = set.plane[i];
      if (!rolling.rolls()) continue;
      const auto passes = std::find_if(set.plane, set.plane + set.plane_count, [&](const PlaneKernel<TypeParam>& k) {
        return k.kernel_h == rolling.kernel_h && k.kernel_w == rolling.kernel_w && k.stride_h == rolling.stride_h &&
               k.stride_w == rolling.stride_w && !k.rolls() && !k.paired() && !k.fetches;
      });
      ASSERT_NE(passes, set.plane + set.plane_count);
      const Size size{rolling.kernel_h, rolling.kernel_w, rolling.stride_h, rolling.stride_w};
      for (const std::int64_t height : {2, 7, 20})
        for (const std::int64_t vectors : {2, 4, 5, 9}) {
          check(set, rolling, size, height, vectors * set.lanes * rolling.stride_w, vectors * set.lanes - 3, 1,
                Edge::end, passes);
          if (testing::Test::HasFatalFailure()) return;
        }
    }
  });
}

// The last row of the table is for what no other takes.
TYPED_TEST(Planes, LastKernelTakesAnyHeightAndStride) {
  for_each_set<TypeParam>([](const KernelSet<TypeParam>& set) {
    const PlaneKernel<TypeParam>& last = set.plane[set.plane_count - 1];
    EXPECT_TRUE(last.kernel_h == 0 && last.kernel_w == 0 && last.stride_h == 0 && last.stride_w == 1);
  });
}

}  // namespace
}  // namespace tileconv::test
