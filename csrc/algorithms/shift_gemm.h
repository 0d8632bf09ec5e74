// shift_gemm, the general algorithm: a tile of the input is staged once (staging.h), then every kernel tap is a
// constant offset into it and the convolution is a sum of shifted GEMMs, computed in register tiles with no im2col
// matrix.
//
// Every output is one running sum over (channel, kernel row, kernel column) in this order, whatever the blocking, the
// orientation of the register tile and the number of threads: all roads give the same bits.
#pragma once

#include <algorithm>
#include <memory>
#include <vector>

#include "../cpu.h"
#include "../plan.h"
#include "../shift_map.h"
#include "packed_pixels.h"
#include "weight_panels.h"

namespace tileconv {

// How the loops are cut. Sizes are upper limits: what does not divide is split evenly.
struct Blocking {
  bool channel_lanes = false;                      // else pixel lanes
  bool in_place = false;                           // the input is read where it is, nothing is staged
  int rows = 1, vectors = 1;                       // largest register tile
  std::int64_t tile_h = 1, tile_w = 1, chunk = 1;  // of the output; of input channels
  bool packs_pixels = false;                       // a single tap: the pixels of each register tile are packed for it
  bool paired = false;                             // channel lanes: a register tile takes the pixels of two narrow rows
  bool flat = false;          // pixel lanes: vectors run on across the rows of a tile, over the halo between them
  bool row_vectors = false;   // flat: staged rows are whole vectors, so that none belongs to two rows
  bool panels_outer = false;  // all pixels (of some lines: pixel lanes) with a panel of weights, then the next panel
  std::int64_t lines = 1;     // pixel lanes, panels outer: how many
  bool half_end = false;      // pixel lanes: lines end with half vectors where these suffice
  bool prefetch = false;      // channel lanes, panels outer: L2 has room for the next panel too
  double cycles = 0;          // estimate for one image

  bool copies() const { return packs_pixels || !in_place; }  // else register tiles read the input itself

  // Pixel lanes: the register tiles of a line of so many pixels, cut evenly in whole vectors, and at its end one of
  // half vectors, if these have room for what is left: of three, if there is room before it, as one has a load for
  // every multiply-add. Nothing behind a line that is read in place may be read: what is left of it for the last vector
  // is computed by a last tile that is moved back over pixels of the one before it, so there have to be two.
  struct LineTiles {
    EvenParts whole;      // in vectors
    std::int64_t halves;  // of the last one; 0: there is none
    std::int64_t count() const { return whole.count + (halves > 0); }
    template <class T>
    std::int64_t covered(const KernelSet<T>& set) const {
      return whole.total() * set.lanes + halves * set.half_lanes;
    }
  };
  template <class T>
  LineTiles line_tiles(std::int64_t pixels, const KernelSet<T>& set) const {
    const bool moved_back = !copies() && pixels % set.lanes != 0;
    const std::int64_t line_vectors = ceil_div(pixels, set.lanes), left = pixels - (line_vectors - 1) * set.lanes;
    if (half_end && left <= set.half_lanes) {
      const bool three = vectors > 1 && line_vectors > (moved_back ? 2 : 1);
      return {EvenParts::of_at_most(line_vectors - (three ? 2 : 1), vectors), three ? 3 : 1};
    }
    return {{line_vectors, std::max<std::int64_t>(ceil_div(line_vectors, vectors), moved_back ? 2 : 1)}, 0};
  }
};

template <class T>
Blocking choose_blocking(const ShiftMap& map, const PlanRequest& request);

// Adjacent outputs of one row that share a register tile (channel lanes), and the taps they use: those of
// taps[table ..] whose column is not wholly in the padding, `columns` for each kernel row.
struct Run {
  std::int64_t x, pixels, table, columns;
  std::int64_t input;  // where its input lies in a row of the tile, in elements
};

template <class T>
class ShiftGemmPlan final : public Plan {
 public:
  // The plan of a map; `request` tells what the map itself does not: kernels, threads, layout.
  ShiftGemmPlan(const ShiftMap& map, const PlanRequest& request);

