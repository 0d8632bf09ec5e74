// depthwise: every out channel is computed from one input plane. Source rows are read where they are, through a table
// of row pointers in which the AxisMap has resolved the padding of rows; zero padding of columns is a matter of masked
// loads at the edges. Only other modes and strides along a row have their columns staged.
#include <algorithm>
#include <limits>

#include "../cpu.h"
#include "../parallel.h"
#include "../stage_tile.h"
#include "algorithms.h"
#include "shift_gemm.h"

namespace tileconv {
namespace {

const char* unsupported(const PlanRequest& request) {
  const ConvProblem& p = request.problem;
  if (p.pass == Pass::weight_gradient) return "weight gradients of few channels are dot products of shift_gemm";
  const std::int64_t source_channels = p.pass == Pass::forward ? p.group_in_channels() : p.group_out_channels();
  return source_channels == 1 ? nullptr : "an out channel is computed from more than one plane";
}

template <class T>
class DepthwisePlan final : public Plan {
 public:
  DepthwisePlan(const ShiftMap& map, const PlanRequest& request)
      : map_(map),
        set_(kernel_set<T>(*request.kernels)),
        in_place_(request.layout.input_rows && map.w.step == 1 && map.w.map.mode == PaddingMode::zeros &&
                  !map.collapsed),
        out_rows_(request.layout.out_rows),
        taps_h_(ascending(map.h)),
        taps_w_(ascending(map.w)),
        tile_h_(tile_height()),
        staged_h_(make_staged_axis(map_.h, tile_h_)),
        staged_w_(make_staged_axis(map_.w, map_.w.out_size)),
        pieces_(make_pieces(map_.w, staged_w_, map_.w.out_size, 0, map_.w.out_size)),
        kernel_(find_kernel()) {
    tiles_ = ceil_div(map_.h.out_size, tile_h_);
    for (std::int64_t j = 0; j < map_.w.count; ++j) {
      const std::int64_t tap = taps_w_.tap(j);
      columns_.push_back(in_place_ ? tap : staged_w_.tap_position[static_cast<std::size_t>(original(map_.w, j))]);
    }
    constexpr double least_cycles = 1e5;
    threads_ = static_cast<int>(std::clamp(cycles() * static_cast<double>(map_.batch) / least_cycles, 1.0,
                                           static_cast<double>(request.threads)));
  }

  // Loads limit: about one multiply-add in a cycle, and a third of that where the kernel's size is not known; a plane
  // and its staging cost besides.
  double cycles() const noexcept override {
    const auto outputs = static_cast<double>(map_.out_channels);
    const double vectors = static_cast<double>(ceil_div(map_.w.out_size, set_.lanes) * map_.h.out_size);
    const double taps = static_cast<double>(map_.taps()) * (known() ? 0.95 : 3.0);
    const bool staged = map_.w.step != 1 || map_.w.map.mode != PaddingMode::zeros;
    const auto pixels = static_cast<double>(map_.h.out_size * map_.h.step * map_.w.out_size * map_.w.step);
    return static_cast<double>(map_.groups) * (vectors * (taps + 9) * outputs + (staged ? 1.2 * pixels : 0) + 130);
  }
  std::int64_t workspace_bytes() const noexcept override {
    return (zero_size() + staged_size() + spill_size() + map_.taps()) * static_cast<std::int64_t>(sizeof(T)) +
           pointer_bytes();
  }
  PlanReport report() const override {
    const std::string size =
        kernel_.stride_h > 0 ? std::to_string(kernel_.kernel_h) + "x" + std::to_string(kernel_.kernel_w) : "any size";
    return {"plane " + size + ", " + std::to_string(set_.plane_rows) + " rows" + (in_place_ ? ", input in place" : ""),
            threads_,
            {{"tile_h", tile_h_}}};
  }

  void run(const ConvViews& v, const void*) const override {
    parallel_for(map_.batch * map_.groups * tiles_, threads_, [&](std::int64_t task) {
      const std::int64_t y0 = split_at(map_.h.out_size, tiles_, task % tiles_),
                         y1 = split_at(map_.h.out_size, tiles_, task % tiles_ + 1);
      run_tile(v, task / tiles_ / map_.groups, task / tiles_ % map_.groups, y0, y1);
    });
  }

