// depthwise_channels: every out channel from one plane, as depthwise, but with the channels in the lanes. Rows of a
// vector of channels are transposed into scratch, padding resolved; there any stride, dilation and width is the same
// kernel, which needs no more than offsets. It serves images too narrow for vectors of pixels, large kernels, and the
// weight gradient, whose sums over pixels need no reduction across lanes.
#include <algorithm>

#include "../channel_rows.h"
#include "../cpu.h"
#include "../finite.h"
#include "../parallel.h"
#include "algorithms.h"
#include "shift_gemm.h"

namespace tileconv {
namespace {

constexpr std::int64_t most_reach = 64;  // pixels from the first tap to the last

const char* unsupported(const PlanRequest& request) {
  const ConvProblem& p = request.problem;
  if (p.group_in_channels() != 1) return "an out channel is computed from more than one plane";
  if (p.pass == Pass::input_gradient) {
    if (p.group_out_channels() != 1) return "an out channel is computed from more than one plane";
    if (p.stride_h > 1 || p.stride_w > 1) return "the input gradient of a stride is interleaved";
  }
  const auto far = [](std::int64_t kernel, std::int64_t dilation) {
    return kernel > 1 && dilation > most_reach / (kernel - 1);  // not as a product, which may overflow
  };
  if (far(p.kernel_h, p.dilation_h) || far(p.kernel_w, p.dilation_w) || std::max(p.stride_h, p.stride_w) > most_reach)
    return "the taps are too far apart";
  return nullptr;
}

// What the passes share: the rectangle of the input that a tile of outputs reaches, transposed.
template <class T>
class ChannelTiles {
 public:
  ChannelTiles(const ShiftMap& map, const KernelSet<T>& set) : map_(map), set_(set) {
    // Rows that a tile reaches stay in L2, and in L1 what one row of outputs does.
    const std::int64_t pixels = cache_sizes().l2 / 4 / (set.lanes * element);
    const std::int64_t wide = std::max<std::int64_t>(1, pixels / (2 * reach(map.h) + 2 * map.h.step));
    tiles_w_ = parts(map.w.out_size, wide / map.w.step);
    tile_w_ = std::max<std::int64_t>(1, ceil_div(map.w.out_size, tiles_w_));
    tiles_h_ = parts(map.h.out_size, (pixels / pitch() - reach(map.h)) / map.h.step);
    tile_h_ = std::max<std::int64_t>(1, ceil_div(map.h.out_size, tiles_h_));
    for (std::int64_t t = 0; t < tiles_w_; ++t) pieces_.push_back(reached_columns(column(t), column(t + 1)));
  }

  static constexpr auto element = static_cast<std::int64_t>(sizeof(T));
  std::int64_t lanes() const { return set_.lanes; }
  std::int64_t blocks() const { return ceil_div(map_.groups, lanes()); }  // of planes
  std::int64_t planes(std::int64_t block) const { return std::min(lanes(), map_.groups - block * lanes()); }
  std::int64_t tiles() const { return tiles_h_ * tiles_w_; }
  std::int64_t tile_h() const { return tile_h_; }
  std::int64_t tile_w() const { return tile_w_; }
  std::int64_t row(std::int64_t t) const { return split_at(map_.h.out_size, tiles_h_, t); }
  std::int64_t column(std::int64_t t) const { return split_at(map_.w.out_size, tiles_w_, t); }
  std::int64_t pitch() const { return (tile_w_ - 1) * map_.w.step + reach(map_.w); }
  std::int64_t input_size() const { return ((tile_h_ - 1) * map_.h.step + reach(map_.h)) * pitch() * lanes(); }
  std::int64_t scratch_size() const { return lanes() * (std::max(pitch(), tile_w_) + lanes()); }
  // Of tap (i, j), from the first input vector of the tile's first output.
  std::ptrdiff_t tap_offset(std::int64_t i, std::int64_t j) const {
    return ((map_.h.tap(i) - lowest(map_.h)) * pitch() + map_.w.tap(j) - lowest(map_.w)) * lanes();
  }

