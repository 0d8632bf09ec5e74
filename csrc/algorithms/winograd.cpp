// winograd: the entry in the table, and how a plan cuts the work.
#include "winograd.h"

#include <numeric>

#include "../cpu.h"
#include "algorithms.h"
#include "shift_gemm.h"

namespace tileconv {
namespace {

// Of the vectors of channels of a tile: the transforms, and staging and transposing the pixels that are not shared with
// the tile before.
double transform_cycles(std::int64_t outputs, std::int64_t in_vectors, std::int64_t out_vectors) {
  const auto m = static_cast<double>(outputs);
  return static_cast<double>(in_vectors) * (60 + 60 * m) + static_cast<double>(out_vectors) * (140 + 10 * m * m);
}

// Of a strip's windows and sums.
std::int64_t most_workspace() { return std::min<std::int64_t>(3 * cache_sizes().l2, std::int64_t{3} << 20); }

// What L2 holds is enough, unless the strips' passes over `weights` bytes are what takes time.
std::int64_t best_workspace(double weights) {
  return weights > 8 * static_cast<double>(cache_sizes().l2) ? most_workspace()
                                                             : std::min(cache_sizes().l2, most_workspace());
}

}  // namespace

template <class T>
WinogradPlan<T>::WinogradPlan(const ShiftMap& map, const PlanRequest& request)
    : map_(map),
      set_(kernel_set<T>(*request.kernels)),
      kernel_(find_winograd(set_, map.h.count)),
      isa_(request.kernels->isa),
      frozen_(request.frozen),
      in_vectors_(ceil_div(map.in_channels, set_.lanes)),
      out_vectors_(ceil_div(map.out_channels, set_.lanes)),
      product_(choose_product(frozen_)),
      windows_(map, set_, most_tiles()),
      weights_(map, request, product_.vectors) {
  cut_strips();
  from_panels_ =
      map_.scattered_weights() && (map_.kernel_elements > taps() * taps() || windows_.bands_per_image() > strip_bands_);
  cycles_ = estimate();
  make_tasks(request.threads);
}

template <class T>
PlanReport WinogradPlan<T>::report() const {
  const auto square = [](int n) { return std::to_string(n) + "x" + std::to_string(n); };
  return {"F(" + square(kernel_.outputs) + ", " + square(kernel_.taps) + "), products " +
              std::to_string(product_.rows) + "x" + std::to_string(product_.vectors),
          threads_,
          {{"tiles_per_band", windows_.band_tiles()},
           {"bands_per_strip", strip_bands_},
           {"bands_per_image", windows_.bands_per_image()},
           {"channels_per_chunk", channel_chunk_}}};
}

// The register tile of the products, by the cycles that all panels take for each of its rows. Of equal multiply-adds
// the larger tile loads less. Panels are narrow where their transformed weights should stay in L2.
template <class T>
const ProductKernel<T>& WinogradPlan<T>::choose_product(bool frozen) const {
  double best = 0;
  const ProductKernel<T>* chosen = set_.product;
  for (int i = 0; i < set_.product_count; ++i) {
    const ProductKernel<T>& kernel = set_.product[i];
    const std::int64_t parts = ceil_div(out_vectors_, kernel.vectors);
    if (ceil_div(out_vectors_, parts) != kernel.vectors || (!frozen && kernel.vectors > 2)) continue;
    const double vectors = static_cast<double>(out_vectors_) / static_cast<double>(parts), rows = kernel.rows;
    const double cost = static_cast<double>(parts) * product_cycles(rows, vectors) / rows;
    if (best == 0 || cost < best) best = cost, chosen = &kernel;
  }
  return *chosen;
}

// How many tiles a strip has: those whose windows and sums L2 holds; or more, which L3 delivers at the pace of the
// products, so that every weight, on its way from L3 or transformed anew for the strip, meets many tiles.
template <class T>
std::int64_t WinogradPlan<T>::most_tiles() const {
  const std::int64_t tile_bytes = positions * (in_vectors_ * set_.lanes + panel_columns()) * element;
  return std::max<std::int64_t>(4, (frozen_ ? best_workspace(weight_bytes()) : most_workspace()) / tile_bytes);
}

template <class T>
void WinogradPlan<T>::cut_strips() {
  strip_bands_ = std::max<std::int64_t>(1, most_tiles() / windows_.band_tiles());
  // Chunks show in the bits, so there is one size for all plans. A chunk of a packed panel stays in L1 while all tiles
  // of a position pass; one that is transformed on the way stays in L2 while all positions do.
  constexpr std::int64_t most_channels = 64;
  channel_chunk_ = ceil_div(map_.in_channels, std::max<std::int64_t>(1, ceil_div(map_.in_channels, most_channels)));
}

// Of all groups, transformed.
template <class T>
double WinogradPlan<T>::weight_bytes() const {
  return positions * static_cast<double>(map_.groups * in_vectors_ * out_vectors_ * set_.lanes * set_.lanes * element);
}

// Cycles of one image, as if with packed weights: an estimate does not depend on freezing. Each band costs 200 cycles a
// vector of channels, weights beyond L2 arrive at 6 bytes a cycle.
template <class T>
double WinogradPlan<T>::estimate() const {
  double tiles = 0;
  for (const Band& b : windows_.bands()) tiles += static_cast<double>(windows_.tiles_of(b));
  const auto groups = static_cast<double>(map_.groups), vectors = static_cast<double>(in_vectors_ + out_vectors_);
  const double bands = static_cast<double>(windows_.bands_per_image()) * 200 * vectors;
  const ProductKernel<T>& tile = choose_product(!map_.scattered_weights());  // as if frozen, where that can be
  const double product = product_cycles(tile.rows, tile.vectors) / (tile.rows * tile.vectors);
  const double products = product * groups * tiles * positions * static_cast<double>(map_.in_channels * out_vectors_);
  const double transforms = groups * (tiles * transform_cycles(kernel_.outputs, in_vectors_, out_vectors_) + bands);
  const double window_bytes = positions * static_cast<double>(in_vectors_ * set_.lanes * element);
  const double bytes = weight_bytes();
  const double strips = std::max(1.0, tiles * window_bytes / static_cast<double>(best_workspace(bytes)));
  const double streamed = strips * bytes / (bytes < static_cast<double>(cache_sizes().l2) / 2 ? 64 : 6);
  // Weights that are never frozen are transformed for every strip, from panels that are packed once.
  const auto taps = static_cast<double>(kernel_.taps * kernel_.taps);
  const double transformed = groups * static_cast<double>(map_.in_channels * out_vectors_) *
                             (strips * (130 + 10 * taps) + 1.5 * taps * set_.lanes);
  constexpr double margin = 1.1;  // for little gain the exact sum is preferred
  const double sums = map_.scattered_weights() ? products + transformed : std::max(products, streamed);
  return margin * (sums + transforms + groups * 2000);
}

// Threads share the strips; where there are few, the panels too, and stage the same bands again.
template <class T>
void WinogradPlan<T>::make_tasks(int threads) {
  threads_ = threads_for(cycles_ * static_cast<double>(map_.batch), threads);
  if (threads_ == 1) return;
  constexpr std::int64_t least_tiles = 24;  // fewer do not pay for the weights' way from L3
  const std::int64_t bands = std::max<std::int64_t>(1, map_.batch * windows_.bands_per_image());
  const std::int64_t strips = ceil_div(bands, strip_bands_);
  const std::int64_t most = std::max(strips, bands * windows_.band_tiles() / least_tiles);
  strip_bands_ = ceil_div(bands, std::min(most, ceil_div(strips, threads_) * threads_));
  const std::int64_t tasks = ceil_div(bands, strip_bands_) * map_.groups;
  constexpr std::int64_t tasks_a_thread = 8;
  while (splits_ < panels() && tasks * splits_ % threads_ != 0 && tasks * splits_ < tasks_a_thread * threads_)
    ++splits_;
}

template class WinogradPlan<float>;
template class WinogradPlan<double>;

namespace {

// Whether some map of the pass has so many taps along the axis: of an input gradient, the kernel's elements are dealt
// out to the residues of the stride.
bool has_taps(std::int64_t taps, Pass pass, std::int64_t kernel, std::int64_t stride, std::int64_t dilation) {
  const std::int64_t period = pass != Pass::input_gradient ? 1 : stride / std::gcd(stride, dilation);
  return taps == kernel / period || taps == ceil_div(kernel, period);
}

const char* unsupported(const PlanRequest& request) {
  const ConvProblem& p = request.problem;
  if (p.pass != Pass::input_gradient && (p.stride_h != 1 || p.stride_w != 1)) return "the stride is not 1";
  std::int64_t taps = winograd_fewest_taps;
  while (taps <= winograd_most_taps && !(has_taps(taps, p.pass, p.kernel_h, p.stride_h, p.dilation_h) &&
                                         has_taps(taps, p.pass, p.kernel_w, p.stride_w, p.dilation_w)))
    ++taps;
  if (taps > winograd_most_taps) return "the kernel is not a square of 2 to 5 taps";
  const std::int64_t channels = p.pass == Pass::input_gradient ? p.group_out_channels() : p.group_in_channels();
  // Not as a product, which may overflow.
  if (p.dilation_w > most_workspace() / (channels * winograd_positions * dtype_size(p.dtype)))
    return "the dilation makes more tiles at a time than the workspace holds";
  return nullptr;
}

// Products at the FMA peak and transforms of estimate(), if every tile were full; of strided and weight gradients, a
// quarter of all sums.
double least_cycles(const PlanRequest& request) {
  const ConvProblem& p = request.problem;
  const bool forward = p.pass == Pass::forward;
  const std::int64_t lanes = p.dtype == DType::float32 ? request.kernels->f32.lanes : request.kernels->f64.lanes;
  if (p.stride_h != 1 || p.stride_w != 1) return p.macs_per_image() / static_cast<double>(lanes) / 8;
  if (p.pass == Pass::weight_gradient) return p.macs_per_image() / static_cast<double>(lanes) / 8;
  const std::int64_t outputs = winograd_window_size + 1 - p.kernel_h;
  const std::int64_t in = forward ? p.group_in_channels() : p.group_out_channels();
  const std::int64_t out = ceil_div(forward ? p.group_out_channels() : p.group_in_channels(), lanes);
  const std::int64_t tiles =
      ceil_div(forward ? p.out_h : p.in_h, outputs) * ceil_div(forward ? p.out_w : p.in_w, outputs);
  return static_cast<double>(p.groups * tiles) * (0.5 * winograd_positions * static_cast<double>(in * out) +
                                                  transform_cycles(outputs, ceil_div(in, lanes), out));
}

template <class T>
std::unique_ptr<Plan> make_map_plan(const ShiftMap& map, const PlanRequest& request) {
  return std::make_unique<WinogradPlan<T>>(map, request);
}

// A residue of a strided gradient: those of few taps are left to the direct sum.
template <class T>
std::unique_ptr<Plan> make_residue_plan(const ShiftMap& map, const PlanRequest& request) {
  std::unique_ptr<Plan> direct = make_shift_gemm_plan<T>(map, request);
  if (map.h.count != map.w.count || map.h.count < winograd_fewest_taps || map.h.count > winograd_most_taps)
    return direct;
  std::unique_ptr<Plan> plan = make_map_plan<T>(map, request);
  return plan->cycles() < direct->cycles() ? std::move(plan) : std::move(direct);
}

template <class T>
std::unique_ptr<Plan> prepare(const PlanRequest& request) {
  const ConvProblem& p = request.problem;
  const bool strided = p.stride_h != 1 || p.stride_w != 1;
  if (p.pass == Pass::input_gradient)
    return make_input_gradient_plan<T>(request, {strided ? make_residue_plan<T> : make_map_plan<T>});
  if (p.pass == Pass::weight_gradient) return make_winograd_weight_gradient_plan<T>(request);
  return make_map_plan<T>(forward_map(p, request.layout), request);
}

}  // namespace

const Algorithm winograd_algorithm = {
    "winograd",
    "error below 1e-5 (float32) and 1e-13 (float64) of the largest output",
    unsupported,
    least_cycles,
    [](const PlanRequest& r) { return r.problem.dtype == DType::float32 ? prepare<float>(r) : prepare<double>(r); },
};

}  // namespace tileconv
