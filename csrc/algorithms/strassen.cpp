// strassen: pointwise layers, and patches, as one level of Strassen's algorithm for matrix products (the mathematics
// are in kernels/strassen.inl.h): seven eighths of the multiply-adds, for additions that do not grow with the product
// of in and out channels.
//
// A matrix product of the weights, out x in channels, and the input, in channels x pixels. Both are cut in halves along
// each side: the out channels of a group by whole vectors, its in channels, and the pixels of a tile, whole rows of the
// image one after the other. One task is a tile, or a part of its out channels:
//   stage the tile, unless it can be read in place; add its blocks up       -> seven factors, in rows or packed
//   for each panel of out channels, of either half: seven matrix products   -> products[7][pixel][out channel]
//   add these up, transpose them into rows of the output
// Tiles are fixed by the problem alone: which pixels are added to each other shows in the last bits.
//
// Outputs that come out not finite are computed again by the direct sum, a vector of channels of a tile at a time: what
// is not finite, or overflows within the sums, reaches other pixels of its tile, but must show only where it is read.
#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <string>

#include "../cpu.h"
#include "../parallel.h"
#include "../stage_tile.h"
#include "algorithms.h"
#include "direct_sum.h"
#include "products.h"

namespace tileconv {
namespace {

constexpr std::int64_t products = 7, blocks = 4;
constexpr std::int64_t summands[blocks][4] = {{0, 1}, {0, 4, 3, 6}, {0, 4, 5, 2}, {0, 4, 5, 3}};  // of each block of C

// Cycles of a vector, measured on Zen 4: staged; added up to four sums, read and written in L2; an output. Where
// steps are short, Zen 3 takes twice as many, Zen 4 as many: the mean errs least.
constexpr double row_cycles = 6, sum_cycles = 6, output_cycles = 7;
template <class T>
double move_pace(const KernelSet<T>& set) {
  return set.short_steps() ? 1.5 : 1;
}
constexpr double least_gain = 1e4;  // for a few microseconds the running sum is preferred

const char* unsupported(const PlanRequest& request) {
  const ConvProblem& p = request.problem;
  if (p.pass == Pass::weight_gradient) return "weight gradients are sums over pixels";
  if (p.pass == Pass::forward && p.taps() != 1 && !has_patches(p)) return "outputs share pixels of the input";
  const bool pads = p.pad_top != 0 || p.pad_left != 0 || p.pad_bottom != 0 || p.pad_right != 0;
  if (p.pass == Pass::input_gradient && (p.taps() != 1 || p.stride_h != 1 || p.stride_w != 1 || pads))
    return "an input gradient by it is of 1x1 kernels of stride 1 without padding";
  constexpr std::int64_t most_channels = 4096;
  const std::int64_t channels = p.pass == Pass::forward ? p.group_in_channels() : p.group_out_channels();
  if (channels > most_channels / p.taps()) return "a tile of so many channels is more than the workspace holds";
  // Images of one pixel come as a row of their batch, on which nothing may depend.
  if (p.taps() == 1 && (p.pass == Pass::forward ? p.out_h : p.in_h) == 1) return "the image has a single row";
  return nullptr;
}

ShiftMap map_of(const PlanRequest& request) {
  const ConvProblem& p = request.problem;
  if (p.pass == Pass::input_gradient)
    return residue_map(input_gradient_maps(p, {0, p.in_h}, {0, p.in_w}), 0, 0, request.layout);
  return p.taps() == 1 ? forward_map(p, request.layout) : patch_map(p);
}

template <class T>
class StrassenPlan final : public Plan {
 public:
  explicit StrassenPlan(const PlanRequest& request)
      : map_(map_of(request)),
        width_(request.problem.pass == Pass::forward ? request.problem.out_w : request.problem.in_w),
        height_(request.problem.pass == Pass::forward ? request.problem.out_h : request.problem.in_h),
        set_(kernel_set<T>(*request.kernels)),
        isa_(request.kernels->isa),
        half_in_(ceil_div(map_.in_channels, 2)),
        half_vectors_(ceil_div(ceil_div(map_.out_channels, set_.lanes), 2)),
        product_(&best_product(set_, half_vectors_, most_vectors)),
        panels_(ceil_div(half_vectors_, product_->vectors)),
        out_rows_(request.layout.out_rows),
        out_planes_(request.layout.out_planes) {
    cut_tiles();
    staged_h_ = make_staged_axis(map_.h, map_.collapsed ? 1 : tile_h_);
    const StagedAxis columns = make_staged_axis(map_.w, tile_w_);
    for (std::int64_t j = 0; j < tiles_w_ && !map_.collapsed; ++j)
      pieces_.push_back(make_pieces(map_.w, columns, tile_w_, rectangle(0, j).x0, rectangle(0, j).x1));
    const auto odd_vectors = [&](std::int64_t n) { return (ceil_div(n, set_.lanes) | 1) * set_.lanes; };
    // A row may be overrun by a vector. Odd numbers of vectors: the same pixels of all channels find different sets of
    // the caches.
    staged_row_ = odd_vectors(most_pixels() + set_.lanes);
    sum_row_ = odd_vectors(half_pixels());
    cycles_ = estimate(request.problem.pass == Pass::forward);
    threads_ = threads_for(cycles_ * static_cast<double>(map_.batch), request.threads);
    splits_ = balanced_splits(map_.batch * map_.groups * tiles_h_ * tiles_w_, panels_, threads_);
    // An odd count of in channels lacks a row of zeros.
    in_place_ = map_.collapsed && map_.in_channels % 2 == 0 && spread_in_caches();
    packs_pixels_ = pays_to_pack(balanced_splits(map_.groups * tiles_h_ * tiles_w_, panels_, request.threads));
    even_panels();
    one_tile_ =
        !request.frozen && tiles_h_ * tiles_w_ == 1 && workspace_bytes() + panel_size() * element <= most_workspace;
    packs_when_used_ = one_tile_ && map_.batch == 1;
  }