  // The input of outputs [y0, y1) in tile column t, for one block of planes.
  void transpose_input(const ConvViews& v, std::int64_t n, std::int64_t block, std::int64_t y0, std::int64_t y1,
                       std::int64_t t, T* scratch, T* to) const {
    const char* const plane = v.input + n * v.input_stride[0] + block * lanes() * v.input_stride[1];
    const std::int64_t length = (column(t + 1) - column(t) - 1) * map_.w.step + reach(map_.w);
    for (std::int64_t u = 0; u < (y1 - y0 - 1) * map_.h.step + reach(map_.h); ++u) {
      const std::int64_t from = map_.h.map(y0 * map_.h.step + lowest(map_.h) + u);
      transpose_row<T>(
          set_, pieces_[static_cast<std::size_t>(t)], length,
          {from < 0 ? nullptr : plane + from * v.input_stride[2], v.input_stride[1], v.input_stride[3], planes(block)},
          scratch, to + u * pitch() * lanes());
    }
  }

 private:
  static std::int64_t parts(std::int64_t size, std::int64_t most) {
    return std::max<std::int64_t>(1, ceil_div(size, std::max<std::int64_t>(1, most)));
  }
  static std::int64_t lowest(const MapAxis& axis) {
    return std::min(axis.tap(0), axis.tap(std::max<std::int64_t>(0, axis.count - 1)));
  }
  static std::int64_t reach(const MapAxis& axis) {
    return std::abs(axis.difference) * std::max<std::int64_t>(0, axis.count - 1) + 1;
  }
  std::vector<StagePiece> reached_columns(std::int64_t x0, std::int64_t x1) const {
    AxisTaps all;
    all.out_size = (x1 - x0 - 1) * map_.w.step + reach(map_.w);
    all.map = map_.w.map;
    all.first = x0 * map_.w.step + lowest(map_.w);
    return make_pieces(all, make_staged_axis(all, all.out_size), all.out_size, 0, all.out_size);
  }

  const ShiftMap& map_;
  const KernelSet<T>& set_;
  std::int64_t tiles_h_ = 1, tiles_w_ = 1, tile_h_ = 1, tile_w_ = 1;
  std::vector<std::vector<StagePiece>> pieces_;  // of each tile column
};

// Cycles of one image: pixels of a vector of channels are transposed on their way in and out, and multiplied for each
// tap. Constants are measurements on Zen 5.
double channel_cycles(const ShiftMap& map, std::int64_t blocks, double transpose, double tap_cycles) {
  constexpr double block = 600;
  const auto outputs = static_cast<double>(map.h.out_size * map.w.out_size * map.out_channels);
  const auto inputs = static_cast<double>(map.h.out_size * map.h.step * map.w.out_size * map.w.step);
  const double pixels = inputs * transpose + outputs * (tap_cycles * static_cast<double>(map.taps()) + transpose);
  return static_cast<double>(blocks) * (pixels + block);
}

template <class T>
class DepthwiseChannelsPlan final : public Plan {
 public:
  DepthwiseChannelsPlan(const ShiftMap& map, const PlanRequest& request)
      : map_(map),
        set_(kernel_set<T>(*request.kernels)),
        tiles_(map_, set_),
        kernel_(find_kernel()),
        used_(map_.h.used_share() * map_.w.used_share()) {
    skips_ = used_ < 0.8;
    // Rows that are kept until they are transposed back stay in L1.
    kept_rows_ =
        std::clamp<std::int64_t>(cache_sizes().l1d / 3 / (tiles_.tile_w() * set_.lanes * element), 1, tiles_.tile_h());
    constexpr double least_cycles = 1e5;
    threads_ = static_cast<int>(std::clamp(cycles() * static_cast<double>(map_.batch) / least_cycles, 1.0,
                                           static_cast<double>(request.threads)));
  }
  double cycles() const noexcept override {
    return channel_cycles(map_, tiles_.blocks(), 7.5,
                          (kernel_.adjacent ? 0.55 : 0.65) * (skips_ ? 0.7 * used_ + 0.3 : 1));
  }
  std::int64_t workspace_bytes() const noexcept override {
    return (tiles_.input_size() + tiles_.scratch_size() + weights_size() + outputs_size()) * element;
  }
  PlanReport report() const override {
    return {"channel rows", threads_, {{"tile_h", tiles_.tile_h()}, {"tile_w", tiles_.tile_w()}}};
  }
  void run(const ConvViews& v, const void*) const override {
    parallel_for(map_.batch * tiles_.blocks() * tiles_.tiles(), threads_, [&](std::int64_t task) {
      const std::int64_t tile = task % tiles_.tiles(), block = task / tiles_.tiles() % tiles_.blocks();
      run_tile(v, task / tiles_.tiles() / tiles_.blocks(), block, tile);
    });
  }

