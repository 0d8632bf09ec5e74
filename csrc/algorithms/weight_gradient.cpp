// The plan of a weight gradient: how its tiles, panels and tasks are cut.
#include "weight_gradient.h"

#include <algorithm>

#include "../cpu.h"
#include "shift_gemm.h"

namespace tileconv {
namespace {

// What the map calls its output is here grad_output.
Layout map_layout(Layout layout) noexcept {
  layout.out_rows = layout.grad_output_rows;
  layout.out_planes = layout.grad_output_planes;
  return layout;
}

}  // namespace

template <class T>
WeightGradientPlan<T>::WeightGradientPlan(const PlanRequest& request)
    : map_(forward_map(request.problem, map_layout(request.layout))),
      set_(kernel_set<T>(*request.kernels)),
      grad_rows_(request.layout.grad_output_rows),
      batch_(map_.batch),
      channel_lanes_(map_.out_channels > 1 && 2 * map_.out_channels >= set_.lanes),
      tap_rows_(channel_lanes_ && map_.w.difference == 1 && map_.w.count > map_.in_channels && map_.w.count > 3) {
  in_place_ = channel_lanes_ && map_.collapsed;
  swapped_ = in_place_ && map_.in_channels < map_.out_channels && 2 * map_.in_channels >= set_.lanes;
  if (swapped_) std::swap(map_.in_channels, map_.out_channels);
  in_place_ ? cut_in_place() : channel_lanes_ ? cut_channel_lanes() : cut_dot();
  panels_ = ceil_div(map_.out_channels, channel_lanes_ ? panel_columns() : rows_);
  tiles_h_ = ceil_div(map_.h.out_size, tile_h_);
  tiles_w_ = ceil_div(map_.w.out_size, tile_w_);
  staged_h_ = make_staged_axis(map_.h, tile_h_);
  staged_w_ = tap_rows_ ? whole_columns() : make_staged_axis(map_.w, tile_w_);
  plane_ = staged_h_.length * staged_w_.length + 2 * set_.lanes;
  direct_ = channel_lanes_ && !tap_rows_ && request.layout.input_rows;
  for (std::int64_t t = 0; t < tiles_w_; ++t) {
    pieces_.push_back(tap_rows_ ? whole_pieces(t)
                                : make_pieces(map_.w, staged_w_, tile_w_, column_of(t), column_of(t + 1)));
    for (const StagePiece& piece : pieces_.back()) direct_ = direct_ && (piece.step == 1 || piece.count <= 1);
  }
  for (std::int64_t x = 0; x < tile_w_; ++x)
    pixels_.push_back({x * (tap_rows_ ? map_.w.step : block_), x * panel_columns()});
  for (std::int64_t c = 0; c < (channel_lanes_ ? 0 : block_); ++c)
    for (const std::int64_t row : staged_h_.tap_position)
      for (const std::int64_t column : staged_w_.tap_position)
        offsets_.push_back(c * plane_ + row * staged_w_.length + column);
  find_skips();
  split_work(request.threads);
}

template <class T>
double WeightGradientPlan<T>::cycles() const noexcept {
  if (channel_lanes_) {
    // At seven tenths of the FMA peak.
    const double used = skips_ ? map_.h.used_share() * map_.w.used_share() : 1;
    const std::int64_t in = swapped_ ? map_.out_channels : map_.in_channels,
                       out = swapped_ ? map_.in_channels : map_.out_channels;
    const std::int64_t vectors = ceil_div(out, set_.lanes) * in * map_.taps();
    return 0.7 * vector_passes(set_) * used * static_cast<double>(map_.groups * vectors) *
           static_cast<double>(map_.h.out_size) * static_cast<double>(map_.w.out_size);
  }
  // Dot: a row's vectors for every element of the kernels, which the more of them cross a cache line the wider they
  // are, and what a row, staging and a group cost besides.
  const double vector = 0.8 + 0.8 * static_cast<double>(set_.lanes * element) / 64 * vector_passes(set_);
  const auto rows = static_cast<double>(map_.groups * map_.h.out_size);
  const auto elements = static_cast<double>(map_.out_channels * map_.steps());
  const double pixels =
      static_cast<double>(map_.in_channels * map_.h.step) * static_cast<double>(map_.w.out_size * map_.w.step);
  const double staged = map_.w.step == 1 ? pixels / set_.lanes : pixels;
  return rows * (vector * static_cast<double>(ceil_div(map_.w.out_size, set_.lanes)) * elements + staged + 12) +
         200.0 * static_cast<double>(map_.groups);
}

template <class T>
PlanReport WeightGradientPlan<T>::report() const {
  const std::string kernel = in_place_ ? "products " : channel_lanes_ ? "channel_lanes " : "dot ";
  return {kernel + std::to_string(rows_) + "x" + std::to_string(vectors_),
          threads_,
          {{"tile_h", tile_h_}, {"tile_w", tile_w_}, {"channels_per_block", block_}}};
}

// The register tile, of a table that has all smaller ones too, by the cycles that all of them take. Few rows leave room
// for more vectors of out channels.
template <class T>
template <class Kernel>
void WeightGradientPlan<T>::choose_tile(const Kernel* table, int count, std::int64_t most_rows) {
  const std::int64_t columns = ceil_div(map_.out_channels, set_.lanes);
  double best = 0;
  for (int i = 0; i < count; ++i) {
    const std::int64_t rows = std::min<std::int64_t>(table[i].rows, most_rows);
    const std::int64_t vectors = std::min<std::int64_t>(table[i].vectors, columns);
    const double r = static_cast<double>(rows), v = static_cast<double>(vectors);
    // Half a cycle for each vector of grad_output, which comes from L2 as often as not.
    const double cycles = tile_cycles(r * v, r + 1, v, vector_passes(set_)) + 1 + v / 2;
    const double tiles = static_cast<double>(ceil_div(most_rows, rows) * ceil_div(columns, vectors));
    if (best == 0 || cycles * tiles < best)
      best = cycles * tiles, rows_ = static_cast<int>(rows), vectors_ = static_cast<int>(vectors);
  }
}

// A block of in channels is large enough that transposing grad_output once for it costs little.
template <class T>
void WeightGradientPlan<T>::cut_channel_lanes() {
  choose_tile(set_.channel_lanes, set_.channel_lanes_count, tap_rows_ ? map_.w.count : map_.in_channels);
  constexpr std::int64_t enough_steps = 256;
  const std::int64_t wanted = std::max<std::int64_t>(1, enough_steps / (rows_ * map_.taps())) * rows_;
  blocks_ = tap_rows_ ? 1 : ceil_div(map_.in_channels, wanted);
  block_ = ceil_div(map_.in_channels, blocks_);
  most_panels_ = std::max<std::int64_t>(1, core_traits().l2 / 2 / element / panel_sums());
  cut_tile(std::max(std::min(map_.out_channels, most_panels_ * panel_columns()), block_));
}

// The sums of all in channels for the task's out channels stay in L2.
template <class T>
void WeightGradientPlan<T>::cut_in_place() {
  choose_tile(set_.product, set_.product_count, map_.in_channels);
  block_ = map_.in_channels;
  most_panels_ = std::max<std::int64_t>(1, core_traits().l2 / 2 / element / panel_sums());
  cut_tile(std::min(map_.out_channels, most_panels_ * panel_columns()));
}

template <class T>
void WeightGradientPlan<T>::cut_dot() {
  for (int i = 0; i < set_.dot_count; ++i)
    if (set_.dot[i].rows <= map_.out_channels) rows_ = std::max(rows_, set_.dot[i].rows);
  for (int i = 0; i < set_.dot_count; ++i)
    if (set_.dot[i].rows == rows_) vectors_ = std::max(vectors_, set_.dot[i].columns);
  block_ = map_.in_channels;
  cut_tile(std::max(map_.out_channels, block_));
}

template <class T>
void WeightGradientPlan<T>::cut_tile(std::int64_t floats_per_pixel) {
  const std::int64_t budget = core_traits().l2 / 4 / element;
  const auto fits = [&](std::int64_t h, std::int64_t w) {
    const bool in_l1 = !channel_lanes_ || h * w * panel_columns() * element <= core_traits().l1d * 2 / 3;
    return in_l1 && std::max(floats_per_pixel * h * w,
                             in_place_ ? 0 : block_ * map_.h.staged_length(h) * map_.w.staged_length(w)) <= budget;
  };
  tile_h_ = 1;
  tile_w_ = map_.w.out_size;
  while (!fits(1, tile_w_) && tile_w_ > 4 * set_.lanes) tile_w_ = whole(ceil_div(tile_w_, 2));
  while (tile_h_ < map_.h.out_size && fits(tile_h_ + 1, tile_w_)) ++tile_h_;
  tile_h_ = ceil_div(map_.h.out_size, ceil_div(map_.h.out_size, tile_h_));
}

// Leaving out what falls into zero padding is worth a look at grad_output only if it is more than a rim.
template <class T>
void WeightGradientPlan<T>::find_skips() {
  if (!channel_lanes_ || tap_rows_ || map_.h.map.mode != PaddingMode::zeros) return;
  skips_ = map_.h.used_share() * map_.w.used_share() < 0.9;
}

template <class T>
void WeightGradientPlan<T>::split_work(int threads) {
  threads_ = threads_for(cycles() * static_cast<double>(batch_), threads);
  splits_ = splits_for(map_.groups * blocks_, panels(), threads_);
  if (channel_lanes_) splits_ = std::max(splits_, ceil_div(panels(), most_panels_));
}

template class WeightGradientPlan<float>;
template class WeightGradientPlan<double>;

template <class T>
std::unique_ptr<Plan> make_weight_gradient_plan(const PlanRequest& request) {
  return std::make_unique<WeightGradientPlan<T>>(request);
}
template std::unique_ptr<Plan> make_weight_gradient_plan<float>(const PlanRequest&);
template std::unique_ptr<Plan> make_weight_gradient_plan<double>(const PlanRequest&);

}  // namespace tileconv
