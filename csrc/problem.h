// ConvProblem: one convolution as plain data, checked. ConvProblem::make is the only place that rejects arguments;
// everything below it relies on what make() has checked.
#pragma once

#include <array>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

#include "padding.h"

namespace tileconv {

// A wrong value: Python's ValueError. TypeError for a wrong kind of thing.
struct ValueError : std::invalid_argument {
  using std::invalid_argument::invalid_argument;
};
struct TypeError : std::invalid_argument {
  using std::invalid_argument::invalid_argument;
};

enum class DType : std::uint8_t { float32, float64 };
constexpr int dtype_count = 2;
const char* dtype_name(DType dtype) noexcept;
inline std::int64_t dtype_size(DType dtype) noexcept { return dtype == DType::float32 ? 4 : 8; }

// Which linear map of the layer is asked for: the output from input and weight, or the gradient of a loss with respect
// to the input or the weight from the gradient with respect to the output. A transposed convolution is an input
// gradient.
enum class Pass : std::uint8_t { forward, input_gradient, weight_gradient };
const char* pass_name(Pass pass) noexcept;

// What a caller passed, in normal form but unchecked. Of the gradients, the argument that only tells a size has no
// dtype and another name.
struct ConvArguments {
  Pass pass = Pass::forward;
  std::vector<std::int64_t> grad_output_shape;  // gradients only
  std::string grad_output_dtype;
  std::vector<std::int64_t> input_shape;   // (N, C, H, W) or (C, H, W)
  std::vector<std::int64_t> weight_shape;  // (K, C / groups, kH, kW)
  bool has_bias = false;
  std::vector<std::int64_t> bias_shape;  // (K)
  std::string input_dtype, weight_dtype, bias_dtype;
  std::array<std::int64_t, 2> stride{1, 1}, dilation{1, 1};
  std::array<std::int64_t, 4> padding{0, 0, 0, 0};  // top, bottom, left, right
  std::string padding_name;                         // or, if not empty, 'valid', 'same', 'same_upper', 'same_lower'
  std::int64_t groups = 1;
  std::string padding_mode = "zeros";
};

// out[n, k, y, x] = bias[k] + sum over c, i, j of
//   weight[k, c, i, j] * input[n, g * in_channels / groups + c, y * stride_h + i * dilation_h - pad_top, ...]
// with g = k / (out_channels / groups), and coordinates outside the input taken through the AxisMap of padding_mode.
struct ConvProblem {
  Pass pass = Pass::forward;
  DType dtype = DType::float32;
  PaddingMode padding_mode = PaddingMode::zeros;
  bool batched = true;
  bool has_bias = false;
  std::int64_t batch, in_channels, in_h, in_w, out_channels, out_h, out_w, kernel_h, kernel_w, groups;
  std::int64_t stride_h, stride_w, dilation_h, dilation_w, pad_top, pad_bottom, pad_left, pad_right;

  // Throws ValueError or TypeError with a message that names the argument, what came and what was expected.
  static ConvProblem make(const ConvArguments& arguments);
  // The transposed convolution of `input` by `weight` (in, out / groups, kH, kW), as the input gradient that it is: the
  // problem's output is the caller's input, and the other way round. The result has the height
  //   (H - 1) * stride - pad_top - pad_bottom + dilation * (kH - 1) + output_padding + 1.
  static ConvProblem make_transposed(const ConvArguments& arguments, std::array<std::int64_t, 2> output_padding);

  std::int64_t group_in_channels() const noexcept { return in_channels / groups; }
  std::int64_t group_out_channels() const noexcept { return out_channels / groups; }
  std::int64_t taps() const noexcept { return kernel_h * kernel_w; }
  // The gradient of an input that is padding alone.
  bool empty_gradient() const noexcept { return pass == Pass::input_gradient && (in_h == 0 || in_w == 0); }
  // Multiply-adds of one image, padding included.
  double macs_per_image() const noexcept {
    return static_cast<double>(out_channels) * static_cast<double>(out_h * out_w) *
           static_cast<double>(group_in_channels() * taps());
  }
  std::vector<std::int64_t> input_shape() const;
  std::vector<std::int64_t> weight_shape() const { return {out_channels, group_in_channels(), kernel_h, kernel_w}; }
  std::vector<std::int64_t> output_shape() const;
  // Of what the pass computes.
  std::vector<std::int64_t> result_shape() const {
    return pass == Pass::forward ? output_shape() : pass == Pass::input_gradient ? input_shape() : weight_shape();
  }
  // One line, e.g. "b1 ic64 ih56 oc64 kh3 p1 f32 zeros"; fields at their default, and widths equal to
  // heights, are left out. A large stride or dilation without effect is cut down.
  std::string describe() const;
};

// Whether the taps of a kernel lie within `most` steps of each other: not as a product, which may overflow.
inline bool taps_within(std::int64_t kernel, std::int64_t dilation, std::int64_t most) noexcept {
  return kernel <= 1 || dilation <= most / (kernel - 1);
}

// "(3, 4)", as Python prints a tuple.
std::string format_shape(const std::vector<std::int64_t>& shape);

}  // namespace tileconv
