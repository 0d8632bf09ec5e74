// Plans: every algorithm on every instruction set equals the reference, in every layout, whatever was in the scratch
// memory before.
#include "plan.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <memory>
#include <set>

#include "algorithms/algorithms.h"
#include "parallel.h"
#include "test_support.h"

namespace tileconv::test {
namespace {

template <class T>
constexpr DType dtype_of = sizeof(T) == 4 ? DType::float32 : DType::float64;

template <class T>
ConvProblem make_problem_of(const std::string& line) {
  return make_problem(line + " f" + std::to_string(8 * sizeof(T)));
}

// ---- Arrays in memory ----

struct ArrayLayout {
  int order[4];          // of the axes n, c, h, w, the outermost first
  std::int64_t margin;   // elements that each axis but the outermost is longer by
  bool reversed;         // all strides negative
  std::ptrdiff_t shift;  // bytes off alignment
};
constexpr ArrayLayout dense{{0, 1, 2, 3}, 0, false, 0}, unaligned{{0, 1, 2, 3}, 0, false, 1};
constexpr ArrayLayout margins{{0, 1, 2, 3}, 3, false, 0}, reversed{{0, 1, 2, 3}, 1, true, 0};
constexpr ArrayLayout channels_last{{0, 2, 3, 1}, 0, false, 0}, transposed{{1, 3, 0, 2}, 2, false, 0};

// An array in bytes of 0xff, a NaN, that reaches up to an inaccessible page. What should not be read turns sums into
// NaN, and what should not be written is checked.
template <class T>
class Array {
 public:
  Array(const std::vector<std::int64_t>& shape, const ArrayLayout& layout)
      : Array(shape, layout, strides(shape, layout)) {}

  const char* data() const { return origin_; }
  char* data() { return origin_; }
  const std::array<std::ptrdiff_t, 4>& stride() const { return stride_; }

  void set(const std::vector<T>& values) {
    std::size_t i = 0;
    for_each([&](char* p) { std::memcpy(p, &values[i++], sizeof(T)); });
  }
  std::vector<T> get() const {
    std::vector<T> values;
    for_each([&](const char* p) { std::memcpy(&values.emplace_back(), p, sizeof(T)); });
    return values;
  }
  // Whether all bytes that belong to no element are as they were. The elements are lost.
  bool surroundings_untouched() {
    for_each([](char* p) { std::memset(p, 0xff, sizeof(T)); });
    return std::all_of(memory_.begin(), memory_.end(), [](char byte) { return byte == static_cast<char>(0xff); });
  }

 private:
  static constexpr std::ptrdiff_t front = 64;
  using Strides = std::array<std::ptrdiff_t, 5>;  // and the bytes of all

  static Strides strides(const std::vector<std::int64_t>& shape, const ArrayLayout& layout) {
    Strides s{};
    s[4] = sizeof(T);
    for (int i = 3; i >= 0; --i) {
      const auto axis = static_cast<std::size_t>(layout.order[i]);
      s[axis] = s[4];
      s[4] *= shape[axis] + (i > 0 ? layout.margin : 0);
    }
    return s;
  }
  Array(const std::vector<std::int64_t>& shape, const ArrayLayout& layout, const Strides& s)
      : shape_(shape), memory_(static_cast<std::size_t>(front + s[4] + layout.shift), Edge::end) {
    std::fill(memory_.begin(), memory_.end(), static_cast<char>(0xff));
    origin_ = memory_.data() + front;
    for (std::size_t axis = 0; axis < 4; ++axis) {
      stride_[axis] = layout.reversed ? -s[axis] : s[axis];
      if (layout.reversed && shape[axis] > 0) origin_ += (shape[axis] - 1) * s[axis];
    }
  }
  template <class F>
  void for_each(F f) const {
    for (std::int64_t n = 0; n < shape_[0]; ++n)
      for (std::int64_t c = 0; c < shape_[1]; ++c)
        for (std::int64_t h = 0; h < shape_[2]; ++h)
          for (std::int64_t w = 0; w < shape_[3]; ++w)
            f(origin_ + n * stride_[0] + c * stride_[1] + h * stride_[2] + w * stride_[3]);
  }

