// toeplitz: 3x3 kernels of a dilation so large that of the pixels `dilation` apart, a phase of the image, there are two
// along an axis or one: the last branches of a spatial pyramid (ASPP). Within zeros, three taps k-, k0, k+ make of the
// pixels x0, x1 of such a phase
//   y0 = k0 x0 + k+ x1 = k0 (x0 + x1) + (k+ - k0) x1
//   y1 = k- x0 + k0 x1 = k0 (x0 + x1) + (k- - k0) x0
// the product of a Toeplitz matrix and a vector by three multiplications instead of four (S. Winograd, Arithmetic
// Complexity of Computations, 1980, section V), and k0 x0 of a single one. Along both axes, nine positions take 9/16 of
// the multiply-adds. Each is a matrix product of its weights and the pixels of all phases:
//
//   position    0                  1                  2
//   weights     k0                 k+ - k0            k- - k0
//   pixels      x0 + x1 or x0      x1, if any         x0, if there is x1      for y0: 0 and 1, for y1: 0 and 2
//
// One task is a rectangle of phases. Where an output comes out not finite, or weights are not, the image is computed
// again by shift_gemm.
#include <algorithm>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "../cpu.h"
#include "../parallel.h"
#include "../staging.h"
#include "algorithms.h"
#include "products.h"
#include "spoilt_images.h"
#include "weight_panels.h"

namespace tileconv {
namespace {

constexpr std::int64_t positions = 9;

const char* unsupported(const PlanRequest& request) {
  const ConvProblem& p = request.problem;
  if (p.pass == Pass::weight_gradient) return "weight gradients are sums over pixels";
  if (p.kernel_h != 3 || p.kernel_w != 3 || p.stride_h != 1 || p.stride_w != 1)
    return "the kernel is not one of 3x3 taps with stride 1";
  const auto two = [](std::int64_t size, std::int64_t dilation, std::int64_t before, std::int64_t behind) {
    return before == dilation && behind == dilation && size > dilation && size - dilation <= dilation;
  };
  // A transposed convolution may have more outputs than inputs.
  if (p.in_h != p.out_h || p.in_w != p.out_w) return "the result is of another size";
  if (p.padding_mode != PaddingMode::zeros || !two(p.in_h, p.dilation_h, p.pad_top, p.pad_bottom) ||
      !two(p.in_w, p.dilation_w, p.pad_left, p.pad_right))
    return "the dilation and the zero padding are not one, from half the image on";
  // The smallest tile, a single phase: of an in channel three vectors of pixels and two rows of the image, of an out
  // channel nine products.
  const bool forward = p.pass == Pass::forward;
  const std::int64_t in = forward ? p.group_in_channels() : p.group_out_channels();
  const std::int64_t out = forward ? p.group_out_channels() : p.group_in_channels();
  constexpr std::int64_t vector = 64, half = most_workspace / 2;
  if (p.in_w > half || in > half / (3 * vector + 2 * (p.in_w * dtype_size(p.dtype) + vector)) ||
      out > half / (positions * dtype_size(p.dtype)) - 3 * vector)
    return "a tile of so many channels is more than the workspace holds";
  return nullptr;
}

ShiftMap map_of(const PlanRequest& request) {
  const ConvProblem& p = request.problem;
  constexpr Layout views{false, false, false, false, false, false};  // the image is not made one row
  return p.pass == Pass::forward ? forward_map(p, views)
                                 : residue_map(input_gradient_maps(p, {0, p.in_h}, {0, p.in_w}), 0, 0, views);
}

// Phases along an axis: the first `pairs` have two pixels, `dilation` apart.
struct PhaseAxis {
  explicit PhaseAxis(const MapAxis& axis)
      : dilation(std::abs(axis.difference)),
        pairs(axis.out_size - dilation),
        kernel{axis.kernel(1), axis.kernel(axis.difference > 0 ? 2 : 0), axis.kernel(axis.difference > 0 ? 0 : 2)} {}
  std::int64_t dilation, pairs;
  std::int64_t kernel[3];  // the kernel elements k0, k+, k-
  // Of the phases [begin, end), those that a position has.
  std::int64_t count(std::int64_t position, std::int64_t begin, std::int64_t end) const {
    return (position == 0 ? end : std::clamp(pairs, begin, end)) - begin;
  }
};

template <class T>
class ToeplitzPlan final : public Plan {
 public:
  explicit ToeplitzPlan(const PlanRequest& request)
      : map_(map_of(request)),
        set_(kernel_set<T>(*request.kernels)),
        h_(map_.h),
        w_(map_.w),
        product_(best_product(set_, ceil_div(map_.out_channels, set_.lanes), most_vectors)),
        panels_(map_, request, product_.vectors),
        in_place_(request.layout.input_rows),
        out_rows_(request.layout.out_rows),
        request_(request) {
    cut_tiles();
    if (!in_place_) image_ = make_pieces(map_.w.map, 0, map_.w.out_size);
    cycles_ = estimate();
    threads_ = threads_for(cycles_ * static_cast<double>(map_.batch), request.threads);
  }

