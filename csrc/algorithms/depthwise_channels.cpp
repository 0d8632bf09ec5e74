// depthwise_channels: every out channel from one plane, as depthwise, but with the channels in the lanes. Rows of a
// vector of channels are transposed into scratch, padding resolved; there any stride, dilation and width is the same
// kernel, which needs no more than offsets. It serves images too narrow for vectors of pixels, large kernels, and the
// weight gradient, whose sums over pixels need no reduction across lanes.
#include "depthwise_channels.h"

#include "../parallel.h"
#include "algorithms.h"
#include "shift_gemm.h"

namespace tileconv {
namespace {

constexpr std::int64_t most_reach = 64;  // pixels from the first tap to the last

const char* unsupported(const PlanRequest& request) {
  const ConvProblem& p = request.problem;
  if (p.group_in_channels() != 1) return "an out channel is computed from more than one plane";
  if (p.pass == Pass::input_gradient && p.group_out_channels() != 1)
    return "an out channel is computed from more than one plane";
  if (!taps_within(p.kernel_h, p.dilation_h, most_reach) || !taps_within(p.kernel_w, p.dilation_w, most_reach) ||
      std::max(p.stride_h, p.stride_w) > most_reach)
    return "the taps are too far apart";
  if (p.empty_gradient()) return "there is no input";
  return nullptr;
}

template <class T>
class DepthwiseChannelsPlan final : public Plan {
 public:
  DepthwiseChannelsPlan(const InterleavedMap& maps, const PlanRequest& request)
      : map_(maps.any),
        set_(kernel_set<T>(*request.kernels)),
        isa_(request.kernels->isa),
        frozen_(request.frozen),
        gradient_(request.problem.pass == Pass::input_gradient),
        tiles_(maps, set_),
        used_(tiles_.h.used_share() * tiles_.w.used_share()),
        skips_(used_ < (shares_widely() ? 0.92 : 0.8)),
        threads_(threads_for(cycles() * static_cast<double>(map_.batch), request.threads)) {
    for (const MapAxis& axis : tiles_.w.maps) {
      kernels_.push_back(&find_kernel(axis));
      for (std::int64_t t = 0; t < tiles_.tiles_w(); ++t) {
        const std::int64_t x0 = std::min(axis.out_size, tiles_.column(t)),
                           x1 = std::min(axis.out_size, tiles_.column(t + 1));
        Run whole{0, x1 - x0, 0, axis.count, 0, 0};
        whole.inside_end = whole.pixels();
        runs_.push_back({{whole}, {}});
        if (skips_) runs_.back().skipping = cut_runs(axis, x0, x1);
      }
    }
    std::int64_t elements = 0;
    for (const MapAxis& h : tiles_.h.maps)
      for (const MapAxis& w : tiles_.w.maps) {
        kernel_offset_.push_back(elements * set_.lanes);
        elements += h.count * w.count;
      }
    // Rows that are kept until they are transposed back stay in L1.
    kept_rows_ =
        std::clamp<std::int64_t>(core_traits().l1d / 3 / (tiles_.tile_w() * set_.lanes * element), 1, tiles_.tile_h());
  }
  double cycles() const noexcept override {
    // Zen 4, which takes a vector in halves, spends less of it on transposing and more on taps, whose loads show.
    const bool halves = vector_passes(set_) > 1, shared = adjacent(tiles_.w.maps.front());
    const double tap = shared ? (halves ? 0.6 : 0.55) : (halves ? 0.8 : 0.65);
    // A gradient transposes the weights too; on Zen 5 that did not show.
    constexpr double packed_tap = 30;
    const bool packs = gradient_ && halves;
    const double packed = packs ? packed_tap * static_cast<double>(kernels() * map_.kernel_elements) : 0;
    return packed + tiles_.cycles(map_.out_channels, halves ? 6 : 7.5, tap * (skips_ ? computed_share(shared) : 1));
  }
  std::int64_t workspace_bytes() const noexcept override {
    return (tiles_.input_size() + tiles_.scratch_size() + (frozen_ ? 0 : weights_size()) + outputs_size()) * element;
  }
  // A frozen layer keeps all kernels; else each is packed where it is used, and never leaves L2.
  std::int64_t packed_bytes() const noexcept override {
    return frozen_ ? skips_size() + kernels() * weights_size() * element : 0;
  }
  std::string packing_key() const override { return isa_ + (skips_ ? ":channels:finite" : ":channels"); }
  void pack(const ConvViews& v, void* packed) const override {
    for (std::int64_t i = 0; i < kernels(); ++i)
      static_cast<bool*>(packed)[i] =
          load_weights(v, i / map_.out_channels, i % map_.out_channels, packed_kernel(packed, i));
  }
  PlanReport report() const override {
    return {"channel rows", threads_, {{"tile_h", tiles_.tile_h()}, {"tile_w", tiles_.tile_w()}}};
  }
  void run(const ConvViews& v, const void* packed) const override {
    parallel_for(map_.batch * tiles_.blocks() * tiles_.tiles(), threads_, [&](std::int64_t task) {
      const std::int64_t tile = task % tiles_.tiles(), block = task / tiles_.tiles() % tiles_.blocks();
      run_tile(v, packed, task / tiles_.tiles() / tiles_.blocks(), block, tile);
    });
  }