  std::vector<std::int64_t> shape_;
  Guarded<char> memory_;
  char* origin_;
  std::array<std::ptrdiff_t, 4> stride_;
};

// ---- One run ----

struct Variant {
  const char* name;
  int threads;
  bool frozen;
  ArrayLayout input, out;
};
constexpr Variant variants[] = {
    {"dense", 1, false, dense, dense},
    {"dense, frozen, 3 threads", 3, true, dense, dense},
    {"channels last, 3 threads", 3, false, channels_last, channels_last},
    {"reversed, frozen", 1, true, reversed, reversed},
    {"unaligned input, 3 threads", 3, false, unaligned, margins},
    {"input with margins, frozen", 1, true, margins, dense},
    {"transposed", 1, false, transposed, transposed},
};

std::vector<std::int64_t> shape_of_input(const ConvProblem& p) { return {p.batch, p.in_channels, p.in_h, p.in_w}; }
std::vector<std::int64_t> shape_of_output(const ConvProblem& p) { return {p.batch, p.out_channels, p.out_h, p.out_w}; }

template <class T>
std::vector<T> compute(const ConvProblem& p, Operands<T>& operands, const Algorithm& algorithm,
                       const KernelTable& kernels, const Variant& variant) {
  Array<T> input(shape_of_input(p), variant.input), out(shape_of_output(p), variant.out);
  input.set(operands.input);
  ConvViews views;
  views.input = input.data();
  views.weight = reinterpret_cast<const char*>(operands.weight.data());
  views.bias = p.has_bias ? reinterpret_cast<const char*>(operands.bias.data()) : nullptr;
  views.out = out.data();
  std::copy(input.stride().begin(), input.stride().end(), views.input_stride);
  std::copy(out.stride().begin(), out.stride().end(), views.out_stride);

  const PlanRequest request{p, &kernels, variant.threads, variant.frozen, Layout::of(p, views)};
  // What choose() takes as the usual layout.
  if (std::string(variant.name).rfind("dense", 0) == 0) {
    EXPECT_TRUE(request.layout == Layout{});
  }
  const std::unique_ptr<Plan> plan = choose(request, algorithm.name).plan;
  // Stale scratch is NaN.
  const auto workspace = static_cast<std::size_t>(plan->workspace_bytes());
  if (workspace > 0) std::memset(thread_arena(Arena::workspace, workspace), 0xff, workspace);
  Guarded<char> packed(static_cast<std::size_t>(plan->packed_bytes()));
  std::fill(packed.begin(), packed.end(), static_cast<char>(0xff));
  if (packed.size() > 0) plan->pack(views, packed.data());
  plan->run(views, packed.size() > 0 ? packed.data() : nullptr);
  release_large_arenas();

  const std::vector<T> values = out.get();
  EXPECT_TRUE(out.surroundings_untouched());
  return values;
}

// Calls f(compute, algorithm) for every algorithm on every instruction set; compute(variant) is the result for one.
template <class T, class F>
void for_each_algorithm(const ConvProblem& p, Operands<T>& operands, F f) {
  for (int i = 0; i < algorithm_count; ++i)
    for (const KernelTable* table : available_kernels()) {
      if (algorithms[i]->unsupported({p, table, 1, false, {}})) continue;
      SCOPED_TRACE(std::string(algorithms[i]->name) + " on " + table->isa);
      f([&](const Variant& variant) { return compute(p, operands, *algorithms[i], *table, variant); }, *algorithms[i]);
    }
}

template <class T>
void expect_same(const std::vector<T>& values, const std::vector<T>& expected, const Variant& variant) {
  ASSERT_EQ(values.size(), expected.size());
  for (std::size_t i = 0; i < values.size(); ++i)
    ASSERT_TRUE(same_value(values[i] + T(0), expected[i] + T(0)))
        << variant.name << ": " << values[i] << " instead of " << expected[i] << " at " << i << " of " << values.size();
}

// Equal where the algorithm says that it is exact; else non-finite values are equal, and the others within the error
// that is promised of the largest.
template <class T>
void expect_values(const std::vector<T>& values, const std::vector<T>& expected, const Variant& variant,
                   const Algorithm& algorithm) {
  if (std::string(algorithm.accuracy).find("exact") != std::string::npos) return expect_same(values, expected, variant);
  ASSERT_EQ(values.size(), expected.size());
  T largest = 0;
  for (const T value : expected)
    if (std::isfinite(value)) largest = std::max(largest, std::abs(value));
  const T bound = largest * (sizeof(T) == 4 ? T(1e-5) : T(1e-13));
  for (std::size_t i = 0; i < values.size(); ++i)
    ASSERT_TRUE(std::isfinite(expected[i]) ? std::abs(values[i] - expected[i]) <= bound
                                           : same_value(values[i], expected[i]))
        << variant.name << ": " << values[i] << " instead of " << expected[i] << " at " << i << " of " << values.size();
}

template <class T>
class Plans : public testing::Test {
 protected:
  // Every algorithm in every variant gives the same values as the reference.
  template <class Fill>
  void expect_reference_values(Fill fill) {
    for (const char* line : problem_lines) {
      SCOPED_TRACE(line);
      const ConvProblem p = make_problem_of<T>(line);
      Operands<T> operands(p);
      operands.fill(fill);
      const std::vector<T> expected = compute(p, operands, reference_algorithm, kernels_baseline, variants[0]);
      for_each_algorithm(p, operands, [&](auto result, const Algorithm& algorithm) {
        for (const Variant& variant : variants) expect_values(result(variant), expected, variant, algorithm);
      });
      if (testing::Test::HasFailure()) return;
    }
  }
};
using Elements = testing::Types<float, double>;
TYPED_TEST_SUITE(Plans, Elements, );

TYPED_TEST(Plans, AreExactOnSmallIntegers) {
  this->expect_reference_values([](auto& range, Random& random) { fill_integers(range, random); });
}

TYPED_TEST(Plans, CarryNanAndInfinityToTheSameOutputs) {
  this->expect_reference_values([](auto& range, Random& random) {
    fill_integers(range, random);
    if (range.size() == 0) return;
    constexpr TypeParam infinity = std::numeric_limits<TypeParam>::infinity();
    for (const TypeParam value : {nan<TypeParam>, infinity, -infinity})
      range.begin()[static_cast<std::ptrdiff_t>(random() % range.size())] = value;
  });
}

// The bits of a sum depend on neither layout, threads, the weights' lifetime nor the rest of the batch.
TYPED_TEST(Plans, GiveTheSameBitsInEveryVariant) {
  using T = TypeParam;
  for (const char* line : problem_lines) {
    SCOPED_TRACE(line);
    const ConvProblem p = make_problem_of<T>(line);
    Operands<T> operands(p);
    operands.fill([](auto& range, Random& random) { fill_normals(range, random); });
    for_each_algorithm(p, operands, [&](auto result, const Algorithm&) {
      const std::vector<T> first = result(variants[0]);
      for (const Variant& variant : variants) expect_same(result(variant), first, variant);
    });
    if (p.batch > 1) {
      ConvProblem one = p;
      one.batch = 1;
      Operands<T> last(one);
      last.fill([](auto& range, Random& random) { fill_normals(range, random); });
      last.input.assign(operands.input.end() - static_cast<std::ptrdiff_t>(last.input.size()), operands.input.end());
      std::copy(operands.weight.begin(), operands.weight.end(), last.weight.begin());
      std::copy(operands.bias.begin(), operands.bias.end(), last.bias.begin());
      std::vector<std::vector<T>> alone;
      for_each_algorithm(one, last, [&](auto result, const Algorithm&) { alone.push_back(result(variants[0])); });
      std::size_t next = 0;
      for_each_algorithm(p, operands, [&](auto result, const Algorithm&) {
        const std::vector<T> all = result(variants[0]), &image = alone[next++];
        expect_same({all.end() - static_cast<std::ptrdiff_t>(image.size()), all.end()}, image, variants[0]);
      });
    }
    if (testing::Test::HasFailure()) return;
  }
}

// shift_gemm gives the reference's values in every variant on each of the cores; look(problem, its plan's report, core)
// tells which roads that took.
template <class T, class Look>
void expect_shift_gemm_exact(const std::string& line, const KernelTable& table, std::initializer_list<CoreTraits> cores,
                             Look look) {
  SCOPED_TRACE(line + " on " + table.isa);
  const ConvProblem p = make_problem_of<T>(line);
  Operands<T> operands(p);
  operands.fill([](auto& range, Random& random) { fill_integers(range, random); });
  const std::vector<T> expected = compute(p, operands, reference_algorithm, kernels_baseline, variants[0]);
  const CoreTraits own = core_traits();
  for (const CoreTraits& core : cores) {
    set_core_traits(core);
    look(p, shift_gemm_algorithm.prepare({p, &table, 1, false, {}})->report(), core);
    for (const Variant& variant : variants)
      expect_same(compute(p, operands, shift_gemm_algorithm, table, variant), expected, variant);
  }
  set_core_traits(own);
}
std::int64_t chunk_of(const PlanReport& report) {
  for (const auto& [name, value] : report.blocking)
    if (name == "channels_per_chunk") return value;
  return 0;
}

// A single tap over planes pages apart. A core that takes a vector at once packs the pixels in blocks: of lines of many
// tiles with and without a remainder, of sums in one chunk and in several.
TYPED_TEST(Plans, ReadPlanesPagesApartAsTheCoreLikes) {
  for (const KernelTable* table : available_kernels()) {
    std::set<bool> remainders, chunked;
    for (const char* line : {"ic5 ih1 iw256 oc7", "ic5 ih17 iw1031 oc26", "ic66 ih17 iw256 oc52 g2",
                             "ic66 ih1 iw1031 oc14 g2", "ic700 ih1 iw1024 oc7", "ic700 ih1 iw1031 oc26"})
      expect_shift_gemm_exact<TypeParam>(
          std::string(line) + " kh1", *table, {core_for(*table, true), core_for(*table, false)},
          [&](const ConvProblem& p, const PlanReport& report, const CoreTraits&) {
            if (report.kernel.find("pixel_lanes") != 0 || report.kernel.find("pixels packed") == std::string::npos)
              return;
            remainders.insert(p.out_h * p.out_w % 16 > 0);
            chunked.insert(chunk_of(report) < p.group_in_channels());
          });
    EXPECT_EQ(remainders.size(), 2u) << table->isa;
    EXPECT_GE(chunked.size(), std::string(table->isa) == "baseline" ? 1u : 2u);  // short vectors: long chunks
  }
}

// Half vectors at the end of lines that leave a half or less, read in place, staged, and across the rows of a tile; of
// sums in one chunk and in several.
TYPED_TEST(Plans, EndLinesWithHalfVectorsWhereTheCoreTakesHalves) {
  for (const KernelTable* table : available_kernels()) {
    const CoreTraits at_once = core_for(*table, true), in_halves = core_for(*table, false);
    std::set<std::string> kernels;
    std::set<bool> chunked;
    const auto look = [&](const ConvProblem& p, const PlanReport& report, const CoreTraits& core) {
      if (report.kernel.find("half vectors") == std::string::npos) return;
      EXPECT_EQ(core.vector_bytes, in_halves.vector_bytes);
      kernels.insert(report.kernel.substr(report.kernel.find(',')));
      chunked.insert(chunk_of(report) < p.in_channels);
    };
    for (const int width : {1, 2, 4, 5, 7, 8, 9, 11, 12, 15, 16, 17, 20, 23, 24, 25, 28, 36, 40, 41, 56, 97, 196, 388})
      for (const char* rest : {" ih1 ic5 oc7 kh1 bias", " ih1 ic5 oc26 kh1", " ih1 ic700 oc26 kh1",
                               " ih3 ic2 oc5 kh3 p1", " ih5 ic3 oc3 kh3 s2 p1 bias", " ih2 ic4 oc1 kh1 kw5 ph0 pw2"})
        expect_shift_gemm_exact<TypeParam>("iw" + std::to_string(width) + rest, *table, {at_once, in_halves}, look);
    // Of lines in place, staged, and flat with rows of whole vectors and without.
    const bool halves = kernel_set<TypeParam>(*table).half_lanes > 0;
    EXPECT_EQ(kernels.size(), halves ? 4u : 0u) << table->isa;
    EXPECT_EQ(chunked.size(), halves ? 2u : 0u) << table->isa;
  }
}

// Where L3 has no room for the input of few out channels, these are sums of several chunks, of pixel lanes.
TYPED_TEST(Plans, ReadFewPlanesAtATimeFromMemory) {
  for (const KernelTable* table : available_kernels()) {
    const CoreTraits usual = core_for(*table, true);
    CoreTraits small = usual;
    small.l3 = 4096;
    int chunked = 0;
    const auto look = [&](const ConvProblem& p, const PlanReport& report, const CoreTraits& core) {
      if (report.kernel.find("pixel_lanes") != 0) return;
      const std::int64_t chunk = chunk_of(report);
      EXPECT_TRUE(core.l3 == small.l3 ? chunk <= 16 : chunk == p.in_channels) << chunk << " channels";
      chunked += chunk < p.in_channels ? 1 : 0;
    };
    for (const char* line : {"ic37 ih9 oc1 kh1 bias", "b2 ic40 ih16 iw64 oc1 kh1", "ic37 ih9 iw23 oc3 kh3 p1 bias"})
      expect_shift_gemm_exact<TypeParam>(line, *table, {usual, small}, look);
    EXPECT_GE(chunked, 1) << table->isa;
  }
}

TEST(Threads, AreAsManyAsHaveEnoughToDo) {
  EXPECT_EQ(threads_for(0, 8), 1);
  EXPECT_EQ(threads_for(79'999, 8), 1);
  EXPECT_EQ(threads_for(80'000, 8), 2);
  EXPECT_EQ(threads_for(80'000, 1), 1);
  EXPECT_EQ(threads_for(1e9, 8), 8);
}

// Copies of fewer channels than half a vector go element by element: neither threads nor wide images are a reason.
TEST(Depthwise, CopiesSomeChannelsTogetherWhereTheyAreInnermost) {
  Layout innermost;
  innermost.input_rows = innermost.input_planes = innermost.out_rows = innermost.out_planes = false;
  for (const KernelTable* table : available_kernels())
    for (const char* line : {"ic3 ih512 oc3 kh3 p1 g3", "ic17 ih56 oc17 kh3 p1 g17", "ic32 ih28 oc32 kh5 p2 g32",
                             "ic960 ih7 oc960 kh3 p1 g960", "ic16 ih1080 iw1920 oc16 kh3 p1 g16"})
      for (const int threads : {1, 2, 8}) {
        const ConvProblem p = make_problem(line);
        const PlanReport report = depthwise_algorithm.prepare({p, table, threads, false, innermost})->report();
        EXPECT_NE(report.kernel.find("input copied"), std::string::npos) << line << " on " << table->isa;
        for (const auto& [name, value] : report.blocking)
          if (name == "planes") {
            EXPECT_GE(value, std::min<std::int64_t>(p.groups, table->f32.lanes / 2)) << line << " on " << table->isa;
          }
      }
}

}  // namespace
}  // namespace tileconv::test
