// depthwise: every out channel is computed from one input plane. Source rows are read as they are, through a table of
// row pointers in which the AxisMap has resolved the padding of rows; zero padding of columns is a matter of masked
// loads at the edges. Only other modes and strides along a row have their columns staged. Rows whose elements are not
// adjacent, as with the channels innermost, are copied first, and rows of outputs last: of some planes together, so
// that channels are transposed.
#include <algorithm>
#include <limits>
#include <numeric>

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

// Rows of output and kernel on a common grid. Outputs y, y + period, .. read rows of input that lie `unit` apart, so
// that tap i of output t among them reads row t * stride + i of that grid, whatever stride and dilation are. Rows
// between the kernels of two outputs are left out of it: before every row t * stride but the first there is a gap.
struct RowGrid {
  explicit RowGrid(const AxisTaps& axis)
      : unit(axis.count > 1 ? axis.difference : axis.step), period(unit / std::gcd(unit, axis.step)) {
    if (period >= axis.out_size) return;
    const std::int64_t apart = axis.step * period / unit;
    stride = std::min(apart, std::max<std::int64_t>(1, axis.count));
    gap = (apart - stride) * unit;
  }
  // Of row q, from the first of them on.
  std::int64_t coordinate(std::int64_t q) const { return q * unit + (gap == 0 ? 0 : q / stride * gap); }

  std::int64_t unit, period, stride = 1, gap = 0;
};

template <class T>
class DepthwisePlan final : public Plan {
 public:
  DepthwisePlan(const ShiftMap& map, const PlanRequest& request)
      : map_(map),
        set_(kernel_set<T>(*request.kernels)),
        taps_h_(ascending(map.h)),
        taps_w_(ascending(map.w)),
        grid_(taps_h_),
        zeros_mode_(map.w.map.mode == PaddingMode::zeros),
        own_(own_kernel(map.batch)),
        image_rows_(zeros_mode_ && !map.collapsed && own_ && !rows_collide()),
        in_place_(image_rows_ && request.layout.input_rows),
        out_rows_(request.layout.out_rows),
        kernel_(image_rows_ ? *own_ : staged_kernel(map.batch)),
        cycles_(estimate()),
        threads_(threads_for(cycles_ * static_cast<double>(map_.batch), request.threads)),
        planes_(planes_of_a_task()),
        plane_blocks_(ceil_div(map_.groups, planes_)),
        tile_h_(tile_height()),
        tiles_(ceil_div(map_.h.out_size, tile_h_)) {
    if (image_rows_) {
      pieces_.push_back({0, map_.w.map.size, 0, map_.w.map.size, 0, 1});
    } else {
      staged_w_ = make_staged_axis(map_.w, map_.w.out_size);
      pieces_ = make_pieces(map_.w, staged_w_, map_.w.out_size, 0, map_.w.out_size);
    }
    for (std::int64_t j = 0; j < map_.w.count; ++j)
      columns_.push_back(image_rows_ ? taps_w_.tap(j)
                                     : staged_w_.tap_position[static_cast<std::size_t>(original(map_.w, j))]);
    find_lanes();
  }

  double cycles() const noexcept override { return cycles_; }
  std::int64_t workspace_bytes() const noexcept override {
    return (zero_size() + staged_size() + spill_size() + weights_size()) * element + table_bytes();
  }
  PlanReport report() const override {
    const std::string height = kernel_.kernel_h > 0 ? std::to_string(kernel_.kernel_h) : "any number of";
    const std::string pass = kernel_.rolls() ? "row by row" : std::to_string(kernel_.rows) + " rows at once";
    return {(kernel_.paired() ? "pairs of planes, " : "planes, ") + height + " kernel rows, " + pass +
                (in_place_     ? ", input in place"
                 : image_rows_ ? ", input copied"
                               : ""),
            threads_,
            {{"tile_h", tile_h_}, {"planes", planes_}}};
  }

  void run(const ConvViews& v, const void*) const override {
    parallel_for(map_.batch * plane_blocks_ * tiles_, threads_, [&](std::int64_t task) {
      const std::int64_t tile = task % tiles_, block = task / tiles_ % plane_blocks_;
      run_tile(v, task / tiles_ / plane_blocks_, split_at(map_.groups, plane_blocks_, block),
               split_at(map_.groups, plane_blocks_, block + 1), split_at(map_.h.out_size, tiles_, tile),
               split_at(map_.h.out_size, tiles_, tile + 1));
    });
  }

