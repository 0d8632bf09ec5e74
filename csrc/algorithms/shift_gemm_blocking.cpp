// The blocking of shift_gemm: a written cost model of cycles, by the limits of the register tile (multiply-adds, loads,
// latency) and of the caches (what a sweep keeps in L1 and L2). Pure functions of the map, the kernels and the caches.
#include <algorithm>
#include <cstdlib>

#include "../cpu.h"
#include "shift_gemm.h"

namespace tileconv {
namespace {

// Two FMA units and two load ports of full width; an FMA's result is ready after four cycles.
constexpr double fma_per_cycle = 2, loads_per_cycle = 2, fma_latency = 4;

double tile_cycles(double fmas, double loads) {
  return std::max({fmas / fma_per_cycle, loads / loads_per_cycle, fma_latency});
}

// The sum of f(size) over the even parts of `total`, none larger than `limit`.
template <class F>
double sum_parts(std::int64_t total, std::int64_t limit, F f) {
  const std::int64_t parts = ceil_div(total, limit), small = total / parts, larger = total % parts;
  return static_cast<double>(larger) * (larger ? f(small + 1) : 0.0) + static_cast<double>(parts - larger) * f(small);
}

template <class T>
class Model {
 public:
  Model(const ShiftMap& map, const PlanRequest& request)
      : map_(map),
        set_(kernel_set<T>(*request.kernels)),
        frozen_(request.frozen),
        steps_(static_cast<double>(map.steps())),
        row_width_(make_staged_axis(map.w, map.w.out_size).length) {
    in_place_ = request.layout.input_planes && map.w.step == 1 && map.h.inside() && map.w.inside();
  }

  Blocking best() const {
    Blocking best;
    const auto consider = [&](const Blocking& b) {
      if (best.cycles == 0 || b.cycles < best.cycles) best = b;
    };
    for (int i = 0; i < set_.channel_lanes_count; ++i)
      if (largest_of_its_width(set_.channel_lanes, set_.channel_lanes_count, i)) consider(channel_lanes(set_.channel_lanes[i]));
    for (int i = 0; i < set_.pixel_lanes_count; ++i)
      if (set_.pixel_lanes[i].rows <= map_.out_channels)
        for (const bool flat : {false, true}) consider(pixel_lanes(set_.pixel_lanes[i], flat));
    cut(best);
    return best;
  }

 private:
  static bool largest_of_its_width(const GemmKernel<T>* table, int count, int i) {
    return i + 1 == count || table[i + 1].vectors != table[i].vectors;
  }

  double lanes() const { return set_.lanes; }
  double stage_cycles(bool in_place) const {
    const double staged = static_cast<double>(map_.in_channels * row_width_) *
                          static_cast<double>(make_staged_axis(map_.h, map_.h.out_size).length);
    return in_place ? 0.0 : 2.0 * staged / lanes();
  }

  Blocking channel_lanes(const GemmKernel<T>& kernel) const {
    Blocking b;
    b.channel_lanes = true;
    b.in_place = in_place_;
    const std::int64_t groups_of_lanes = ceil_div(map_.out_channels, set_.lanes);
    b.rows = kernel.rows;
    b.vectors = static_cast<int>(ceil_div(groups_of_lanes, ceil_div(groups_of_lanes, kernel.vectors)));
    const double row = sum_parts(map_.w.out_size, kernel.rows, [&](std::int64_t pixels) {
      return sum_parts(groups_of_lanes, kernel.vectors, [&](std::int64_t vectors) {
        const auto p = static_cast<double>(pixels), v = static_cast<double>(vectors);
        const double blocks = v * static_cast<double>(ceil_div(pixels, set_.lanes));
        return steps_ * tile_cycles(p * v, p + v + 1) + 20 + 5 * lanes() * blocks;
      });
    });
    b.cycles = row * static_cast<double>(map_.h.out_size) + stage_cycles(b.in_place);
    // Packing reads and writes every weight, mostly beyond L2.
    if (!frozen_) b.cycles += static_cast<double>(map_.out_channels) * steps_ * sizeof(T) / 8;
    b.cycles *= static_cast<double>(map_.groups);
    return b;
  }