 private:
  // Taps in order of their coordinate, as the kernels read rows and columns from top left on.
  static AxisTaps ascending(const MapAxis& axis) {
    AxisTaps taps = axis;
    if (axis.difference < 0 && axis.count > 0)
      taps.first = axis.tap(axis.count - 1), taps.difference = -axis.difference;
    return taps;
  }
  static std::int64_t original(const MapAxis& axis, std::int64_t i) {
    return axis.difference < 0 ? axis.count - 1 - i : i;
  }

  std::int64_t tile_height() const {
    const std::int64_t budget = cache_sizes().l2 / 4 / static_cast<std::int64_t>(sizeof(T));
    const std::int64_t width = in_place_ ? map_.w.out_size : map_.w.staged_length(map_.w.out_size);
    const std::int64_t passes = std::max<std::int64_t>(
        1, budget / std::max<std::int64_t>(1, width * std::min(map_.h.step, map_.h.count)) / set_.plane_rows);
    return std::min(map_.h.out_size, passes * set_.plane_rows);
  }
  const PlaneKernel<T>& find_kernel() const {
    int i = 0;
    const auto fits = [&](const PlaneKernel<T>& k) {
      return k.kernel_h == map_.h.count && k.kernel_w == map_.w.count && k.stride_h == map_.h.step &&
             taps_h_.difference == 1;
    };
    while (i + 1 < set_.plane_count && !fits(set_.plane[i])) ++i;
    return set_.plane[i];
  }

  std::int64_t whole(std::int64_t n) const { return ceil_div(n, set_.lanes) * set_.lanes + set_.lanes; }
  // A row of the source, or of staged columns, with a vector's room behind.
  std::int64_t source_row() const { return whole(in_place_ ? map_.w.map.size : staged_w_.length); }
  std::int64_t zero_size() const { return source_row(); }
  std::int64_t staged_size() const { return in_place_ ? 0 : staged_h_.length * source_row(); }
  // Rows behind the tile's last, to a whole pass, are written to one row of scratch; all are where the output's
  // elements are not adjacent.
  std::int64_t pass_rows() const { return ceil_div(tile_h_, set_.plane_rows) * set_.plane_rows; }
  std::int64_t spill_size() const { return (out_rows_ ? 1 : pass_rows()) * whole(map_.w.out_size); }
  // Kernels of a known stride find the rows of a tile one after the other, as many as it reaches; the others find those
  // of every output row and tap, as rows may be any distance apart.
  bool known() const { return kernel_.stride_h > 0; }
  std::int64_t row_step() const { return known() ? map_.h.step : map_.h.count; }
  std::int64_t window_rows() const {
    return known() ? (pass_rows() - 1) * map_.h.step + map_.h.count
                   : std::max<std::int64_t>(1, pass_rows() * map_.h.count);
  }
  std::int64_t pointer_bytes() const { return (window_rows() + pass_rows()) * static_cast<std::int64_t>(sizeof(T*)); }