  // At nine tenths of the FMA peak; where the steps of register tiles are short, eight tenths, and seven of several
  // taps (measured on Zen 3). A few out channels are limited by loads: each tap loads a vector of pixels, in two cache
  // lines, for all of them. Taps in zero padding are left out, of which a fifth is lost to shorter runs. Rows are
  // staged and stored, beyond L2 at half the pace. The weights of a gradient are packed or gathered in every call.
  double cycles() const noexcept override {
    const std::int64_t pixels = map_.h.out_size * map_.w.out_size;
    // Of a single tap, lanes are pixels or out channels, whatever wastes fewer.
    const std::int64_t pixel_lanes = ceil_div(pixels, set_.lanes) * map_.out_channels,
                       channel_lanes = ceil_div(map_.out_channels, set_.lanes) * pixels;
    const bool single = map_.taps() == 1 && map_.patch_elements() == 1 && channel_lanes < pixel_lanes;
    const double vectors =
        static_cast<double>(single ? channel_lanes : pixel_lanes) / static_cast<double>(map_.out_channels);
    // The same of an input and of the patches made of it: the choice must not show in the bits.
    const auto in = static_cast<double>(map_.in_channels / map_.patch_elements());
    const auto out = static_cast<double>(map_.out_channels);
    const double shares = map_.h.used_share() * map_.w.used_share(), used = shares + 0.2 * (1 - shares);
    const bool single_tap = map_.taps() * map_.patch_elements() == 1;
    const double pace = !set_.short_steps() ? 1.1 : single_tap ? 1.23 : 1.43;
    const double multiply_adds = out * vector_passes(set_);
    const double sums =
        vectors * used * static_cast<double>(map_.steps()) * std::max(pace * multiply_adds, multiply_adds + 2.5) / 2;
    const auto height = static_cast<double>(map_.h.out_size), step_h = static_cast<double>(map_.h.step);
    const double line_vectors = static_cast<double>(ceil_div(map_.w.out_size, set_.lanes));
    // Columns that taps do not share are dealt out, 16 cycles for two vectors where steps are not short: measured on
    // Zen 4 with 1 to 4 channels of 64 to 448 columns.
    AxisTaps columns = map_.w;
    columns.count *= map_.patch_w;
    const bool dealt = columns.remainders() > 1 && !set_.short_steps();
    const double staged = 15 + in * (6 + (dealt ? 8 : 3) * line_vectors * static_cast<double>(map_.w.step));
    const double written = out * height * static_cast<double>(map_.w.out_size * element_);
    const bool far = !set_.short_steps() && !single_tap && written > static_cast<double>(core_traits().l2);
    const double rows = height * (35 + (far ? 6 : 3) * out * line_vectors + step_h * staged);
    const double packed = map_.adjacent_kernels() ? 0 : 2.0 * out * static_cast<double>(map_.steps());
    return static_cast<double>(map_.groups) * (sums + rows + packed + 300);
  }
  std::int64_t workspace_bytes() const noexcept override {
    return (staged_size() + pixels_size() + partial_size() + spill_size() + gathered_size() +
            (blocks() > 1 ? map_.out_channels : 0)) *
           element_;
  }

  std::int64_t packed_bytes() const noexcept override { return block_.channel_lanes ? weights_.bytes() : 0; }

  std::string packing_key() const override { return weights_.key(); }

  void pack(const ConvViews& v, void* packed) const override { weights_.pack(map_, v, threads_, packed); }
  void run(const ConvViews& v, const void* packed) const override;

  PlanReport report() const override;

 private:
  // One tile in work: the place of everything, in elements.
  struct Tile {
    std::int64_t n, group, y0, y1, x0, x1, column_tile;
    std::int64_t panel_begin, panel_end;
    std::int64_t chunk_begin, chunk_channels;
    const T* input;                           // what tap offset 0 of the tile's first output reads
    std::ptrdiff_t input_row, input_channel;  // to the next output row; to the next channel
    T *staged, *pixels, *partial, *spill, *gathered;
    const T *weights, *bias;  // of the group; packed for channel lanes
    bool skip;                // taps in zero padding may be left out: all weights are finite
    std::int64_t height() const { return y1 - y0; }
    std::int64_t width() const { return x1 - x0; }
  };

