// See shift_map.h.
#include "shift_map.h"

#include <algorithm>
#include <numeric>

namespace tileconv {
namespace {

// Makes the image one row, where every pixel of the output lies over its own pixel of the input.
void collapse(ShiftMap& map, const Layout& layout) {
  const auto pointwise = [](const MapAxis& a) {
    return a.count == 1 && a.step == 1 && a.tap(0) == 0 && a.out_size == a.map.size;
  };
  map.collapsed =
      pointwise(map.h) && pointwise(map.w) && map.h.out_size > 1 && layout.input_planes && layout.out_planes;
  if (!map.collapsed) return;
  map.w.out_size *= map.h.out_size;
  map.w.map.size = map.w.out_size;
  map.h.out_size = map.h.map.size = 1;
}

// For each residue by the stride, the coordinates of the range that leave it. Tap i of the kernel meets coordinate y at
// the output's gradient (y + pad - i * dilation) / stride, where that is whole: the taps of a residue lie stride /
// gcd(stride, dilation) apart. There may be none.
std::vector<MapAxis> gradient_axes(GradientRange range, std::int64_t out_size, std::int64_t stride,
                                   std::int64_t dilation, std::int64_t pad, std::int64_t kernel) {
  const std::int64_t common = std::gcd(stride, dilation), period = stride / common;
  std::vector<MapAxis> axes(
      static_cast<std::size_t>(std::min(stride, std::max<std::int64_t>(0, range.end - range.begin))));
  const auto residues = static_cast<std::int64_t>(axes.size());
  for (std::int64_t residue = 0; residue < residues; ++residue) {
    MapAxis& axis = axes[static_cast<std::size_t>(residue)];
    axis.out_size = ceil_div(range.end - range.begin - residue, stride);
    axis.step = 1;
    axis.map = {PaddingMode::zeros, out_size};
    axis.first = axis.count = 0;
    axis.difference = -dilation / common;
    axis.kernel_difference = period;
  }
  for (std::int64_t i = 0; i < std::min(period, kernel); ++i) {
    const std::int64_t reached = i * dilation - pad - range.begin;  // the coordinate of the range that meets gradient 0
    const std::int64_t residue = (reached % stride + stride) % stride;
    if (residue >= residues) continue;
    MapAxis& axis = axes[static_cast<std::size_t>(residue)];
    axis.count = ceil_div(kernel - i, period);
    axis.first = (residue - reached) / stride;
    axis.kernel_first = i;
  }
  return axes;
}

}  // namespace

ShiftMap forward_map(const ConvProblem& p, const Layout& layout) {
  ShiftMap map{p.batch, p.groups, p.group_in_channels(), p.group_out_channels(), {}, {}, p.kernel_w, p.taps(), 0, 0};
  map.weight_out = map.in_channels * p.taps();
  map.weight_in = p.taps();
  static_cast<AxisTaps&>(map.h) = {p.out_h, p.stride_h, {p.padding_mode, p.in_h}, -p.pad_top, p.dilation_h, p.kernel_h};
  static_cast<AxisTaps&>(map.w) = {p.out_w,     p.stride_w,   {p.padding_mode, p.in_w},
                                   -p.pad_left, p.dilation_w, p.kernel_w};
  collapse(map, layout);
  return map;
}

bool has_patches(const ConvProblem& p) noexcept {
  const auto apart = [](std::int64_t size, std::int64_t out_size, std::int64_t kernel, std::int64_t stride,
                        std::int64_t dilation, std::int64_t pad) {
    return kernel <= stride && (dilation == 1 || kernel == 1) && pad == 0 && (out_size - 1) * stride + kernel <= size;
  };
  return p.taps() > 1 && apart(p.in_h, p.out_h, p.kernel_h, p.stride_h, p.dilation_h, p.pad_top) &&
         apart(p.in_w, p.out_w, p.kernel_w, p.stride_w, p.dilation_w, p.pad_left);
}

ShiftMap patch_map(const ConvProblem& p) {
  ShiftMap map = forward_map(p, {false, false, false, false, false, false});
  map.in_channels *= p.taps();
  map.h.count = map.w.count = map.kernel_w = map.kernel_elements = map.weight_in = 1;
  map.patch_h = p.kernel_h;
  map.patch_w = p.kernel_w;
  return map;
}

InterleavedMap input_gradient_maps(const ConvProblem& p, GradientRange rows, GradientRange columns) {
  std::vector<MapAxis> h = gradient_axes(rows, p.out_h, p.stride_h, p.dilation_h, p.pad_top, p.kernel_h),
                       w = gradient_axes(columns, p.out_w, p.stride_w, p.dilation_w, p.pad_left, p.kernel_w);
  ShiftMap map{p.batch, p.groups, p.group_out_channels(), p.group_in_channels(), {}, {}, p.kernel_w, p.taps(), 0, 0};
  map.weight_out = p.taps();
  map.weight_in = p.group_in_channels() * p.taps();
  return {map, std::move(h), std::move(w)};
}

ShiftMap residue_map(const InterleavedMap& maps, std::size_t row, std::size_t column, const Layout& layout) {
  ShiftMap map = maps.any;
  map.h = maps.rows[row];
  map.w = maps.columns[column];
  collapse(map, layout);
  return map;
}

bool is_block_gradient(const ConvProblem& p) noexcept {
  return p.taps() > 1 && p.group_out_channels() > 1 && p.kernel_h == p.stride_h && p.kernel_w == p.stride_w &&
         p.dilation_h == 1 && p.dilation_w == 1 && p.pad_top == 0 && p.pad_left == 0 &&
         p.in_h == p.out_h * p.stride_h && p.in_w == p.out_w * p.stride_w;
}

ShiftMap block_gradient_map(const ConvProblem& p) {
  ShiftMap map{p.batch, p.groups, p.group_out_channels(), p.group_in_channels() * p.taps(), {}, {}, 1, 1, 1, 0};
  map.weight_in = map.out_channels;
  static_cast<AxisTaps&>(map.h) = {p.out_h, 1, {PaddingMode::zeros, p.out_h}, 0, 1, 1};
  static_cast<AxisTaps&>(map.w) = {p.out_w, 1, {PaddingMode::zeros, p.out_w}, 0, 1, 1};
  map.block_h = p.stride_h;
  map.block_w = p.stride_w;
  return map;
}

}  // namespace tileconv
