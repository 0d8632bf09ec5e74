// Plans: every algorithm on every instruction set equals the reference, in every layout, whatever was in the scratch
// memory before; and what the choice among them promises.
#include "plan.h"

#include <algorithm>
#include <array>
#include <map>
#include <memory>

#include "algorithms/algorithms.h"
#include "conv.h"
#include "parallel.h"
#include "test_support.h"

namespace tileconv::test {
namespace {

template <class T>
constexpr DType dtype_of = sizeof(T) == 4 ? DType::float32 : DType::float64;

// Small, but for those that are cut into several tiles, chunks of channels or threads.
const char* const problem_lines[] = {
    "b2 ic3 ih8 iw9 oc5 kh3 p1 bias",
    "ic4 ih7 iw11 oc6 kh3 s2 p1",
    "ic2 ih11 iw7 oc3 kh2 kw5 sh3 sw2 pt1 pb0 pl2 pr3 dh2 dw1 bias",
    "ic3 ih6 iw7 oc4 kh3 kw4 sh1 sw2 pt2 pb1 pl3 pr5 d2 zeros",
    "ic3 ih6 iw7 oc4 kh3 kw4 sh1 sw2 pt2 pb1 pl3 pr5 d2 reflect",
    "ic3 ih6 iw7 oc4 kh3 kw4 sh1 sw2 pt2 pb1 pl3 pr5 d2 replicate bias",
    "ic3 ih6 iw7 oc4 kh3 kw4 sh1 sw2 pt2 pb1 pl3 pr5 d2 circular",
    "ic3 ih6 iw7 oc4 kh3 kw4 sh1 sw2 pt2 pb1 pl3 pr5 d2 symmetric",
    "b2 ic5 ih5 iw37 oc19 kh5 p4 reflect",
    "ic2 ih3 oc3 kh6 p3 replicate",
    "ic4 ih7 oc20 kh3 p9 d9",                           // dilation beyond the image
    "ic2 ih6 oc3 kh3 p11 d6 s5 bias",
    "ic1 ih3 oc2 kh2 p1000000000000 d1000000000000 s1000000000000 zeros",
    "ic1 ih3 oc2 kh2 p1000000000000 d1000000000000 s1000000000000 symmetric",
    "ic6 ih9 oc9 kh3 p1 g3 bias",
    "b2 ic8 ih9 iw17 oc8 kh3 p1 g8",                    // depthwise
    "ic4 ih6 oc12 kh3 kw1 g4 reflect p1 bias",          // depthwise with a multiplier
    "b2 ic3 ih0 iw5 oc4 kh3 ph2 pw1 bias",              // nothing but padding
    "b0 ic3 ih5 oc4 kh3",
    "b2 ic24 ih7 oc40 kh1 bias",
    "ic9 ih8 oc33 kh1 s2",
    "ic3 ih5 oc6 kh1 p2 replicate",
    "ic50 ih1 oc70 kh1",                                // a matrix times a vector
    "ic3 ih5 oc6 kh5 bias",                             // one output
    "ic2 ih1 iw300 oc3 kh1 kw7 ph0 pw3",
    "ic2 ih300 iw1 oc3 kh7 kw1 ph3 pw0 bias",
    "ic330 ih5 oc40 kh3 p1 bias",                       // chunks of channels
    "ic700 ih6 oc72 kh1",
    "ic40 ih2 iw900 oc2 kh3 p1 reflect",                // tiles of columns
    "ic64 ih3 iw500 oc3 kh3 p30 d30",
    "b2 ic16 ih20 oc28 kh3 p1 bias",                    // threads over images, over out channels
    "ic32 ih12 oc100 kh3 p1",
};

template <class T>
ConvProblem make_problem_of(const std::string& line) {
  return make_problem(line + " f" + std::to_string(8 * sizeof(T)));
}

// ---- Arrays in memory ------------------------------------------------------------------------------------------------

struct ArrayLayout {
  int order[4];         // of the axes n, c, h, w, the outermost first
  std::int64_t margin;  // elements that each axis but the outermost is longer by
  bool reversed;        // all strides negative
  std::ptrdiff_t shift; // bytes off alignment
};
constexpr ArrayLayout dense{{0, 1, 2, 3}, 0, false, 0}, unaligned{{0, 1, 2, 3}, 0, false, 1};
constexpr ArrayLayout margins{{0, 1, 2, 3}, 3, false, 0}, reversed{{0, 1, 2, 3}, 1, true, 0};
constexpr ArrayLayout channels_last{{0, 2, 3, 1}, 0, false, 0}, transposed{{1, 3, 0, 2}, 2, false, 0};

// An array in bytes of 0xff, a NaN, that reaches up to an inaccessible page. What should not be read turns sums into
// NaN, and what should not be written is checked.
template <class T>
class Array {
 public:
  Array(const std::vector<std::int64_t>& shape, const ArrayLayout& layout) : Array(shape, layout, strides(shape, layout)) {}

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

// ---- One run ---------------------------------------------------------------------------------------------------------

template <class T>
struct Operands {
  std::vector<T> input;
  Guarded<T> weight, bias;

