// winograd_rows: Winograd's algorithm F(m, r) down the columns of the image alone, with the pixels of a row in the
// lanes of vectors. Of few channels, the transforms of `winograd` along both axes cost what they save; here each in
// channel is transformed once for all its out channels and columns of the kernel, and each sum once for all its in
// channels:
//
//   n rows of an in channel ---> B^T d, n rows ---> for each tap along the row, n rows of products are added up
//                                                                     |
//   m rows of an out channel <--- A^T, in registers <-----------------+
//
// n = m + r - 1 multiply-adds instead of m * r, 6 for 12 where r = 3, 8 for 20 where r = 5 (A. Lavin, S. Gray, "Fast
// algorithms for convolutional neural networks", 2016; the transforms are in winograd_rows.inl.h). Longer kernels are
// in pieces, as far apart as the tiles are high: piece p of a tile reads the windows of the tile p further down, and
// nothing is transformed twice. With a dilation, the rows that lie so far apart, a phase, are an image of their own.
// With a stride, so are the rows that the taps of a segment read: each segment has windows of its own, and all of them
// go into the same sums.
//
// One task is a band of rows of tiles of one image and phase, for one or more groups. Where an output comes out not
// finite, or weights are not, the image is computed again by shift_gemm.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "../parallel.h"
#include "../plan.h"
#include "../shift_map.h"
#include "products.h"

namespace tileconv {

// How the taps of a segment become pieces of F(outputs, taps). Neighbours share a tap, which belongs to the first.
struct RowPieces {
  int points, taps;
  std::int64_t count;
  int outputs() const { return points + 1 - taps; }
  // Of a segment with so many taps in each of `columns`. Only the first piece has a first row of its own. It lacks the
  // last one only where it is the only piece: of several, every segment fills the first.
  WinogradRowTaps taps_of(std::int64_t segment_taps, std::int64_t columns) const {
    const bool whole = segment_taps >= taps;
    return {whole ? columns : 0, whole ? 0 : columns, (count - 1) * columns};
  }
};

template <class T>
class WinogradRowsPlan final : public Plan {
 public:
  WinogradRowsPlan(const ShiftMap& map, const PlanRequest& request);

  double cycles() const noexcept override { return cycles_; }
  std::int64_t workspace_bytes() const noexcept override {
    const std::int64_t own = pieces_.count * window_size() + pitch_ + staged_size() + outputs_size();
    return std::max(own, packed_together() * packing_size()) * element;
  }
  // Whether all weights are finite; for each block of out channels, those of WinogradRowArgs.
  std::int64_t packed_bytes() const noexcept override {
    return header_bytes + map_.groups * map_.out_channels * sums() * positions() * element;
  }
  std::string packing_key() const override {
    return std::string(request_.kernels->isa) + ":winograd_rows:" + std::to_string(segments_);
  }
  void pack(const ConvViews& v, void* packed) const override;
  void run(const ConvViews& v, const void* packed) const override;
  PlanReport report() const override;

 private:
  static constexpr std::int64_t element = sizeof(T);
  static constexpr std::int64_t header_bytes = 64;

  // Rows of tiles of a phase, for one group after the other. The kernels' arguments are kept from tile to tile.
  struct Band {
    std::int64_t n, group, phase;
    T *windows, *zeros, *staged, *outputs;
    WinogradRowWindowArgs<T> window_args;
    WinogradRowArgs<T> product_args;
  };
  // A column of the windows that lies outside the image and repeats another.
  struct Margin {
    std::int64_t column, source;
  };

  // Those of the pieces, for 1, 2, .. out channels.
  const WinogradRowKernel<T>* find_kernels() const;
  std::int64_t most_channels() const;
  int outputs() const { return pieces_.outputs(); }
  std::int64_t positions() const { return pieces_.points; }
  std::int64_t planes() const { return segments_ * map_.in_channels; }
  std::int64_t taps() const { return segments_ * pieces_.count * map_.w.count; }
  std::int64_t sums() const { return map_.in_channels * taps(); }
  std::int64_t segment_size() const { return map_.in_channels * positions() * pitch_; }
  std::int64_t window_size() const { return planes() * positions() * pitch_; }
  std::int64_t staged_row() const { return columns_ + set_.lanes; }
  std::int64_t staged_size() const { return in_place_ ? 0 : positions() * map_.in_channels * staged_row(); }
  std::int64_t outputs_size() const { return out_rows_ ? 0 : most_channels() * outputs() * outputs_row(); }
  std::int64_t outputs_row() const { return tile_w_ + set_.lanes; }
  // Rows of outputs, `dilation` apart, of a phase.
  std::int64_t tile_rows(std::int64_t phase) const { return ceil_div(map_.h.out_size - phase, dilation_); }

  // Elements of the kernels of an in channel, with a vector of out channels each, as they are and transformed; of so
  // many in channels at a time.
  std::int64_t packing_size() const { return (map_.kernel_elements + taps() * positions()) * set_.lanes; }
  std::int64_t packed_together() const {
    const std::int64_t most = most_workspace / 4 / element / packing_size();
    return std::clamp<std::int64_t>(most, 1, std::clamp<std::int64_t>(map_.in_channels, 1, 8));
  }

  void place_columns();
  void place_taps();
  void transform_kernels(const T* kernels, std::int64_t channels, T* out) const;
  double estimate() const;
  void run_band(const ConvViews& v, const T* weights, std::int64_t task, SharedFlags& spoilt) const;
  void begin_band(const ConvViews& v, Band& b) const;
  void make_windows(const ConvViews& v, Band& b, std::int64_t tile) const;
  bool multiply(const ConvViews& v, Band& b, const T* weights, std::int64_t tile) const;

  ShiftMap map_;
  PlanRequest request_;
  const KernelSet<T>& set_;
  std::int64_t segments_;
  RowPieces pieces_;  // of a segment
  const WinogradRowKernel<T>* kernels_;
  EvenParts blocks_;  // of out channels
  bool in_place_, out_rows_;
  std::int64_t dilation_, phases_, tiles_;
  int turns_ = 1;                // that columns take, for each of which a row of windows has a part
  std::int64_t columns_ = 0;     // of a row that are transformed
  std::int64_t source_ = 0;      // the first of them, if they are read in place
  std::int64_t columns_at_ = 0;  // where a part of a row of windows has it
  std::int64_t part_ = 0;        // from one part to the next
  std::int64_t pitch_ = 0;       // from one row of windows to the next
  std::vector<StagePiece> staged_;
  std::vector<Margin> margins_;
  std::vector<std::ptrdiff_t> tap_columns_;  // where output 0 reads in a row of windows
  // The same of all segments and pieces, for each place that the windows of a tile's first piece may have.
  std::vector<std::ptrdiff_t> taps_at_;
  std::vector<WinogradRowTaps> tap_kinds_;
  std::int64_t tile_w_ = 0;  // outputs whose windows stay in L1
  double cycles_ = 0;
  int threads_ = 1;
  std::int64_t bands_ = 1;        // of a phase
  std::int64_t group_parts_ = 1;  // whose groups are one task for each band
};

}  // namespace tileconv