 private:
  struct Tile {
    std::int64_t y0, y1, x0, x1, column;  // in periods; which tile column it is
  };
  static constexpr auto element = static_cast<std::int64_t>(sizeof(T));
  // Adjacent outputs of a tile's row that use taps [tap_begin, tap_end), the others being in zero padding; and of the
  // pixels that these read those in the image, if they share them (see ChannelRowArgs).
  struct Run {
    std::int64_t begin, end, tap_begin, tap_end, inside_begin, inside_end;
    std::int64_t width() const { return end - begin; }
    std::int64_t taps() const { return tap_end - tap_begin; }
    std::int64_t pixels() const { return width() + taps() - 1; }
  };
  // Those of a tile's row: one that uses all taps, or some that leave out what they can.
  struct Runs {
    std::vector<Run> whole, skipping;
  };
  static bool adjacent(const MapAxis& axis) { return axis.step == 1 && std::abs(axis.difference) == 1; }
  static Run cut_run(const MapAxis& axis, std::int64_t x0, std::int64_t begin, std::int64_t end) {
    Run run{begin, end, 0, 0, 0, 0};
    axis.used_taps(x0 + begin, x0 + end, run.tap_begin, run.tap_end);
    run.inside_end = run.pixels();
    if (!adjacent(axis) || axis.map.mode != PaddingMode::zeros) return run;
    // Where taps go backwards, pixels do too, from the last output's on.
    const bool backwards = axis.difference < 0;
    const std::int64_t first = x0 + (backwards ? end - 1 : begin) + axis.tap(run.tap_begin);
    const std::int64_t begin_inside = backwards ? first + 1 - axis.map.size : -first;
    run.inside_begin = std::clamp<std::int64_t>(begin_inside, 0, run.pixels());
    run.inside_end = std::clamp<std::int64_t>(begin_inside + axis.map.size, 0, run.pixels());
    return run;
  }
  // Multiply-adds of a row of taps, and what the taps cost, each of them once.
  static double run_cycles(const Run& run) {
    constexpr double shared = 1.5;
    std::int64_t products = run.taps() * run.width();
    const auto leave_out = [&](std::int64_t u) {
      products -= std::min({u + 1, run.pixels() - u, run.taps(), run.width()});
    };
    for (std::int64_t u = 0; u < run.inside_begin; ++u) leave_out(u);
    for (std::int64_t u = run.inside_end; u < run.pixels(); ++u) leave_out(u);
    return static_cast<double>(products) + shared * static_cast<double>(run.taps());
  }
  // The outputs [x0, x1), cut evenly. Short runs leave out more taps, but share the less of what each tap costs them
  // all.
  static std::vector<Run> cut_runs(const MapAxis& axis, std::int64_t x0, std::int64_t x1) {
    constexpr std::int64_t longest = 8, shortest = 3, narrow = 64;
    const std::int64_t width = x1 - x0, fewest = std::max<std::int64_t>(1, ceil_div(width, longest));
    const std::int64_t most = width <= narrow ? std::max(fewest, width / shortest) : fewest;
    std::vector<Run> best;
    double least = 0;
    for (std::int64_t parts = fewest; parts <= most; ++parts) {
      std::vector<Run> runs;
      double cycles = 0;
      for (std::int64_t part = 0; part < parts; ++part) {
        runs.push_back(cut_run(axis, x0, split_at(width, parts, part), split_at(width, parts, part + 1)));
        cycles += run_cycles(runs.back());
      }
      if (best.empty() || cycles < least) best = std::move(runs), least = cycles;
    }
    return best;
  }
  // Of few taps a run skips little, and it costs a call.
  bool shares_widely() const {
    constexpr std::int64_t few = 4;
    return adjacent(tiles_.w.maps.front()) && tiles_.w.maps.front().count > few;
  }
  // The share of the products that is left where padding is skipped. Shared taps leave out all of it, but the fewer
  // products there are, the more the rest shows: what a run costs by itself, and a row of taps more where rows are
  // computed together (measured on Zen 4, images of 5x5 to 28x28).
  double computed_share(bool shared) const {
    if (!shared) return 0.7 * used_ + 0.3;
    constexpr double few_products = 10;
    const double products = tiles_.h.used_share() * tiles_.h.mean_taps() * static_cast<double>(tiles_.w.out_size);
    return products > 0 ? std::min(1.0, used_ * (1 + few_products / products)) : 1;
  }
  const ChannelRowKernel<T>& find_kernel(const MapAxis& axis) const {
    int i = 0;
    const auto fits = [&](const ChannelRowKernel<T>& k) {
      return (k.kernel_w == 0 || k.kernel_w == axis.count) && (!k.adjacent || adjacent(axis));
    };
    while (!fits(set_.channel_row[i])) ++i;
    return set_.channel_row[i];
  }
  // The kernels and biases of one out channel of every plane.
  std::int64_t weights_size() const { return (map_.kernel_elements + 1) * set_.lanes; }
  // Of all planes.
  std::int64_t kernels() const { return tiles_.blocks() * map_.out_channels; }
  // Packed: whether each of them skips taps, then they themselves.
  std::int64_t skips_size() const { return ceil_div(kernels(), 64) * 64; }
  T* packed_kernel(void* packed, std::int64_t i) const {
    return reinterpret_cast<T*>(static_cast<char*>(packed) + skips_size()) + i * weights_size();
  }
  const T* packed_kernel(const void* packed, std::int64_t i) const {
    return packed_kernel(const_cast<void*>(packed), i);
  }
  bool skips_all(const void* packed, std::int64_t block) const {
    const bool* const skips = static_cast<const bool*>(packed) + block * map_.out_channels;
    return std::all_of(skips, skips + map_.out_channels, [](bool skip) { return skip; });
  }
  std::int64_t outputs_size() const { return 2 * kept_rows_ * tiles_.tile_w() * set_.lanes; }

