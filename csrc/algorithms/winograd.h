// winograd: square kernels of 2 to 5 taps by F(m x m, r x r) with m + r = 7, a quarter to a third of the multiply-adds
// of the direct sum; and kernels of one row or column by F(m, r), half of them (the mathematics are in
// kernels/winograd.inl.h). Longer ones, up to 10 taps along an axis, are sums of pieces of four taps, which share the
// windows: 7 x 7 takes a third of the multiply-adds, 1 x 7 four sevenths. With a stride, the taps of each remainder by
// it are a piece with windows of its own (winograd_windows.h). A piece that lacks its first or last taps needs no
// products of the positions which stand for them alone: 3 x 3 of stride 2 takes 54 % of the multiply-adds, 7 x 7 27 %.
//
// The unit of work is a band of tiles (winograd_windows.h). A strip of bands, for one or more groups, is one task:
//   transpose 6 rows of a vector of channels, transform every window                 -> windows[position][tile][in]
//   for each panel of out channels, for each position: a plain matrix product        -> sums[position][tile][out]
//   transform the sums, transpose them into rows of the output
// The residues of a strided gradient whose kernels are all alike are one plan: they share the windows, and a chunk of
// weights that is brought in once. Output t of a residue lies at t + shift in the grid that the bands cut.
//
// Of groups narrower than a vector as many as fit are transformed together, as if they were one; their products permute
// a vector of the transformed windows where others broadcast one of its elements. How many follows from the channels,
// not from the image, so plans of one problem agree on the packed weights.
//
// Outputs that come out not finite are computed again by the direct sum: a NaN, an infinity or an overflow within the
// transforms reaches the whole tile, but must show only where the direct sum has it. A band is computed again as a
// whole, for a vector of out channels.
#pragma once

#include <algorithm>
#include <memory>
#include <vector>

#include "../plan.h"
#include "../shift_map.h"
#include "weight_panels.h"
#include "winograd_windows.h"

namespace tileconv {

template <class T>
class WinogradPlan final : public Plan {
 public:
  // Maps whose taps are equally many and equally far apart, and begin within a tile of each other.
  WinogradPlan(const InterleavedMap& maps, const PlanRequest& request);

  // For a gain of a few microseconds the exact sum is preferred.
  double cycles() const noexcept override { return cycles_ + 1e4; }
  std::int64_t workspace_bytes() const noexcept override {
    return (windows_size() + sums_size() + windows_.scratch_size() + outputs_size() + direct_size() + weights_size()) *
               element +
           register_tiles_bytes() + product_pieces_bytes();
  }
  // A frozen layer keeps the transformed weights; else they are transformed a chunk at a time where they are used, so
  // that they never leave L2. Those of an input gradient, which are scattered, are brought into panels before: a chunk
  // of them at a time, or all, if several plans or strips read them.
  std::int64_t packed_bytes() const noexcept override {
    return frozen_ ? map_.groups * group_size() * element : from_panels_ ? weights_.bytes() : 0;
  }
  std::string packing_key() const override {
    return from_panels_ ? weights_.key()
                        : isa_ + (":winograd:" + std::to_string(product_.vectors)) + ":" +
                              std::to_string(windows_.h.segments) + "x" + std::to_string(windows_.w.segments);
  }
  void pack(const ConvViews& v, void* packed) const override;
  void run(const ConvViews& v, const void* packed) const override;
  PlanReport report() const override;

 private:
  static constexpr std::int64_t element = sizeof(T);
  static constexpr std::int64_t transformed_together = 4;  // in channels whose weights are transformed at a time