  double cycles() const noexcept override { return cycles_; }
  std::int64_t workspace_bytes() const noexcept override {
    const std::int64_t own = factor_size() + products_size() + staged_size() + outputs_size();
    return std::max(own, channels_together * panels_.channel_size()) * element;
  }
  // Whether all weights are finite; for each panel and position, an in channel after the other.
  std::int64_t packed_bytes() const noexcept override {
    return header_bytes + map_.groups * panels_.panels() * panel_size() * element;
  }
  std::string packing_key() const override {
    return request_.kernels->isa + (":toeplitz:" + std::to_string(product_.vectors));
  }
  void pack(const ConvViews& v, void* packed) const override;
  void run(const ConvViews& v, const void* packed) const override;
  PlanReport report() const override {
    return {"nine products for sixteen, " + std::to_string(product_.rows) + "x" + std::to_string(product_.vectors),
            threads_,
            {{"phases_h", tile_h_},
             {"phases_w", tile_w_},
             {"channels_per_chunk", product_steps},
             {"tasks_per_image", map_.groups * tiles_h_ * tiles_w_}}};
  }

 private:
  static constexpr std::int64_t element = sizeof(T);
  static constexpr int most_vectors = 3;                // of more, a chunk of weights is far beyond L1
  static constexpr std::int64_t channels_together = 8;  // in channels
  static constexpr std::int64_t header_bytes = 64;

  struct Tile {
    std::int64_t n, group, h0, h1, w0, w1;  // phases
    T *factor, *products, *staged, *outputs;
  };

  void cut_tiles() {
    // Half of L2 takes the products of a tile, as much the pixels of a position; what rows are rounded up to is left.
    const std::int64_t half = std::min(core_traits().l2, most_workspace / 2) * 7 / 16 / element;
    const std::int64_t channels = ceil_div(map_.out_channels, panels_.columns()) * panels_.columns();
    const std::int64_t most =
        std::max<std::int64_t>(1, std::min(half / (positions * channels), half / map_.in_channels));
    tiles_w_ = ceil_div(w_.dilation, most);
    tile_w_ = ceil_div(w_.dilation, tiles_w_);
    tiles_h_ = ceil_div(h_.dilation, std::max<std::int64_t>(1, most / tile_w_));
    tile_h_ = ceil_div(h_.dilation, tiles_h_);
  }
  static std::int64_t rows_of(std::int64_t position) { return position / 3; }
  static std::int64_t columns_of(std::int64_t position) { return position % 3; }

  std::int64_t columns() const { return panels_.columns(); }
  std::int64_t factor_row() const { return (ceil_div(tile_h_ * tile_w_ + set_.lanes, set_.lanes) | 1) * set_.lanes; }
  std::int64_t factor_size() const { return map_.in_channels * factor_row(); }
  std::int64_t product_size() const { return panels_.panels() * tile_h_ * tile_w_ * columns(); }
  std::int64_t products_size() const { return positions * product_size(); }
  // A row of the image, for each of its rows that a row of phases reads, of all channels.
  std::int64_t staged_row() const { return map_.w.out_size + set_.lanes; }
  std::int64_t staged_size() const { return in_place_ ? 0 : 2 * map_.in_channels * staged_row(); }
  std::int64_t outputs_size() const { return out_rows_ ? 0 : set_.lanes * (tile_w_ + set_.lanes); }
  std::int64_t weights_size() const { return map_.in_channels * columns(); }  // of a position
  std::int64_t panel_size() const { return positions * weights_size(); }

  double estimate() const;
  bool run_tile(const ConvViews& v, const T* packed, std::int64_t task) const;
  void sum_inputs(const ConvViews& v, const Tile& t, std::int64_t position) const;
  void multiply(const Tile& t, const T* packed, std::int64_t position) const;
  bool finish(const ConvViews& v, const Tile& t) const;