  void run_tile(const ConvViews& v, const void* packed, std::int64_t n, std::int64_t block, std::int64_t tile) const {
    T* const input = static_cast<T*>(thread_arena(Arena::workspace, static_cast<std::size_t>(workspace_bytes())));
    T *const scratch = input + tiles_.input_size(), *const outputs = scratch + tiles_.scratch_size(),
             *const loaded = outputs + outputs_size();
    const std::int64_t column = tile % tiles_.tiles_w();
    const Tile at{tiles_.row(tile / tiles_.tiles_w()), tiles_.row(tile / tiles_.tiles_w() + 1), tiles_.column(column),
                  tiles_.column(column + 1), column};
    // Of rows that are computed together one may need what is padding for the other.
    const std::int64_t padding =
        packed && skips_all(packed, block) ? (set_.channel_row_lines - 1) * tiles_.h.step : tiles_.all_padding;
    tiles_.transpose_input(v, n, block, at.y0, at.y1, column, padding, scratch, input);
    const std::int64_t x0 = tiles_.w.output(at.x0), width = tiles_.w.output(at.x1) - x0, end = tiles_.h.output(at.y1);
    for (std::int64_t k = 0; k < map_.out_channels; ++k) {
      const std::int64_t kernel = block * map_.out_channels + k;
      const bool skip = packed ? static_cast<const bool*>(packed)[kernel] : load_weights(v, block, k, loaded);
      const T* const weights = packed ? packed_kernel(packed, kernel) : loaded;
      for (std::int64_t y = tiles_.h.output(at.y0); y < end; y += kept_rows_) {
        const std::int64_t rows = std::min(kept_rows_, end - y);
        for (std::size_t column_map = 0; column_map < tiles_.w.maps.size(); ++column_map)
          compute_rows(at, y, rows, column_map, input, weights, skip, outputs);
        write(v, n, block, k, y, rows, x0, width, outputs);
      }
    }
  }