  double cycles() const noexcept override { return cycles_ + least_gain; }
  std::int64_t workspace_bytes() const noexcept override {
    return (staged_size() + factors_size() + products_size() + outputs_size() + (one_tile_ ? panel_size() : 0)) *
           element;
  }
  std::int64_t packed_bytes() const noexcept override { return map_.groups * panels_ * panel_size() * element; }
  std::string packing_key() const override {
    return isa_ + (":strassen:" + std::to_string(panels_) + "x" + std::to_string(columns()));
  }
  void pack(const ConvViews& v, void* packed) const override {
    if (packs_when_used_) return;
    parallel_for(map_.groups * panels_, threads_, [&](std::int64_t task) {
      pack_panel(v, task / panels_, task % panels_, static_cast<T*>(packed) + task * panel_size());
    });
  }
  void run(const ConvViews& v, const void* packed) const override {
    const std::int64_t tasks = map_.batch * map_.groups * tiles_h_ * tiles_w_ * splits_;
    parallel_for(tasks, threads_, [&](std::int64_t task) { run_tile(v, static_cast<const T*>(packed), task); });
  }
  PlanReport report() const override {
    return {"seven products for eight, " + std::to_string(product_->rows) + "x" + std::to_string(product_->vectors) +
                (map_.patch_elements() > 1 ? ", kernel elements as channels" : "") +
                (in_place_ ? ", input in place" : "") + (packs_pixels_ ? ", pixels packed" : ""),
            threads_,
            {{"tile_h", tile_h_},
             {"tile_w", tile_w_},
             {"channels_per_chunk", product_steps},
             {"tasks_per_image", map_.groups * tiles_h_ * tiles_w_ * splits_}}};
  }

 private:
  static constexpr std::int64_t element = sizeof(T);
  static constexpr int most_vectors = 3;            // of more, a chunk of weights is far beyond L1
  static constexpr std::int64_t tile_pixels = 224;  // at the most: the products of a panel stay in L2