  ShiftMap map_;
  const KernelSet<T>& set_;
  PhaseAxis h_, w_;
  const ProductKernel<T>& product_;
  WeightPanels<T> panels_;
  bool in_place_, out_rows_;
  std::int64_t tiles_h_ = 1, tiles_w_ = 1, tile_h_ = 1, tile_w_ = 1;
  std::vector<StagePiece> image_;  // the columns of the image
  double cycles_ = 0;
  int threads_ = 1;
  PlanRequest request_;
};

// Products at the pace of their register tile, and what a call costs, or at that of their weights, which
// every tile reads. Pixels are read up to nine times, outputs are sums of four.
template <class T>
double ToeplitzPlan<T>::estimate() const {
  const double passes = vector_passes(set_), lanes = set_.lanes;
  const auto groups = static_cast<double>(map_.groups);
  const auto in = static_cast<double>(map_.in_channels), panels = static_cast<double>(panels_.panels());
  const double vectors = static_cast<double>(ceil_div(map_.out_channels, set_.lanes)) / panels;
  double sums = 0, rest = 2000;
  for (std::int64_t p = 0; p < positions; ++p) {
    const auto rows = static_cast<double>(h_.count(rows_of(p), 0, h_.dilation)),
               columns = static_cast<double>(w_.count(columns_of(p), 0, w_.dilation));
    const double pixels = rows * columns, runs = pixels / (0.95 * product_.rows);
    sums += runs * panels * pixel_product_cycles(in, product_.rows, vectors, passes);
    rest += rows * in * (8 + 8 * columns / lanes);
  }
  rest += static_cast<double>(map_.h.out_size) * (static_cast<double>(map_.w.out_size) / lanes + 2) *
          static_cast<double>(map_.out_channels) * 8 * passes;
  const double bytes = in * panels * static_cast<double>(positions * columns() * element);
  const double streamed =
      static_cast<double>(tiles_h_ * tiles_w_) * weight_cycles(bytes * groups, set_.short_steps()) / groups;
  // The weights of a gradient are packed in every call.
  if (map_.scattered_weights()) rest += 3 * positions * in * static_cast<double>(map_.out_channels);
  constexpr double margin = 1.1;  // for little gain the running sum is preferred
  return margin * groups * (std::max(sums, streamed) + rest);
}

// Kernels of a few in channels at a time: k0 is taken from the others, along both axes.
template <class T>
void ToeplitzPlan<T>::pack(const ConvViews& v, void* packed) const {
  const T* const weight = reinterpret_cast<const T*>(v.weight);
  const std::int64_t count = map_.groups * map_.out_channels * map_.in_channels * map_.kernel_elements;
  const bool finite = set_.finite(v.weight, count);
  *static_cast<bool*>(packed) = finite;
  if (!finite) return;
  T* const first = reinterpret_cast<T*>(static_cast<char*>(packed) + header_bytes);
  parallel_for(map_.groups * panels_.panels(), threads_, [&](std::int64_t task) {
    T* const kernels = static_cast<T*>(thread_arena(Arena::workspace, static_cast<std::size_t>(workspace_bytes())));
    const std::int64_t panel = task % panels_.panels();
    for (std::int64_t c = 0; c < map_.in_channels; c += channels_together) {
      const std::int64_t channels = std::min(channels_together, map_.in_channels - c);
      for (std::int64_t i = 0; i < channels; ++i)
        panels_.pack_columns(map_, weight, task / panels_.panels(), panel, c + i, map_.kernel_elements,
                             kernels + i * panels_.channel_size());
      for (std::int64_t p = 0; p < positions; ++p) {
        const std::int64_t row = rows_of(p), column = columns_of(p);
        const auto tap = [&](std::int64_t i, std::int64_t j) {
          return kernels + (h_.kernel[i] * map_.kernel_w + w_.kernel[j]) * columns();
        };
        T* const to = first + task * panel_size() + p * weights_size() + c * columns();
        for (std::int64_t i = 0; i < channels; ++i) {
          const std::int64_t at = i * panels_.channel_size();
          const T *const own = tap(row, column) + at, *const above = tap(0, column) + at,
                         *const beside = tap(row, 0) + at, *const both = tap(0, 0) + at;
          for (std::int64_t k = 0; k < columns(); ++k) {
            const T difference = row > 0 ? own[k] - above[k] : own[k];
            const T subtracted = row > 0 ? beside[k] - both[k] : beside[k];
            to[i * columns() + k] = column > 0 ? difference - subtracted : difference;
          }
        }
      }
    }
  });
}

template <class T>
void ToeplitzPlan<T>::run(const ConvViews& v, const void* packed) const {
  const bool finite = *static_cast<const bool*>(packed);
  SharedFlags spoilt(map_.batch, !finite);
  const std::int64_t tasks = map_.groups * tiles_h_ * tiles_w_;
  const T* const weights = reinterpret_cast<const T*>(static_cast<const char*>(packed) + header_bytes);
  if (finite)
    parallel_for(map_.batch * tasks, threads_, [&](std::int64_t task) {
      if (!run_tile(v, weights, task)) spoilt.set(task / tasks);
    });
  sum_spoilt_images<T>(spoilt, map_, request_, v);
}

// Returns whether all outputs are finite.
template <class T>
bool ToeplitzPlan<T>::run_tile(const ConvViews& v, const T* packed, std::int64_t task) const {
  Tile t{};
  TaskDigits digits(task);
  const std::int64_t column = digits.next(tiles_w_), row = digits.next(tiles_h_);
  t.group = digits.next(map_.groups);
  t.n = digits.rest();
  t.h0 = split_at(h_.dilation, tiles_h_, row), t.h1 = split_at(h_.dilation, tiles_h_, row + 1);
  t.w0 = split_at(w_.dilation, tiles_w_, column), t.w1 = split_at(w_.dilation, tiles_w_, column + 1);
  t.factor = static_cast<T*>(thread_arena(Arena::workspace, static_cast<std::size_t>(workspace_bytes())));
  t.products = t.factor + factor_size();
  t.staged = t.products + products_size();
  t.outputs = t.staged + staged_size();
  for (std::int64_t p = 0; p < positions; ++p) {
    sum_inputs(v, t, p);
    multiply(t, packed + t.group * panels_.panels() * panel_size() + p * weights_size(), p);
  }
  return finish(v, t);
}

// What a position multiplies, row by row of the phases, of all channels.
template <class T>
void ToeplitzPlan<T>::sum_inputs(const ConvViews& v, const Tile& t, std::int64_t position) const {
  const std::int64_t row_position = rows_of(position), column_position = columns_of(position);
  const std::int64_t width = w_.count(column_position, t.w0, t.w1);
  const std::int64_t paired = w_.count(1, t.w0, t.w1);  // columns that have two pixels
  PixelSumArgs<T> a{};
  a.source_channel = in_place_ ? v.input_stride[1] / element : staged_row();
  a.out_channel = factor_row();
  a.channels = map_.in_channels;
  for (std::int64_t y = 0; y < h_.count(row_position, t.h0, t.h1); ++y) {
    const std::int64_t first = t.h0 + y + (row_position == 1 ? h_.dilation : 0);
    const bool two_rows = row_position == 0 && t.h0 + y < h_.pairs;
    const T* rows[2] = {};
    for (std::int64_t r = 0; r < (two_rows ? 2 : 1); ++r) {
      const char* const source = map_source(map_, v, t.n, t.group, 0) + (first + r * h_.dilation) * v.input_stride[2];
      if (in_place_) {
        rows[r] = reinterpret_cast<const T*>(source);
        continue;
      }
      T* const staged = t.staged + r * map_.in_channels * staged_row();
      set_.stage({staged, staged_row(), source, v.input_stride[1], v.input_stride[3], map_.in_channels, image_.data(),
                  static_cast<std::int64_t>(image_.size()), map_.w.out_size});
      rows[r] = staged;
    }
    // Columns [from, to) of the tile, of one pixel or two.
    const auto sum = [&](std::int64_t from, std::int64_t to, bool two_columns) {
      if (from == to) return;
      const std::int64_t x = t.w0 + from + (column_position == 1 ? w_.dilation : 0);
      a.count = 0;
      for (std::int64_t r = 0; r < (two_rows ? 2 : 1); ++r)
        for (std::int64_t c = 0; c < (two_columns ? 2 : 1); ++c) a.source[a.count++] = rows[r] + x + c * w_.dilation;
      a.out = t.factor + y * width + from;
      a.pixels = to - from;
      set_.sum_pixels(a);
    };
    sum(0, paired, column_position == 0);
    sum(paired, width, false);
  }
}

template <class T>
void ToeplitzPlan<T>::multiply(const Tile& t, const T* packed, std::int64_t position) const {
  const std::int64_t pixels = h_.count(rows_of(position), t.h0, t.h1) * w_.count(columns_of(position), t.w0, t.w1);
  const PixelRuns runs = PixelRuns::in_rows(pixels, product_.rows, factor_row());
  for (std::int64_t panel = 0; panel < panels_.panels(); ++panel)
    multiply_pixels<T>(set_, {runs, t.factor, map_.in_channels, packed + panel * panel_size(), columns(),
                              panels_.begin(panel + 1) - panels_.begin(panel),
                              t.products + position * product_size() + panel * tile_h_ * tile_w_ * columns()});
}

// The outputs of the phases, row by row: those of the first pixels, then of the second.
template <class T>
bool ToeplitzPlan<T>::finish(const ConvViews& v, const Tile& t) const {
  const std::int64_t paired = w_.count(1, t.w0, t.w1), width = t.w1 - t.w0;
  const std::ptrdiff_t out_channel = v.out_stride[1] / element;
  T bias[64 / sizeof(float)];
  bool finite = true;
  ProductSumArgs<T> a{};
  a.product_row = columns();
  a.bias = bias;
  for (std::int64_t panel = 0; panel < panels_.panels(); ++panel)
    for (std::int64_t vector = panels_.begin(panel); vector < panels_.begin(panel + 1); ++vector) {
      const std::int64_t channel = vector * set_.lanes;
      a.channels = std::min<std::int64_t>(set_.lanes, map_.out_channels - channel);
      load_bias(v, t.group * map_.out_channels + channel, a.channels, set_.lanes, bias);
      // Phases of row y of the tile, columns [from, to). Of two pixels along an axis, `second` is the other one.
      const auto sum = [&](std::int64_t y, bool two_rows, bool second_row, std::int64_t from, std::int64_t to,
                           bool second_column) {
        if (from == to) return;
        const bool two_columns = from < paired;
        a.count = 0;
        for (std::int64_t i = 0; i < (two_rows ? 2 : 1); ++i)
          for (std::int64_t j = 0; j < (two_columns ? 2 : 1); ++j) {
            const std::int64_t row = i == 0 ? 0 : second_row ? 2 : 1, column = j == 0 ? 0 : second_column ? 2 : 1;
            const std::int64_t pixel = panel * tile_h_ * tile_w_ + y * w_.count(column, t.w0, t.w1) + from;
            a.product[a.count++] = t.products + (row * 3 + column) * product_size() + pixel * columns() +
                                   (vector - panels_.begin(panel)) * set_.lanes;
          }
        a.pixels = to - from;
        T* const out = reinterpret_cast<T*>(v.out + t.n * v.out_stride[0] +
                                            (t.group * map_.out_channels + channel) * v.out_stride[1] +
                                            (t.h0 + y + (second_row ? h_.dilation : 0)) * v.out_stride[2] +
                                            (t.w0 + from + (second_column ? w_.dilation : 0)) * v.out_stride[3]);
        a.out = out_rows_ ? out : t.outputs;
        a.out_row = out_rows_ ? out_channel : tile_w_ + set_.lanes;
        finite &= set_.sum_products(a);
        if (!out_rows_)
          set_.spread({t.outputs, a.out_row, a.channels, a.pixels, out, out_channel, v.out_stride[3] / element});
      };
      for (std::int64_t y = 0; y < t.h1 - t.h0; ++y) {
        const bool two_rows = t.h0 + y < h_.pairs;
        for (const bool second_row : {false, true}) {
          if (second_row && !two_rows) continue;
          sum(y, two_rows, second_row, 0, paired, false);
          sum(y, two_rows, second_row, paired, width, false);
          sum(y, two_rows, second_row, 0, paired, true);
        }
      }
    }
  return finite;
}

// Products at two vectors a cycle.
template <class T>
double least_cycles(const PlanRequest& request) {
  const ConvProblem& p = request.problem;
  const KernelSet<T>& set = kernel_set<T>(*request.kernels);
  // 2 n - d pixels along an axis for n, which are more than d.
  const double pixels = static_cast<double>(p.in_h) * static_cast<double>(p.in_w);
  return pixels * static_cast<double>(p.groups * p.group_in_channels() * p.group_out_channels()) / set.lanes *
         vector_passes(set) / 2;
}

}  // namespace

const Algorithm toeplitz_algorithm = {
    "toeplitz",
    "exact on small integers; error below 1e-5 (float32) and 1e-13 (float64) of the largest output",
    unsupported,
    [](const PlanRequest& r) {
      return r.problem.dtype == DType::float32 ? least_cycles<float>(r) : least_cycles<double>(r);
    },
    [](const PlanRequest& r) -> std::unique_ptr<Plan> {
      if (r.problem.dtype == DType::float32) return std::make_unique<ToeplitzPlan<float>>(r);
      return std::make_unique<ToeplitzPlan<double>>(r);
    },
};

}  // namespace tileconv