 private:
  static constexpr auto element = static_cast<std::int64_t>(sizeof(T));
  static constexpr std::int64_t transposed_together = 16;  // channels: one cache line of floats, two of doubles
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

  // Whether the rows that a pass reads would fall into the same set of L1, which has fewer lines: those a multiple of
  // its ways apart. Then every load of a column comes from L2, and from 25 taps on it is faster to copy the rows: an
  // 11 x 11 kernel over 1024 columns by 1.4, on a core with 8 lines a set.
  bool rows_collide() const {
    constexpr std::int64_t least_taps = 25;
    if (!own_ || grid_.stride != 1 || map_.w.step != 1) return false;
    const std::int64_t kernel_rows = own_->kernel_h > 0 ? map_.h.count : std::min<std::int64_t>(map_.h.count, 5);
    return map_.w.map.size * element % l1_way == 0 && map_.taps() >= least_taps &&
           own_->rows + kernel_rows - 1 > core_traits().l1d / l1_way;
  }
  // Whether what the next pass reads in place is to be fetched: rows are so long that the hardware's prefetcher forgets
  // one over the others, and so short that those of two passes stay in L1.
  bool fetches() const {
    const std::int64_t row = map_.w.map.size * element;
    return zeros_mode_ && row >= 256 && row <= core_traits().l1d / 32;
  }
  // Rows that its passes compute of the outputs in one grid of rows.
  std::int64_t computed_rows(const PlaneKernel<T>& kernel) const {
    return ceil_div(ceil_div(map_.h.out_size, grid_.period), kernel.rows) * kernel.rows + kernel.further_rows;
  }
  // Whether a kernel may go down the rows block by block. A row of two blocks is read from end to end. The parts of a
  // wider one are too short for the hardware's prefetcher, and what comes from memory would take up to twice as long.
  // (A gradient that goes group by group is judged by one plane, which all of its residues read.)
  bool may_roll(std::int64_t images) const {
    constexpr std::int64_t two_blocks = 512;
    const auto in = static_cast<double>(map_.h.map.size) * static_cast<double>(map_.w.map.size);
    const auto out = static_cast<double>(map_.out_channels * map_.h.out_size) * static_cast<double>(map_.w.out_size);
    return map_.w.out_size * element <= two_blocks ||
           static_cast<double>(images) * static_cast<double>(map_.groups * element) * (in + out) <=
               static_cast<double>(l3_part());
  }
  // For rows of the image, and for rows with a column for each output; of a call with so many images.
  const PlaneKernel<T>* own_kernel(std::int64_t images) const {
    return find_kernel(map_.w.step, map_.w.map.size, images);
  }
  const PlaneKernel<T>& staged_kernel(std::int64_t images) const {
    return *find_kernel(1, map_.w.staged_length(map_.w.out_size), images);
  }
  const PlaneKernel<T>* find_kernel(std::int64_t stride_w, std::int64_t in_width, std::int64_t images) const {
    const std::int64_t rows = computed_rows(set_.plane[set_.plane_count - 1]);  // by the lowest passes
    for (int i = 0; i < set_.plane_count; ++i) {
      const PlaneKernel<T>& k = set_.plane[i];
      const std::int64_t most_rows = k.rolls() ? rows * 11 / 10 : rows;  // those of passes take a tenth longer
      if ((k.kernel_h == 0 || k.kernel_h == map_.h.count) && (k.stride_h == 0 || k.stride_h == grid_.stride) &&
          (k.kernel_w == 0 || (k.kernel_w == map_.w.count && taps_w_.difference == 1 && map_.w.step == stride_w)) &&
          k.stride_w == stride_w && (!k.fetches || fetches()) && computed_rows(k) <= most_rows &&
          map_.w.out_size >= k.least_width && (!k.rolls() || may_roll(images)) &&
          (!k.paired() || (map_.w.out_size <= k.most_width && in_width <= k.most_width * stride_w &&
                           map_.groups * map_.out_channels > 1)))
        return &k;
    }
    return nullptr;
  }
  // Rows of outputs that a tile has a multiple of: a pass, or so many that what is computed beyond them is a tenth.
  std::int64_t pass_rows() const { return kernel_.rolls() ? 10 * kernel_.further_rows : kernel_.rows; }
  // In place, calls of a kernel prepare what their planes share; there are still enough calls for the threads, and
  // weights that are copied for them stay in L1. Else channels are transposed, some of a vector's at least, as far as
  // L2 has room for what a pass reads; images so wide that this takes more than a few MB are copied one by one.
  std::int64_t planes_of_a_task() const {
    constexpr std::int64_t most_bytes = std::int64_t{4} << 20;
    if (!image_rows_ || map_.out_channels > 1) return 1;
    if (in_place_ && out_rows_)
      return std::clamp<std::int64_t>(map_.groups / (4 * threads_) / 2 * 2, 1,
                                      weights_in_place() ? 64 : transposed_together);
    const std::int64_t pass = used_rows(std::min(pass_rows(), map_.h.out_size));
    const std::int64_t plane = element * pass * std::max(map_.w.map.size, map_.w.out_size) + 1, some = set_.lanes / 2;
    const std::int64_t fit =
        std::max<std::int64_t>(core_traits().l2 / 2 / plane, some * plane <= most_bytes ? some : 1);
    return std::min({map_.groups, transposed_together, fit});
  }
  // What a tile reads, and what is copied or spilled of it, stays in L2; with less than a task for each thread it is
  // cut further.
  std::int64_t tile_height() const {
    const std::int64_t planes = !out_rows_ ? spilled_planes() : in_place_ ? 1 : planes_;
    const std::int64_t budget = core_traits().l2 / 4 / element / planes;
    const std::int64_t width = map_.w.out_size * (image_rows_ ? map_.w.step : 1) + map_.w.staged_length(1);
    const std::int64_t shares = ceil_div(threads_, std::max<std::int64_t>(1, map_.batch * plane_blocks_));
    const std::int64_t passes = std::clamp<std::int64_t>(
        budget / std::max<std::int64_t>(1, width * std::min(map_.h.step, map_.h.count)) / pass_rows(), 1,
        std::max<std::int64_t>(1, ceil_div(ceil_div(map_.h.out_size, pass_rows()), shares)));
    return std::min(map_.h.out_size, passes * pass_rows());
  }