 private:
  static constexpr auto element = static_cast<std::int64_t>(sizeof(T));
  static constexpr std::int64_t run_pixels = 8;  // that leave out the same taps
  const ChannelRowKernel<T>& find_kernel() const {
    const bool adjacent = map_.w.step == 1 && std::abs(map_.w.difference) == 1;
    int i = 0;
    const auto fits = [&](const ChannelRowKernel<T>& k) {
      return (k.kernel_w == 0 || k.kernel_w == map_.w.count) && (!k.adjacent || adjacent);
    };
    while (!fits(set_.channel_row[i])) ++i;
    return set_.channel_row[i];
  }
  // The kernels and biases of one out channel of every plane.
  std::int64_t weights_size() const { return (map_.kernel_elements + 1) * set_.lanes; }
  std::int64_t outputs_size() const { return 2 * kept_rows_ * tiles_.tile_w() * set_.lanes; }

  void run_tile(const ConvViews& v, std::int64_t n, std::int64_t block, std::int64_t tile) const {
    T* const input = static_cast<T*>(thread_arena(Arena::workspace, static_cast<std::size_t>(workspace_bytes())));
    T *const scratch = input + tiles_.input_size(), *const weights = scratch + tiles_.scratch_size(),
             *const outputs = weights + weights_size();
    const std::int64_t tiles_w = tiles_.tiles() / ceil_div(map_.h.out_size, tiles_.tile_h());
    const std::int64_t row = tile / tiles_w, column = tile % tiles_w, lanes = set_.lanes;
    const std::int64_t y0 = tiles_.row(row), y1 = tiles_.row(row + 1), x0 = tiles_.column(column),
                       width = tiles_.column(column + 1) - x0;
    tiles_.transpose_input(v, n, block, y0, y1, column, scratch, input);
    ChannelRowArgs<T> a{};
    // Where taps go backwards, pixels do too: adjacent taps are then as far apart as the pixels.
    const bool backwards = map_.w.difference < 0;
    a.input_column = (backwards ? -map_.w.step : map_.w.step) * lanes;
    a.tap_row = map_.h.difference * tiles_.pitch() * lanes;
    a.tap_column = map_.w.difference * lanes;
    a.out_column = backwards ? -lanes : lanes;
    a.weight_row = map_.w.count * lanes;
    a.bias = weights + map_.kernel_elements * lanes;
    for (std::int64_t k = 0; k < map_.out_channels; ++k) {
      const bool skip = load_weights(v, block, k, weights);
      for (std::int64_t y = y0; y < y1; y += kept_rows_) {
        const std::int64_t rows = std::min(kept_rows_, y1 - y);
        for (std::int64_t r = 0; r < rows; ++r) {
          std::int64_t i0 = 0, i1 = map_.h.count;
          if (skip) map_.h.used_taps(y + r, y + r + 1, i0, i1);
          a.kernel_h = i1 - i0;
          const std::int64_t parts = skip ? ceil_div(width, run_pixels) : 1;
          for (std::int64_t part = 0; part < parts; ++part) {
            const std::int64_t from = split_at(width, parts, part), to = split_at(width, parts, part + 1);
            const std::int64_t first = backwards ? to - 1 : from;
            std::int64_t j0 = 0, j1 = map_.w.count;
            if (skip) map_.w.used_taps(x0 + from, x0 + to, j0, j1);
            a.kernel_w = j1 - j0;
            a.width = to - from;
            a.weights = weights + i0 * a.weight_row + j0 * lanes;
            a.input = input + tiles_.tap_offset(i0, j0) +
                      ((y + r - y0) * map_.h.step * tiles_.pitch() + first * map_.w.step) * lanes;
            a.out = outputs + (r * width + first) * lanes;
            kernel_.run(a);
          }
        }
        write(v, n, block, k, y, rows, x0, width, outputs);
      }
    }
  }