  // Pixels of a tile, in the map's rows and columns.
  struct Rectangle {
    std::int64_t y0, y1, x0, x1;
    std::int64_t width() const { return x1 - x0; }
  };
  struct Tile : Rectangle {
    std::int64_t n, group, column, panel_begin, panel_end;
    std::int64_t pixels, half;  // in all; in either half
    const T* source;            // the pixels of the first in channel
    std::ptrdiff_t source_row;  // from an in channel's to the next one's
    T *staged, *factors, *products, *outputs, *panel;
    // Where the second half begins: of odd pixels both have the middle one.
    std::int64_t second() const { return pixels - half; }
  };
  struct Factor {
    PixelRuns runs;
    const T* at;
  };
  using Factors = std::array<Factor, products>;

  void cut_tiles() {
    // Of many channels fewer pixels, as staged and as sums; packed they take up to half as much again.
    constexpr std::int64_t most_bytes = std::int64_t{2} << 20, least_pixels = 32;
    const std::int64_t most = std::clamp(most_bytes / (4 * element * half_in_), least_pixels, tile_pixels);
    tiles_w_ = std::max<std::int64_t>(1, ceil_div(width_, most));
    tile_w_ = ceil_div(width_, tiles_w_);
    const std::int64_t rows = std::max<std::int64_t>(1, most / std::max<std::int64_t>(1, tile_w_));
    tiles_h_ = std::max<std::int64_t>(1, ceil_div(height_, rows));
    tile_h_ = ceil_div(height_, tiles_h_);
  }
  // As many panels for each part of a tile, narrower ones if need be.
  void even_panels() {
    if (panels_ % splits_ == 0) return;
    panels_ = std::min(half_vectors_, ceil_div(panels_, splits_) * splits_);
    const std::int64_t vectors = ceil_div(half_vectors_, panels_);
    product_ = &best_product(set_, vectors, static_cast<int>(vectors));
  }
  // A tile has all columns, or a single row: adjacent pixels of a map that is collapsed.
  Rectangle rectangle(std::int64_t i, std::int64_t j) const {
    const Rectangle r{split_at(height_, tiles_h_, i), split_at(height_, tiles_h_, i + 1), split_at(width_, tiles_w_, j),
                      split_at(width_, tiles_w_, j + 1)};
    return map_.collapsed ? Rectangle{0, 1, r.y0 * width_ + r.x0, (r.y1 - 1) * width_ + r.x1} : r;
  }

  std::int64_t most_pixels() const { return tile_h_ * tile_w_; }
  std::int64_t half_pixels() const { return ceil_div(most_pixels(), 2); }
  std::int64_t columns() const { return product_->vectors * set_.lanes; }                         // of a panel
  std::int64_t panel_begin(std::int64_t p) const { return split_at(half_vectors_, panels_, p); }  // in vectors
  std::int64_t factor_size() const { return half_in_ * columns(); }
  std::int64_t panel_size() const { return products * factor_size(); }
  std::int64_t staged_size() const { return 2 * half_in_ * staged_row_ + set_.lanes; }
  // Of any tile's pixels no wider than those of the largest tile, which are even.
  PixelRuns packed_runs(std::int64_t half) const {
    const std::int64_t most = half_pixels(), count = std::max<std::int64_t>(1, ceil_div(most, product_->rows));
    return PixelRuns::packed(half, std::max<std::int64_t>(1, ceil_div(most, count)), half_in_, set_.lanes);
  }
  // Packed, all of them; else the sums of blocks alone.
  std::int64_t factors_size() const {
    return packs_pixels_ ? products * packed_runs(half_pixels()).size() : blocks * half_in_ * sum_row_;
  }
  std::int64_t product_size() const { return half_pixels() * columns(); }
  std::int64_t products_size() const { return products * product_size(); }
  std::int64_t output_row() const { return ceil_div(most_pixels(), set_.lanes) * set_.lanes; }
  std::int64_t outputs_size() const { return set_.lanes * output_row(); }
  // Out channels of a vector of a half; none, or less, behind the last.
  std::int64_t first_channel(std::int64_t half, std::int64_t vector) const {
    return (half * half_vectors_ + vector) * set_.lanes;
  }
  std::int64_t channels_of(std::int64_t half, std::int64_t vector) const {
    return std::clamp<std::int64_t>(map_.out_channels - first_channel(half, vector), 0, set_.lanes);
  }
  const T* group_weights(const ConvViews& v, std::int64_t group) const {
    return reinterpret_cast<const T*>(v.weight) + group * map_.out_channels * map_.in_channels;
  }
  T* output(const ConvViews& v, const Tile& t, std::int64_t channel, std::int64_t y) const {
    return reinterpret_cast<T*>(v.out + t.n * v.out_stride[0] +
                                (t.group * map_.out_channels + channel) * v.out_stride[1] + y * v.out_stride[2] +
                                t.x0 * v.out_stride[3]);
  }