  using Band = typename WinogradWindows<T>::Band;
  using Order = typename WinogradWindows<T>::Order;
  struct Residue {
    MapAxis h, w;
    std::int64_t shift_h, shift_w;  // in the grid of the windows
    std::int64_t row, column;       // in the result, which takes turns among the residues
  };
  // A piece of the kernel: segments of rows and columns, and which piece of their taps.
  struct KernelPiece {
    std::int64_t segment_h, segment_w, below, beside;
  };
  // Adjacent tiles of a strip that are the rows of `count` register tiles. Their windows are adjacent too, for every
  // piece of the kernel: that of piece (p, q) of a segment is the window p * below + q further on.
  struct RegisterTiles {
    std::int64_t window, tile, rows, count, below;
  };
  // What a position multiplies in a strip: its register tiles; the pieces that it needs, the first as it is and the
  // others from there, for register tiles whose windows of the next row of tiles are `below` further.
  struct PositionTiles {
    const RegisterTiles *begin, *end;
    std::int64_t register_tiles;
    ProductPiece* pieces;
    std::int64_t further_pieces, below;
  };
  // A task: bands [begin, end) of all images, panels [first_panel, last_panel).
  struct Strip {
    std::int64_t begin, end, first_panel, last_panel;
  };
  // So many shares of as many bands, each cut in strips and these in splits of the panels; and bands that are left, of
  // which each share has some panels.
  struct Shares {
    std::int64_t count = 1, bands = 0, strips = 0, splits = 1, left = 0;
    std::int64_t share_tasks() const { return strips * splits + (left > 0 ? 1 : 0); }
    std::int64_t tasks() const { return count * share_tasks(); }
  };
  struct Workspace {
    T *windows, *sums, *scratch, *outputs, *direct, *weights, *kernels;
    const T* panels;  // of the group; nullptr if weights are not in panels
    Order order;      // of the strip
    PositionTiles tiles[winograd_window_size * winograd_window_size];
  };

  std::int64_t positions() const { return kernel_.positions(); }
  // Of a group of the map, which may be a bundle of the problem's; the last one may have fewer.
  std::int64_t groups_of(std::int64_t group) const { return std::min(bundle_, bundled_groups_ - group * bundle_); }
  std::int64_t in_planes(std::int64_t group) const { return map_.in_channels * groups_of(group); }
  std::int64_t out_channels(std::int64_t group) const { return own_out_channels() * groups_of(group); }
  std::int64_t own_out_channels() const { return map_.out_channels / bundle_; }
  std::int64_t panels() const { return weights_.panels(); }
  std::int64_t panel_begin(std::int64_t p) const { return weights_.begin(p); }  // in vectors
  std::int64_t panel_columns() const { return weights_.columns(); }
  std::int64_t pieces() const { return static_cast<std::int64_t>(pieces_.size()); }
  bool cut_in_pieces() const { return windows_.h.pieces > 1 || windows_.w.pieces > 1; }
  std::int64_t tap_h(const KernelPiece& p, std::int64_t i) const {
    return windows_.h.piece_tap(p.segment_h, p.below, i);
  }
  std::int64_t tap_w(const KernelPiece& p, std::int64_t j) const {
    return windows_.w.piece_tap(p.segment_w, p.beside, j);
  }
  // Whether a position multiplies a piece, which may have no taps; the first one stands for the first tap alone, the
  // last one for the last.
  bool needs(std::int64_t position, const KernelPiece& p) const {
    const auto needs_axis = [](std::int64_t at, std::int64_t window, std::int64_t taps, const auto& tap) {
      bool any = false;
      for (std::int64_t i = 0; i < taps; ++i) any = any || tap(i) >= 0;
      return any && (window == 1 || ((at > 0 || tap(0) >= 0) && (at < window - 1 || tap(taps - 1) >= 0)));
    };
    return needs_axis(position / kernel_.window_w(), kernel_.window_h(), kernel_.taps_h,
                      [&](std::int64_t i) { return tap_h(p, i); }) &&
           needs_axis(position % kernel_.window_w(), kernel_.window_w(), kernel_.taps_w,
                      [&](std::int64_t j) { return tap_w(p, j); });
  }
  // Packed weights of a group: for each panel, position, chunk, piece and in channel, the panel's out channels. Every
  // chunk has room for the channels of the largest.
  std::int64_t chunk_size() const { return pieces() * channel_chunk_ * panel_columns(); }
  std::int64_t position_size() const { return apart(chunks() * chunk_size()); }
  std::int64_t chunk_position() const { return apart(chunk_size()); }
  std::int64_t group_size() const { return panels() * positions() * position_size(); }

