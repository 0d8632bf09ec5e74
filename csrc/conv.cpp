// See conv.h.
#include "conv.h"

#include <utility>

#include "cpu.h"
#include "parallel.h"

namespace tileconv {
namespace {

bool same(const PlanRequest& a, const PlanRequest& b) noexcept {
  const ConvProblem &p = a.problem, &q = b.problem;
  return p.batch == q.batch && p.in_h == q.in_h && p.in_w == q.in_w && p.out_w == q.out_w && a.kernels == b.kernels &&
         a.threads == b.threads && a.layout == b.layout;
}

// Weights that are packed as the plan wants them; nullptr if it wants none or there are none.
template <class Entries>
std::shared_ptr<MemoryBlock> packed_alike(const Entries& entries, const Plan& plan) {
  if (plan.packed_bytes() > 0)
    for (const FrozenPlans::Kept& other : entries)
      if (other->packed && other->plan->packing_key() == plan.packing_key()) return other->packed;
  return nullptr;
}

}  // namespace

void join_pixels(ConvProblem& p, ConvViews& v) noexcept {
  const bool pixels = p.in_h == 1 && p.in_w == 1 && p.out_h == 1 && p.out_w == 1 && p.taps() == 1 && p.pad_top == 0 &&
                      p.pad_bottom == 0 && p.pad_left == 0 && p.pad_right == 0;
  if (p.batch <= 1 || !pixels) return;
  p.in_w = p.out_w = std::exchange(p.batch, 1);
  p.stride_h = p.stride_w = 1;
  v.input_stride[3] = v.input_stride[0];
  v.grad_output_stride[3] = v.grad_output_stride[0];
  if (p.pass != Pass::weight_gradient) v.out_stride[3] = v.out_stride[0];
}

PlanRequest make_request(const ConvProblem& problem, const Layout& layout, bool frozen) {
  return {problem, &active_kernels(), num_threads(), frozen, layout};
}

void run_once(const ConvProblem& problem, const ConvViews& views, const std::string& algorithm) {
  const PlanRequest request = make_request(problem, Layout::of(problem, views), false);
  const std::unique_ptr<Plan> plan = choose(request, algorithm).plan;
  void* packed = nullptr;
  if (const std::int64_t bytes = plan->packed_bytes()) {
    packed = thread_arena(Arena::packed_weights, static_cast<std::size_t>(bytes));
    plan->pack(views, packed);
  }
  plan->run(views, packed);
  release_large_arenas();
}

FrozenPlans::Kept FrozenPlans::search(const PlanRequest& request, const std::string& algorithm) {
  for (auto it = entries_.begin(); it != entries_.end(); ++it)
    if (same((*it)->request, request) && (*it)->algorithm == algorithm) {
      entries_.splice(entries_.begin(), entries_, it);
      return entries_.front();
    }
  return nullptr;
}

FrozenPlans::Kept FrozenPlans::find(const PlanRequest& request, const std::string& algorithm) {
  const std::lock_guard<std::mutex> lock(mutex_);
  return search(request, algorithm);
}

std::vector<FrozenPlans::Kept> FrozenPlans::kept() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return {entries_.begin(), entries_.end()};
}

FrozenPlans::Entry FrozenPlans::make(const PlanRequest& request, const std::string& algorithm, const ConvViews& views,
                                     const std::vector<Kept>& kept) {
  Entry entry{request, algorithm, choose(request, algorithm).plan, nullptr};
  if (const std::int64_t bytes = entry.plan->packed_bytes()) {
    entry.packed = packed_alike(kept, *entry.plan);
    if (!entry.packed) {
      entry.packed = std::make_shared<MemoryBlock>(static_cast<std::size_t>(bytes));
      entry.plan->pack(views, entry.packed->data());
    }
  }
  return entry;
}

FrozenPlans::Kept FrozenPlans::keep(Entry entry) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (Kept found = search(entry.request, entry.algorithm)) return found;
  if (const auto packed = packed_alike(entries_, *entry.plan)) entry.packed = packed;
  entries_.push_front(std::make_shared<const Entry>(std::move(entry)));
  if (entries_.size() > most_plans) entries_.pop_back();
  return entries_.front();
}

}  // namespace tileconv