  // Each part of a tile, of which a single image has `splits`, packs its pixels, and saves what a step of the products
  // takes longer from rows, in cycles measured on Zen 3: more where channels lie within a few cache lines, else by the
  // lines that a step touches. Cores that take a vector in halves have the time for it.
  bool pays_to_pack(std::int64_t splits) const {
    constexpr std::int64_t close = 256;
    const double saved = sum_row_ * element < close ? 0.4 : 0.03 * element;
    return vector_passes(set_) == 1 && saved * static_cast<double>(products * panels_ / splits) > pack_cycles * blocks;
  }
  // Whether planes do not lie over each other in L2: they share as many places as their distance goes into it, and
  // half of them are for what else is there.
  bool spread_in_caches() const {
    const std::int64_t l2 = core_traits().l2;
    return map_.in_channels * std::gcd(width_ * height_ * element, l2) <= l2 / 2;
  }
  double estimate(bool packed_before) const;
  void pack_panel(const ConvViews& v, std::int64_t group, std::int64_t panel, T* to) const;
  void run_tile(const ConvViews& v, const T* packed, std::int64_t task) const;
  Factors factors(const Tile& t) const;
  void stage(const ConvViews& v, Tile& t) const;
  void add_blocks(const Tile& t, const Factors& to) const;
  void multiply(const Factors& factors, const Tile& t, const T* packed_panel, std::int64_t vectors) const;
  void finish(const ConvViews& v, Tile& t, std::int64_t panel) const;
  void sum_directly(const ConvViews& v, const Tile& t, std::int64_t channel, std::int64_t channels) const;