  std::int64_t apart(std::int64_t size) const { return winograd_apart<T>(size, set_.lanes); }
  std::int64_t strip_tiles() const { return strip_bands_ * windows_.band_tiles(); }
  std::int64_t window_row() const { return apart(in_vectors_ * set_.lanes); }
  std::int64_t strip_windows() const { return (strip_bands_ + windows_.h.pieces - 1) * windows_.band_windows(); }
  std::int64_t window_position() const { return apart(strip_windows() * window_row()); }
  std::int64_t windows_size() const { return positions() * window_position(); }
  std::int64_t sum_position() const { return apart(strip_tiles() * panel_columns()); }
  std::int64_t residue_sums() const { return positions() * sum_position(); }
  std::int64_t sums_size() const { return together_ * residue_sums(); }
  std::int64_t outputs_size() const { return windows_.band_rows() * windows_.band_width() * set_.lanes; }
  std::int64_t line_size() const { return ceil_div(windows_.band_width(), set_.lanes) * set_.lanes; }
  std::int64_t direct_size() const { return windows_.band_rows() * set_.lanes * line_size(); }
  // Untransformed weights on their way: a few kernels of a vector, or the panel of a chunk.
  std::int64_t kernels_size() const {
    return map_.scattered_weights() ? (from_panels_ ? 0 : channel_chunk_ * weights_.channel_size())
                                    : transformed_together * map_.kernel_elements * set_.lanes;
  }
  std::int64_t weights_size() const { return frozen_ ? 0 : positions() * chunk_position() + kernels_size(); }
  // Of each stretch of tiles the last register tile may be a small one. Kinds that no position tells apart share
  // theirs.
  std::int64_t register_tiles_bytes() const {
    const auto kinds = static_cast<std::int64_t>(windows_.kinds().size());
    const std::int64_t most = kinds * (strip_tiles() / product_.rows + (cut_in_pieces() ? strip_tiles() : kinds));
    return ceil_div(most * static_cast<std::int64_t>(sizeof(RegisterTiles)), 64) * 64;
  }
  std::int64_t product_pieces_bytes() const {
    return ceil_div(positions() * pieces() * static_cast<std::int64_t>(sizeof(ProductPiece)), 64) * 64;
  }

  const ProductKernel<T>& choose_product(bool frozen) const;
  std::int64_t most_tiles(std::int64_t together, int vectors, bool frozen) const;
  std::int64_t most_bands(std::int64_t together, int vectors, bool frozen) const;
  void cut_strips();
  void cut_kernel();
  double residues() const { return static_cast<double>(rows_ * columns_); }
  double weight_bytes() const;
  double estimate() const;
  void make_tasks(int threads);
  Strip strip(std::int64_t task) const;

  std::int64_t channels_of(std::int64_t vector, std::int64_t channels) const {
    return std::min<std::int64_t>(set_.lanes, channels - vector * set_.lanes);
  }
  // f(row, column, pixels, out) for the rows of a band that are outputs of the residue: where `pixels` of them begin in
  // the band, and in the result. Rows that adjoin in both, in the band every `pitch` pixels, come as one.
  template <class F>
  void for_each_output_row(const ConvViews& v, const Residue& r, std::int64_t b, std::int64_t channel,
                           std::int64_t pitch, F f) const {
    const Band& band = windows_.band(b);
    const std::int64_t x0 = std::max(band.x0, r.shift_w), x1 = std::min(band.x1, r.shift_w + r.w.out_size);
    const std::ptrdiff_t out_column = columns_ * v.out_stride[3], out_row = rows_ * v.out_stride[2];
    char* const out = v.out + windows_.image(b) * v.out_stride[0] + channel * v.out_stride[1] +
                      r.row * v.out_stride[2] + r.column * v.out_stride[3] + (x0 - r.shift_w) * out_column;
    const bool adjoin = x1 - x0 == pitch && windows_.h.dilation * out_row == pitch * out_column;
    const auto output = [&](std::int64_t row) { return windows_.row(band, row) - r.shift_h; };
    std::int64_t begin = 0, end = x0 < x1 ? band.rows : 0;
    while (begin < end && output(begin) < 0) ++begin;
    while (begin < end && output(end - 1) >= r.h.out_size) --end;
    const std::int64_t rows = adjoin ? std::max<std::int64_t>(1, end - begin) : 1;
    for (std::int64_t row = begin; row < end; row += rows)
      f(row, x0 - band.x0, rows * (x1 - x0), reinterpret_cast<T*>(out + output(row) * out_row));
  }
  const T* group_weights(const ConvViews& v, std::int64_t group) const {
    return reinterpret_cast<const T*>(v.weight) + group * map_.out_channels * map_.in_channels * map_.kernel_elements;
  }

