// The choice among the algorithms, and what a call's arrays allow.
#include "plan.h"

#include "algorithms/algorithms.h"

namespace tileconv {

const Algorithm* const algorithms[] = {&shift_gemm_algorithm, &reference_algorithm};
const int algorithm_count = sizeof algorithms / sizeof *algorithms;

Layout Layout::of(const ConvProblem& p, const ConvViews& v) noexcept {
  const auto element = static_cast<std::ptrdiff_t>(dtype_size(p.dtype));
  const auto rows = [&](const std::ptrdiff_t* stride, std::int64_t w) { return stride[3] == element || w == 1; };
  const auto planes = [&](const std::ptrdiff_t* stride, std::int64_t h, std::int64_t w) {
    return h == 1 || stride[2] == w * element;
  };
  Layout layout;
  bool whole = reinterpret_cast<std::uintptr_t>(v.input) % static_cast<std::size_t>(element) == 0;
  for (const std::ptrdiff_t s : v.input_stride) whole = whole && s % element == 0;
  layout.input_rows = whole && rows(v.input_stride, p.in_w);
  layout.input_planes = layout.input_rows && planes(v.input_stride, p.in_h, p.in_w);
  layout.out_rows = rows(v.out_stride, p.out_w);
  layout.out_planes = layout.out_rows && planes(v.out_stride, p.out_h, p.out_w);
  return layout;
}

Choice choose(const PlanRequest& request, const std::string& name, bool reasons) {
  Choice choice{nullptr, {}};
  double best = 0;
  std::string names;
  for (int i = 0; i < algorithm_count; ++i) {
    const Algorithm& a = *algorithms[i];
    if (name != "auto") {
      names += std::string(", '") + a.name + "'";
      if (name != a.name) continue;
    }
    if (const char* reason = a.unsupported(request)) {
      if (name != "auto") throw ValueError("algorithm='" + name + "' does not support this problem: " + reason);
      if (reasons) choice.rejected.emplace_back(a.name, reason);
      continue;
    }
    const double cost = a.cost(request);
    const Algorithm* loser = &a;
    if (!choice.algorithm || cost < best) {
      loser = choice.algorithm;
      choice.algorithm = &a;
      best = cost;
    }
    if (reasons && loser) choice.rejected.emplace_back(loser->name, std::string("estimated slower than ") + choice.algorithm->name);
  }
  if (!choice.algorithm) throw ValueError("algorithm must be 'auto'" + names + ", got '" + name + "'");
  return choice;
}

}  // namespace tileconv