  ShiftMap map_;
  std::int64_t width_, height_;  // of the result
  const KernelSet<T>& set_;
  const char* isa_;
  std::int64_t half_in_, half_vectors_;  // in channels; vectors of out channels
  const ProductKernel<T>* product_;
  std::int64_t panels_;  // of either half
  bool out_rows_, out_planes_;
  std::int64_t tiles_h_ = 1, tiles_w_ = 1, tile_h_ = 1, tile_w_ = 1;
  StagedAxis staged_h_;
  std::vector<std::vector<StagePiece>> pieces_;  // of each tile column of a map that is not collapsed
  std::int64_t staged_row_ = 0, sum_row_ = 0;
  bool in_place_ = false, packs_pixels_ = false;
  // Weights that one tile alone uses are packed a panel at a time, where they are used: they never leave L2.
  bool one_tile_ = false, packs_when_used_ = false;
  double cycles_ = 0;
  int threads_ = 1;
  std::int64_t splits_ = 1;
};

// Products at the pace of their register tile, and what a call costs; rows are staged and stored, or waited for where
// they are read in place from beyond L2; sums are read and written in L2. The weights of a gradient are packed in every
// call.
template <class T>
double StrassenPlan<T>::estimate(bool packed_before) const {
  const auto tiles = static_cast<double>(tiles_h_ * tiles_w_), passes = vector_passes(set_);
  const double half = static_cast<double>(height_ * width_) / tiles / 2;
  const double runs = std::max(1.0, std::ceil(half / product_->rows)), rows = half / runs;
  const double vectors = static_cast<double>(half_vectors_) / static_cast<double>(panels_);
  const auto in = static_cast<double>(half_in_), panels = static_cast<double>(panels_);
  const double call = pixel_product_cycles(in, rows, vectors, passes);
  const double pixel_vectors = std::ceil(half / set_.lanes);
  // Patches share the vectors of a row, other strides leave elements out.
  const double loads = map_.patch_elements() > 1 ? 1 : static_cast<double>(map_.w.step);
  const double staged = 2 * in * row_cycles * (2 * pixel_vectors * loads + static_cast<double>(tile_h_)) +
                        sum_cycles * passes * in * pixel_vectors;
  const double outputs =
      blocks * pixel_vectors * static_cast<double>(half_vectors_) * set_.lanes * output_cycles * passes;
  // Seven blocks of weights come where the running sum needs four; between short steps there is no time for them.
  const auto groups = static_cast<double>(map_.groups);
  const double bytes = groups * static_cast<double>(panels_ * panel_size() * element);
  const double streamed = weight_cycles(bytes, set_.short_steps()) / groups;
  const double weights = set_.short_steps() ? streamed * 3 / products : 0;
  const double packed = packed_before ? 0 : 6 * products * panels * in * vectors;
  const double moved = move_pace(set_) * (staged + outputs);
  return groups * (tiles * (products * panels * runs * call + moved + weights + 500) + packed);
}

// For each panel, seven factors: A11, A12, A22, S1, S2, S3, S4, an in channel after the other. A21 waits in the place
// of S4.
template <class T>
void StrassenPlan<T>::pack_panel(const ConvViews& v, std::int64_t group, std::int64_t panel, T* to) const {
  constexpr std::int64_t place[blocks] = {0, 1, 6, 2};
  const std::int64_t begin = panel_begin(panel), padded = (panel_begin(panel + 1) - begin) * set_.lanes;
  const std::int64_t size = factor_size();
  for (std::int64_t block = 0; block < blocks; ++block) {
    const std::int64_t first = first_channel(block / 2, begin), first_in = block % 2 * half_in_;
    const std::int64_t channels = std::clamp<std::int64_t>(map_.out_channels - first, 0, padded);
    const std::int64_t ins = std::min(half_in_, map_.in_channels - first_in);
    T* const factor = to + place[block] * size;
    if (channels == 0 || ins < half_in_) std::fill_n(factor, size, T(0));
    if (channels > 0)
      set_.pack({group_weights(v, group) + first * map_.weight_out + first_in * map_.weight_in, map_.weight_out,
                 map_.weight_in, channels, padded, ins, factor, columns()});
  }
  set_.strassen_weights({{to, to + size, to + 6 * size, to + 2 * size}, 0, to + 3 * size, size, 0, 1, size});
}

template <class T>
void StrassenPlan<T>::run_tile(const ConvViews& v, const T* packed, std::int64_t task) const {
  Tile t{};
  TaskDigits digits(task);
  const std::int64_t split = digits.next(splits_);
  t.column = digits.next(tiles_w_);
  static_cast<Rectangle&>(t) = rectangle(digits.next(tiles_h_), t.column);
  t.group = digits.next(map_.groups);
  t.n = digits.rest();
  t.panel_begin = split_at(panels_, splits_, split), t.panel_end = split_at(panels_, splits_, split + 1);
  t.pixels = (t.y1 - t.y0) * t.width();
  t.half = ceil_div(t.pixels, 2);
  t.staged = static_cast<T*>(thread_arena(Arena::workspace, static_cast<std::size_t>(workspace_bytes())));
  t.factors = t.staged + staged_size();
  t.products = t.factors + factors_size();
  t.outputs = t.products + products_size();
  t.panel = t.outputs + outputs_size();
  if (in_place_) {
    t.source = reinterpret_cast<const T*>(map_source(map_, v, t.n, t.group, 0)) + t.x0;
    t.source_row = v.input_stride[1] / element;
  } else {
    stage(v, t);
  }
  const Factors to = factors(t);
  add_blocks(t, to);
  for (std::int64_t panel = t.panel_begin; panel < t.panel_end; ++panel) {
    if (packs_when_used_) pack_panel(v, t.group, panel, t.panel);
    multiply(to, t, packs_when_used_ ? t.panel : packed + (t.group * panels_ + panel) * panel_size(),
             panel_begin(panel + 1) - panel_begin(panel));
    finish(v, t, panel);
  }
}

// The tile's pixels of every channel, one row after the other, as its source. What a half of the channels lacks is
// zero.
template <class T>
void StrassenPlan<T>::stage(const ConvViews& v, Tile& t) const {
  const StagePiece adjacent{0, t.pixels, 0, t.pixels, t.x0, 1};
  const Pieces pieces = map_.collapsed ? Pieces(adjacent) : Pieces(pieces_[static_cast<std::size_t>(t.column)]);
  stage_channels<T>(set_, map_, staged_h_, pieces, v, t.n, t.group, 0,
                    {t.staged, staged_row_, t.width(), nullptr, 0, 0, 0, map_.in_channels, t.y0, t.y1,
                     map_.collapsed ? 1 : tile_h_, true});
  if (map_.in_channels < 2 * half_in_) std::fill_n(t.staged + map_.in_channels * staged_row_, staged_row_, T(0));
  t.source = t.staged, t.source_row = staged_row_;
}

// B11, B21, T4, T1, T2, T3, B22.
template <class T>
typename StrassenPlan<T>::Factors StrassenPlan<T>::factors(const Tile& t) const {
  if (packs_pixels_) {
    const PixelRuns runs = packed_runs(t.half);
    const auto factor = [&](std::int64_t p) { return Factor{runs, t.factors + p * runs.size()}; };
    return {factor(0), factor(1), factor(2), factor(3), factor(4), factor(5), factor(6)};
  }
  const PixelRuns source = PixelRuns::in_rows(t.half, product_->rows, t.source_row),
                  sums = PixelRuns::in_rows(t.half, product_->rows, sum_row_);
  const T* const lower = t.source + half_in_ * t.source_row;
  const auto sum = [&](std::int64_t k) { return Factor{sums, t.factors + k * half_in_ * sum_row_}; };
  return {Factor{source, t.source},          Factor{source, lower}, sum(0), sum(1), sum(2), sum(3),
          Factor{source, lower + t.second()}};
}

// The sums of the blocks B11, B12, B21, B22; packed, the blocks too, and B12 waits in the place of T3.
template <class T>
void StrassenPlan<T>::add_blocks(const Tile& t, const Factors& to) const {
  const T* const lower = t.source + half_in_ * t.source_row;
  const T* const block[blocks] = {t.source, t.source + t.second(), lower, lower + t.second()};
  if (packs_pixels_) {
    constexpr std::int64_t place[blocks] = {0, 5, 1, 6};
    const PixelRuns& runs = to[0].runs;
    const std::int64_t size = runs.size();
    T* const at = t.factors;
    for (std::int64_t b = 0; b < blocks; ++b)
      pack_pixels(set_, runs, block[b], t.source_row, half_in_, at + place[b] * size);
    set_.strassen_input({{at, at + 5 * size, at + size, at + 6 * size}, 0, at + 2 * size, size, 0, 1, size});
  } else {
    set_.strassen_input({{block[0], block[1], block[2], block[3]},
                         t.source_row,
                         t.factors,
                         half_in_ * sum_row_,
                         sum_row_,
                         half_in_,
                         t.half});
  }
}

template <class T>
void StrassenPlan<T>::multiply(const Factors& factors, const Tile& t, const T* packed_panel,
                               std::int64_t vectors) const {
  for (std::int64_t p = 0; p < products; ++p) {
    const Factor& factor = factors[static_cast<std::size_t>(p)];
    multiply_pixels<T>(set_, {factor.runs, factor.at, half_in_, packed_panel + p * factor_size(), columns(), vectors,
                              t.products + p * product_size()});
  }
}

// The outputs of a panel, in both halves of the channels and of the pixels.
template <class T>
void StrassenPlan<T>::finish(const ConvViews& v, Tile& t, std::int64_t panel) const {
  const bool in_place = t.y1 - t.y0 == 1 ? out_rows_ : out_planes_ && t.width() == map_.w.out_size;
  const std::int64_t first = panel_begin(panel), vectors = panel_begin(panel + 1) - first;
  const std::ptrdiff_t out_channel = v.out_stride[1] / element;
  T bias[64 / sizeof(float)];
  for (std::int64_t half = 0; half < 2; ++half)
    for (std::int64_t vector = first; vector < first + vectors; ++vector) {
      const std::int64_t channel = first_channel(half, vector), channels = channels_of(half, vector);
      if (channels == 0) continue;
      load_bias(v, t.group * map_.out_channels + channel, channels, set_.lanes, bias);
      T* const out = in_place ? output(v, t, channel, t.y0) : t.outputs;
      const std::ptrdiff_t out_row = in_place ? out_channel : output_row();
      ProductSumArgs<T> a{};
      a.product_row = columns();
      a.bias = bias;
      a.out_row = out_row;
      a.channels = channels;
      bool finite = true;
      for (std::int64_t block = 2 * half; block < 2 * half + 2; ++block) {
        const bool second = block % 2 != 0;
        a.count = block == 0 ? 2 : 4;
        for (int k = 0; k < a.count; ++k)
          a.product[k] = t.products + summands[block][k] * product_size() + (vector - first) * set_.lanes;
        a.pixels = t.half;
        a.out = out + (second ? t.second() : 0);
        a.next_out = !in_place ? nullptr : second ? out + set_.lanes * out_row : out + t.second();
        finite &= set_.sum_products(a);
      }
      if (!finite) {
        if (t.source != t.staged) stage(v, t);
        sum_directly(v, t, channel, channels);
      }
      if (finite && in_place) continue;
      for (std::int64_t y = t.y0; y < t.y1; ++y)
        set_.spread({t.outputs + (y - t.y0) * t.width(), output_row(), channels, t.width(), output(v, t, channel, y),
                     out_channel, v.out_stride[3] / element});
    }
}

// A vector of channels as shift_gemm computes it, one running sum, from the staged pixels to the place of the outputs.
template <class T>
void StrassenPlan<T>::sum_directly(const ConvViews& v, const Tile& t, std::int64_t channel,
                                   std::int64_t channels) const {
  constexpr Tap tap{0, 0};
  GemmArgs<T> a{};
  a.input = t.source;
  a.weights = group_weights(v, t.group) + channel * map_.weight_out;
  a.taps = &tap;
  a.tap_count = 1;
  a.steps = map_.in_channels;
  a.input_step = t.source_row;
  a.weight_step = map_.weight_in;
  a.weight_row = map_.weight_out;
  a.bias = v.bias ? reinterpret_cast<const T*>(v.bias) + t.group * map_.out_channels + channel : nullptr;
  a.out = t.outputs;
  a.out_channel_stride = output_row();
  sum_row_directly(set_, a, channels, t.pixels);
}

// The terms of estimate() that no cut makes smaller.
template <class T>
double least_cycles(const PlanRequest& request) {
  const ConvProblem& p = request.problem;
  const KernelSet<T>& set = kernel_set<T>(*request.kernels);
  const bool forward = p.pass == Pass::forward;
  const double passes = vector_passes(set), vector = set.lanes;
  const auto height = static_cast<double>(forward ? p.out_h : p.in_h),
             width = static_cast<double>(forward ? p.out_w : p.in_w);
  const auto in = static_cast<double>((forward ? p.group_in_channels() : p.group_out_channels()) * p.taps());
  const auto out = static_cast<double>(forward ? p.group_out_channels() : p.group_in_channels());
  return static_cast<double>(p.groups) * height * width / vector *
             (in * out * passes * 7 / 16 +
              move_pace(set) * (output_cycles * passes * out + (row_cycles + sum_cycles * passes / 4) * in)) +
         least_gain;
}

}  // namespace

const Algorithm strassen_algorithm = {
    "strassen",
    "exact on small integers; error below 1e-5 (float32) and 1e-13 (float64) of the largest output",
    unsupported,
    [](const PlanRequest& r) {
      return r.problem.dtype == DType::float32 ? least_cycles<float>(r) : least_cycles<double>(r);
    },
    [](const PlanRequest& r) -> std::unique_ptr<Plan> {
      if (r.problem.dtype == DType::float32) return std::make_unique<StrassenPlan<float>>(r);
      return std::make_unique<StrassenPlan<double>>(r);
    },
};

}  // namespace tileconv
