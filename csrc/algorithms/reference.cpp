// Start reading here: convolution as its definition says, in double. Every other algorithm is a faster equivalent.
#include "../parallel.h"
#include "algorithms.h"

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
  std::int64_t workspace_bytes() const noexcept override { return 0; }
  PlanReport report() const override { return {"loops", {}}; }

  void run(const ConvViews& v, const void*) const override {
    parallel_for(p_.batch * p_.out_channels, threads_, [&](std::int64_t task) {
      const std::int64_t n = task / p_.out_channels, k = task % p_.out_channels;
      for (std::int64_t y = 0; y < p_.out_h; ++y)
        for (std::int64_t x = 0; x < p_.out_w; ++x) {
          char* out = v.out + n * v.out_stride[0] + k * v.out_stride[1] + y * v.out_stride[2] + x * v.out_stride[3];
          const T value = static_cast<T>(at(v, n, k, y, x));
          std::memcpy(out, &value, sizeof value);
        }
    });
  }

 private:
  double at(const ConvViews& v, std::int64_t n, std::int64_t k, std::int64_t y, std::int64_t x) const noexcept {
    const AxisMap map_h{p_.padding_mode, p_.in_h}, map_w{p_.padding_mode, p_.in_w};
    const std::int64_t first_channel = k / p_.group_out_channels() * p_.group_in_channels();
    double sum = v.bias ? reinterpret_cast<const T*>(v.bias)[k] : 0.0;
    for (std::int64_t c = 0; c < p_.group_in_channels(); ++c)
      for (std::int64_t i = 0; i < p_.kernel_h; ++i)
        for (std::int64_t j = 0; j < p_.kernel_w; ++j) {
          const std::int64_t row = map_h(y * p_.stride_h + i * p_.dilation_h - p_.pad_top);
          const std::int64_t column = map_w(x * p_.stride_w + j * p_.dilation_w - p_.pad_left);
          const std::int64_t w = ((k * p_.group_in_channels() + c) * p_.kernel_h + i) * p_.kernel_w + j;
          const char* const in = v.input + n * v.input_stride[0] + (first_channel + c) * v.input_stride[1] +
                                 row * v.input_stride[2] + column * v.input_stride[3];
          const double value = row < 0 || column < 0 ? 0.0 : static_cast<double>(load<T>(in));
          sum += static_cast<double>(reinterpret_cast<const T*>(v.weight)[w]) * value;
        }
    return sum;
  }

  ConvProblem p_;
  int threads_;
};

}  // namespace

const Algorithm reference_algorithm = {
    "reference",
    "exact on small integers; sums in double",
    [](const PlanRequest&) -> const char* { return nullptr; },
    [](const PlanRequest& r) -> std::unique_ptr<Plan> {
      if (r.problem.dtype == DType::float32) return std::make_unique<ReferencePlan<float>>(r);
      return std::make_unique<ReferencePlan<double>>(r);
    },
};

}  // namespace tileconv
