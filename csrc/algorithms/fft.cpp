// fft: large kernels over planes, by circular convolution of overlapping tiles (overlap-save: Stockham 1966; Oppenheim
// and Schafer, Discrete-Time Signal Processing, 8.7.3). A tile of n x n inputs gives the n - reach + 1 outputs along
// each axis whose window lies in it, and costs n^2 log n, whatever the size of the kernel.
//
// A pair of tiles of one plane is one complex matrix: the kernel is real, so its products leave real and imaginary part
// apart. What is not finite spreads over both tiles, and shows: then the whole plane is computed again by depthwise
// sums.
#include <algorithm>
#include <cmath>

#include "../channel_rows.h"
#include "../cpu.h"
#include "../parallel.h"
#include "algorithms.h"
#include "shift_gemm.h"

namespace tileconv {
namespace {

constexpr std::int64_t smallest = 32, largest = 256;
constexpr double pi = 3.14159265358979323846;

const char* unsupported(const PlanRequest& request) {
  const ConvProblem& p = request.problem;
  if (p.pass == Pass::weight_gradient) return "weight gradients are sums over pixels";
  if (p.pass == Pass::input_gradient && p.padding_mode != PaddingMode::zeros)
    return "the input gradient is folded back at the edges";
  if ((p.pass == Pass::forward ? p.group_in_channels() : p.group_out_channels()) != 1)
    return "an out channel is computed from more than one plane";
  if (p.stride_h > 1 || p.stride_w > 1) return "the stride is not 1";
  if (p.empty_gradient()) return "there is no input";
  constexpr std::int64_t most_reach = largest / 2 - 1;
  if (!taps_within(p.kernel_h, p.dilation_h, most_reach) || !taps_within(p.kernel_w, p.dilation_w, most_reach))
    return "the kernel reaches further than 128 pixels";
  return nullptr;
}

ShiftMap map_of(const PlanRequest& request) {
  const ConvProblem& p = request.problem;
  constexpr Layout views{false, false, false, false, false, false};  // the image is not made one row
  return p.pass == Pass::forward ? forward_map(p, views)
                                 : residue_map(input_gradient_maps(p, {0, p.in_h}, {0, p.in_w}), 0, 0, views);
}

struct Tiling {
  std::int64_t n, tile_h, tile_w, tiles_h, tiles_w;
  double cycles;  // of one image
};

// Of one matrix, there or back, with its copies; measured on Zen 4, errs by a quarter. Direct sums are exact on small
// integers: they are preferred unless they are slower by more than the margin.
template <class T>
double transform_cycles(std::int64_t n, const KernelSet<T>& set) {
  constexpr double margin = 1.25;
  return margin * static_cast<double>(n * n / set.lanes) *
         ((3.7 + 2.2 * vector_passes(set)) * std::log2(static_cast<double>(n)) + 5);
}

// The size of the transforms with the fewest cycles.
template <class T>
Tiling choose_tiling(const ShiftMap& map, const KernelSet<T>& set) {
  // Rows of a tile are far apart in the image: what lies beyond L2 is waited for.
  const std::int64_t plane =
      (map.h.map.size * map.w.map.size + map.h.out_size * map.w.out_size) * static_cast<std::int64_t>(sizeof(T));
  const double row_cycles = plane > core_traits().l2 ? 60 : 0;
  Tiling best{};
  for (std::int64_t n = smallest; n <= largest; n *= 2) {
    const std::int64_t tile_h = std::min(n - map.h.reach() + 1, map.h.out_size),
                       tile_w = std::min(n - map.w.reach() + 1, map.w.out_size);
    if (tile_h < 1 || tile_w < 1) continue;
    const std::int64_t tiles_h = ceil_div(map.h.out_size, tile_h), tiles_w = ceil_div(map.w.out_size, tile_w);
    const auto channels = static_cast<double>(map.out_channels);
    const auto pairs = static_cast<double>(ceil_div(tiles_h * tiles_w, 2));
    const double cycles = static_cast<double>(map.groups) * pairs *
                          (transform_cycles(n, set) + row_cycles * static_cast<double>(n)) * (1 + channels);
    if (best.n == 0 || cycles < best.cycles) best = {n, tile_h, tile_w, tiles_h, tiles_w, cycles};
  }
  return best;
}

// As if every input of the smallest matrix, whose transform costs the least for each of them, gave an output.
template <class T>
double least_cycles(const PlanRequest& request) {
  const ConvProblem& p = request.problem;
  const bool forward = p.pass == Pass::forward;
  const auto outputs = static_cast<double>(forward ? p.out_h * p.out_w : p.in_h * p.in_w);
  const auto channels = static_cast<double>(forward ? p.group_out_channels() : p.group_in_channels());
  const double pairs = std::max(1.0, outputs / static_cast<double>(2 * smallest * smallest));
  return static_cast<double>(p.groups) * pairs * transform_cycles(smallest, kernel_set<T>(*request.kernels)) *
         (1 + channels);
}

template <class T>
class FftPlan final : public Plan {
 public:
  explicit FftPlan(const PlanRequest& request)
      : map_(map_of(request)),
        set_(kernel_set<T>(*request.kernels)),
        tiling_(choose_tiling(map_, set_)),
        isa_(request.kernels->isa),
        out_rows_(request.layout.out_rows) {
    for (std::int64_t t = 0; t < tiling_.tiles_w; ++t)
      pieces_.push_back(make_pieces(map_.w.map, t * tiling_.tile_w + map_.w.lowest(), input_columns(t)));
    for (std::int64_t length = tiling_.n, radix; length > 1; length /= radix) {
      radix = fft_radix(length, set_.fft_most_radix);
      for (std::int64_t j = 0; j < length / radix; ++j)
        for (std::int64_t q = 1; q < radix; ++q) {
          const double angle = -2 * pi * static_cast<double>(j * q) / static_cast<double>(length);
          twiddles_.push_back(static_cast<T>(std::cos(angle)));
          twiddles_.push_back(static_cast<T>(std::sin(angle)));
        }
    }
    threads_ = threads_for(cycles() * static_cast<double>(map_.batch), request.threads);
    PlanRequest plane = request;
    ConvProblem& p = plane.problem;
    p.batch = 1;
    p.in_channels /= p.groups, p.out_channels /= p.groups;
    p.groups = 1;
    direct_ = depthwise_algorithm.prepare(plane);
  }

