// Detection and the choice of an instruction set: the one place where tests name them.
#include "cpu.h"

#include <algorithm>
#include <cstdlib>
#include <set>

#include "test_support.h"

namespace tileconv::test {
namespace {

TEST(Cpu, TablesAreOrderedFromTheBaselineToTheBest) {
  const auto& tables = available_kernels();
  ASSERT_FALSE(tables.empty());
  EXPECT_STREQ(tables.front()->isa, "baseline");
  std::set<std::string> names;
  int lanes = 0;
  for (const KernelTable* table : tables) {
    EXPECT_TRUE(names.insert(table->isa).second) << table->isa << " is there twice";
    EXPECT_GE(table->f32.lanes, lanes) << table->isa;
    lanes = table->f32.lanes;
  }
}

TEST(Cpu, SetActiveKernelsTakesEveryAvailableName) {
  const std::string before = active_kernels().isa;
  for (const KernelTable* table : available_kernels()) {
    set_active_kernels(table->isa);
    EXPECT_EQ(&active_kernels(), table);
  }
  set_active_kernels(before);
}

TEST(Cpu, SetActiveKernelsRefusesUnknownNames) {
  const KernelTable* const before = &active_kernels();
  for (const char* name : {"", "sse9", "AVX2", "baseline "}) {
    try {
      set_active_kernels(name);
      ADD_FAILURE() << "'" << name << "' was taken";
    } catch (const ValueError& error) {
      const std::string message = error.what();
      EXPECT_NE(message.find("isa is '" + std::string(name) + "'"), std::string::npos) << message;
      for (const KernelTable* table : available_kernels())
        EXPECT_NE(message.find(table->isa), std::string::npos) << message;
    }
    EXPECT_EQ(&active_kernels(), before);
  }
}

TEST(Cpu, FollowsTheEnvironment) {
  const char* const wanted = std::getenv("TILECONV_ISA");
  const auto& tables = available_kernels();
  if (!wanted || !*wanted) {
    EXPECT_EQ(&active_kernels(), tables.back());
    return;
  }
  const bool available =
      std::any_of(tables.begin(), tables.end(), [&](const auto* t) { return t->isa == std::string(wanted); });
  if (available)
    EXPECT_STREQ(active_kernels().isa, wanted);
  else
    EXPECT_THROW(active_kernels(), ValueError);
}

TEST(Cpu, KnowsTheMachine) {
  const CoreTraits& cache = core_traits();
  EXPECT_GE(cache.l1d, 4 << 10);
  EXPECT_GE(cache.l2, cache.l1d);
  EXPECT_GE(available_cores(), 1);
  EXPECT_FALSE(cpu_name().empty());
}

}  // namespace
}  // namespace tileconv::test
