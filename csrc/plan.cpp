// The choice among the algorithms, and what a call's arrays allow.
#include "plan.h"

#include <algorithm>

#include "algorithms/algorithms.h"

namespace tileconv {

const Algorithm* const algorithms[] = {
    &depthwise_algorithm,     &depthwise_channels_algorithm, &shift_gemm_algorithm, &winograd_algorithm,
    &winograd_rows_algorithm, &strassen_algorithm,           &toeplitz_algorithm,   &fft_algorithm,
    &reference_algorithm};
const int algorithm_count = sizeof algorithms / sizeof *algorithms;

Layout Layout::of(const ConvProblem& p, const ConvViews& v) noexcept {
  const auto element = static_cast<std::ptrdiff_t>(dtype_size(p.dtype));
  const bool backward = p.pass == Pass::input_gradient;
  const std::int64_t from_h = backward ? p.out_h : p.in_h, from_w = backward ? p.out_w : p.in_w;
  const std::vector<std::int64_t> to = p.result_shape();
  const std::int64_t to_h = to[to.size() - 2], to_w = to[to.size() - 1];
  const auto rows = [&](const std::ptrdiff_t* stride, std::int64_t w) { return stride[3] == element || w <= 1; };
  const auto planes = [&](const std::ptrdiff_t* stride, std::int64_t h, std::int64_t w) {
    return h <= 1 || stride[2] == w * element;
  };
  Layout layout;
  const auto whole = [&](const char* data, const std::ptrdiff_t (&stride)[4]) {
    bool result = reinterpret_cast<std::uintptr_t>(data) % static_cast<std::size_t>(element) == 0;
    for (const std::ptrdiff_t s : stride) result = result && s % element == 0;
    return result;
  };
  layout.input_rows = whole(v.input, v.input_stride) && rows(v.input_stride, from_w);
  if (p.pass == Pass::weight_gradient) {
    layout.grad_output_rows = whole(v.grad_output, v.grad_output_stride) && rows(v.grad_output_stride, p.out_w);
    layout.grad_output_planes = p.out_h <= 1 || v.grad_output_stride[2] == p.out_w * v.grad_output_stride[3];
  }
  layout.input_planes = layout.input_rows && planes(v.input_stride, from_h, from_w);
  layout.out_rows = rows(v.out_stride, to_w);
  layout.out_planes = layout.out_rows && planes(v.out_stride, to_h, to_w);
  return layout;
}

int threads_for(double cycles, int threads) noexcept {
  constexpr double least_cycles = 4e4;
  return static_cast<int>(std::clamp(cycles / least_cycles, 1.0, static_cast<double>(threads)));
}

std::int64_t splits_for(std::int64_t tasks, std::int64_t most, int threads) noexcept {
  const std::int64_t wanted = std::int64_t{4} * threads;
  return threads == 1 || tasks >= wanted ? 1 : std::min(most, (wanted + tasks - 1) / tasks);
}

std::int64_t balanced_splits(std::int64_t tasks, std::int64_t most, int threads) noexcept {
  constexpr std::int64_t tasks_a_thread = 8;
  std::int64_t splits = 1;
  while (splits < most && tasks * splits % threads != 0 && tasks * splits < tasks_a_thread * threads) ++splits;
  return splits;
}

Choice choose(const PlanRequest& request, const std::string& name, bool reasons) {
  // Algorithms may round differently, so the choice must not depend on the layout. Estimates of a 1x1 layer do, where
  // rows that are adjacent in memory are as one: they are compared for one layout.
  PlanRequest compared = request;
  if (name == "auto" && request.problem.taps() == 1) compared.layout = {};
  Choice choice;
  std::string names;
  for (const Algorithm* algorithm : algorithms) {
    if (name != "auto") {
      names += std::string(", '") + algorithm->name + "'";
      if (name != algorithm->name) continue;
    }
    if (const char* reason = algorithm->unsupported(request)) {
      if (name != "auto") throw ValueError("algorithm='" + name + "' does not support this problem: " + reason);
      if (reasons) choice.rejected.emplace_back(algorithm->name, reason);
      continue;
    }
    if (choice.plan && !reasons && algorithm->least_cycles(compared) > choice.plan->cycles()) continue;
    std::unique_ptr<Plan> plan = algorithm->prepare(compared);
    const bool better = !choice.plan || plan->cycles() < choice.plan->cycles();
    if (reasons && choice.plan)
      choice.rejected.emplace_back(
          (better ? choice.algorithm : algorithm)->name,
          std::string("estimated slower than ") + (better ? algorithm : choice.algorithm)->name);
    if (better) choice.algorithm = algorithm, choice.plan = std::move(plan);
  }
  if (!choice.plan) throw ValueError("algorithm must be 'auto'" + names + ", got '" + name + "'");
  if (!(request.layout == compared.layout)) choice.plan = choice.algorithm->prepare(request);
  return choice;
}

}  // namespace tileconv