  std::int64_t panels() const { return static_cast<std::int64_t>(panel_begin_.size()) - 1; }
  // Where panel p begins, in vectors of out channels (channel lanes) or out channels (pixel lanes).
  std::int64_t panel_at(std::int64_t p) const { return panel_begin_[static_cast<std::size_t>(p)]; }
  std::int64_t panel_columns() const { return weights_.columns(); }
  // Of the caller's weights.
  std::int64_t group_weights() const { return map_.out_channels * map_.in_channels * map_.kernel_elements; }
  std::int64_t staged_size() const {
    const std::int64_t channels = block_.packs_pixels ? std::min(packed_together, block_.chunk) : block_.chunk;
    return block_.in_place ? 0 : ceil_div(channels * channel_stride_, set_.lanes) * set_.lanes + set_.lanes;
  }
  std::int64_t pixels_size() const { return block_.packs_pixels ? block_.tile_h * pixel_row_ : 0; }
  // Pixels of a full tile in whole vectors, as pixel lanes keep their partial sums.
  std::int64_t line_size() const {
    const auto whole = [&](std::int64_t n) { return ceil_div(n, set_.lanes) * set_.lanes; };
    return block_.flat ? whole((block_.tile_h - 1) * staged_w_.length + block_.tile_w)
                       : block_.tile_h * whole(block_.tile_w);
  }
  std::int64_t partial_size() const {
    if (chunks_ == 1) return 0;
    return block_.channel_lanes ? panels() * panel_columns() * block_.tile_h * block_.tile_w
                                : map_.out_channels * line_size();
  }
  // Pixel lanes read the weights in place where in channels are adjacent kernels. In an input gradient they lie a whole
  // kernel stack apart, a cache line for each: a chunk of them is gathered first, `rows` side by side.
  bool gathers() const { return !block_.channel_lanes && !map_.adjacent_kernels(); }
  std::int64_t gathered_panel() const { return block_.rows * block_.chunk * map_.taps(); }
  std::int64_t gathered_size() const { return gathers() ? panels() * gathered_panel() : 0; }
  // One register tile on its way to rows that cannot take it as it comes.
  std::int64_t spill_row() const { return ceil_div(block_.rows, set_.lanes) * set_.lanes; }
  std::int64_t spill_size() const { return panel_columns() * (block_.channel_lanes ? spill_row() : block_.rows); }

  // Where tile column t begins. Pixel lanes are cut in whole register tiles. What is left of a row that is read in
  // place has a whole vector before it in its tile, over which the last register tile is moved back: no other task's
  // pixels.
  std::int64_t tile_column(std::int64_t t) const {
    const std::int64_t width = map_.w.out_size, unit = block_.channel_lanes ? 1 : block_.vectors * set_.lanes;
    if (t == tiles_w_) return width;
    const std::int64_t begin = split_at(ceil_div(width, unit), tiles_w_, t) * unit;
    const bool rest = !block_.copies() && !block_.channel_lanes && width % set_.lanes != 0;
    return std::min(begin, rest ? (width / set_.lanes - 1) * set_.lanes : width);
  }
  // Taps of the columns [from, to) that are not all in zero padding.
  std::pair<std::int64_t, std::int64_t> used_columns(std::int64_t from, std::int64_t to) const {
    std::pair<std::int64_t, std::int64_t> range;
    map_.w.used_taps(from, to, range.first, range.second);
    return range;
  }
  std::vector<std::int64_t> cut_runs(std::int64_t x0, std::int64_t x1) const;
  void make_panels();
  void make_columns();
  void place_pixels();
  std::int64_t whole_rows() const;
  void make_splits(int threads);
  void run_tile(const ConvViews& v, const void* packed, std::int64_t task) const;
  std::ptrdiff_t tap_input(std::int64_t i, std::int64_t j) const;
  void bring_pixels(const ConvViews& v, Tile& tile, std::int64_t first, std::int64_t channels) const;
  void stage(const ConvViews& v, const Tile& tile, std::int64_t first, std::int64_t channels) const;
  void pack_chunk(const ConvViews& v, Tile& tile) const;
  void gather_weights(const Tile& tile) const;
  void sweep_channel_lanes(const ConvViews& v, const Tile& tile) const;
  void sweep_pixel_lanes(const ConvViews& v, const Tile& tile) const;
  void make_taps();
  GemmArgs<T> tile_args(const ConvViews& v, const Tile& tile) const;
  // Pixels of out channels from `channel` on, adjacent in rows `from_row` apart, to their place in the output.
  void copy_pixels(const ConvViews& v, const Tile& tile, const T* from, std::ptrdiff_t from_row, std::int64_t pixels,
                   std::int64_t channel, std::int64_t channels, std::int64_t y, std::int64_t x) const {
    const std::int64_t together = blocks() == 1 ? channels : 1;
    for (std::int64_t k = 0; k < channels; k += together)
      set_.spread({from + k * from_row, from_row, together, pixels, output(v, tile, channel + k, y, x),
                   v.out_stride[1] / element_, v.out_stride[3] / element_});
  }
  // v's strides along rows and columns step over whole blocks.
  T* output(const ConvViews& v, const Tile& tile, std::int64_t channel, std::int64_t y, std::int64_t x) const {
    const std::int64_t k = tile.group * map_.out_channels + channel;
    std::ptrdiff_t offset = k * v.out_stride[1];
    if (blocks() > 1)
      offset = k / blocks() * v.out_stride[1] + k % blocks() / map_.block_w * (v.out_stride[2] / map_.block_h) +
               k % map_.block_w * (v.out_stride[3] / map_.block_w);
    return reinterpret_cast<T*>(v.out + tile.n * v.out_stride[0] + offset + y * v.out_stride[2] + x * v.out_stride[3]);
  }
  // Whether the tile's rows are adjacent in the output: what is written behind one of them is in the next.
  bool dense_rows(const ConvViews& v, const Tile& t) const {
    return out_rows_ && v.out_stride[2] / element_ == t.width() && t.width() == map_.w.out_size;
  }
  // From row y of the tile on, where what may be written there ends: it is overwritten by its own register tile later.
  static std::int64_t row_end(const Tile& t, std::int64_t y, bool dense) {
    return dense ? (t.height() - y) * t.width() : t.width();
  }
  std::int64_t blocks() const { return map_.block_h * map_.block_w; }

