// The one door for arguments: every rule of the contract, each with a message that says what came and what is expected.
#include "problem.h"

#include <algorithm>
#include <limits>

namespace tileconv {
namespace {

using std::to_string;

constexpr std::int64_t largest = std::numeric_limits<std::int64_t>::max();

template <class Pair>
std::string format_pair(const Pair& p) {
  return format_shape(std::vector<std::int64_t>(p.begin(), p.end()));
}

DType parse_dtype(const std::string& name, const char* argument) {
  for (int d = 0; d < dtype_count; ++d)
    if (name == dtype_name(static_cast<DType>(d))) return static_cast<DType>(d);
  throw TypeError(std::string(argument) + " must have dtype float32 or float64, got " + name +
                  "; convert it, e.g. with " + argument + ".astype(numpy.float32)");
}

PaddingMode parse_mode(const std::string& name) {
  for (int m = 0; m < padding_mode_count; ++m)
    if (name == padding_mode_name(static_cast<PaddingMode>(m))) return static_cast<PaddingMode>(m);
  throw ValueError("padding_mode must be 'zeros', 'reflect', 'replicate', 'circular' or 'symmetric', got '" + name +
                   "'");
}

// The product of sizes, refused where it, times the element size, leaves 64 bits.
void check_addressable(const std::string& what, const std::vector<std::int64_t>& shape, DType dtype) {
  std::int64_t left = largest / dtype_size(dtype);
  for (const std::int64_t n : shape) {
    if (n > 0 && left / n == 0)
      throw ValueError(what + " of shape " + format_shape(shape) + " has more elements than 64-bit addresses can hold");
    left = n > 0 ? left / n : left;
  }
}

struct Axis {
  const char* name;  // "height"
  std::int64_t size, kernel, stride, dilation;
  std::int64_t before, after;  // padding
  std::int64_t out = 0;
};

// The span of the kernel on an axis, dilation * (kernel - 1) + 1.
std::int64_t kernel_span(const Axis& a) {
  if (a.kernel > 1 && a.dilation > (largest / 4 - 1) / (a.kernel - 1))
    throw ValueError("dilation " + to_string(a.dilation) + " times kernel size " + to_string(a.kernel) + " on the " +
                     a.name + " axis is out of range");
  return a.dilation * (a.kernel - 1) + 1;
}

void resolve_named_padding(Axis& a, const std::string& name) {
  if (name == "valid") {
    a.before = a.after = 0;
    return;
  }
  const std::int64_t span = kernel_span(a);
  std::int64_t total = span - 1;
  if (name != "same") {
    const std::int64_t out = a.size / a.stride + (a.size % a.stride != 0);
    total = std::max<std::int64_t>(0, (out - 1) * a.stride + span - a.size);
  }
  a.before = name == "same_lower" ? total - total / 2 : total / 2;
  a.after = total - a.before;
}

// What the arguments are called in the call of this pass.
std::string input_name(const ConvArguments& a) { return a.pass == Pass::input_gradient ? "input_size" : "input"; }
std::string weight_name(const ConvArguments& a) { return a.pass == Pass::weight_gradient ? "weight_size" : "weight"; }

// out = floor((size + before + after - dilation * (kernel - 1) - 1) / stride + 1)
void resolve_output(Axis& a, PaddingMode mode, const ConvArguments& arguments) {
  const std::string input = input_name(arguments);
  const AxisMap map{mode, a.size};
  const char* edge = a.before > map.largest_padding() ? "before" : a.after > map.largest_padding() ? "after" : nullptr;
  if (edge) {
    const bool strict = mode == PaddingMode::reflect;
    throw ValueError("padding of " + to_string(std::max(a.before, a.after)) + " on the " + a.name +
                     " axis is too large for padding_mode='" + padding_mode_name(mode) + "': it must be " +
                     (strict ? "less than" : "at most") + " the input's " + a.name + " of " + to_string(a.size));
  }
  if (a.before > largest / 8 || a.after > largest / 8)
    throw ValueError("padding of (" + to_string(a.before) + ", " + to_string(a.after) + ") on the " + a.name +
                     " axis is out of range");
  const std::int64_t padded = a.size + a.before + a.after, span = kernel_span(a);
  if (padded <= 0)
    throw ValueError(input + " has " + a.name + " " + to_string(a.size) +
                     " and no padding on that axis: expected a padded size of at least 1");
  if (a.size == 0 && mode != PaddingMode::zeros)
    throw ValueError(input + " has " + a.name + " 0: padding_mode='" + padding_mode_name(mode) +
                     "' has nothing to pad with, expected at least 1");
  if (span > padded)
    throw ValueError(weight_name(arguments) + "'s kernel spans " + to_string(span) + " elements of " + a.name +
                     " (size " + to_string(a.kernel) + ", dilation " + to_string(a.dilation) +
                     "), expected at most the padded input's " + to_string(padded));
  a.out = (padded - span) / a.stride + 1;
}

void check_shapes(const ConvArguments& a, const char* weight_axes) {
  if (a.input_shape.size() != 3 && a.input_shape.size() != 4)
    throw ValueError(input_name(a) + " must have 4 dimensions (N, C, H, W) or 3 (C, H, W), got " +
                     to_string(a.input_shape.size()) + " with shape " + format_shape(a.input_shape));
  if (a.weight_shape.size() != 4)
    throw ValueError(weight_name(a) + " must have 4 dimensions " + weight_axes + ", got " +
                     to_string(a.weight_shape.size()) + " with shape " + format_shape(a.weight_shape));
  for (const auto* shape : {&a.input_shape, &a.weight_shape})
    for (const std::int64_t n : *shape)
      if (n < 0)
        throw ValueError((shape == &a.input_shape ? input_name(a) : weight_name(a)) +
                         " has a negative size, expected sizes of at least 0, got shape " + format_shape(*shape));
}

void check_values(const ConvArguments& a) {
  if (a.stride[0] < 1 || a.stride[1] < 1) throw ValueError("stride must be at least 1, got " + format_pair(a.stride));
  if (a.dilation[0] < 1 || a.dilation[1] < 1)
    throw ValueError("dilation must be at least 1, got " + format_pair(a.dilation));
  if (a.groups < 1) throw ValueError("groups must be at least 1, got " + to_string(a.groups));
  if (a.padding_name.empty()) {
    for (const std::int64_t p : a.padding)
      if (p < 0)
        throw ValueError("padding must be at least 0, got (top, bottom, left, right) = " + format_pair(a.padding));
  } else if (a.padding_name != "valid" && a.padding_name != "same" && a.padding_name != "same_upper" &&
             a.padding_name != "same_lower") {
    throw ValueError("padding must be sizes or 'valid', 'same', 'same_upper' or 'same_lower', got '" + a.padding_name +
                     "'");
  } else if (a.padding_name == "same" && (a.stride[0] != 1 || a.stride[1] != 1)) {
    throw ValueError("padding='same' expects stride 1, got stride=" + format_pair(a.stride) +
                     "; 'same_upper' and 'same_lower' take any stride");
  }
}

void check_channels(const ConvProblem& p, const ConvArguments& a) {
  if (p.kernel_h < 1 || p.kernel_w < 1 || p.out_channels < 1 || a.weight_shape[1] < 1)
    throw ValueError(weight_name(a) + " must have sizes of at least 1, got shape " + format_shape(a.weight_shape));
  if (p.in_channels < 1)
    throw ValueError(input_name(a) + " must have at least 1 channel, got shape " + format_shape(a.input_shape));
  if (p.in_channels % p.groups != 0)
    throw ValueError("groups=" + to_string(p.groups) + " does not divide in_channels=" + to_string(p.in_channels));
  if (p.out_channels % p.groups != 0)
    throw ValueError("groups=" + to_string(p.groups) + " does not divide out_channels=" + to_string(p.out_channels));
  if (a.weight_shape[1] != p.group_in_channels())
    throw ValueError(weight_name(a) + " of shape " + format_shape(a.weight_shape) + " takes " +
                     to_string(a.weight_shape[1]) + " channels a group, but " + input_name(a) + " has " +
                     to_string(p.in_channels) + " channels in groups=" + to_string(p.groups) + ": expected " +
                     to_string(p.group_in_channels()));
  if (a.has_bias && (a.bias_shape.size() != 1 || a.bias_shape[0] != p.out_channels))
    throw ValueError("bias must have shape (" + to_string(p.out_channels) + ",), one value for each out channel, got " +
                     format_shape(a.bias_shape));
}

}  // namespace

const char* dtype_name(DType dtype) noexcept { return dtype == DType::float32 ? "float32" : "float64"; }
const char* pass_name(Pass pass) noexcept {
  constexpr const char* names[] = {"forward", "input_gradient", "weight_gradient"};
  return names[static_cast<int>(pass)];
}

std::string format_shape(const std::vector<std::int64_t>& shape) {
  std::string text = "(";
  for (std::size_t i = 0; i < shape.size(); ++i) text += (i ? ", " : "") + to_string(shape[i]);
  return text + (shape.size() == 1 ? ",)" : ")");
}

namespace {

// The common dtype of all arrays of the call: the first one's.
DType check_dtypes(const ConvArguments& a) {
  const std::pair<const char*, const std::string*> arrays[] = {{"input", &a.input_dtype},
                                                               {"weight", &a.weight_dtype},
                                                               {"grad_output", &a.grad_output_dtype},
                                                               {"bias", &a.bias_dtype}};
  const std::pair<const char*, const std::string*>* first = nullptr;
  for (const auto& array : arrays) {
    const auto& [name, dtype] = array;
    if (dtype->empty()) continue;
    parse_dtype(*dtype, name);
    if (!first) first = &array;
    if (*dtype != *first->second)
      throw TypeError(std::string(name) + " must have the dtype of " + first->first + ", " + *first->second + ", got " +
                      *dtype + "; convert one, e.g. with " + name + ".astype(numpy." + *first->second + ")");
  }
  return parse_dtype(*first->second, first->first);
}

// A stride that leads to no second output and a dilation of a single tap mean nothing, whatever they are: large ones
// are cut down, so that no product of them leaves 64 bits, no table is as long as they are.
void set_axis(const Axis& a, std::int64_t size, std::int64_t& stride, std::int64_t& dilation) {
  constexpr std::int64_t large = 64;
  stride = a.out == 1 ? std::min(a.stride, std::max(large, size + a.before + a.after)) : a.stride;
  dilation = a.kernel == 1 ? std::min(a.dilation, large) : a.dilation;
}

// `input`, `output`: what the caller calls them.
void set_geometry(ConvProblem& p, const ConvArguments& a, const Axis& h, const Axis& w, const std::string& input,
                  const std::string& output) {
  set_axis(h, p.in_h, p.stride_h, p.dilation_h);
  set_axis(w, p.in_w, p.stride_w, p.dilation_w);
  p.pad_top = h.before, p.pad_bottom = h.after, p.pad_left = w.before, p.pad_right = w.after;
  p.out_h = h.out, p.out_w = w.out;
  check_addressable(input, p.input_shape(), p.dtype);
  check_addressable(weight_name(a), p.weight_shape(), p.dtype);
  check_addressable(output, p.output_shape(), p.dtype);
}

}  // namespace

ConvProblem ConvProblem::make(const ConvArguments& a) {
  ConvProblem p;
  p.pass = a.pass;
  p.dtype = check_dtypes(a);
  check_shapes(a, "(out_channels, in_channels / groups, kernel_h, kernel_w)");
  check_values(a);
  p.padding_mode = parse_mode(a.padding_mode);
  p.batched = a.input_shape.size() == 4;
  const std::int64_t* in = a.input_shape.data() + (p.batched ? 1 : 0);
  p.batch = p.batched ? a.input_shape[0] : 1;
  p.in_channels = in[0];
  p.in_h = in[1];
  p.in_w = in[2];
  p.out_channels = a.weight_shape[0];
  p.kernel_h = a.weight_shape[2];
  p.kernel_w = a.weight_shape[3];
  p.groups = a.groups;
  p.has_bias = a.has_bias;
  check_channels(p, a);

  Axis h{"height", p.in_h, p.kernel_h, a.stride[0], a.dilation[0], a.padding[0], a.padding[1]};
  Axis w{"width", p.in_w, p.kernel_w, a.stride[1], a.dilation[1], a.padding[2], a.padding[3]};
  for (Axis* axis : {&h, &w}) {
    if (axis->size > largest / 8)
      throw ValueError(input_name(a) + " of shape " + format_shape(a.input_shape) + " is out of range on the " +
                       axis->name + " axis: expected less than 2**60");
    if (!a.padding_name.empty()) resolve_named_padding(*axis, a.padding_name);
    resolve_output(*axis, p.padding_mode, a);
  }
  set_geometry(p, a, h, w, input_name(a), "the output");
  if (p.pass != Pass::forward && a.grad_output_shape != p.output_shape())
    throw ValueError("grad_output must have the output's shape " + format_shape(p.output_shape()) + ", got " +
                     format_shape(a.grad_output_shape));
  return p;
}

ConvProblem ConvProblem::make_transposed(const ConvArguments& a, std::array<std::int64_t, 2> output_padding) {
  ConvProblem p;
  p.pass = Pass::input_gradient;
  p.dtype = check_dtypes(a);
  check_shapes(a, "(in_channels, out_channels / groups, kernel_h, kernel_w)");
  check_values(a);
  p.batched = a.input_shape.size() == 4;
  p.batch = p.batched ? a.input_shape[0] : 1;
  const std::int64_t* in = a.input_shape.data() + (p.batched ? 1 : 0);
  p.groups = a.groups;
  p.has_bias = a.has_bias;
  p.out_channels = in[0];
  for (const std::int64_t n : a.weight_shape)
    if (n < 1) throw ValueError("weight must have sizes of at least 1, got shape " + format_shape(a.weight_shape));
  if (a.weight_shape[0] != in[0])
    throw ValueError("weight of shape " + format_shape(a.weight_shape) + " takes " + to_string(a.weight_shape[0]) +
                     " channels, but input has " + to_string(in[0]) + ": expected weight of shape (in_channels, " +
                     "out_channels / groups, kernel_h, kernel_w)");
  if (in[0] % p.groups != 0)
    throw ValueError("groups=" + to_string(p.groups) + " does not divide in_channels=" + to_string(in[0]));
  if (a.weight_shape[1] > largest / p.groups) throw ValueError("groups=" + to_string(p.groups) + " is out of range");
  p.in_channels = a.weight_shape[1] * p.groups;
  p.kernel_h = a.weight_shape[2], p.kernel_w = a.weight_shape[3];
  if (a.has_bias && (a.bias_shape.size() != 1 || a.bias_shape[0] != p.in_channels))
    throw ValueError("bias must have shape (" + to_string(p.in_channels) + ",), one value for each out channel, got " +
                     format_shape(a.bias_shape));

  Axis h{"height", in[1], p.kernel_h, a.stride[0], a.dilation[0], a.padding[0], a.padding[1], in[1]};
  Axis w{"width", in[2], p.kernel_w, a.stride[1], a.dilation[1], a.padding[2], a.padding[3], in[2]};
  std::int64_t sizes[2];
  for (int d = 0; d < 2; ++d) {
    const Axis& axis = d == 0 ? h : w;
    const std::int64_t extra = output_padding[static_cast<std::size_t>(d)];
    if (extra < 0 || extra >= std::max(axis.stride, axis.dilation))
      throw ValueError("output_padding must be at least 0 and less than the stride or the dilation, got " +
                       format_pair(output_padding) + " with stride=" + format_pair(a.stride) +
                       " and dilation=" + format_pair(a.dilation));
    if (axis.size < 1)
      throw ValueError(std::string("input must have a ") + axis.name + " of at least 1, got shape " +
                       format_shape(a.input_shape));
    if (axis.before > largest / 8 || axis.after > largest / 8)
      throw ValueError("padding of (" + to_string(axis.before) + ", " + to_string(axis.after) + ") on the " +
                       axis.name + " axis is out of range");
    if (extra > largest / 8)
      throw ValueError("output_padding of " + to_string(extra) + " on the " + axis.name + " axis is out of range");
    if (axis.size - 1 > largest / 8 / axis.stride)
      throw ValueError("stride " + to_string(axis.stride) + " on the " + axis.name + " axis is out of range");
    sizes[d] = (axis.size - 1) * axis.stride - axis.before - axis.after + kernel_span(axis) + extra;
    if (sizes[d] < 1)
      throw ValueError(std::string("padding leaves an output of ") + axis.name + " " + to_string(sizes[d]) +
                       ", expected at least 1");
  }
  p.in_h = sizes[0], p.in_w = sizes[1];
  set_geometry(p, a, h, w, "the output", "input");
  return p;
}

std::vector<std::int64_t> ConvProblem::input_shape() const {
  if (!batched) return {in_channels, in_h, in_w};
  return {batch, in_channels, in_h, in_w};
}

std::vector<std::int64_t> ConvProblem::output_shape() const {
  if (!batched) return {out_channels, out_h, out_w};
  return {batch, out_channels, out_h, out_w};
}

std::string ConvProblem::describe() const {
  std::string text = "b" + to_string(batch) + " ic" + to_string(in_channels);
  const auto pair = [&](const char* name, std::int64_t h, std::int64_t w, std::int64_t usual) {
    if (h == w && h == usual) return;
    text += std::string(" ") + name + (h == w ? "" : "h") + to_string(h);
    if (h != w) text += std::string(" ") + name + "w" + to_string(w);
  };
  text += " ih" + to_string(in_h) + (in_w != in_h ? " iw" + to_string(in_w) : "");
  text += " oc" + to_string(out_channels);
  text += " kh" + to_string(kernel_h) + (kernel_w != kernel_h ? " kw" + to_string(kernel_w) : "");
  pair("s", stride_h, stride_w, 1);
  if (pad_top == pad_bottom && pad_left == pad_right) {
    pair("p", pad_top, pad_left, 0);
  } else {
    text += " pt" + to_string(pad_top) + " pb" + to_string(pad_bottom) + " pl" + to_string(pad_left) + " pr" +
            to_string(pad_right);
  }
  pair("d", dilation_h, dilation_w, 1);
  if (groups != 1) text += " g" + to_string(groups);
  return text + (dtype == DType::float32 ? " f32 " : " f64 ") + padding_mode_name(padding_mode);
}

}  // namespace tileconv