  void run_tile(const ConvViews& v, std::int64_t n, std::int64_t group, std::int64_t y0, std::int64_t y1) const {
    char* const memory =
        static_cast<char*>(thread_arena(Arena::workspace, static_cast<std::size_t>(workspace_bytes())));
    const T** const rows = reinterpret_cast<const T**>(memory);
    T** const out_rows = reinterpret_cast<T**>(memory) + window_rows();
    T* const zeros = reinterpret_cast<T*>(memory + pointer_bytes());
    T *const staged = zeros + zero_size(), *const spill = staged + staged_size(), *const weights = spill + spill_size();
    std::fill_n(zeros, zero_size(), T(0));
    const char* const plane = v.input + n * v.input_stride[0] + group * v.input_stride[1];
    if (!in_place_)
      stage_tile<T>(set_, map_.h, staged_h_, pieces_,
                    {staged, 0, source_row(), plane, v.input_stride[1], v.input_stride[2], v.input_stride[3], 1, y0, y1,
                     tile_h_});
    const std::int64_t last_row = (y1 - 1) * map_.h.step + taps_h_.tap(map_.h.count - 1);
    for (std::int64_t q = 0, y = 0, i = 0; q < window_rows() && map_.h.count > 0; ++q) {
      const std::int64_t row = (y0 + y) * map_.h.step + taps_h_.tap(i);
      const bool used = i < map_.h.count && row <= last_row;
      const std::int64_t source = used ? map_.h.map(row) : -1;
      const std::int64_t position =
          used ? staged_h_.tap_position[static_cast<std::size_t>(original(map_.h, i))] + y : 0;
      rows[q] = source < 0  ? zeros
                : in_place_ ? reinterpret_cast<const T*>(plane + source * v.input_stride[2])
                            : staged + position * source_row();
      if (++i == row_step()) i = 0, ++y;
    }

    PlaneArgs<T> a{rows,
                   out_rows,
                   columns_.data(),
                   weights,
                   T(0),
                   map_.h.count,
                   map_.w.count,
                   row_step(),
                   1,
                   y1 - y0,
                   map_.w.out_size,
                   in_place_ ? 0 : std::numeric_limits<std::int64_t>::min() / 2,
                   in_place_ ? map_.w.map.size : std::numeric_limits<std::int64_t>::max() / 2};
    for (std::int64_t k = 0; k < map_.out_channels; ++k) {
      load_weights(v, group, k, weights);
      const std::int64_t channel = group * map_.out_channels + k;
      a.bias = v.bias ? reinterpret_cast<const T*>(v.bias)[channel] : T(0);
      char* const out = v.out + n * v.out_stride[0] + channel * v.out_stride[1] + y0 * v.out_stride[2];
      for (std::int64_t y = 0; y < pass_rows(); ++y)
        out_rows[y] = !out_rows_    ? spill + y * whole(map_.w.out_size)
                      : y < y1 - y0 ? reinterpret_cast<T*>(out + y * v.out_stride[2])
                                    : spill;
      kernel_.run(a);
      constexpr auto element = static_cast<std::ptrdiff_t>(sizeof(T));
      if (!out_rows_)
        set_.spread({spill, whole(map_.w.out_size), y1 - y0, map_.w.out_size, reinterpret_cast<T*>(out),
                     v.out_stride[2] / element, v.out_stride[3] / element});
    }
  }

  void load_weights(const ConvViews& v, std::int64_t group, std::int64_t k, T* weights) const {
    const T* const from =
        reinterpret_cast<const T*>(v.weight) + group * map_.out_channels * map_.kernel_elements + k * map_.weight_out;
    for (std::int64_t i = 0; i < map_.h.count; ++i)
      for (std::int64_t j = 0; j < map_.w.count; ++j)
        weights[i * map_.w.count + j] = from[map_.kernel_index(original(map_.h, i), original(map_.w, j))];
  }

  ShiftMap map_;
  const KernelSet<T>& set_;
  bool in_place_, out_rows_;
  AxisTaps taps_h_, taps_w_;
  std::int64_t tile_h_, tiles_ = 1;
  StagedAxis staged_h_, staged_w_;
  std::vector<StagePiece> pieces_;
  const PlaneKernel<T>& kernel_;
  std::vector<std::ptrdiff_t> columns_;
  int threads_ = 1;
};

template <class T>
std::unique_ptr<Plan> make_map_plan(const ShiftMap& map, const PlanRequest& request) {
  return std::make_unique<DepthwisePlan<T>>(map, request);
}

template <class T>
std::unique_ptr<Plan> prepare(const PlanRequest& request) {
  if (request.problem.pass == Pass::input_gradient)
    return make_input_gradient_plan<T>(
        request, {make_map_plan<T>, request.problem.stride_h > 1 || request.problem.stride_w > 1});
  Layout rows_only = request.layout;
  rows_only.input_planes = false;  // the image stays an image
  return make_map_plan<T>(forward_map(request.problem, rows_only), request);
}

}  // namespace

const Algorithm depthwise_algorithm = {
    "depthwise",
    "exact on small integers; one running sum, error below 1e-5 (float32) and 1e-13 (float64)",
    unsupported,
    [](const PlanRequest&) { return 0.0; },
    [](const PlanRequest& r) { return r.problem.dtype == DType::float32 ? prepare<float>(r) : prepare<double>(r); },
};

}  // namespace tileconv