  // A loaded vector serves all rows of a pass that its row reaches, where rows are in a grid of stride 1 or the kernel
  // is known; of a stride of 2 it is taken apart for them, without passes once. With a single kernel row each
  // multiply-add has a load of its own.
  double estimate() const {
    const PlaneKernel<T>* in_place = zeros_mode_ ? own_kernel(1) : nullptr;
    const PlaneKernel<T>& kernel = in_place ? *in_place : staged_kernel(1);
    const auto rows = static_cast<double>(computed_rows(kernel) * grid_.period);
    const bool halves = !kernel.rolls() && !kernel.paired();
    const double row =
        halves ? row_vectors(set_, map_.w.out_size) : static_cast<double>(ceil_div(map_.w.out_size, set_.lanes));
    const double vectors = row * rows;
    const double passes = vector_passes(set_), kernel_rows = std::max(1.0, static_cast<double>(map_.h.count));
    const double tap = kernel.stride_h == 0   ? 1.2 * passes
                       : kernel.stride_w == 2 ? (kernel.rolls() ? 0.6 : 1) + 0.5 * passes
                       : kernel.kernel_w > 0  ? 0.2 + 0.4 * passes
                                              : 0.3 + (0.4 + 0.6 / kernel_rows / kernel_rows) * passes;
    const double planes = static_cast<double>(map_.out_channels) * (kernel.paired() ? 0.5 : 1);
    const double sums = vectors * (static_cast<double>(map_.taps()) * tap + 3) * planes;
    const double pixels =
        static_cast<double>(map_.h.out_size * map_.h.step) * static_cast<double>(map_.w.out_size * map_.w.step);
    const double copied = weights_in_place() ? 0 : 4.0 * static_cast<double>(map_.out_channels * map_.taps());
    return static_cast<double>(map_.groups) * (sums + (in_place ? 0 : 1.2 * pixels) + copied + 35);
  }