  // Returns whether taps in zero padding are to be left out: it is worth it, and all weights are finite.
  bool load_weights(const ConvViews& v, std::int64_t block, std::int64_t k, T* weights) const {
    const std::int64_t lanes = set_.lanes, first = block * lanes * map_.out_channels + k;
    set_.pack({reinterpret_cast<const T*>(v.weight) + first * map_.kernel_elements,
               map_.out_channels * map_.kernel_elements, 1, tiles_.planes(block), lanes, map_.kernel_elements, weights,
               lanes});
    const T* const bias = reinterpret_cast<const T*>(v.bias);
    for (std::int64_t lane = 0; lane < lanes; ++lane)
      weights[map_.kernel_elements * lanes + lane] =
          bias && lane < tiles_.planes(block) ? bias[first + lane * map_.out_channels] : T(0);
    return skips_ && all_finite(weights, map_.kernel_elements * lanes, T());
  }

  // Adjacent rows of the output are one long row.
  void write(const ConvViews& v, std::int64_t n, std::int64_t block, std::int64_t k, std::int64_t y, std::int64_t rows,
             std::int64_t x0, std::int64_t width, T* outputs) const {
    const std::int64_t lanes = set_.lanes, planes = tiles_.planes(block);
    const std::ptrdiff_t step = v.out_stride[3] / element, row = v.out_stride[2] / element;
    const std::ptrdiff_t plane = v.out_stride[1] / element * map_.out_channels;
    T* const out =
        reinterpret_cast<T*>(v.out + n * v.out_stride[0] + (block * lanes * map_.out_channels + k) * v.out_stride[1] +
                             y * v.out_stride[2] + x0 * v.out_stride[3]);
    if (step == 1 && (rows == 1 || row == width)) {
      set_.pack({outputs, lanes, 1, rows * width, rows * width, planes, out, plane});
      return;
    }
    T* const line = outputs + kept_rows_ * tiles_.tile_w() * lanes;
    for (std::int64_t r = 0; r < rows; ++r) {
      const T* const from = outputs + r * width * lanes;
      if (step == 1) {
        set_.pack({from, lanes, 1, width, width, planes, out + r * row, plane});
        continue;
      }
      set_.pack({from, lanes, 1, width, width, planes, line, width});
      set_.spread({line, width, planes, width, out + r * row, plane, step});
    }
  }

  ShiftMap map_;
  const KernelSet<T>& set_;
  ChannelTiles<T> tiles_;
  const ChannelRowKernel<T>& kernel_;
  double used_;         // share of the taps that are not in zero padding
  bool skips_ = false;  // those that are may be left out
  std::int64_t kept_rows_ = 1;
  int threads_ = 1;
};

// A task owns a block of planes and sums over all images and tiles in order.
template <class T>
class DepthwiseChannelsWeightPlan final : public Plan {
 public:
  explicit DepthwiseChannelsWeightPlan(const PlanRequest& request)
      : map_(forward_map(request.problem, {false, false, false, false, false, false})),
        set_(kernel_set<T>(*request.kernels)),
        tiles_(map_, set_) {
    for (std::int64_t i = 0; i < map_.h.count; ++i)
      for (std::int64_t j = 0; j < map_.w.count; ++j) taps_.push_back(tiles_.tap_offset(i, j));
    constexpr double least_cycles = 1e5;
    threads_ = static_cast<int>(std::clamp(cycles() * static_cast<double>(map_.batch) / least_cycles, 1.0,
                                           static_cast<double>(request.threads)));
  }
  double cycles() const noexcept override { return channel_cycles(map_, tiles_.blocks(), 5.5, 0.55); }
  std::int64_t workspace_bytes() const noexcept override {
    return (tiles_.input_size() + tiles_.scratch_size() + grad_size() + sums_size()) * element;
  }
  PlanReport report() const override {
    return {"channel products", threads_, {{"tile_h", tiles_.tile_h()}, {"tile_w", tiles_.tile_w()}}};
  }
  void run(const ConvViews& v, const void*) const override {
    parallel_for(tiles_.blocks(), threads_, [&](std::int64_t block) { run_block(v, block); });
  }

 private:
  static constexpr auto element = static_cast<std::int64_t>(sizeof(T));
  std::int64_t grad_size() const { return tiles_.tile_h() * tiles_.tile_w() * set_.lanes; }
  std::int64_t sums_size() const { return map_.out_channels * map_.taps() * set_.lanes; }

