// The kernels of one plane (depthwise) on every instruction set against a plain loop, and what they may read and write.
#include <memory>

#include "kernels/kernels.h"
#include "test_support.h"

namespace tileconv::test {
namespace {

template <class T>
class Planes : public testing::Test {};
using Elements = testing::Types<float, double>;
TYPED_TEST_SUITE(Planes, Elements, );

struct Size {
  std::int64_t kernel_h, kernel_w, row_step, row_tap;
};
// For a kernel that takes any size.
const std::vector<Size> any_sizes = {{1, 1, 1, 1}, {2, 3, 1, 1}, {3, 3, 2, 2},
                                     {4, 1, 3, 1}, {1, 9, 1, 4}, {11, 2, 1, 1}};

// Output rows `width` wide from input rows as wide, which begin and end at inaccessible pages in turn, with `before`
// columns of zero padding.
template <class T>
void check(const KernelSet<T>& set, const PlaneKernel<T>& kernel, const Size& size, std::int64_t height,
           std::int64_t width, std::int64_t before) {
  Random random(9);
  const std::int64_t passes = (height + set.plane_rows - 1) / set.plane_rows * set.plane_rows;
  const std::int64_t count = (passes - 1) * size.row_step + (size.kernel_h - 1) * size.row_tap + 1;
  std::vector<std::unique_ptr<Guarded<T>>> memory;
  std::vector<const T*> rows;
  for (std::int64_t q = 0; q < count; ++q) {
    if (q < 4) {  // all others repeat these
      memory.push_back(std::make_unique<Guarded<T>>(static_cast<std::size_t>(width), q % 2 ? Edge::begin : Edge::end));
      fill_integers(*memory.back(), random);
    }
    rows.push_back(memory[static_cast<std::size_t>(q % 4)]->data());
  }
  std::vector<T> weights(static_cast<std::size_t>(size.kernel_h * size.kernel_w));
  fill_integers(weights, random);
  std::vector<std::ptrdiff_t> columns;
  for (std::int64_t j = 0; j < size.kernel_w; ++j) columns.push_back(2 * j - before);

  const std::int64_t room = width + 3;
  std::vector<T> out(static_cast<std::size_t>(passes * room), nan<T>);
  std::vector<T*> out_rows;
  for (std::int64_t y = 0; y < passes; ++y) out_rows.push_back(out.data() + y * room);
  PlaneArgs<T> a{};
  a.rows = rows.data(), a.out = out_rows.data(), a.columns = columns.data(), a.weights = weights.data();
  a.bias = T(3);
  a.kernel_h = size.kernel_h, a.kernel_w = size.kernel_w, a.row_step = size.row_step, a.row_tap = size.row_tap;
  a.height = height, a.width = width;
  a.column_begin = 0, a.column_end = width;
  kernel.run(a);

  for (std::int64_t y = 0; y < passes; ++y)
    for (std::int64_t x = 0; x < room; ++x) {
      T sum = x < width ? a.bias : nan<T>;
      for (std::int64_t i = 0; i < size.kernel_h; ++i)
        for (std::int64_t j = 0; j < size.kernel_w; ++j) {
          const std::int64_t column = x + columns[static_cast<std::size_t>(j)];
          if (column >= 0 && column < width)
            sum += weights[static_cast<std::size_t>(i * size.kernel_w + j)] *
                   rows[static_cast<std::size_t>(y * size.row_step + i * size.row_tap)][column];
        }
      ASSERT_TRUE(same_value(out_rows[static_cast<std::size_t>(y)][x], sum))
          << out_rows[static_cast<std::size_t>(y)][x] << " instead of " << sum << " in row " << y << " of " << height
          << ", column " << x << " of " << width << ", kernel " << size.kernel_h << " x " << size.kernel_w << ", step "
          << size.row_step << ", " << before << " columns of padding";
    }
}

TYPED_TEST(Planes, ComputeTheirFormula) {
  for_each_set<TypeParam>([](const KernelSet<TypeParam>& set) {
    for (int i = 0; i < set.plane_count; ++i) {
      const PlaneKernel<TypeParam>& kernel = set.plane[i];
      const std::vector<Size> own = {{kernel.kernel_h, kernel.kernel_w, kernel.stride_h, 1}};
      for (const Size& size : kernel.stride_h > 0 ? own : any_sizes)
        for (const std::int64_t height : {1, set.plane_rows, 2 * set.plane_rows + 1})
          for (const int width : {1, 2, set.lanes - 1, set.lanes, set.lanes + 1, 5 * set.lanes + 3})
            for (const std::int64_t before : {0, 1, 5, 40}) {
              check(set, kernel, size, height, width, before);
              if (testing::Test::HasFatalFailure()) return;
            }
    }
  });
}

}  // namespace
}  // namespace tileconv::test
