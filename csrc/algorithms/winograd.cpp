// winograd: the entry in the table, and which maps of a problem go its way.
#include "winograd.h"

#include <numeric>

#include "algorithms.h"
#include "shift_gemm.h"

namespace tileconv {
namespace {

bool has_kernel(std::int64_t taps_h, std::int64_t taps_w) {
  return find_winograd_pieces(kernels_baseline.f32, taps_h, taps_w) != nullptr;
}

// Whether some map of the pass has taps that there are kernels for: the kernel's elements are dealt out to the segments
// of the input, or, of an input gradient, to the residues of the stride.
bool has_kernel(const ConvProblem& p) {
  if (p.pass == Pass::weight_gradient) return find_winograd(kernels_baseline.f32, p.kernel_h, p.kernel_w) != nullptr;
  if (p.pass == Pass::forward) {
    const ShiftMap map = forward_map(p, {});
    return has_kernel(winograd_taps(map.h), winograd_taps(map.w));
  }
  const auto period = [](std::int64_t stride, std::int64_t dilation) { return stride / std::gcd(stride, dilation); };
  const std::int64_t period_h = period(p.stride_h, p.dilation_h), period_w = period(p.stride_w, p.dilation_w);
  for (const std::int64_t taps_h : {p.kernel_h / period_h, ceil_div(p.kernel_h, period_h)})
    for (const std::int64_t taps_w : {p.kernel_w / period_w, ceil_div(p.kernel_w, period_w)})
      if (has_kernel(taps_h, taps_w)) return true;
  return false;
}

const char* unsupported(const PlanRequest& request) {
  const ConvProblem& p = request.problem;
  const bool strided = p.stride_h != 1 || p.stride_w != 1;
  if (p.pass == Pass::weight_gradient && strided) return "the stride is not 1";
  if (!has_kernel(p))
    return p.pass == Pass::weight_gradient
               ? "the kernel is neither a square of 2 to 5 taps nor one row or column of them"
           : strided
               ? "the stride leaves kernels that are neither a square of 2 to 10 taps nor one row or column of them"
               : "the kernel is neither a square of 2 to 10 taps nor one row or column of them";
  const std::int64_t channels = p.pass == Pass::input_gradient ? p.group_out_channels() : p.group_in_channels();
  const std::int64_t lanes = p.dtype == DType::float32 ? request.kernels->f32.lanes : request.kernels->f64.lanes;
  constexpr std::int64_t most_positions = winograd_window_size * winograd_window_size;
  const auto pieces_of = [](std::int64_t taps) { return winograd_pieces(std::min(taps, winograd_longest)); };
  std::int64_t taps_h = p.kernel_h, taps_w = p.kernel_w, dilation_w = p.dilation_w, planes = channels;
  if (strided && p.pass == Pass::forward) {
    const ShiftMap map = forward_map(p, {});
    taps_h = winograd_taps(map.h), taps_w = winograd_taps(map.w);
    dilation_w /= std::gcd(p.stride_w, p.dilation_w);
    const std::int64_t segments = map.h.remainders() * map.w.remainders();
    const std::int64_t pieces = pieces_of(taps_h) * pieces_of(taps_w);
    planes *= segments;
    // Windows of four tiles, the fewest that a strip has, beside two vectors of sums; the transformed pieces of a
    // kernel.
    const std::int64_t four_tiles = 4 * pieces * most_positions * dtype_size(p.dtype);
    if (segments > winograd_most_pieces / pieces || planes > winograd_most_workspace() / four_tiles - 2 * lanes)
      return "the stride makes more windows than the workspace holds";
  }
  const std::int64_t tile_bytes = pieces_of(taps_h) * pieces_of(taps_w) * most_positions *
                                  (ceil_div(planes, lanes) + 2) * lanes * dtype_size(p.dtype);
  // Not as a product, which may overflow.
  if (taps_w > 1 && dilation_w > std::max<std::int64_t>(1, winograd_most_workspace() / tile_bytes))
    return "the dilation makes more tiles at a time than the workspace holds";
  return nullptr;
}

// Products at two vectors a cycle and transforms of estimate(), if every column and row of tiles but the last were
// full; with a stride, and of weight gradients, a quarter of all sums at that pace, the least that any tile takes.
template <class T>
double least_cycles(const PlanRequest& request) {
  const ConvProblem& p = request.problem;
  const KernelSet<T>& set = kernel_set<T>(*request.kernels);
  if (p.pass == Pass::weight_gradient) return p.macs_per_image() / static_cast<double>(set.lanes) / 8;
  if (p.stride_h != 1 || p.stride_w != 1) {
    // Of a gradient, whose outputs may be fewer than those that padding makes of the forward pass.
    const double pixels = static_cast<double>(p.in_h) * static_cast<double>(p.in_w) /
                          (static_cast<double>(p.stride_h) * static_cast<double>(p.stride_w));
    const double sums = pixels * static_cast<double>(p.groups * p.group_in_channels() * p.group_out_channels()) *
                        static_cast<double>(p.taps());
    return std::min(p.macs_per_image(), sums) / static_cast<double>(set.lanes) / 8;
  }
  const bool forward = p.pass == Pass::forward;
  const WinogradKernel<T>& kernel = *find_winograd_pieces(set, p.kernel_h, p.kernel_w);
  const std::int64_t in = forward ? p.group_in_channels() : p.group_out_channels();
  const std::int64_t out_channels = forward ? p.group_out_channels() : p.group_in_channels();
  const std::int64_t bundle = winograd_bundle(p.groups, in, out_channels, set.lanes);
  const std::int64_t out = ceil_div(out_channels, set.lanes);
  const std::int64_t out_h = forward ? p.out_h : p.in_h, out_w = forward ? p.out_w : p.in_w;
  const std::int64_t tiles_h = ceil_div(out_h, kernel.outputs_h()), tiles_w = ceil_div(out_w, kernel.outputs_w());
  // A tile has a position for each of its outputs, and for each tap but one; of a further piece none for its first tap,
  // nor for the last one where that is missing.
  const auto pieces = [](std::int64_t taps) {
    const std::int64_t count = winograd_pieces(taps), left_out = count - (count > 1 && taps == 3 * count + 1 ? 1 : 0);
    return static_cast<double>(count) - (count > 1 ? static_cast<double>(left_out) / winograd_window_size : 0);
  };
  const double positions = static_cast<double>(out_h + tiles_h * (kernel.taps_h - 1)) *
                           static_cast<double>(out_w + tiles_w * (kernel.taps_w - 1)) * pieces(p.kernel_h) *
                           pieces(p.kernel_w);
  return winograd_margin(winograd_pieces(p.kernel_h) * winograd_pieces(p.kernel_w)) *
         static_cast<double>(ceil_div(p.groups, bundle)) *
         (0.5 * vector_passes(set) * positions * static_cast<double>(in * out) +
          winograd_pace(set) * static_cast<double>(tiles_h * tiles_w) *
              (static_cast<double>(ceil_div(in, set.lanes)) * window_cycles(kernel) +
               static_cast<double>(out) * output_cycles(kernel)));
}

template <class T>
std::unique_ptr<Plan> make_map_plan(const ShiftMap& map, const PlanRequest& request) {
  return std::make_unique<WinogradPlan<T>>(InterleavedMap(map), request);
}

template <class T>
std::unique_ptr<Plan> make_shared_plan(const InterleavedMap& maps, const PlanRequest& request) {
  return std::make_unique<WinogradPlan<T>>(maps, request);
}

// Whether one plan serves all residues of the input: kernels that the stride divides, as those of most upsampling
// layers are.
bool shares_windows(const ConvProblem& p) {
  if (p.padding_mode != PaddingMode::zeros || is_block_gradient(p)) return false;
  const InterleavedMap maps = input_gradient_maps(p, {0, p.in_h}, {0, p.in_w});
  constexpr std::size_t most_residues = 4;  // whose sums and kernels L2 holds
  if (maps.rows.size() * maps.columns.size() > most_residues) return false;
  const auto alike = [](const std::vector<MapAxis>& axes) {
    std::int64_t shift = 0;
    for (const MapAxis& axis : axes) {
      if (axis.count != axes.front().count || axis.difference != axes.front().difference) return false;
      shift = std::max(shift, std::abs(axis.lowest() - axes.front().lowest()));
    }
    return shift < winograd_outputs(winograd_piece_taps(std::max<std::int64_t>(1, axes.front().count)));
  };
  return !maps.rows.empty() && !maps.columns.empty() && alike(maps.rows) && alike(maps.columns) &&
         has_kernel(maps.rows.front().count, maps.columns.front().count);
}

// A residue of a strided gradient: those of few taps are left to the direct sum.
template <class T>
std::unique_ptr<Plan> make_residue_plan(const ShiftMap& map, const PlanRequest& request) {
  std::unique_ptr<Plan> direct = make_shift_gemm_plan<T>(map, request);
  if (!has_kernel(map.h.count, map.w.count)) return direct;
  std::unique_ptr<Plan> plan = make_map_plan<T>(map, request);
  return plan->cycles() < direct->cycles() ? std::move(plan) : std::move(direct);
}

template <class T>
std::unique_ptr<Plan> prepare(const PlanRequest& request) {
  const ConvProblem& p = request.problem;
  const bool strided = p.stride_h != 1 || p.stride_w != 1;
  if (p.pass == Pass::input_gradient)
    return make_input_gradient_plan<T>(request, {strided ? make_residue_plan<T> : make_map_plan<T>, false,
                                                 strided && shares_windows(p) ? make_shared_plan<T> : nullptr});
  if (p.pass == Pass::weight_gradient) return make_winograd_weight_gradient_plan<T>(request);
  return make_map_plan<T>(forward_map(p, request.layout), request);
}

}  // namespace

const Algorithm winograd_algorithm = {
    "winograd",
    "error below 1e-5 (float32) and 1e-13 (float64) of the largest output",
    unsupported,
    [](const PlanRequest& r) {
      return r.problem.dtype == DType::float32 ? least_cycles<float>(r) : least_cycles<double>(r);
    },
    [](const PlanRequest& r) { return r.problem.dtype == DType::float32 ? prepare<float>(r) : prepare<double>(r); },
};

}  // namespace tileconv