  // What the vectors of outputs read of the image, and which of them read nothing else.
  void find_lanes() {
    const bool paired = kernel_.paired();
    const std::int64_t lanes = paired ? kernel_.most_width : set_.lanes;
    // Lanes of a loaded row are its elements; lanes of a pair's column are outputs, a stride apart.
    const std::int64_t apart = paired ? kernel_.stride_w : 1;
    std::vector<std::int64_t> first;
    if (paired)
      first.assign(columns_.begin(), columns_.end());
    else if (kernel_.kernel_w > 0)
      for (int s = 0; s <= kernel_.stride_w; ++s) first.push_back(columns_.front() + s * set_.lanes);
    else
      for (const std::ptrdiff_t column : columns_)
        for (int s = 0; s < kernel_.stride_w; ++s) first.push_back(column + s * (set_.lanes - 1));
    loads_ = static_cast<std::int64_t>(first.size());
    const std::int64_t begin = image_rows_ ? 0 : std::numeric_limits<std::int64_t>::min() / 2;
    const std::int64_t end = image_rows_ ? map_.w.map.size : std::numeric_limits<std::int64_t>::max() / 2;
    for (std::int64_t x = 0; x < map_.w.out_size; x += lanes) {
      bool inner = true;
      for (const std::int64_t load : first) {
        const auto lanes_before = [&](std::int64_t column) {
          const std::int64_t distance = std::max<std::int64_t>(0, column - x * kernel_.stride_w - load);
          return (1 << std::min(ceil_div(distance, apart), lanes)) - 1;
        };
        const int inside = lanes_before(end) & ~lanes_before(begin);
        lanes_.push_back(static_cast<LaneBits>(paired ? inside | inside << lanes : inside));
        inner = inner && inside == (1 << lanes) - 1;
      }
      if (inner && inner_end_ == 0) inner_begin_ = x;
      if (inner) inner_end_ = x + lanes;
    }
  }

  std::int64_t whole(std::int64_t n) const { return ceil_div(n, set_.lanes) * set_.lanes + set_.lanes; }
  // A row of the source, or of staged columns, with room for vectors behind.
  std::int64_t source_row() const { return whole(image_rows_ ? map_.w.map.size : staged_w_.length) + set_.lanes; }
  std::int64_t zero_size() const { return source_row(); }
  // Rows of the grid that `outputs` of them read, and with those of a whole pass at least.
  std::int64_t used_rows(std::int64_t outputs) const {
    return (outputs - 1) * grid_.stride + std::max<std::int64_t>(1, map_.h.count);
  }
  std::int64_t grid_rows(std::int64_t outputs) const {
    return used_rows(std::max<std::int64_t>(outputs, kernel_.rows));
  }
  std::int64_t most_outputs() const { return ceil_div(tile_h_, grid_.period); }
  std::int64_t most_grid_rows() const { return grid_rows(most_outputs()); }
  // Of scratch: a row, a plane of the rows that a tile reads with room for a vector behind it.
  std::int64_t scratch_row() const { return image_rows_ ? map_.w.map.size : source_row(); }
  std::int64_t scratch_plane() const { return whole(used_rows(most_outputs()) * scratch_row()); }
  std::int64_t staged_size() const { return in_place_ ? 0 : planes_ * scratch_plane(); }
  // Where the output's elements are not adjacent.
  std::int64_t spilled_planes() const { return std::min(planes_ * map_.out_channels, transposed_together); }
  std::int64_t spilled_plane() const { return tile_h_ * map_.w.out_size; }
  std::int64_t spill_size() const { return out_rows_ ? 0 : whole(spilled_planes() * spilled_plane()); }
  std::int64_t table_bytes() const {
    return (3 * most_grid_rows() + tile_h_) * static_cast<std::int64_t>(sizeof(std::ptrdiff_t));
  }
  std::int64_t weights_size() const { return weights_in_place() ? 0 : planes_ * map_.out_channels * map_.taps(); }
  bool weights_in_place() const {
    const auto natural = [](const MapAxis& axis) { return axis.difference > 0 && axis.kernel_difference == 1; };
    return natural(map_.h) && natural(map_.w) && map_.taps() == map_.kernel_elements;
  }