  double cycles() const noexcept override { return tiling_.cycles; }
  std::int64_t workspace_bytes() const noexcept override {
    return std::max((matrices() * 2 * matrix_size() + line_size()) * element, direct_->workspace_bytes());
  }
  // Of each kernel its transform, transposed: an n x n matrix of real parts, one of imaginary parts.
  std::int64_t packed_bytes() const noexcept override {
    return map_.groups * map_.out_channels * 2 * matrix_size() * element;
  }
  std::string packing_key() const override { return isa_ + (":fft:" + std::to_string(tiling_.n)); }
  PlanReport report() const override {
    return {"transforms of " + std::to_string(tiling_.n) + " x " + std::to_string(tiling_.n),
            threads_,
            {{"tile_h", tiling_.tile_h}, {"tile_w", tiling_.tile_w}}};
  }

  void pack(const ConvViews& v, void* packed) const override {
    // Backward transforms are n^2 times the inverse in all.
    const T scale = T(1) / static_cast<T>(matrix_size());
    parallel_for(map_.groups * map_.out_channels, threads_, [&](std::int64_t k) {
      const T* const kernel = reinterpret_cast<const T*>(v.weight) + k * map_.kernel_elements;
      T* const re = static_cast<T*>(packed) + k * 2 * matrix_size();
      std::fill_n(re, 2 * matrix_size(), T(0));
      // Output t sums inputs t + d: a convolution with the kernel that has its element at -d.
      for (std::int64_t i = 0; i < map_.h.count; ++i)
        for (std::int64_t j = 0; j < map_.w.count; ++j)
          re[position((map_.h.lowest() - map_.h.tap(i)) & (tiling_.n - 1),
                      (map_.w.lowest() - map_.w.tap(j)) & (tiling_.n - 1))] = kernel[map_.kernel_index(i, j)] * scale;
      transform(re);
    });
  }

