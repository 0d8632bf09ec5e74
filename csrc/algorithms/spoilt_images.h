// Images that an algorithm which mixes values cannot compute, as they hold or make some that are not finite: the direct
// sum computes them again.
#pragma once

#include <cstdint>
#include <memory>

#include "../parallel.h"
#include "shift_gemm.h"

namespace tileconv {

// Those whose flag is set, by shift_gemm. Few calls come here: plan and packed weights are made for this one.
template <class T>
void sum_spoilt_images(const SharedFlags& spoilt, const ShiftMap& map, const PlanRequest& request, const ConvViews& v) {
  std::unique_ptr<Plan> plan;
  std::unique_ptr<char[]> memory;
  void* packed = nullptr;
  for (std::int64_t n = 0; n < spoilt.count(); ++n) {
    if (!spoilt[n]) continue;
    if (!plan) {
      ShiftMap single = map;
      single.batch = 1;
      PlanRequest unfrozen = request;
      unfrozen.frozen = false;
      plan = make_shift_gemm_plan<T>(single, unfrozen);
      constexpr std::size_t line = 64;
      const auto bytes = static_cast<std::size_t>(plan->packed_bytes());
      std::size_t room = bytes + line;
      memory.reset(bytes > 0 ? new char[room] : nullptr);
      packed = memory.get();
      if (packed) plan->pack(v, std::align(line, bytes, packed, room));
    }
    ConvViews image = v;
    image.input += n * v.input_stride[0];
    image.out += n * v.out_stride[0];
    plan->run(image, packed);
  }
}

}  // namespace tileconv