  // The outputs of a column map in some rows of the tile.
  void compute_rows(const Tile& at, std::int64_t y, std::int64_t rows, std::size_t column_map, const T* input,
                    const T* weights, bool skip, T* out) const {
    const std::int64_t lanes = set_.lanes, period = tiles_.w.period();
    const MapAxis& w = tiles_.w.maps[column_map];
    const Runs& runs =
        runs_[column_map * static_cast<std::size_t>(tiles_.tiles_w()) + static_cast<std::size_t>(at.column)];
    // Where taps go backwards, pixels do too: adjacent taps are then as far apart as the pixels.
    const bool backwards = w.difference < 0;
    ChannelRowArgs<T> a{};
    a.bias = weights + map_.kernel_elements * lanes;
    a.input_column = (backwards ? -w.step : w.step) * lanes;
    a.out_column = (backwards ? -period : period) * lanes;
    a.tap_column = w.difference * lanes;
    a.weight_row = w.count * lanes;
    const std::int64_t row_size = (tiles_.w.output(at.x1) - tiles_.w.output(at.x0)) * lanes;
    a.out_row = tiles_.h.period() * row_size;
    for (std::int64_t row_map = 0; row_map < tiles_.h.period(); ++row_map) {
      const MapAxis& h = tiles_.h.maps[static_cast<std::size_t>(row_map)];
      const T* const kernel = weights + kernel_offset(static_cast<std::size_t>(row_map), column_map);
      a.input_row = h.step * tiles_.pitch() * lanes;
      a.tap_row = h.difference * tiles_.pitch() * lanes;
      // Rows of this map, in periods. Those that are computed together leave out the same taps.
      const std::int64_t begin = rows_before(y, row_map), end = rows_before(y + rows, row_map);
      const std::int64_t together = skip ? set_.channel_row_lines : std::max<std::int64_t>(1, end - begin);
      for (std::int64_t row = begin; row < end; row += together) {
        a.height = std::min(together, end - row);
        std::int64_t i0 = 0, i1 = h.count;
        if (skip) h.used_taps(row, row + a.height, i0, i1);
        a.kernel_h = i1 - i0;
        for (const Run& run : skip ? runs.skipping : runs.whole) {
          const std::int64_t first = backwards ? run.end - 1 : run.begin;
          a.kernel_w = run.taps();
          a.width = run.width();
          a.inside_begin = run.inside_begin, a.inside_end = run.inside_end;
          a.weights = kernel + i0 * a.weight_row + run.tap_begin * lanes;
          a.input =
              input + tiles_.tap_offset((row - at.y0) * h.step + h.tap(i0), first * w.step + w.tap(run.tap_begin));
          a.out = out + (row * tiles_.h.period() + row_map - y) * row_size +
                  (first * period + static_cast<std::int64_t>(column_map)) * lanes;
          kernels_[column_map]->run(a);
        }
      }
    }
  }