  ShiftMap map_;
  const KernelSet<T>& set_;
  Blocking block_;
  WeightPanels<T> weights_;  // channel lanes
  std::ptrdiff_t element_;
  StagedAxis staged_h_, staged_w_;
  std::int64_t tiles_h_, tiles_w_, chunks_;
  bool out_rows_;
  bool fetches_out_;              // the output does not stay in L2 from one call to the next
  bool fetches_pixels_;           // nor do the pixels stay there that are read in place
  std::int64_t row_padding_ = 0;  // zeros at the end of staged rows
  std::ptrdiff_t channel_stride_;
  // Packed pixels, in elements: a row of the tile; the widest run (channel lanes); from block to block (pixel lanes).
  std::int64_t pixel_row_ = 0, run_width_ = 0, block_size_ = 0;
  std::vector<std::int64_t> panel_begin_;
  std::vector<std::vector<StagePiece>> pieces_;  // of each tile column
  std::vector<std::vector<Run>> runs_;           // of each tile column
  std::vector<Tap> taps_;                        // a table for each entry of column_ranges_
  std::vector<std::int64_t> table_begin_;
  std::vector<const GemmKernel<T>*> kernels_;                      // for each count of vectors, tiles of 1, 2, .. rows
  const GemmKernel<T>* half_kernels_[most_pixel_halves + 1] = {};  // for 1 and 3 half vectors
  std::vector<std::pair<std::int64_t, std::int64_t>> column_ranges_;  // kernel columns in use, for each table of taps
  bool skips_ = false;                                                // some taps are wholly in zero padding
  std::int64_t splits_ = 1;                                           // of the out channels of a tile, for more tasks
  int threads_ = 1;
};

template <class T>
std::unique_ptr<Plan> make_shift_gemm_plan(const ShiftMap& map, const PlanRequest& request) {
  return std::make_unique<ShiftGemmPlan<T>>(map, request);
}

// The other passes, each in its own file. The input gradient is made of maps; an algorithm that interleaves makes one
// plan for all residues, the others a plan for each. Those go by group, all maps of one and then the next, if they need
// no packed weights and one group is little work.
struct GradientPlans {
  std::unique_ptr<Plan> (*of_map)(const ShiftMap&, const PlanRequest&) = nullptr;
  bool by_group = false;
  std::unique_ptr<Plan> (*of_all)(const InterleavedMap&, const PlanRequest&) = nullptr;  // preferred
};
template <class T>
std::unique_ptr<Plan> make_input_gradient_plan(const PlanRequest& request, const GradientPlans& plans);
template <class T>
std::unique_ptr<Plan> make_weight_gradient_plan(const PlanRequest& request);

}  // namespace tileconv