  // Outputs [y0, y1) of planes [begin, end).
  void run_tile(const ConvViews& v, std::int64_t n, std::int64_t begin, std::int64_t end, std::int64_t y0,
                std::int64_t y1) const {
    char* const memory =
        static_cast<char*>(thread_arena(Arena::workspace, static_cast<std::size_t>(workspace_bytes())));
    std::ptrdiff_t* const rows = reinterpret_cast<std::ptrdiff_t*>(memory);
    std::ptrdiff_t* const out_rows = rows + most_grid_rows();
    T* const zeros = reinterpret_cast<T*>(memory + table_bytes());
    T *const staged = zeros + zero_size(), *const spill = staged + staged_size(), *const weights = spill + spill_size();
    std::fill_n(zeros, zero_size(), T(0));

    PlaneArgs<T> a{};
    a.rows = rows;
    a.scratch = out_rows + tile_h_;
    a.zeros = zeros;
    a.columns = columns_.data();
    a.weights = load_weights(v, begin, end, weights);
    a.out_rows = out_rows;
    a.width = map_.w.out_size, a.in_width = image_rows_ ? map_.w.map.size : staged_w_.length;
    a.kernel_h = map_.h.count, a.kernel_w = map_.w.count, a.stride_h = grid_.stride;
    a.columns_first = own_ != nullptr && own_->kernel_w == 0;  // as in place, wherever the input is
    a.inner_begin = inner_begin_, a.inner_end = inner_end_;
    a.lanes = lanes_.data();
    a.loads = loads_;
    const char* const source = v.input + n * v.input_stride[0] + begin * v.input_stride[1];
    a.input = in_place_ ? reinterpret_cast<const T*>(source) : staged;
    const std::ptrdiff_t input_plane = in_place_ ? v.input_stride[1] / element : scratch_plane();
    a.input_plane = map_.out_channels > 1 ? 0 : input_plane;  // the planes of one group share it
    const std::ptrdiff_t input_row = in_place_ ? v.input_stride[2] / element : scratch_row();
    const std::ptrdiff_t out_row = out_rows_ ? v.out_stride[2] / element : map_.w.out_size;
    a.ahead = kernel_.rows * grid_.stride * input_row;
    for (std::int64_t y = y0; y < std::min(y0 + grid_.period, y1); ++y) {
      a.height = ceil_div(y1 - y, grid_.period);
      a.row_count = grid_rows(a.height);
      const std::int64_t used = used_rows(a.height);
      std::fill(rows + used, rows + a.row_count, no_row);
      // By value: what is written to the table could be any member.
      const auto image_row = [grid = grid_, map = map_.h.map, first = y * map_.h.step + taps_h_.first](std::int64_t q) {
        return map(first + grid.coordinate(q));
      };
      if (in_place_) {
        for (std::int64_t q = 0; q < used; ++q) {
          const std::int64_t row = image_row(q);
          rows[q] = row < 0 ? no_row : row * input_row;
        }
      } else {
        for (std::int64_t q = 0; q < used; ++q) rows[q] = image_row(q);
        bring_rows(v, source, end - begin, rows, used, staged);
        for (std::int64_t q = 0; q < used; ++q) rows[q] = image_rows_ && rows[q] < 0 ? no_row : q * input_row;
      }
      for (std::int64_t t = 0; t < a.height; ++t) out_rows[t] = t * out_row * (out_rows_ ? grid_.period : 1);
      run_planes(v, n, begin * map_.out_channels, end * map_.out_channels, y, spill, a);
    }
  }