  void run(const ConvViews& v, const void* packed) const override {
    // One flag for each plane: it has values that are not finite.
    const std::int64_t planes = map_.batch * map_.groups, pairs = ceil_div(tiling_.tiles_h * tiling_.tiles_w, 2);
    SharedFlags spoilt(planes, false);
    parallel_for(planes * pairs, threads_, [&](std::int64_t task) {
      const std::int64_t plane = task / pairs;
      if (!run_pair(v, static_cast<const T*>(packed), plane / map_.groups, plane % map_.groups, task % pairs))
        spoilt.set(plane);
    });
    for (std::int64_t p = 0; p < planes; ++p)
      if (spoilt[p]) run_direct(v, p / map_.groups, p % map_.groups);
  }

 private:
  static constexpr auto element = static_cast<std::int64_t>(sizeof(T));
  std::int64_t matrix_size() const { return tiling_.n * tiling_.n; }
  // The tiles, and their product with each of several kernels.
  std::int64_t matrices() const { return map_.out_channels > 1 ? 2 : 1; }
  std::int64_t line_size() const { return tiling_.n + set_.lanes; }
  std::int64_t position(std::int64_t y, std::int64_t x) const {
    return (x / set_.lanes * tiling_.n + y) * set_.lanes + x % set_.lanes;
  }
  // Inputs that the outputs of tile row, of tile column t reach.
  std::int64_t input_rows(std::int64_t t) const {
    return std::min(tiling_.tile_h, map_.h.out_size - t * tiling_.tile_h) + map_.h.reach() - 1;
  }
  std::int64_t input_columns(std::int64_t t) const {
    return std::min(tiling_.tile_w, map_.w.out_size - t * tiling_.tile_w) + map_.w.reach() - 1;
  }
  FftArgs<T> columns(T* re, std::int64_t used) const {
    return {re, re + matrix_size(), tiling_.n, 0, ceil_div(used, set_.lanes), twiddles_.data()};
  }
  // In both directions; the result is transposed.
  void transform(T* re) const {
    set_.fft_forward(columns(re, tiling_.n));
    set_.fft_transpose(re, tiling_.n);
    set_.fft_transpose(re + matrix_size(), tiling_.n);
    set_.fft_forward(columns(re, tiling_.n));
  }

  // Returns whether all outputs of the pair are finite.
  bool run_pair(const ConvViews& v, const T* packed, std::int64_t n, std::int64_t group, std::int64_t pair) const {
    T* const tiles = static_cast<T*>(thread_arena(Arena::workspace, static_cast<std::size_t>(workspace_bytes())));
    T *const product = tiles + (matrices() - 1) * 2 * matrix_size(), *const line =
                                                                         tiles + matrices() * 2 * matrix_size();
    const std::int64_t count = std::min<std::int64_t>(2, tiling_.tiles_h * tiling_.tiles_w - 2 * pair);
    for (std::int64_t part = 0; part < 2; ++part)
      if (part < count)
        load_tile(v, n, group, 2 * pair + part, line, tiles + part * matrix_size());
      else
        std::fill_n(tiles + part * matrix_size(), matrix_size(), T(0));
    transform(tiles);
    bool finite = true;
    for (std::int64_t c = 0; c < map_.out_channels; ++c) {
      const std::int64_t k = group * map_.out_channels + c;
      const T* const kernel = packed + k * 2 * matrix_size();
      set_.fft_product({tiles, tiles + matrix_size(), kernel, kernel + matrix_size(), product, product + matrix_size(),
                        matrix_size()});
      set_.fft_backward(columns(product, tiling_.n));
      set_.fft_transpose(product, tiling_.n);
      set_.fft_transpose(product + matrix_size(), tiling_.n);
      set_.fft_backward(columns(product, tiling_.tile_w));
      for (std::int64_t part = 0; part < count; ++part)
        finite &= store_tile(v, n, k, 2 * pair + part, line, product + part * matrix_size());
    }
    return finite;
  }

