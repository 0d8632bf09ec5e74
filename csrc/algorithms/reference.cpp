// Start reading here: convolution as its definition says, in double. Every other algorithm is a faster equivalent.
#include "../parallel.h"
#include "algorithms.h"

#include <algorithm>
#include <cstring>

namespace tileconv {
namespace {

template <class T>
T load(const char* p) {
  T value;
  std::memcpy(&value, p, sizeof value);
  return value;
}

template <class T>
class ReferencePlan final : public Plan {
 public:
  explicit ReferencePlan(const PlanRequest& request) : p_(request.problem), threads_(request.threads) {}

  double cycles() const noexcept override { return 4.0 * p_.macs_per_image() + 1e6; }
  // A plane of the input's gradient, or one kernel.
  std::int64_t workspace_bytes() const noexcept override {
    const std::int64_t sums = p_.pass == Pass::input_gradient    ? p_.in_h * p_.in_w
                              : p_.pass == Pass::weight_gradient ? p_.taps()
                                                                 : 0;
    return sums * static_cast<std::int64_t>(sizeof(double));
  }
  PlanReport report() const override { return {"loops", threads_, {}}; }

  void run(const ConvViews& v, const void*) const override {
    switch (p_.pass) {
      case Pass::forward: return forward(v);
      case Pass::input_gradient: return input_gradient(v);
      case Pass::weight_gradient: return weight_gradient(v);
    }
  }

 private:
  std::int64_t row(std::int64_t y, std::int64_t i) const noexcept {
    return AxisMap{p_.padding_mode, p_.in_h}(y * p_.stride_h + i * p_.dilation_h - p_.pad_top);
  }
  std::int64_t column(std::int64_t x, std::int64_t j) const noexcept {
    return AxisMap{p_.padding_mode, p_.in_w}(x * p_.stride_w + j * p_.dilation_w - p_.pad_left);
  }
  double weight(const ConvViews& v, std::int64_t k, std::int64_t c, std::int64_t i, std::int64_t j) const noexcept {
    return reinterpret_cast<const T*>(v.weight)[((k * p_.group_in_channels() + c) * p_.kernel_h + i) * p_.kernel_w + j];
  }
  static double value(const char* base, const std::ptrdiff_t (&stride)[4], std::int64_t n, std::int64_t c,
                      std::int64_t y, std::int64_t x) noexcept {
    return y < 0 || x < 0 ? 0.0 : load<T>(base + n * stride[0] + c * stride[1] + y * stride[2] + x * stride[3]);
  }
  // f(y, x, i, j) for every output pixel and kernel element.
  template <class F>
  void each_product(F f) const {
    for (std::int64_t y = 0; y < p_.out_h; ++y)
      for (std::int64_t x = 0; x < p_.out_w; ++x)
        for (std::int64_t i = 0; i < p_.kernel_h; ++i)
          for (std::int64_t j = 0; j < p_.kernel_w; ++j) f(y, x, i, j);
  }

  void forward(const ConvViews& v) const {
    parallel_for(p_.batch * p_.out_channels, threads_, [&](std::int64_t task) {
      const std::int64_t n = task / p_.out_channels, k = task % p_.out_channels;
      for (std::int64_t y = 0; y < p_.out_h; ++y)
        for (std::int64_t x = 0; x < p_.out_w; ++x) put(v, n, k, y, x, at(v, n, k, y, x));
    });
  }

  double at(const ConvViews& v, std::int64_t n, std::int64_t k, std::int64_t y, std::int64_t x) const noexcept {
    const std::int64_t first_channel = k / p_.group_out_channels() * p_.group_in_channels();
    double sum = v.bias ? static_cast<double>(reinterpret_cast<const T*>(v.bias)[k]) : 0.0;
    for (std::int64_t c = 0; c < p_.group_in_channels(); ++c)
      for (std::int64_t i = 0; i < p_.kernel_h; ++i)
        for (std::int64_t j = 0; j < p_.kernel_w; ++j)
          sum += weight(v, k, c, i, j) * value(v.input, v.input_stride, n, first_channel + c, row(y, i), column(x, j));
    return sum;
  }

  // Every product goes back to where its factor came from.
  void input_gradient(const ConvViews& v) const {
    parallel_for(p_.batch * p_.in_channels, threads_, [&](std::int64_t task) {
      const std::int64_t n = task / p_.in_channels, channel = task % p_.in_channels;
      const std::int64_t c = channel % p_.group_in_channels(),
                         first = channel / p_.group_in_channels() * p_.group_out_channels();
      const double bias = v.bias ? static_cast<double>(reinterpret_cast<const T*>(v.bias)[channel]) : 0.0;
      double* const plane = start_sums(p_.in_h * p_.in_w, bias);
      for (std::int64_t k = first; k < first + p_.group_out_channels(); ++k)
        each_product([&](std::int64_t y, std::int64_t x, std::int64_t i, std::int64_t j) {
          if (row(y, i) >= 0 && column(x, j) >= 0)
            plane[row(y, i) * p_.in_w + column(x, j)] +=
                weight(v, k, c, i, j) * value(v.input, v.input_stride, n, k, y, x);
        });
      for (std::int64_t y = 0; y < p_.in_h; ++y)
        for (std::int64_t x = 0; x < p_.in_w; ++x) put(v, n, channel, y, x, plane[y * p_.in_w + x]);
    });
  }

  void weight_gradient(const ConvViews& v) const {
    parallel_for(p_.out_channels * p_.group_in_channels(), threads_, [&](std::int64_t task) {
      const std::int64_t k = task / p_.group_in_channels(), c = task % p_.group_in_channels();
      const std::int64_t channel = k / p_.group_out_channels() * p_.group_in_channels() + c;
      double* const kernel = start_sums(p_.taps(), 0.0);
      for (std::int64_t n = 0; n < p_.batch; ++n)
        each_product([&](std::int64_t y, std::int64_t x, std::int64_t i, std::int64_t j) {
          kernel[i * p_.kernel_w + j] += value(v.grad_output, v.grad_output_stride, n, k, y, x) *
                                         value(v.input, v.input_stride, n, channel, row(y, i), column(x, j));
        });
      for (std::int64_t i = 0; i < p_.kernel_h; ++i)
        for (std::int64_t j = 0; j < p_.kernel_w; ++j) put(v, k, c, i, j, kernel[i * p_.kernel_w + j]);
    });
  }

  double* start_sums(std::int64_t count, double value) const {
    auto* const sums =
        static_cast<double*>(thread_arena(Arena::workspace, static_cast<std::size_t>(workspace_bytes())));
    std::fill_n(sums, count, value);
    return sums;
  }
  static void put(const ConvViews& v, std::int64_t n, std::int64_t c, std::int64_t y, std::int64_t x,
                  double value) noexcept {
    const T rounded = static_cast<T>(value);
    std::memcpy(v.out + n * v.out_stride[0] + c * v.out_stride[1] + y * v.out_stride[2] + x * v.out_stride[3], &rounded,
                sizeof rounded);
  }

  ConvProblem p_;
  int threads_;
};

}  // namespace

const Algorithm reference_algorithm = {
    "reference",
    "exact on small integers; sums in double",
    [](const PlanRequest&) -> const char* { return nullptr; },
    [](const PlanRequest&) { return 0.0; },
    [](const PlanRequest& r) -> std::unique_ptr<Plan> {
      if (r.problem.dtype == DType::float32) return std::make_unique<ReferencePlan<float>>(r);
      return std::make_unique<ReferencePlan<double>>(r);
    },
};

}  // namespace tileconv
