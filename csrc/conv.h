// One call, below Python: arguments and arrays to plan and run; and the frozen layer, which keeps its packed weights
// and a few plans.
#pragma once

#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "memory_block.h"
#include "plan.h"

namespace tileconv {

// A batch of single pixels under 1x1 kernels becomes one image, a row of pixels: a product of two matrices in place of
// one of a matrix and a vector for each image. Each sum has the same steps as before; of weight gradients, the pixels
// are counted as one image's. Other problems stay as they are.
void join_pixels(ConvProblem& problem, ConvViews& views) noexcept;

// The request of a call with the present settings (instruction set, threads).
PlanRequest make_request(const ConvProblem& problem, const Layout& layout, bool frozen);

// Plans, packs if the plan wants it, runs.
void run_once(const ConvProblem& problem, const ConvViews& views, const std::string& algorithm);

// Plans and packed weights of one layer, whose weights do not change. Any thread may ask; the oldest plan is dropped
// when there are more than `most_plans`, and packed weights live as long as a plan that uses them. The lock is held for
// moments only, never while a plan is made: called with Python's lock held, as all but make() is, the child of a fork
// never finds it taken.
class FrozenPlans {
 public:
  struct Entry {
    PlanRequest request;
    std::string algorithm;
    std::shared_ptr<const Plan> plan;
    std::shared_ptr<MemoryBlock> packed;
    const void* packed_data() const noexcept { return packed ? packed->data() : nullptr; }
  };
  using Kept = std::shared_ptr<const Entry>;
  static constexpr std::size_t most_plans = 8;

  // The entry; nullptr if there is none.
  Kept find(const PlanRequest& request, const std::string& algorithm);
  std::vector<Kept> kept() const;
  // A new entry, which shares the packed weights of one that is kept. It takes its time.
  static Entry make(const PlanRequest& request, const std::string& algorithm, const ConvViews& views,
                    const std::vector<Kept>& kept);
  // Keeps it, but for what another thread was first to make.
  Kept keep(Entry entry);

 private:
  Kept search(const PlanRequest& request, const std::string& algorithm);
  mutable std::mutex mutex_;
  std::list<Kept> entries_;  // last used first
};

}  // namespace tileconv