  Blocking pixel_lanes(const GemmKernel<T>& kernel, bool flat) const {
    Blocking b;
    b.flat = flat;
    b.in_place = in_place_ && !flat && map_.w.out_size % set_.lanes == 0;
    b.rows = kernel.rows;
    b.vectors = kernel.vectors;
    const std::int64_t pixels = flat ? (map_.h.out_size - 1) * row_width_ + map_.w.out_size : map_.w.out_size;
    const bool spills = flat || map_.w.out_size % set_.lanes != 0;
    const double row = sum_parts(ceil_div(pixels, set_.lanes), kernel.vectors, [&](std::int64_t vectors) {
      return sum_parts(map_.out_channels, kernel.rows, [&](std::int64_t channels) {
        const auto m = static_cast<double>(channels), v = static_cast<double>(vectors);
        // Unaligned loads touch two cache lines.
        return steps_ * tile_cycles(m * v, m + 2 * v + 1) + 20 + (spills ? 4 : 1.5) * m * v;
      });
    });
    const double rows = flat ? 1.0 : static_cast<double>(map_.h.out_size);
    b.cycles = (row * rows + stage_cycles(b.in_place)) * static_cast<double>(map_.groups);
    return b;
  }

  std::int64_t staged_bytes(const Blocking& b) const {
    return b.in_place ? 0 : make_staged_axis(map_.h, b.tile_h).length * make_staged_axis(map_.w, b.tile_w).length *
                                b.chunk * static_cast<std::int64_t>(sizeof(T));
  }

  // Tiles and chunks: a chunk's panel of weights stays in L2 beside the staged tile (channel lanes), or a block's pixels
  // stay in L1 while all weights pass (pixel lanes).
  void cut(Blocking& b) const {
    const CacheSizes& cache = cache_sizes();
    const auto element = static_cast<std::int64_t>(sizeof(T));
    const std::int64_t tile_bytes = b.vectors * set_.lanes * element;
    std::int64_t chunk = map_.in_channels;
    if (b.channel_lanes) {
      chunk = cache.l2 / 4 / (tile_bytes * map_.taps());
    } else if (map_.out_channels > 2 * b.rows) {
      chunk = cache.l1d * 3 / 4 / tile_bytes;
    }
    chunk = std::clamp<std::int64_t>(chunk, 1, map_.in_channels);
    b.chunk = ceil_div(map_.in_channels, ceil_div(map_.in_channels, chunk));

    const std::int64_t budget = cache.l2 * 3 / 8;
    b.tile_h = 1;
    b.tile_w = map_.w.out_size;
    const std::int64_t least_width = 4 * (b.channel_lanes ? b.rows : b.vectors * set_.lanes);
    const auto bytes = [&] {
      const std::int64_t partial = b.chunk < map_.in_channels ? map_.out_channels * b.tile_h * b.tile_w * element : 0;
      const std::int64_t read = b.in_place ? b.chunk * b.tile_h * b.tile_w * element : staged_bytes(b);
      return std::max(partial, read);
    };
    while (bytes() > budget && b.tile_w > least_width) b.tile_w = std::max(least_width, ceil_div(b.tile_w, 2));
    if (!b.channel_lanes && b.tile_w < map_.w.out_size) b.tile_w = ceil_div(b.tile_w, set_.lanes) * set_.lanes;
    while (bytes() > budget && b.chunk > 1) b.chunk = ceil_div(b.chunk, 2);
    while (b.tile_h < map_.h.out_size) {
      ++b.tile_h;
      if (bytes() > budget) {
        --b.tile_h;
        break;
      }
    }
    b.tile_h = ceil_div(map_.h.out_size, ceil_div(map_.h.out_size, b.tile_h));
    if (getenv("TH")) b.tile_h = atoi(getenv("TH"));
    if (getenv("CK")) b.chunk = atoi(getenv("CK"));
    b.panels_outer = b.chunk * map_.taps() * tile_bytes <= cache.l1d / 2 ||
                     map_.out_channels * b.chunk * map_.taps() * element > cache.l2 / 2;
    if (getenv("PO")) b.panels_outer = atoi(getenv("PO"));
    if (getenv("INPL") && b.in_place) b.in_place = atoi(getenv("INPL"));
  }

  const ShiftMap& map_;
  const KernelSet<T>& set_;
  bool frozen_, in_place_;
  double steps_;
  std::int64_t row_width_;
};

}  // namespace

template <class T>
Blocking choose_blocking(const ShiftMap& map, const PlanRequest& request) {
  return Model<T>(map, request).best();
}
template Blocking choose_blocking<float>(const ShiftMap&, const PlanRequest&);
template Blocking choose_blocking<double>(const ShiftMap&, const PlanRequest&);

}  // namespace tileconv
