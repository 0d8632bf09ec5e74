// shift_gemm, the general algorithm: a tile of the input is staged once (staging.h), then every kernel tap is a constant
// offset into it and the convolution is a sum of shifted GEMMs, computed in register tiles with no im2col matrix.
//
// Every output is one running sum over (channel, kernel row, kernel column) in this order, whatever the blocking, the
// orientation of the register tile and the number of threads: all roads give the same bits.
#pragma once

#include <memory>
#include <vector>

#include "../plan.h"
#include "../staging.h"

namespace tileconv {

// The map that the engine computes, for each image and group:
//   out[k, y, x] = bias[k] + sum over c, i, j of weight[k, c, i, j] * in[c, y * h.step + h.first[i], x * w.step + w.first[j]]
struct ShiftMap {
  std::int64_t batch, groups, in_channels, out_channels;  // channels of one group
  AxisTaps h, w;
  bool collapsed = false;  // 1x1 on adjacent rows: the image is one row of h * w pixels

  std::int64_t taps() const noexcept { return static_cast<std::int64_t>(h.first.size() * w.first.size()); }
  std::int64_t steps() const noexcept { return in_channels * taps(); }
};
ShiftMap make_shift_map(const PlanRequest& request);

// How the loops are cut. Sizes are upper limits: what does not divide is split evenly.
struct Blocking {
  bool channel_lanes = false;  // else pixel lanes
  bool in_place = false;       // the input is read where it is, nothing is staged
  int rows = 1, vectors = 1;   // largest register tile
  std::int64_t tile_h = 1, tile_w = 1, chunk = 1;  // of the output; of input channels
  bool flat = false;           // pixel lanes: vectors run on across the rows of a tile, over the halo between them
  bool panels_outer = false;  // channel lanes: sweep all pixels with a panel of weights, not all panels with a run of pixels
  double cycles = 0;          // estimate for one image
};

template <class T>
Blocking choose_blocking(const ShiftMap& map, const PlanRequest& request);

inline std::int64_t ceil_div(std::int64_t a, std::int64_t b) noexcept { return (a + b - 1) / b; }

// Part i of `parts` even parts of `total` is [split_at(total, parts, i), split_at(total, parts, i + 1)).
inline std::int64_t split_at(std::int64_t total, std::int64_t parts, std::int64_t i) noexcept {
  return total * i / parts;
}

}  // namespace tileconv
