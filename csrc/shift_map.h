// The one linear map that the shifted GEMM computes, and what every pass of a convolution becomes in its terms.
//
// For each image and group:
//   out[k, y, x] = bias[k] + sum over c, i, j of
//                  weight[k, c, h.kernel(i), w.kernel(j)] * in[c, y * h.step + h.tap(i), x * w.step + w.tap(j)]
// Forward, this is the convolution as it stands. Its input gradient is such a map over the output's gradient for every
// residue of the input's coordinates by the stride: only the kernel elements that meet that residue take part, so
// nothing is ever multiplied by an inserted zero (the sub-pixel form of a transposed convolution).
#pragma once

#include <algorithm>
#include <utility>

#include "plan.h"
#include "staging.h"

namespace tileconv {

struct MapAxis : AxisTaps {
  std::int64_t kernel_first = 0, kernel_difference = 1;  // which kernel element a tap belongs to
  std::int64_t kernel(std::int64_t i) const noexcept { return kernel_first + i * kernel_difference; }
};

struct ShiftMap {
  std::int64_t batch, groups, in_channels, out_channels;  // channels of one group
  MapAxis h, w;
  std::int64_t kernel_w, kernel_elements;  // the layout of one kernel in the weights
  std::int64_t weight_out, weight_in;      // elements from one out channel, one in channel, to the next
  // Out channel k of the map is element k % (block_h * block_w) of the blocks that make up the result's channel
  // k / (block_h * block_w): it is written with that stride.
  std::int64_t block_h = 1, block_w = 1;
  // In channel c of the map is element c % (patch_h * patch_w) of the patches that make up the input's channel
  // c / (patch_h * patch_w): it is read with their stride.
  std::int64_t patch_h = 1, patch_w = 1;
  bool collapsed = false;  // 1x1 on adjacent rows: the image is one row of h * w pixels

  std::int64_t taps() const noexcept { return h.count * w.count; }
  std::int64_t patch_elements() const noexcept { return patch_h * patch_w; }
  // The weights of an out channel are adjacent, in the order of its sum.
  bool adjacent_kernels() const noexcept { return weight_in == kernel_elements; }
  // A stack of kernels lies between the kernels of adjacent in channels: the map of an input gradient, whose weights
  // are never frozen.
  bool scattered_weights() const noexcept { return kernel_elements > 1 && !adjacent_kernels(); }
  std::int64_t steps() const noexcept { return in_channels * taps(); }
  std::int64_t kernel_index(std::int64_t i, std::int64_t j) const noexcept {
    return h.kernel(i) * kernel_w + w.kernel(j);
  }
};

ShiftMap forward_map(const ConvProblem& problem, const Layout& layout);

// What the first tap of the first output reads in a channel of a group of image n.
inline const char* map_source(const ShiftMap& map, const ConvViews& v, std::int64_t n, std::int64_t group,
                              std::int64_t channel) noexcept {
  const std::int64_t patch = map.patch_elements(), element = channel % patch;
  return v.input + n * v.input_stride[0] + (group * map.in_channels + channel) / patch * v.input_stride[1] +
         element / map.patch_w * v.input_stride[2] + element % map.patch_w * v.input_stride[3];
}

// Where kernels neither overlap nor touch the padding, no two taps share an element of the input: each kernel element
// is an in channel of its own, and the convolution a pointwise one.
bool has_patches(const ConvProblem& problem) noexcept;
ShiftMap patch_map(const ConvProblem& problem);

// Maps whose outputs are interleaved: output t of axis rows[i] is coordinate t * rows.size() + i of the result. An
// ordinary map is the only one of its kind.
struct InterleavedMap {
  explicit InterleavedMap(const ShiftMap& map) : any(map), rows{map.h}, columns{map.w} {}
  InterleavedMap(const ShiftMap& map, std::vector<MapAxis> h, std::vector<MapAxis> w)
      : any(map), rows(std::move(h)), columns(std::move(w)) {}
  ShiftMap any;  // but for its axes, which are those of one of the maps
  std::vector<MapAxis> rows, columns;
};

// A rectangle of the padded input's gradient: coordinates [begin, end) in terms of the input (negative: in the padding
// before it).
struct GradientRange {
  std::int64_t begin, end;
};
// The maps of all residues of the rectangle, of those from its first coordinates on.
InterleavedMap input_gradient_maps(const ConvProblem& problem, GradientRange rows, GradientRange columns);
// One of them by itself; `layout` is that of its own outputs.
ShiftMap residue_map(const InterleavedMap& maps, std::size_t row, std::size_t column, const Layout& layout);

// Where kernels do not overlap and the strides divide the input, one map gives the whole gradient: every kernel element
// is an out channel of its own (a pointwise convolution followed by a pixel shuffle).
bool is_block_gradient(const ConvProblem& problem) noexcept;
ShiftMap block_gradient_map(const ConvProblem& problem);

inline std::int64_t ceil_div(std::int64_t a, std::int64_t b) noexcept { return a / b + (a % b > 0); }

// Part i of `parts` even parts of `total` is [split_at(total, parts, i), split_at(total, parts, i + 1)).
inline std::int64_t split_at(std::int64_t total, std::int64_t parts, std::int64_t i) noexcept {
  return parts == 1 ? (i == 0 ? 0 : total) : total * i / parts;  // divisions show in small problems
}

// Even parts with those of a size side by side: the first `larger` have one more than `size`.
struct EvenParts {
  std::int64_t count, size, larger;
  EvenParts(std::int64_t total, std::int64_t parts) noexcept
      : count(parts), size(parts == 0 ? 0 : total / parts), larger(parts == 0 ? 0 : total % parts) {}
  static EvenParts of_at_most(std::int64_t total, std::int64_t most) noexcept { return {total, ceil_div(total, most)}; }

  std::int64_t total() const noexcept { return count * size + larger; }
  std::int64_t begin(std::int64_t part) const noexcept { return part * size + std::min(part, larger); }
  // The part that element i is in.
  std::int64_t part_of(std::int64_t i) const noexcept {
    const std::int64_t of_larger = larger * (size + 1);
    return i < of_larger ? i / (size + 1) : larger + (i - of_larger) / size;
  }
  // f(part, parts, size): so many parts of that size, from `part` on.
  template <class F>
  void for_each_size(F f) const {
    if (larger > 0) f(std::int64_t{0}, larger, size + 1);
    if (larger < count) f(larger, count - larger, size);
  }
};

}  // namespace tileconv
