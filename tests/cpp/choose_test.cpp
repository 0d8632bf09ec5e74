// The choice among the algorithms, what plans promise without being run, and the plans that a frozen layer keeps.
#include <fstream>
#include <map>
#include <memory>
#include <sstream>

#include "algorithms/algorithms.h"
#include "conv.h"
#include "cpu.h"
#include "plan.h"
#include "test_support.h"

namespace tileconv::test {
namespace {

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

// What lets choose() do without a plan.
TEST(Choose, NoPlanIsBelowTheBoundOfItsAlgorithm) {
  const auto check = [](const PlanRequest& forward) {
    for (const Pass pass : {Pass::forward, Pass::input_gradient, Pass::weight_gradient}) {
      constexpr std::int64_t long_padding = 1 << 20;  // from which no gradient can be folded back
      if (pass == Pass::input_gradient && forward.problem.pad_top > long_padding) continue;
      PlanRequest request = forward;
      request.problem.pass = pass;
      for (int i = 0; i < algorithm_count; ++i) {
        if (algorithms[i]->unsupported(request)) continue;
        EXPECT_LE(algorithms[i]->least_cycles(request), algorithms[i]->prepare(request)->cycles())
            << algorithms[i]->name << ", pass " << static_cast<int>(pass);
      }
    }
  };
  for_each_request(check);
  // Much work, of which a bound is a large part.
  for (const int taps : {2, 3, 4, 5, 6, 7, 8, 9, 10, 13})
    for (const char* channels : {"ic64 oc64", "ic3 oc12"})
      for (const KernelTable* table : available_kernels()) {
        const std::string line = std::string(channels) + " ih60 kh" + std::to_string(taps);
        SCOPED_TRACE(line + " on " + table->isa);
        check({make_problem(line), table, 1, false, {}});
      }
  // Rows of full tiles, whose pieces have nothing else beside their products.
  const CoreTraits own = core_traits();
  for (const char* line : {"ic64 oc64 ih255 iw261 kh1 kw7", "ic80 oc80 ih261 iw255 kh7 kw1"})
    for (const KernelTable* table : available_kernels())
      for (const bool whole : {true, false}) {
        SCOPED_TRACE(std::string(line) + " on " + table->isa);
        set_core_traits(core_for(*table, whole));
        check({make_problem(line), table, 1, false, {}});
      }
  set_core_traits(own);
}

// Whether a core takes a vector at once decides if there is time to take the pixels from rows.
TEST(ShiftGemm, PacksThePixelsOfLongSums) {
  const CoreTraits own = core_traits();
  for (const KernelTable* table : built_kernels())
    for (const bool whole : {true, false}) {
      set_core_traits(core_for(*table, whole));
      for (const char* problem : {"ic1100 ih9 oc1200 kh1 f32", "ic1100 ih9 oc1200 kh1 f64"}) {
        const auto plan = shift_gemm_algorithm.prepare({make_problem(problem), table, 1, true, {}});
        EXPECT_EQ(plan->report().kernel.find("pixels packed") != std::string::npos, whole)
            << problem << " on " << table->isa << ": " << plan->report().kernel;
      }
    }
  set_core_traits(own);
}

// In place, the same pixels of all channels would fall into one set of L1: cores that take a vector in halves have the
// time to fetch them again.
TEST(ShiftGemm, PacksThePixelsOfPlanesPagesApart) {
  const CoreTraits own = core_traits();
  for (const KernelTable* table : built_kernels())
    for (const bool whole : {true, false}) {
      set_core_traits(core_for(*table, whole));
      for (const char* problem : {"ic64 ih32 oc64 kh1 f32", "ic64 ih32 oc64 kh1 f64", "ic24 ih64 oc30 kh1 f32"}) {
        const auto plan = shift_gemm_algorithm.prepare({make_problem(problem), table, 1, true, {}});
        const std::string kernel = plan->report().kernel;
        EXPECT_TRUE(kernel.find("pixel_lanes") == 0 &&
                    kernel.find(whole ? "pixels packed" : "input in place") != std::string::npos)
            << problem << " on " << table->isa << ": " << kernel;
      }
    }
  set_core_traits(own);
}

// To deal out columns of several taps takes longer than to stage them, which winograd_rows does without: measured from
// 112 columns on with 3 and 4 channels, 1.15 to 1.3 times as fast.
TEST(Choose, TakesWinogradRowsForFirstLayersOfStrideTwo) {
  const CoreTraits own = core_traits();
  for (const KernelTable* table : available_kernels()) {
    if (table->f32.half_lanes == 0) continue;
    set_core_traits(core_for(*table, false));
    for (const char* problem : {"ic3 ih224 oc16 kh3 s2 p1", "ic3 ih112 oc32 kh3 s2 p1", "ic4 ih224 oc8 kh3 s2 p1"}) {
      const Choice choice = choose({make_problem(problem), table, 1, true, {}}, "auto");
      EXPECT_EQ(choice.algorithm, &winograd_rows_algorithm) << problem << ": " << choice.algorithm->name;
    }
  }
  set_core_traits(own);
}

std::map<std::string, std::map<std::string, std::string>> read_table(const char* path) {
  std::ifstream file(path);
  std::map<std::string, std::map<std::string, std::string>> table;
  std::vector<std::string> titles;
  for (std::string line; std::getline(file, line);) {
    std::istringstream cells(line);
    std::vector<std::string> row;
    for (std::string cell; std::getline(cells, cell, ',');) row.push_back(cell);
    for (std::size_t i = 0; i < titles.size() && i < row.size(); ++i) table[row[0]][titles[i]] = row[i];
    if (titles.empty()) titles = row;
  }
  return table;
}

// The layers of the bench, on two machines with fixed caches: a core that takes every vector at once, and one that
// takes 512 bits in halves. Nothing is run, so that the kernels of every instruction set may be asked. A change of the
// cost model shows here: what it changes is to be measured with `python -m bench --algorithms`, then written down.
TEST(Choose, IsAsMeasuredOnThePublishedLayers) {
  const CoreTraits own = core_traits(), whole{48 << 10, 1 << 20, 32 << 20, 64}, halves{32 << 10, 1 << 20, 32 << 20, 32};
  auto layers_of_bench = read_table(TILECONV_TEST_LAYERS), choices = read_table(TILECONV_TEST_CHOICES);
  EXPECT_GT(layers_of_bench.size(), 50u);
  for (auto& [name, layer] : layers_of_bench)
    for (const KernelTable* table : built_kernels())
      for (const char* dtype : {"f32", "f64"}) {
        const std::string line = "b" + layer["batch"] + " ic" + layer["in_channels"] + " ih" + layer["in_h"] + " iw" +
                                 layer["in_w"] + " oc" + layer["out_channels"] + " kh" + layer["kernel_h"] + " kw" +
                                 layer["kernel_w"] + " sh" + layer["stride_h"] + " sw" + layer["stride_w"] + " ph" +
                                 layer["pad_h"] + " pw" + layer["pad_w"] + " dh" + layer["dilation_h"] + " dw" +
                                 layer["dilation_w"] + " g" + layer["groups"] + " " + layer["padding_mode"] + " " +
                                 dtype;
        ConvProblem problem = make_problem(line);
        for (const Pass pass : {Pass::forward, Pass::input_gradient, Pass::weight_gradient}) {
          problem.pass = pass;
          std::map<std::string, std::string>& measured = choices[name + ":" + pass_name(pass)];
          const auto check = [&](const CoreTraits& core, const std::string& column) {
            set_core_traits(core);
            EXPECT_EQ(choose({problem, table, 1, false, {}}, "auto").algorithm->name, measured[column])
                << name << ":" << pass_name(pass) << ", " << problem.describe() << ", " << column;
          };
          const std::string column = std::string(table->isa) + "_" + dtype;
          check(whole, column);
          if (table->f32.lanes * 4 > halves.vector_bytes) check(halves, column + "_halves");
        }
      }
  set_core_traits(own);
}

TEST(Choose, DependsOnNeitherBatchThreadsLayoutNorFreezing) {
  const auto check = [](PlanRequest request) {
    for (const Pass pass : {Pass::forward, Pass::input_gradient, Pass::weight_gradient}) {
      constexpr std::int64_t far = 1000000;  // padding that a gradient would be unfolded over
      if (pass != Pass::forward && request.problem.pad_top > far) continue;
      request.problem.pass = pass;
      const Algorithm* const usual = choose(request, "auto").algorithm;
      for (const std::int64_t batch : {0, 1, 17})
        for (const int threads : {1, 8})
          for (const bool frozen : {false, true})
            for (const auto& [adjacent, out_adjacent] :
                 {std::pair{false, false}, {false, true}, {true, false}, {true, true}}) {
              PlanRequest other{request.problem, request.kernels, threads, frozen, {}};
              other.layout.input_rows = other.layout.input_planes = adjacent;
              other.layout.grad_output_rows = other.layout.grad_output_planes = adjacent;
              other.layout.out_rows = other.layout.out_planes = out_adjacent;
              other.problem.batch = batch;
              SCOPED_TRACE(testing::Message() << pass_name(pass) << ", batch " << batch << ", " << threads << " threads"
                                              << (frozen ? ", frozen" : "") << (adjacent ? "" : ", scattered")
                                              << (out_adjacent ? "" : ", scattered result"));
              EXPECT_EQ(choose(other, "auto").algorithm, usual);
            }
    }
  };
  for_each_request(check);
  // Layers whose algorithms are close.
  for (const char* line : {"ic320 ih7 oc1280 kh1 bias", "ic256 ih56 oc512 kh1 s2", "ic1024 ih14 oc256 kh1",
                           "ic512 ih7 oc512 kh3 p1", "ic512 ih14 oc512 kh3 p1 g32"})
    for (const char* dtype : {" f32", " f64"})
      for (const KernelTable* table : available_kernels()) {
        SCOPED_TRACE(std::string(line) + dtype + " on " + table->isa);
        check(PlanRequest{make_problem(std::string(line) + dtype), table, 1, false, {}});
      }
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
    "ic3 ih224 oc64 kh7 s2 p3", "ic64 ih56 oc64 kh3 p1",   "ic64 ih56 oc256 kh1",     "ic128 ih56 oc128 kh3 s2 p1",
    "ic128 ih28 oc128 kh3 p1",  "ic256 ih14 oc256 kh3 p1", "ic512 ih7 oc512 kh3 p1",  "ic1024 ih14 oc2048 kh1 s2",
    "ic2048 ih7 oc512 kh1",     "ic3 ih224 oc64 kh3 p1",   "ic64 ih224 oc64 kh3 p1",  "ic128 ih112 oc128 kh3 p1",
    "ic256 ih56 oc256 kh3 p1",  "ic512 ih28 oc512 kh3 p1", "ic512 ih14 oc512 kh3 p1",
};

// Small enough for the arena to keep it.
constexpr std::int64_t workspace_bound = std::int64_t{4} << 20;

// However far stride, dilation and padding reach.
TEST(Plan, WorkspaceIsBoundedForEveryProblem) {
  for_each_request([](const PlanRequest& request) {
    for (int i = 0; i < algorithm_count; ++i) {
      if (algorithms[i]->unsupported(request)) continue;
      EXPECT_LE(algorithms[i]->prepare(request)->workspace_bytes(), workspace_bound) << algorithms[i]->name;
    }
  });
}

// An im2col matrix of these layers takes up to 231 MB.
TEST(Plan, WorkspaceIsBoundedAndPackedWeightsAreLittleMoreThanTheWeights) {
  for (const char* line : layers)
    for (const char* dtype : {" f32", " f64"})
      for (const KernelTable* table : available_kernels())
        for (const bool frozen : {false, true}) {
          const ConvProblem p = make_problem(std::string(line) + dtype);
          const Choice choice = choose({p, table, 1, frozen, {}}, "auto");
          const auto& plan = choice.plan;
          EXPECT_LE(plan->workspace_bytes(), workspace_bound) << line << dtype << " on " << table->isa;
          // 36 products of a tile for the taps of each remainder by the stride; seven blocks made of four.
          const std::int64_t kernel = choice.algorithm == &winograd_algorithm ? 36 * p.stride_h * p.stride_w : p.taps();
          const std::int64_t elements = p.out_channels * p.in_channels * kernel * dtype_size(p.dtype);
          const std::int64_t weights = choice.algorithm == &strassen_algorithm ? elements * 7 / 4 : elements;
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
  const auto make = [&](std::int64_t batch) { return FrozenPlans::make(request(batch), "auto", views, plans.kept()); };
  EXPECT_EQ(plans.find(request(1), "auto"), nullptr);
  const FrozenPlans::Entry same = make(1);
  const FrozenPlans::Kept first = plans.keep(make(1));
  EXPECT_EQ(plans.keep(same), first) << "of two threads that make one, the first keeps it";
  EXPECT_EQ(plans.find(request(1), "auto"), first);
  const FrozenPlans::Entry unaware = FrozenPlans::make(request(2), "auto", views, {});
  EXPECT_NE(unaware.packed, first->packed);
  EXPECT_EQ(plans.keep(unaware)->packed, first->packed) << "of two that were packed at once, one is kept";
  const auto most = static_cast<std::int64_t>(FrozenPlans::most_plans);
  for (std::int64_t batch = 2; batch <= most + 1; ++batch) EXPECT_EQ(plans.keep(make(batch))->packed, first->packed);
  EXPECT_EQ(plans.find(request(1), "auto"), nullptr) << "the oldest plan is dropped";
  EXPECT_NE(plans.find(request(most + 1), "auto"), nullptr);
  EXPECT_EQ(plans.find(request(most + 1), "reference"), nullptr) << "another algorithm is another plan";
}

}  // namespace
}  // namespace tileconv::test
