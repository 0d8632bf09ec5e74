// What the passes of depthwise_channels share: tiles of the input, transposed so that the channels are innermost.
#pragma once

#include <algorithm>
#include <limits>
#include <memory>
#include <vector>

#include "../channel_rows.h"
#include "../cpu.h"
#include "../shift_map.h"

namespace tileconv {

// One axis of interleaved maps. Their outputs are counted in periods: one output of each map, as far as there are any.
struct PeriodicAxis {
  explicit PeriodicAxis(const std::vector<MapAxis>& axes) : maps(axes), map(axes.front().map), step(axes.front().step) {
    std::int64_t end = std::numeric_limits<std::int64_t>::min();
    lowest = std::numeric_limits<std::int64_t>::max();
    for (const MapAxis& axis : axes) {
      out_size += axis.out_size;
      if (axis.count == 0) continue;
      lowest = std::min(lowest, axis.lowest());
      end = std::max(end, axis.lowest() + axis.reach());
    }
    if (end < lowest) lowest = 0, end = 1;  // no tap at all
    reach = end - lowest;
  }
  std::int64_t period() const noexcept { return static_cast<std::int64_t>(maps.size()); }
  std::int64_t periods() const noexcept { return maps.front().out_size; }
  // Of the result, where `periods` begins.
  std::int64_t output(std::int64_t periods) const noexcept { return std::min(out_size, periods * period()); }
  // Input that `periods` reach.
  std::int64_t input(std::int64_t periods) const noexcept { return (periods - 1) * step + reach; }
  // The share of all (output, tap) that does not fall into zero padding, and the mean number of taps.
  double used_share() const noexcept {
    double share = 0;
    for (const MapAxis& axis : maps) share += axis.used_share();
    return share / static_cast<double>(period());
  }
  double mean_taps() const noexcept {
    std::int64_t taps = 0;
    for (const MapAxis& axis : maps) taps += axis.count;
    return static_cast<double>(taps) / static_cast<double>(period());
  }

  std::vector<MapAxis> maps;
  AxisMap map;
  std::int64_t step;
  std::int64_t out_size = 0, lowest, reach;  // of all maps; the first tap of any; from there to the last
};

// Cuts the outputs into tiles, in periods; transposes what a tile reaches.
template <class T>
class ChannelTiles {
 public:
  ChannelTiles(const InterleavedMap& maps, const KernelSet<T>& set)
      : h(maps.rows), w(maps.columns), groups_(maps.any.groups), set_(set) {
    // Rows that a tile reaches stay in L2, and in L1 what one row of outputs does.
    const std::int64_t pixels = core_traits().l2 / 4 / (set.lanes * element);
    const std::int64_t wide = std::max<std::int64_t>(1, pixels / (2 * h.reach + 2 * h.step));
    tiles_w_ = parts(w.periods(), wide / w.step);
    tile_w_ = std::max<std::int64_t>(1, ceil_div(w.periods(), tiles_w_));
    tiles_h_ = parts(h.periods(), (pixels / pitch() - h.reach) / h.step);
    tile_h_ = std::max<std::int64_t>(1, ceil_div(h.periods(), tiles_h_));
    for (std::int64_t t = 0; t < tiles_w_; ++t)
      columns_.emplace_back(make_pieces(w.map, column(t) * w.step + w.lowest, w.input(column(t + 1) - column(t))),
                            w.map.size);
  }

  const PeriodicAxis h, w;

  std::int64_t blocks() const { return ceil_div(groups_, set_.lanes); }  // of planes
  std::int64_t planes(std::int64_t block) const {
    return std::min<std::int64_t>(set_.lanes, groups_ - block * set_.lanes);
  }
  std::int64_t tiles_w() const { return tiles_w_; }
  std::int64_t tiles() const { return tiles_h_ * tiles_w_; }
  std::int64_t row(std::int64_t t) const { return split_at(h.periods(), tiles_h_, t); }
  std::int64_t column(std::int64_t t) const { return split_at(w.periods(), tiles_w_, t); }
  // Outputs of a full tile.
  std::int64_t tile_h() const { return tile_h_ * h.period(); }
  std::int64_t tile_w() const { return tile_w_ * w.period(); }
  std::int64_t pitch() const { return w.input(tile_w_); }
  std::int64_t input_size() const { return h.input(tile_h_) * pitch() * set_.lanes; }
  std::int64_t scratch_size() const { return set_.lanes * (std::max(pitch(), tile_w()) + set_.lanes); }
  static constexpr std::int64_t all_padding = std::numeric_limits<std::int64_t>::max() / 2;
  // What reads (row, column) in the first period, from the tile's first input vector.
  std::ptrdiff_t tap_offset(std::int64_t row, std::int64_t column) const {
    return ((row - h.lowest) * pitch() + column - w.lowest) * set_.lanes;
  }

  // The input of periods [y0, y1) in tile column t, for one block of planes. Rows of zeros further than `padding` from
  // the image are left as they are.
  void transpose_input(const ConvViews& v, std::int64_t n, std::int64_t block, std::int64_t y0, std::int64_t y1,
                       std::int64_t t, std::int64_t padding, T* scratch, T* to) const {
    const std::int64_t begin = y0 * h.step + h.lowest;
    transpose_rows(
        set_, columns_[static_cast<std::size_t>(t)], w.input(column(t + 1) - column(t)), pitch(),
        {{v.input + n * v.input_stride[0] + block * set_.lanes * v.input_stride[1], v.input_stride[1],
          v.input_stride[3], planes(block)},
         v.input_stride[2]},
        h.input(y1 - y0),
        [&](std::int64_t i) {
          const std::int64_t row = begin + i, from = h.map(row);
          return from < 0 && (row < -padding || row >= h.map.size + padding) ? kept_row : from;
        },
        scratch, to);
  }

  // Cycles of one image: pixels of a vector of channels are transposed on their way in and out, and multiplied for each
  // tap. Constants are measurements on Zen 5.
  double cycles(std::int64_t out_channels, double transpose, double tap_cycles) const {
    constexpr double block = 600;
    const auto outputs = static_cast<double>(h.out_size * w.out_size * out_channels);
    const auto inputs = static_cast<double>(h.periods() * h.step * w.periods() * w.step);
    const double pixels =
        inputs * transpose + outputs * (tap_cycles * vector_passes(set_) * h.mean_taps() * w.mean_taps() + transpose);
    return static_cast<double>(blocks()) * (pixels + block);
  }

 private:
  static constexpr auto element = static_cast<std::int64_t>(sizeof(T));
  static std::int64_t parts(std::int64_t size, std::int64_t most) {
    return std::max<std::int64_t>(1, ceil_div(size, std::max<std::int64_t>(1, most)));
  }

  std::int64_t groups_;
  const KernelSet<T>& set_;
  std::int64_t tiles_h_ = 1, tiles_w_ = 1, tile_h_ = 1, tile_w_ = 1;
  std::vector<RowColumns> columns_;  // of each tile column
};

template <class T>
std::unique_ptr<Plan> make_depthwise_channels_weight_plan(const PlanRequest& request);

}  // namespace tileconv