  void run_strip(const ConvViews& v, const void* packed, std::int64_t first_group, std::int64_t last_group,
                 const Strip& strip) const;
  void cut_tiles(std::int64_t begin, std::int64_t end, RegisterTiles* tiles, ProductPiece* placed, Workspace& w) const;
  void clear_unneeded(const Workspace& w) const;
  std::int64_t chunks() const { return ceil_div(map_.in_channels, channel_chunk_); }
  std::int64_t chunk_begin(std::int64_t chunk) const { return split_at(map_.in_channels, chunks(), chunk); }
  template <class From>
  void transform_kernels(const Residue& r, std::ptrdiff_t tap_size, std::int64_t panel, std::int64_t channels, T* out,
                         std::ptrdiff_t out_position, From from) const;
  void transform_weights(const ConvViews& v, const Residue& r, std::int64_t group, std::int64_t panel, std::int64_t c,
                         std::int64_t channels, T* scratch, T* out, std::ptrdiff_t out_position) const;
  const T* chunk_panel(const ConvViews& v, const Workspace& w, std::int64_t group, std::int64_t panel, std::int64_t c,
                       std::int64_t channels) const;
  void multiply(const ConvViews& v, Workspace& w, const T* packed, std::int64_t group, std::int64_t panel,
                std::int64_t first_residue) const;
  void place_pieces(std::int64_t position, std::int64_t below, PositionTiles& tiles) const;
  Order finish(const ConvViews& v, const Workspace& w, const Residue& r, const T* sums, std::int64_t group,
               std::int64_t panel, std::int64_t b, const Order& order) const;
  void sum_directly(const ConvViews& v, const Workspace& w, const Residue& r, std::int64_t group, std::int64_t b,
                    std::int64_t vector) const;

  // Groups so narrow that a vector holds several are bundled: a group of map_ is then so many of the problem's, with
  // all of their out channels. It has the weights of one, which lie as if it were one; but its in channels are those of
  // one group, what a sum runs over, of the in_planes() of the bundle.
  std::int64_t bundle_, bundled_groups_;
  ShiftMap map_;  // of the windows: what the maps have in common, over all of their outputs
  std::vector<Residue> residues_;
  std::vector<Tap> direct_taps_;  // of each residue, in the map's order: in what is staged, in a kernel
  std::int64_t rows_, columns_;   // of residues
  const KernelSet<T>& set_;
  const WinogradKernel<T>& kernel_;
  std::string isa_;
  bool frozen_;
  std::int64_t in_vectors_, out_vectors_;  // of planes of in channels; of out channels
  const ProductKernel<T>& product_;        // the largest register tile of the products
  std::vector<std::int32_t> elements_;     // of a bundle: what its products read of a row (ProductArgs)
  WinogradWindows<T> windows_;
  WeightPanels<T> weights_;
  std::vector<KernelPiece> pieces_;
  std::vector<std::int64_t> needed_pieces_;  // of position p: [needed_begin_[p], needed_begin_[p + 1])
  std::size_t needed_begin_[winograd_window_size * winograd_window_size + 1] = {};
  bool from_panels_ = false;
  std::int64_t together_ = 1;  // residues whose sums are kept at a time
  std::int64_t strip_bands_ = 1, channel_chunk_ = 1;
  double cycles_ = 0;
  Shares shares_;
  std::int64_t group_parts_ = 1;  // each has all strips
  int threads_ = 1;
};

template <class T>
std::unique_ptr<Plan> make_winograd_weight_gradient_plan(const PlanRequest& request);

}  // namespace tileconv