  // How many of the outputs before y belong to this map.
  std::int64_t rows_before(std::int64_t y, std::int64_t row_map) const {
    return (y - row_map + tiles_.h.period() - 1) / tiles_.h.period();
  }

  // Where load_weights puts the kernel of a map.
  std::int64_t kernel_offset(std::size_t row_map, std::size_t column_map) const {
    return kernel_offset_[row_map * tiles_.w.maps.size() + column_map];
  }

  // The kernels of the row maps, of each those of the column maps, and the biases. Returns whether taps in zero padding
  // are to be left out: it is worth it, and all weights are finite.
  bool load_weights(const ConvViews& v, std::int64_t block, std::int64_t k, T* weights) const {
    const std::int64_t lanes = set_.lanes, first = block * lanes * map_.out_channels + k;
    const T* const kernels = reinterpret_cast<const T*>(v.weight) + first * map_.kernel_elements;
    T* to = weights;
    const auto pack = [&](std::int64_t from, std::int64_t difference, std::int64_t count) {
      set_.pack({kernels + from, map_.out_channels * map_.kernel_elements, difference, tiles_.planes(block), lanes,
                 count, to, lanes});
      to += count * lanes;
    };
    if (tiles_.h.maps.front().count * tiles_.w.maps.front().count == map_.kernel_elements)
      pack(0, 1, map_.kernel_elements);
    else
      for (const MapAxis& h : tiles_.h.maps)
        for (const MapAxis& w : tiles_.w.maps)
          for (std::int64_t i = 0; i < h.count; ++i)
            pack(h.kernel(i) * map_.kernel_w + w.kernel_first, w.kernel_difference, w.count);
    const T* const bias = reinterpret_cast<const T*>(v.bias);
    for (std::int64_t lane = 0; lane < lanes; ++lane)
      weights[map_.kernel_elements * lanes + lane] =
          bias && lane < tiles_.planes(block) ? bias[first + lane * map_.out_channels] : T(0);
    return skips_ && set_.finite(reinterpret_cast<const char*>(weights), to - weights);
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
    T* const scratch = outputs + kept_rows_ * tiles_.tile_w() * lanes;
    const bool joined = rows == 1 || row == width * step;
    const std::int64_t lines = joined ? 1 : rows, pixels = joined ? rows * width : width;
    for (std::int64_t r = 0; r < lines; ++r)
      write_pixels<T>(set_, outputs + r * width * lanes, pixels, planes, out + r * row, plane, step, scratch);
  }

  ShiftMap map_;
  const KernelSet<T>& set_;
  std::string isa_;
  bool frozen_, gradient_;
  ChannelTiles<T> tiles_;
  std::vector<const ChannelRowKernel<T>*> kernels_;  // of each column map
  std::vector<Runs> runs_;                           // of each column map, in each tile column
  std::vector<std::int64_t> kernel_offset_;
  double used_;  // share of the taps that are not in zero padding
  bool skips_;   // those that are may be left out
  std::int64_t kept_rows_ = 1;
  int threads_;
};

template <class T>
std::unique_ptr<Plan> make_maps_plan(const InterleavedMap& maps, const PlanRequest& request) {
  return std::make_unique<DepthwiseChannelsPlan<T>>(maps, request);
}

template <class T>
std::unique_ptr<Plan> prepare(const PlanRequest& request) {
  switch (request.problem.pass) {
    case Pass::forward: {
      Layout image = request.layout;
      image.input_planes = false;  // it is not made one row
      return make_maps_plan<T>(InterleavedMap(forward_map(request.problem, image)), request);
    }
    case Pass::input_gradient: return make_input_gradient_plan<T>(request, {nullptr, false, make_maps_plan<T>});
    case Pass::weight_gradient: return make_depthwise_channels_weight_plan<T>(request);
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