  void run_block(const ConvViews& v, std::int64_t block) const {
    T* const input = static_cast<T*>(thread_arena(Arena::workspace, static_cast<std::size_t>(workspace_bytes())));
    T *const scratch = input + tiles_.input_size(), *const grad = scratch + tiles_.scratch_size(),
             *const sums = grad + grad_size();
    std::fill_n(sums, sums_size(), T(0));
    const std::int64_t lanes = set_.lanes, tiles_w = tiles_.tiles() / ceil_div(map_.h.out_size, tiles_.tile_h());
    ChannelProductArgs<T> a{};
    a.input = input;
    a.input_row = map_.h.step * tiles_.pitch() * lanes;
    a.input_column = map_.w.step * lanes;
    a.taps = taps_.data();
    a.tap_count = map_.taps();
    a.grad = grad;
    for (std::int64_t n = 0; n < map_.batch; ++n)
      for (std::int64_t tile = 0; tile < tiles_.tiles(); ++tile) {
        const std::int64_t row = tile / tiles_w, column = tile % tiles_w;
        const std::int64_t y0 = tiles_.row(row), y1 = tiles_.row(row + 1), x0 = tiles_.column(column);
        tiles_.transpose_input(v, n, block, y0, y1, column, scratch, input);
        a.height = y1 - y0;
        a.width = tiles_.column(column + 1) - x0;
        for (std::int64_t k = 0; k < map_.out_channels; ++k) {
          transpose_grad(v, n, block, k, y0, x0, a.height, a.width, scratch, grad);
          a.out = sums + k * map_.taps() * lanes;
          set_.channel_products(a);
        }
      }
    T* const out = reinterpret_cast<T*>(v.out) + block * lanes * map_.out_channels * map_.taps();
    const std::int64_t elements = map_.out_channels * map_.taps();
    set_.pack({sums, lanes, 1, elements, elements, tiles_.planes(block), out, elements});
  }

  void transpose_grad(const ConvViews& v, std::int64_t n, std::int64_t block, std::int64_t k, std::int64_t y0,
                      std::int64_t x0, std::int64_t height, std::int64_t width, T* scratch, T* to) const {
    const std::ptrdiff_t* const stride = v.grad_output_stride;
    const char* const source = v.grad_output + n * stride[0] +
                               (block * set_.lanes * map_.out_channels + k) * stride[1] + y0 * stride[2] +
                               x0 * stride[3];
    // Adjacent rows are one long row.
    const bool one = stride[2] == width * stride[3] && stride[3] % element == 0 &&
                     reinterpret_cast<std::uintptr_t>(source) % sizeof(T) == 0;
    const std::int64_t rows = one ? 1 : height, length = one ? height * width : width;
    const std::vector<StagePiece> pieces{{0, length, 0, length, 0, 1}};
    for (std::int64_t y = 0; y < rows; ++y)
      transpose_row<T>(set_, pieces, length,
                       {source + y * stride[2], stride[1] * map_.out_channels, stride[3], tiles_.planes(block)},
                       scratch, to + y * width * set_.lanes);
  }

  ShiftMap map_;
  const KernelSet<T>& set_;
  ChannelTiles<T> tiles_;
  std::vector<std::ptrdiff_t> taps_;
  int threads_ = 1;
};

template <class T>
std::unique_ptr<Plan> make_map_plan(const ShiftMap& map, const PlanRequest& request) {
  return std::make_unique<DepthwiseChannelsPlan<T>>(map, request);
}

template <class T>
std::unique_ptr<Plan> prepare(const PlanRequest& request) {
  switch (request.problem.pass) {
    case Pass::forward: {
      Layout image = request.layout;
      image.input_planes = false;  // it is not made one row
      return make_map_plan<T>(forward_map(request.problem, image), request);
    }
    case Pass::input_gradient: return make_input_gradient_plan<T>(request, make_map_plan<T>, false);
    case Pass::weight_gradient: return std::make_unique<DepthwiseChannelsWeightPlan<T>>(request);
  }
  return nullptr;
}

}  // namespace

const Algorithm depthwise_channels_algorithm = {
    "depthwise_channels",
    "exact on small integers; one running sum, error below 1e-5 (float32) and 1e-13 (float64)",
    unsupported,
    [](const PlanRequest&) { return 0.0; },
    [](const PlanRequest& r) { return r.problem.dtype == DType::float32 ? prepare<float>(r) : prepare<double>(r); },
};

}  // namespace tileconv
