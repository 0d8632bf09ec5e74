// shift_gemm: the entry in the table, and what a plan prepares: tables of taps, runs and pieces, and packed weights.
#include "shift_gemm.h"

#include <algorithm>

#include "../cpu.h"
#include "../parallel.h"
#include "algorithms.h"

namespace tileconv {

template <class T>
ShiftGemmPlan<T>::ShiftGemmPlan(const ShiftMap& map, const PlanRequest& request)
    : map_(map),
      set_(kernel_set<T>(*request.kernels)),
      block_(choose_blocking<T>(map_, request)),
      weights_(map_, request, block_.vectors),
      element_(static_cast<std::ptrdiff_t>(sizeof(T))),
      staged_h_(make_staged_axis(map_.h, block_.tile_h)),
      staged_w_(make_staged_axis(map_.w, block_.tile_w)),
      tiles_h_(ceil_div(map_.h.out_size, block_.tile_h)),
      tiles_w_(ceil_div(map_.w.out_size, block_.tile_w)),
      chunks_(ceil_div(map_.in_channels, block_.chunk)),
      out_rows_(request.layout.out_rows && blocks() == 1),
      fetches_out_(map_.batch * map_.groups * map_.out_channels * map_.h.out_size * map_.w.out_size * element_ >
                   2 * core_traits().l2),
      fetches_pixels_(map_.taps() == 1 && !block_.copies() &&
                      map_.batch * map_.groups * map_.in_channels * map_.h.map.size * map_.w.map.size * element_ >
                          core_traits().l2 / 2) {
  if (block_.row_vectors) row_padding_ = ceil_div(staged_w_.length, set_.lanes) * set_.lanes - staged_w_.length;
  staged_w_.length += row_padding_;
  // A vector's room behind each channel: rows are staged and pixel lanes read in whole vectors. The stride keeps off
  // multiples of the page size, where every channel would compete for the same cache set. With pixel lanes it is an odd
  // number of vectors: a single tap's are aligned, and the same pixels of all channels find different sets.
  channel_stride_ = staged_h_.length * staged_w_.length + set_.lanes * (block_.vectors + 1);
  if (!block_.channel_lanes)
    channel_stride_ = (ceil_div(channel_stride_, set_.lanes) | 1) * set_.lanes;
  else if (channel_stride_ * element_ % l1_way < 256)
    channel_stride_ += 256 / element_;
  make_panels();
  make_columns();
  if (block_.packs_pixels) place_pixels();
  make_taps();
  make_splits(request.threads);
}

template <class T>
PlanReport ShiftGemmPlan<T>::report() const {
  const std::string kernel = (block_.channel_lanes ? "channel_lanes " : "pixel_lanes ") + std::to_string(block_.rows) +
                             "x" + std::to_string(block_.vectors) +
                             (block_.row_vectors ? ", rows of whole vectors run on"
                              : block_.flat      ? ", rows run on"
                                                 : "") +
                             (block_.packs_pixels ? ", pixels packed"
                              : block_.in_place   ? ", input in place"
                                                  : "") +
                             (map_.collapsed ? ", image as one row" : "") +
                             (block_.half_end ? ", half vectors at the end" : "") +
                             (map_.patch_elements() > 1 ? ", kernel elements as channels" : "");
  return {kernel,
          threads_,
          {{"tile_h", block_.tile_h},
           {"tile_w", block_.tile_w},
           {"channels_per_chunk", block_.chunk},
           {"tasks_per_image", map_.groups * tiles_h_ * tiles_w_ * splits_}}};
}

// Even panels, as wide as the register tile at the most.
template <class T>
void ShiftGemmPlan<T>::make_panels() {
  const std::int64_t total = block_.channel_lanes ? ceil_div(map_.out_channels, set_.lanes) : map_.out_channels;
  const std::int64_t count = ceil_div(total, block_.channel_lanes ? block_.vectors : block_.rows);
  for (std::int64_t p = 0; p <= count; ++p) panel_begin_.push_back(split_at(total, count, p));
}

// Between these columns of a tile its runs are cut evenly: at its ends, and where a tap enters or leaves the padding if
// that takes fewer cycles: a run is computed with every tap that one of its pixels uses.
template <class T>
std::vector<std::int64_t> ShiftGemmPlan<T>::cut_runs(std::int64_t x0, std::int64_t x1) const {
  std::vector<std::int64_t> edges{x0, x1};
  for (std::int64_t j = 0; j < map_.w.count; ++j) {
    std::int64_t begin = 0, end = 0;
    map_.w.used_outputs(j, begin, end);
    for (const std::int64_t x : {begin, end})
      if (x > x0 && x < x1) edges.push_back(x);
  }
  std::sort(edges.begin(), edges.end());
  // Cycles of the runs between two edges, for a channel and a row of the kernel.
  const auto cycles = [&](std::int64_t begin, std::int64_t end) {
    const std::int64_t count = ceil_div(end - begin, block_.rows);
    double sum = 0;
    for (std::int64_t r = 0; r < count; ++r) {
      const std::int64_t from = begin + split_at(end - begin, count, r),
                         to = begin + split_at(end - begin, count, r + 1);
      const auto used = used_columns(from, to);
      const auto pixels = static_cast<double>(to - from), vectors = static_cast<double>(block_.vectors);
      sum += static_cast<double>(used.second - used.first) *
                 (tile_cycles(pixels * vectors, pixels + 1, vectors, vector_passes(set_)) + 0.5) +
             60 / static_cast<double>(block_.chunk * map_.h.count);
    }
    return sum;
  };
  // The least cycles up to each edge, and the edge before it on the way there.
  std::vector<double> least(edges.size(), 0);
  std::vector<std::size_t> before(edges.size(), 0);
  for (std::size_t i = 1; i < edges.size(); ++i)
    for (std::size_t j = i; j-- > 0;) {
      const double sum = least[j] + cycles(edges[j], edges[i]);
      if (j + 1 == i || sum < least[i]) least[i] = sum, before[i] = j;
    }
  std::vector<std::int64_t> cuts;
  for (std::size_t i = edges.size() - 1; i > 0; i = before[i]) cuts.push_back(edges[i]);
  cuts.push_back(x0);
  std::reverse(cuts.begin(), cuts.end());
  return cuts;
}

template <class T>
void ShiftGemmPlan<T>::make_columns() {
  column_ranges_.emplace_back(0, map_.w.count);
  for (const std::int64_t y : {std::int64_t{0}, map_.h.out_size - 1}) {
    std::int64_t begin = 0, end = 0;
    map_.h.used_taps(y, y + 1, begin, end);
    skips_ = skips_ || end - begin < map_.h.count;
  }
  for (std::int64_t t = 0; t < tiles_w_; ++t) {
    const std::int64_t x0 = tile_column(t), x1 = tile_column(t + 1);
    if (!block_.in_place) {
      pieces_.push_back(make_pieces(map_.w, staged_w_, block_.tile_w, x0, x1));
      if (row_padding_ > 0) pieces_.back().back().length += row_padding_;
    }
    if (!block_.channel_lanes) continue;
    std::vector<Run> runs;
    const std::vector<std::int64_t> cuts = cut_runs(x0, x1);
    for (std::size_t cut = 0; cut + 1 < cuts.size(); ++cut) {
      const std::int64_t begin = cuts[cut], width = cuts[cut + 1] - begin, count = ceil_div(width, block_.rows);
      for (std::int64_t r = 0; r < count; ++r) {
        const std::int64_t from = begin + split_at(width, count, r), to = begin + split_at(width, count, r + 1);
        const auto range = used_columns(from, to);
        std::size_t table = 0;
        while (table < column_ranges_.size() && column_ranges_[table] != range) ++table;
        if (table == column_ranges_.size()) column_ranges_.push_back(range);
        runs.push_back({from, to - from, static_cast<std::int64_t>(table), range.second - range.first, from - x0});
      }
    }
    runs_.push_back(std::move(runs));
  }
  skips_ = skips_ || column_ranges_.size() > 1;
}

// Packed, one run behind the other, or blocks.
template <class T>
void ShiftGemmPlan<T>::place_pixels() {
  if (!block_.channel_lanes) {
    block_size_ = packed_run_size(block_.chunk, block_.vectors * set_.lanes, set_.lanes);
    pixel_row_ = block_.line_tiles(block_.tile_w, set_).count() * block_size_;
    return;
  }
  std::int64_t most_runs = 0;
  for (const auto& runs : runs_) {
    most_runs = std::max(most_runs, static_cast<std::int64_t>(runs.size()));
    for (const Run& run : runs) run_width_ = std::max(run_width_, run.pixels);
  }
  const std::int64_t run_size = packed_run_size(block_.chunk, run_width_, set_.lanes);
  pixel_row_ = most_runs * run_size;
  for (auto& runs : runs_)
    for (std::size_t i = 0; i < runs.size(); ++i) runs[i].input = static_cast<std::int64_t>(i) * run_size;
}

// How many rows of a single tap that run on end with a whole vector; 1 if the tiles are not cut so.
template <class T>
std::int64_t ShiftGemmPlan<T>::whole_rows() const {
  if (!block_.flat || map_.taps() != 1) return 1;
  for (std::int64_t rows = 1; rows <= block_.tile_h; ++rows)
    if (rows * staged_w_.length % set_.lanes == 0) return rows;
  return 1;
}

// As many tasks for every thread, or so many that the last ones do not matter. Lower tiles where the weights, which
// every tile passes, stay in L2; else parts of the out channels, each of which stages the tile again: no more than
// needed, unless nothing is staged.
template <class T>
void ShiftGemmPlan<T>::make_splits(int threads) {
  threads_ = threads_for(block_.cycles * static_cast<double>(map_.batch), threads);
  if (threads_ == 1) return;
  constexpr std::int64_t tasks_a_thread = 8;
  const std::int64_t wanted = tasks_a_thread * threads_, columns = map_.batch * map_.groups * tiles_w_;
  const bool light = group_weights() * element_ <= core_traits().l2 / 2;
  const std::int64_t whole = whole_rows();
  if (light) {
    const std::int64_t halo = std::max<std::int64_t>(1, (map_.h.count - 1) / map_.h.step);
    const std::int64_t least = std::max(2 * halo, whole), fewest = tiles_h_;
    tiles_h_ = std::clamp(ceil_div(wanted, columns), fewest, std::max(fewest, map_.h.out_size / least));
    while (whole > 1 && tiles_h_ > fewest && map_.h.out_size % (tiles_h_ * whole) != 0) --tiles_h_;
  }
  if (columns % threads_ != 0 && whole == 1 && (light || tiles_h_ > 1))
    tiles_h_ = std::min(map_.h.out_size, ceil_div(tiles_h_, threads_) * threads_);
  const std::int64_t tasks = columns * tiles_h_;
  const auto balanced = [&](std::int64_t splits) {
    return tasks * splits >= wanted || (block_.copies() && tasks * splits % threads_ == 0);
  };
  while (splits_ < panels() && !balanced(splits_)) ++splits_;
}

// Offset of a tap in what a tile reads, in place or staged.
template <class T>
std::ptrdiff_t ShiftGemmPlan<T>::tap_input(std::int64_t i, std::int64_t j) const {
  if (block_.in_place) return map_.h.tap(i) * map_.w.map.size + map_.w.tap(j);
  return staged_h_.tap_position[static_cast<std::size_t>(i)] * staged_w_.length +
         staged_w_.tap_position[static_cast<std::size_t>(j)];
}

// Offsets of the taps from a tile's first output, one table for each range of kernel columns. Weight offsets are in a
// packed panel for channel lanes, in the caller's contiguous array for pixel lanes.
template <class T>
void ShiftGemmPlan<T>::make_taps() {
  for (const auto& [begin, end] : column_ranges_) {
    table_begin_.push_back(static_cast<std::int64_t>(taps_.size()));
    for (std::int64_t i = 0; i < map_.h.count; ++i)
      for (std::int64_t j = begin; j < end; ++j) {
        const std::int64_t index = map_.kernel_index(i, j);
        const std::int64_t order = i * map_.w.count + j;
        taps_.push_back({block_.packs_pixels ? 0 : tap_input(i, j), block_.channel_lanes ? index * panel_columns()
                                                                    : gathers()          ? order * block_.rows
                                                                                         : index});
      }
  }
  const auto* table = block_.channel_lanes ? set_.channel_lanes : set_.pixel_lanes;
  const int count = block_.channel_lanes ? set_.channel_lanes_count : set_.pixel_lanes_count;
  kernels_.push_back(nullptr);
  for (int vectors = 1; vectors <= block_.vectors; ++vectors)
    kernels_.push_back(&find_kernel(table, count, 1, vectors));
  for (int halves = 1; block_.half_end && halves <= most_pixel_halves; halves += 2)
    half_kernels_[halves] = &find_kernel(set_.pixel_halves, set_.pixel_halves_count, 1, halves);
}

template class ShiftGemmPlan<float>;
template class ShiftGemmPlan<double>;

namespace {

template <class T>
ShiftMap best_forward_map(const PlanRequest& request) {
  const ShiftMap map = forward_map(request.problem, request.layout);
  if (!has_patches(request.problem)) return map;
  const ShiftMap patches = patch_map(request.problem);
  const auto cycles = [&](const ShiftMap& m) { return choose_blocking<T>(m, request).cycles; };
  return cycles(patches) < cycles(map) ? patches : map;
}

template <class T>
std::unique_ptr<Plan> prepare(const PlanRequest& request) {
  switch (request.problem.pass) {
    case Pass::forward: return std::make_unique<ShiftGemmPlan<T>>(best_forward_map<T>(request), request);
    case Pass::input_gradient: return make_input_gradient_plan<T>(request, {make_shift_gemm_plan<T>});
    case Pass::weight_gradient: return make_weight_gradient_plan<T>(request);
  }
  return nullptr;
}

}  // namespace

const Algorithm shift_gemm_algorithm = {
    "shift_gemm",
    "exact on small integers; one running sum, error below 1e-5 (float32) and 1e-13 (float64)",
    [](const PlanRequest&) -> const char* { return nullptr; },
    [](const PlanRequest&) { return 0.0; },
    [](const PlanRequest& r) { return r.problem.dtype == DType::float32 ? prepare<float>(r) : prepare<double>(r); },
};

}  // namespace tileconv