  // Outputs y, y + period, .. of the channels [begin, end).
  void run_planes(const ConvViews& v, std::int64_t n, std::int64_t begin, std::int64_t end, std::int64_t y, T* spill,
                  PlaneArgs<T>& a) const {
    char* out = v.out + n * v.out_stride[0] + begin * v.out_stride[1] + y * v.out_stride[2];
    a.bias = v.bias ? reinterpret_cast<const T*>(v.bias) + begin : nullptr;
    a.out_plane = v.out_stride[1] / element;
    a.planes = end - begin;
    a.out = reinterpret_cast<T*>(out);
    if (out_rows_) return kernel_.run(a);
    const bool one_row = grid_.period == 1 && v.out_stride[2] == map_.w.out_size * v.out_stride[3];
    const std::int64_t rows = one_row ? 1 : a.height, row = map_.w.out_size * a.height / rows;
    PlaneArgs<T> some = a;
    some.out = spill;
    some.out_plane = spilled_plane();
    for (std::int64_t k = begin; k < end; k += some.planes) {
      some.planes = std::min(spilled_planes(), end - k);
      kernel_.run(some);
      for (std::int64_t r = 0; r < rows; ++r)
        set_.spread({spill + r * row, some.out_plane, some.planes, row,
                     reinterpret_cast<T*>(out + r * grid_.period * v.out_stride[2]), v.out_stride[1] / element,
                     v.out_stride[3] / element});
      out += some.planes * v.out_stride[1];
      some.input += some.planes * some.input_plane;
      some.weights += some.planes * map_.taps();
      if (some.bias) some.bias += some.planes;
    }
  }

  // The rows of planes from `source` on to scratch: with their columns staged, or as they lie in the image. Those that
  // adjoin there are brought as one, so that narrow ones fill vectors too.
  void bring_rows(const ConvViews& v, const char* source, std::int64_t planes, const std::ptrdiff_t* rows,
                  std::int64_t count, T* to) const {
    const std::int64_t pitch = scratch_row();
    StageArgs<T> a{to,
                   scratch_plane(),
                   source,
                   v.input_stride[1],
                   v.input_stride[3],
                   planes,
                   pieces_.data(),
                   static_cast<std::int64_t>(pieces_.size()),
                   image_rows_ ? pitch : staged_w_.length};
    const bool adjoin = grid_.unit == 1 && grid_.gap == 0 && v.input_stride[2] == pitch * v.input_stride[3];
    if (!image_rows_ || !adjoin)
      return stage_rows<T>(set_, a, pitch, v.input_stride[2], count, !image_rows_,
                           [&](std::int64_t q) { return rows[q]; });
    const auto in_image = [](std::ptrdiff_t row) { return row >= 0; };
    const std::ptrdiff_t* const first = std::find_if(rows, rows + count, in_image);
    if (first == rows + count) return;
    const std::int64_t length = std::count_if(first, rows + count, in_image) * pitch;
    const StagePiece joined{0, length, 0, length, 0, 1};
    a.destination += (first - rows) * pitch;
    a.source += *first * v.input_stride[2];
    a.pieces = &joined;
    a.row_length = length;
    set_.stage(a);
  }

  // Those of planes [begin, end), as the kernels read them: where they are, or copied `to`.
  const T* load_weights(const ConvViews& v, std::int64_t begin, std::int64_t end, T* to) const {
    const T* from = reinterpret_cast<const T*>(v.weight) + begin * map_.out_channels * map_.kernel_elements;
    if (weights_in_place()) return from;
    T* at = to;
    for (std::int64_t k = begin * map_.out_channels; k < end * map_.out_channels; ++k, from += map_.kernel_elements)
      for (std::int64_t i = 0; i < map_.h.count; ++i)
        for (std::int64_t j = 0; j < map_.w.count; ++j)
          *at++ = from[map_.kernel_index(original(map_.h, i), original(map_.w, j))];
    return to;
  }

  ShiftMap map_;
  const KernelSet<T>& set_;
  AxisTaps taps_h_, taps_w_;
  RowGrid grid_;
  bool zeros_mode_;
  const PlaneKernel<T>* own_;  // for rows of the image; nullptr if none has the stride
  bool image_rows_;            // that is the kernel, and rows are read as in the image, there or copied; else staged
  bool in_place_, out_rows_;
  const PlaneKernel<T>& kernel_;
  double cycles_;
  int threads_;
  std::int64_t planes_, plane_blocks_, tile_h_, tiles_;
  StagedAxis staged_w_;
  std::vector<StagePiece> pieces_;
  std::vector<std::ptrdiff_t> columns_;
  std::int64_t loads_ = 0, inner_begin_ = 0, inner_end_ = 0;
  std::vector<LaneBits> lanes_;
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