  void load_tile(const ConvViews& v, std::int64_t n, std::int64_t group, std::int64_t tile, T* line, T* to) const {
    const std::int64_t row_tile = tile / tiling_.tiles_w, column_tile = tile % tiling_.tiles_w;
    const std::vector<StagePiece>& pieces = pieces_[static_cast<std::size_t>(column_tile)];
    const std::int64_t rows = input_rows(row_tile), length = input_columns(column_tile);
    const std::ptrdiff_t* const stride = v.input_stride;
    const char* const plane = v.input + n * stride[0] + group * stride[1];
    const StagePiece& piece = pieces.front();
    // Or staged in a line, as rows of several pieces are.
    const bool in_place =
        pieces.size() == 1 && stride[3] == element && piece.step == 1 && is_aligned<T>(plane, {stride[2]});
    for (std::int64_t u = 0; u < tiling_.n; ++u) {
      const std::int64_t row = u < rows ? map_.h.map(row_tile * tiling_.tile_h + map_.h.lowest() + u) : -1;
      FftLoadArgs<T> a{line, 0, 0, 0, to + u * set_.lanes, tiling_.n};
      if (row >= 0) {
        const char* const source = plane + row * stride[2];
        if (in_place) {
          a.row = reinterpret_cast<const T*>(source) + piece.source;
          a.lead = piece.lead, a.count = piece.count, a.next = stride[2] / element;
        } else {
          set_.stage(
              {line, 0, source, 0, stride[3], 1, pieces.data(), static_cast<std::int64_t>(pieces.size()), length});
          a.count = length;
        }
      }
      set_.fft_load(a);
    }
  }

  bool store_tile(const ConvViews& v, std::int64_t n, std::int64_t k, std::int64_t tile, T* line, const T* from) const {
    const std::int64_t y0 = tile / tiling_.tiles_w * tiling_.tile_h, x0 = tile % tiling_.tiles_w * tiling_.tile_w;
    const std::int64_t height = std::min(tiling_.tile_h, map_.h.out_size - y0),
                       width = std::min(tiling_.tile_w, map_.w.out_size - x0);
    const T bias = v.bias ? reinterpret_cast<const T*>(v.bias)[k] : T(0);
    bool finite = true;
    for (std::int64_t y = 0; y < height; ++y) {
      T* const out = reinterpret_cast<T*>(v.out + n * v.out_stride[0] + k * v.out_stride[1] +
                                          (y0 + y) * v.out_stride[2] + x0 * v.out_stride[3]);
      finite &= set_.fft_store({from + y * set_.lanes, tiling_.n, bias, out_rows_ ? out : line, width});
      if (!out_rows_) set_.spread({line, 0, 1, width, out, 0, v.out_stride[3] / element});
    }
    return finite;
  }

  void run_direct(const ConvViews& v, std::int64_t n, std::int64_t group) const {
    ConvViews plane = v;
    plane.input += n * v.input_stride[0] + group * v.input_stride[1];
    plane.weight += group * map_.out_channels * map_.kernel_elements * element;
    if (v.bias) plane.bias += group * map_.out_channels * element;
    plane.out += n * v.out_stride[0] + group * map_.out_channels * v.out_stride[1];
    direct_->run(plane, nullptr);
  }

  ShiftMap map_;
  const KernelSet<T>& set_;
  Tiling tiling_;
  std::string isa_;
  bool out_rows_;
  std::vector<std::vector<StagePiece>> pieces_;  // of each tile column
  std::vector<T> twiddles_;
  std::unique_ptr<Plan> direct_;
  int threads_ = 1;
};

}  // namespace

const Algorithm fft_algorithm = {
    "fft",
    "error below 1e-5 (float32) and 1e-13 (float64) of the largest output",
    unsupported,
    [](const PlanRequest& r) {
      return r.problem.dtype == DType::float32 ? least_cycles<float>(r) : least_cycles<double>(r);
    },
    [](const PlanRequest& r) -> std::unique_ptr<Plan> {
      if (r.problem.dtype == DType::float32) return std::make_unique<FftPlan<float>>(r);
      return std::make_unique<FftPlan<double>>(r);
    },
};

}  // namespace tileconv