  explicit Operands(const ConvProblem& p)
      : input(static_cast<std::size_t>(p.batch * p.in_channels * p.in_h * p.in_w)),
        weight(static_cast<std::size_t>(p.out_channels * p.group_in_channels() * p.taps()), Edge::end),
        bias(static_cast<std::size_t>(p.out_channels), Edge::end) {}

  template <class Fill>
  void fill(Fill fill_range) {
    Random random(6);
    fill_range(input, random);
    fill_range(weight, random);
    fill_range(bias, random);
  }
};

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
std::vector<T> compute(const ConvProblem& p, Operands<T>& operands, const Algorithm& algorithm, const KernelTable& kernels,
                       const Variant& variant) {
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

// Calls f(compute) for every algorithm on every instruction set; compute(variant) is the result for one.
template <class T, class F>
void for_each_algorithm(const ConvProblem& p, Operands<T>& operands, F f) {
  for (int i = 0; i < algorithm_count; ++i)
    for (const KernelTable* table : available_kernels()) {
      if (algorithms[i]->unsupported({p, table, 1, false, {}})) continue;
      SCOPED_TRACE(std::string(algorithms[i]->name) + " on " + table->isa);
      f([&](const Variant& variant) { return compute(p, operands, *algorithms[i], *table, variant); });
    }
}

template <class T>
void expect_same(const std::vector<T>& values, const std::vector<T>& expected, const Variant& variant) {
  ASSERT_EQ(values.size(), expected.size());
  for (std::size_t i = 0; i < values.size(); ++i)
    ASSERT_TRUE(same_value(values[i] + T(0), expected[i] + T(0)))
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
      for_each_algorithm(p, operands, [&](auto result) {
        for (const Variant& variant : variants) expect_same(result(variant), expected, variant);
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
    for_each_algorithm(p, operands, [&](auto result) {
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
      for_each_algorithm(one, last, [&](auto result) { alone.push_back(result(variants[0])); });
      std::size_t next = 0;
      for_each_algorithm(p, operands, [&](auto result) {
        const std::vector<T> all = result(variants[0]), &image = alone[next++];
        expect_same({all.end() - static_cast<std::ptrdiff_t>(image.size()), all.end()}, image, variants[0]);
      });
    }
    if (testing::Test::HasFailure()) return;
  }
}

// ---- The choice and the plan's own promises --------------------------------------------------------------------------

template <class F>
void for_each_request(F f) {
  for (const char* line : problem_lines)
    for (const char* dtype : {" f32", " f64"})
      for (const KernelTable* table : available_kernels()) {
        SCOPED_TRACE(std::string(line) + dtype + " on " + table->isa);
        f(PlanRequest{make_problem(std::string(line) + dtype), table, 1, false, {}});
      }
}

TEST(Choose, RefusesUnknownNames) {
  const PlanRequest request{make_problem("ic2 ih5 oc3 kh3"), &active_kernels(), 1, false, {}};
  for (const char* name : {"", "fft9", "Reference", "AUTO"}) {
    try {
      choose(request, name);
      ADD_FAILURE() << "'" << name << "' was taken";
    } catch (const ValueError& error) {
      const std::string message = error.what();
      EXPECT_NE(message.find("got '" + std::string(name) + "'"), std::string::npos) << message;
      for (int i = 0; i < algorithm_count; ++i)
        EXPECT_NE(message.find("'" + std::string(algorithms[i]->name) + "'"), std::string::npos) << message;
    }
  }
}

TEST(Choose, TakesTheLowestEstimateAndGivesAReasonForEveryOther) {
  for_each_request([](const PlanRequest& request) {
    const Choice choice = choose(request, "auto", true);
    ASSERT_NE(choice.plan, nullptr);
    EXPECT_EQ(static_cast<int>(choice.rejected.size()), algorithm_count - 1);
    for (const auto& [name, reason] : choice.rejected) {
      EXPECT_NE(name, choice.algorithm->name);
      EXPECT_FALSE(reason.empty()) << name;
    }
    for (int i = 0; i < algorithm_count; ++i) {
      if (algorithms[i]->unsupported(request)) continue;
      EXPECT_LE(choice.plan->cycles(), algorithms[i]->prepare(request)->cycles()) << algorithms[i]->name;
    }
    EXPECT_TRUE(choose(request, "auto").rejected.empty());
    EXPECT_STREQ(choose(request, choice.algorithm->name).algorithm->name, choice.algorithm->name);
  });
}

TEST(Choose, DependsOnNeitherBatchThreadsLayoutNorFreezing) {
  for_each_request([](const PlanRequest& request) {
    const Algorithm* const usual = choose(request, "auto").algorithm;
    for (const std::int64_t batch : {0, 1, 17})
      for (const int threads : {1, 8})
        for (const bool frozen : {false, true})
          for (const Layout layout : {Layout{}, Layout{true, false, true, false}, Layout{false, false, false, false}}) {
            PlanRequest other{request.problem, request.kernels, threads, frozen, layout};
            other.problem.batch = batch;
            EXPECT_EQ(choose(other, "auto").algorithm, usual) << "batch " << batch << ", " << threads << " threads";
          }
  });
}

TEST(Choose, TheReferenceSupportsEverything) {
  for_each_request([](const PlanRequest& request) {
    EXPECT_EQ(reference_algorithm.unsupported(request), nullptr);
    EXPECT_EQ(choose(request, reference_algorithm.name).algorithm, &reference_algorithm);
  });
}

TEST(Plan, IsAPureFunctionOfTheRequest) {
  for_each_request([](const PlanRequest& request) {
    for (int i = 0; i < algorithm_count; ++i) {
      if (algorithms[i]->unsupported(request)) continue;
      const auto first = algorithms[i]->prepare(request), second = algorithms[i]->prepare(request);
      EXPECT_EQ(first->report().kernel, second->report().kernel);
      EXPECT_EQ(first->report().blocking, second->report().blocking);
      EXPECT_EQ(first->packing_key(), second->packing_key());
      EXPECT_EQ(first->cycles(), second->cycles());
    }
  });
}

TEST(Plan, WorkspaceAndPackingDoNotDependOnTheBatch) {
  for_each_request([](PlanRequest request) {
    for (int i = 0; i < algorithm_count; ++i) {
      if (algorithms[i]->unsupported(request)) continue;
      request.problem.batch = 1;
      const auto one = algorithms[i]->prepare(request);
      request.problem.batch = 1000;
      const auto many = algorithms[i]->prepare(request);
      EXPECT_EQ(one->workspace_bytes(), many->workspace_bytes()) << algorithms[i]->name;
      EXPECT_EQ(one->packed_bytes(), many->packed_bytes()) << algorithms[i]->name;
      EXPECT_EQ(one->packing_key(), many->packing_key()) << algorithms[i]->name;
    }
  });
}

// Layers of ResNet and VGG.
const char* const layers[] = {
    "ic3 ih224 oc64 kh7 s2 p3", "ic64 ih56 oc64 kh3 p1",     "ic64 ih56 oc256 kh1",       "ic128 ih56 oc128 kh3 s2 p1",
    "ic128 ih28 oc128 kh3 p1",  "ic256 ih14 oc256 kh3 p1",   "ic512 ih7 oc512 kh3 p1",    "ic1024 ih14 oc2048 kh1 s2",
    "ic2048 ih7 oc512 kh1",     "ic3 ih224 oc64 kh3 p1",     "ic64 ih224 oc64 kh3 p1",    "ic128 ih112 oc128 kh3 p1",
    "ic256 ih56 oc256 kh3 p1",  "ic512 ih28 oc512 kh3 p1",   "ic512 ih14 oc512 kh3 p1",
};

// Far below an im2col matrix, of up to 58 MB here, and small enough for the arena to keep it.
TEST(Plan, WorkspaceIsBoundedAndPackedWeightsAreLittleMoreThanTheWeights) {
  constexpr std::int64_t bound = std::int64_t{4} << 20;
  for (const char* line : layers)
    for (const char* dtype : {" f32", " f64"})
      for (const KernelTable* table : available_kernels())
        for (const bool frozen : {false, true}) {
          const ConvProblem p = make_problem(std::string(line) + dtype);
          const auto plan = choose({p, table, 1, frozen, {}}, "auto").plan;
          EXPECT_LE(plan->workspace_bytes(), bound) << line << dtype << " on " << table->isa;
          const std::int64_t weights = p.out_channels * p.in_channels * p.taps() * dtype_size(p.dtype);
          if (plan->packed_bytes() > 0) {
            EXPECT_GE(plan->packed_bytes(), weights) << line << dtype << " on " << table->isa;
            EXPECT_LE(plan->packed_bytes(), weights + weights / 4 + (1 << 16)) << line << dtype << " on " << table->isa;
          }
        }
}

TEST(Plan, EqualPackingKeysMeanEqualPackedWeights) {
  for (const KernelTable* table : available_kernels()) {
    SCOPED_TRACE(table->isa);
    std::map<std::string, std::vector<char>> packed_by_key;
    for (const char* size : {"ih5", "ih8 p2", "b3 ih30 s2", "ih9 iw70 d3", "ih7 p3 reflect"}) {
      const ConvProblem p = make_problem(std::string(size) + " ic6 oc70 kh3 g2");
      Operands<float> operands(p);
      operands.fill([](auto& range, Random& random) { fill_normals(range, random); });
      Random random(7);
      fill_normals(operands.weight, random);
      ConvViews views;
      views.weight = reinterpret_cast<const char*>(operands.weight.data());
      for (int i = 0; i < algorithm_count; ++i) {
        if (algorithms[i]->unsupported({p, table, 1, true, {}})) continue;
        const auto plan = algorithms[i]->prepare({p, table, 1, true, {}});
        if (plan->packed_bytes() == 0) continue;
        Guarded<char> packed(static_cast<std::size_t>(plan->packed_bytes()));
        plan->pack(views, packed.data());
        const std::vector<char> bytes(packed.begin(), packed.end());
        const auto [entry, added] = packed_by_key.emplace(algorithms[i]->name + plan->packing_key(), bytes);
        EXPECT_TRUE(added || entry->second == bytes) << plan->packing_key() << " for " << size;
      }
    }
  }
}

TEST(FrozenPlans, AreFewAndShareThePackedWeights) {
  FrozenPlans plans;
  const ConvProblem p = make_problem("ic64 ih14 oc64 kh3 p1");
  Operands<float> operands(p);
  operands.fill([](auto& range, Random& random) { fill_integers(range, random); });
  ConvViews views;
  views.weight = reinterpret_cast<const char*>(operands.weight.data());
  const auto request = [&](std::int64_t batch) {
    ConvProblem other = p;
    other.batch = batch;
    return make_request(other, {}, true);
  };
  FrozenPlans::Entry entry;
  EXPECT_FALSE(plans.find(request(1), "auto", entry));
  const FrozenPlans::Entry first = plans.get(request(1), "auto", views);
  EXPECT_TRUE(plans.find(request(1), "auto", entry));
  EXPECT_EQ(entry.plan, first.plan);
  const auto most = static_cast<std::int64_t>(FrozenPlans::most_plans);
  for (std::int64_t batch = 2; batch <= most + 1; ++batch)
    EXPECT_EQ(plans.get(request(batch), "auto", views).packed, first.packed);
  EXPECT_FALSE(plans.find(request(1), "auto", entry)) << "the oldest plan is dropped";
  EXPECT_TRUE(plans.find(request(most + 1), "auto", entry));
  EXPECT_FALSE(plans.find(request(most + 1), "reference", entry)) << "another algorithm is another plan";
}

}  // namespace
}  // namespace tileconv::test
