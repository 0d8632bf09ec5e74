// What the plans by Winograd's algorithm share: their kernels, strides and costs.
#pragma once

#include <algorithm>
#include <string>

#include "../cpu.h"
#include "../shift_map.h"
#include "products.h"

namespace tileconv {

// The kernels for so many taps; nullptr if there are none.
template <class T>
const WinogradKernel<T>* find_winograd(const KernelSet<T>& set, std::int64_t taps_h, std::int64_t taps_w) noexcept {
  for (int i = 0; i < set.winograd_count; ++i)
    if (set.winograd[i].taps_h == taps_h && set.winograd[i].taps_w == taps_w) return set.winograd + i;
  return nullptr;
}

// Of the taps of an axis, those that leave the same remainder by its step are the taps of a segment: how many taps each
// has, and the first, which has most.
inline std::int64_t winograd_segment_taps(const AxisTaps& axis, std::int64_t segment) noexcept {
  return ceil_div(axis.count - segment, std::max<std::int64_t>(1, axis.remainders()));
}
inline std::int64_t winograd_taps(const AxisTaps& axis) noexcept { return winograd_segment_taps(axis, 0); }

// Kernels of more than five taps are cut in pieces of four, three apart, as are the tiles of F(3, 4): the window of
// tile t and piece p is that of tile t + p and piece 0. n pieces reach over 3 n + 1 taps; one that two of them reach
// belongs to the first.
constexpr int winograd_piece_taps(std::int64_t taps) noexcept {
  return taps <= winograd_most_taps ? static_cast<int>(taps) : 4;
}
constexpr std::int64_t winograd_pieces(std::int64_t taps) noexcept {
  return taps <= winograd_most_taps ? 1 : (taps + 1) / 3;
}
constexpr std::int64_t winograd_longest = 10;      // taps of three pieces
constexpr std::int64_t winograd_most_pieces = 64;  // of a kernel

// Of all segments of an axis.
inline std::int64_t winograd_all_pieces(const AxisTaps& axis) noexcept {
  return axis.remainders() * winograd_pieces(winograd_taps(axis));
}

// The kernels for the pieces of so many taps; nullptr if there are none.
template <class T>
const WinogradKernel<T>* find_winograd_pieces(const KernelSet<T>& set, std::int64_t taps_h,
                                              std::int64_t taps_w) noexcept {
  return std::max(taps_h, taps_w) > winograd_longest
             ? nullptr
             : find_winograd(set, winograd_piece_taps(taps_h), winograd_piece_taps(taps_w));
}

// F(4x4, 3x3), say.
template <class T>
std::string winograd_name(const WinogradKernel<T>& kernel) {
  const auto size = [](int h, int w) { return std::to_string(h) + "x" + std::to_string(w); };
  return "F(" + size(kernel.outputs_h(), kernel.outputs_w()) + ", " + size(kernel.taps_h, kernel.taps_w) + ")";
}

// Strides keep off multiples of a page, where the positions or the rows of a register tile would compete for the
// same cache sets.
template <class T>
std::int64_t winograd_apart(std::int64_t size, int lanes) noexcept {
  return size * static_cast<std::int64_t>(sizeof(T)) % 1024 == 0 ? size + lanes : size;
}

// Of the cycles below, and of staging: where steps are short, so are vectors, whose transforms take Zen 3 as long and
// Zen 4 half as long. The mean errs least.
template <class T>
double winograd_pace(const KernelSet<T>& set) noexcept {
  return set.short_steps() ? 0.75 : 1;
}

// Cycles of the windows of a tile, for a vector of channels: the transform, and staging and transposing what is not
// shared with the tile before.
template <class T>
double window_cycles(const WinogradKernel<T>& kernel) noexcept {
  return 2.0 * kernel.positions() + 8.0 * kernel.window_h() * kernel.outputs_w();
}

// Of a vector of out channels of a tile: the transform, and what is copied.
template <class T>
double output_cycles(const WinogradKernel<T>& kernel) noexcept {
  return 4.0 * kernel.positions() + 12.0 * kernel.outputs_h() * kernel.outputs_w();
}

// Of an estimate of so many pieces and segments: for little gain the exact sum is preferred; but transforms of several
// take a tenth less.
inline double winograd_margin(std::int64_t pieces) noexcept { return pieces > 1 ? 0.93 : 1.03; }

// How many groups a bundle has: as many as have their in and out channels in a vector each, in bundles as even as may
// be.
inline std::int64_t winograd_bundle(std::int64_t groups, std::int64_t in_channels, std::int64_t out_channels,
                                    int lanes) noexcept {
  const std::int64_t most = lanes / std::max<std::int64_t>(1, std::max(in_channels, out_channels));
  return most <= 1 || groups == 0 ? 1 : ceil_div(groups, ceil_div(groups, most));
}

// Of a step of a row of a bundle's products: a multiply-add, and a permutation on a port that few of those use.
inline double bundle_product_cycles(double passes) noexcept { return 0.4 + 0.4 * passes; }

// Of a strip's windows and sums.
inline std::int64_t winograd_most_workspace() noexcept {
  return std::min<std::int64_t>(3 * core_traits().l2, std::int64_t{3} << 20);
}

}  // namespace tileconv
