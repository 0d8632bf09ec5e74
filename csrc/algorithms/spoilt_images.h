// Images that an algorithm which mixes values cannot compute, as they hold or make some that are not finite: the direct
// sum computes them again, by shift_gemm.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <memory>
#include <new>

#include "../parallel.h"
#include "shift_gemm.h"

namespace tileconv {

// Of one run, on the caller's thread; any thread may add to them.
class SpoiltImages {
 public:
  SpoiltImages(std::int64_t batch, bool all)
      : batch_(batch),
        spoilt_(static_cast<Flag*>(thread_arena(Arena::flags, static_cast<std::size_t>(batch) * sizeof(Flag)))) {
    for (std::int64_t n = 0; n < batch; ++n) new (spoilt_ + n) Flag(all);
  }
  void add(std::int64_t n) const noexcept { spoilt_[n].store(true, std::memory_order_relaxed); }

  // Few calls come here: plan and packed weights are made for this one.
  template <class T>
  void sum_directly(const ShiftMap& map, const PlanRequest& request, const ConvViews& v) const {
    if (std::none_of(spoilt_, spoilt_ + batch_, is_set)) return;
    ShiftMap single = map;
    single.batch = 1;
    PlanRequest unfrozen = request;
    unfrozen.frozen = false;
    const std::unique_ptr<Plan> plan = make_shift_gemm_plan<T>(single, unfrozen);
    constexpr std::size_t line = 64;
    const auto bytes = static_cast<std::size_t>(plan->packed_bytes());
    std::size_t room = bytes + line;
    const std::unique_ptr<char[]> memory(bytes > 0 ? new char[room] : nullptr);
    void* packed = memory.get();
    if (packed) plan->pack(v, std::align(line, bytes, packed, room));
    for (std::int64_t n = 0; n < batch_; ++n) {
      if (!is_set(spoilt_[n])) continue;
      ConvViews image = v;
      image.input += n * v.input_stride[0];
      image.out += n * v.out_stride[0];
      plan->run(image, packed);
    }
  }

 private:
  using Flag = std::atomic<bool>;
  static bool is_set(const Flag& flag) noexcept { return flag.load(std::memory_order_relaxed); }

  std::int64_t batch_;
  Flag* spoilt_;
};

}  // namespace tileconv
