// winograd: square kernels of 2 to 5 taps and stride 1 by F(m x m, r x r) with m + r = 7, a quarter to a third of the
// multiply-adds of the direct sum; and kernels of one row or column by F(m, r), half of them (the mathematics are in
// kernels/winograd.inl.h).
//
// The unit of work is a band of tiles (winograd_windows.h). A strip of bands is one task:
//   stage 6 rows of a vector of channels, transpose them, transform every window     -> products[position][tile][in]
//   for each panel of out channels, for each position: a plain matrix product        -> sums[position][tile][out]
//   transform the sums, transpose them into rows of the output
// Outputs that come out not finite are computed again by the direct sum: a NaN, an infinity or an overflow within the
// transforms reaches the whole tile, but must show only where the direct sum has it.
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
  WinogradPlan(const ShiftMap& map, const PlanRequest& request);

  double cycles() const noexcept override { return cycles_; }
  std::int64_t workspace_bytes() const noexcept override {
    return (windows_size() + sums_size() + windows_.scratch_size() + outputs_size() + direct_size() + weights_size()) *
           element;
  }
  // A frozen layer keeps the transformed weights; else they are transformed a chunk at a time where they are used, so
  // that they never leave L2. Those of an input gradient, which are scattered, are brought into panels before if
  // several residues or strips read them.
  std::int64_t packed_bytes() const noexcept override {
    return frozen_ ? map_.groups * group_size() * element : from_panels_ ? weights_.bytes() : 0;
  }
  std::string packing_key() const override {
    return from_panels_ ? weights_.key() : isa_ + (":winograd:" + std::to_string(product_.vectors));
  }
  void pack(const ConvViews& v, void* packed) const override;
  void run(const ConvViews& v, const void* packed) const override;
  PlanReport report() const override;

 private:
  static constexpr std::int64_t element = sizeof(T);
  static constexpr std::int64_t transformed_together = 4;  // in channels whose weights are transformed at a time

  using Band = typename WinogradWindows<T>::Band;
  struct Workspace {
    T *windows, *sums, *scratch, *outputs, *direct, *weights;
    const T* panels;  // of the group; nullptr if weights are not in panels
  };

  std::int64_t positions() const { return kernel_.positions(); }
  std::int64_t panels() const { return ceil_div(out_vectors_, product_.vectors); }
  std::int64_t panel_begin(std::int64_t p) const { return split_at(out_vectors_, panels(), p); }  // in vectors
  std::int64_t panel_columns() const { return product_.vectors * set_.lanes; }
  // Packed weights of a group: for each panel, position and in channel, the panel's out channels.
  std::int64_t position_size() const { return apart(map_.in_channels * panel_columns()); }
  std::int64_t chunk_position() const { return apart(channel_chunk_ * panel_columns()); }
  std::int64_t group_size() const { return panels() * positions() * position_size(); }

  std::int64_t apart(std::int64_t size) const { return winograd_apart<T>(size, set_.lanes); }
  std::int64_t strip_tiles() const { return strip_bands_ * windows_.band_tiles(); }
  std::int64_t window_row() const { return apart(in_vectors_ * set_.lanes); }
  std::int64_t window_position() const { return apart(strip_tiles() * window_row()); }
  std::int64_t windows_size() const { return positions() * window_position(); }
  std::int64_t sum_position() const { return apart(strip_tiles() * panel_columns()); }
  std::int64_t sums_size() const { return positions() * sum_position(); }
  std::int64_t outputs_size() const { return windows_.band_rows() * windows_.band_width() * set_.lanes; }
  std::int64_t line_size() const { return ceil_div(windows_.band_width(), set_.lanes) * set_.lanes; }
  std::int64_t direct_size() const { return windows_.band_rows() * set_.lanes * line_size(); }
  std::int64_t kernel_scratch() const { return map_.kernel_elements * transformed_together * set_.lanes; }
  std::int64_t weights_size() const { return frozen_ ? 0 : positions() * chunk_position() + kernel_scratch(); }

  const ProductKernel<T>& choose_product(bool frozen) const;
  std::int64_t most_tiles() const;
  void cut_strips();
  double weight_bytes() const;
  double estimate() const;
  void make_tasks(int threads);

  std::int64_t channels_of(std::int64_t vector, std::int64_t channels) const {
    return std::min<std::int64_t>(set_.lanes, channels - vector * set_.lanes);
  }
  T* output(const ConvViews& v, std::int64_t n, std::int64_t channel, const Band& b, std::int64_t row) const {
    return reinterpret_cast<T*>(v.out + n * v.out_stride[0] + channel * v.out_stride[1] +
                                windows_.row(b, row) * v.out_stride[2] + b.x0 * v.out_stride[3]);
  }
  const T* group_weights(const ConvViews& v, std::int64_t group) const {
    return reinterpret_cast<const T*>(v.weight) + group * map_.out_channels * map_.in_channels * map_.kernel_elements;
  }

  void run_strip(const ConvViews& v, const void* packed, std::int64_t group, std::int64_t begin, std::int64_t end,
                 std::int64_t panel_begin, std::int64_t panel_end) const;
  void transform_weights(const ConvViews& v, const T* panels, std::int64_t group, std::int64_t panel, std::int64_t c,
                         std::int64_t channels, T* scratch, T* out, std::ptrdiff_t out_position) const;
  void multiply(const ConvViews& v, const Workspace& w, const T* packed, std::int64_t group, std::int64_t panel,
                std::int64_t tiles) const;
  void finish(const ConvViews& v, const Workspace& w, std::int64_t group, std::int64_t panel, std::int64_t b,
              std::int64_t first_tile) const;
  void sum_directly(const ConvViews& v, const Workspace& w, std::int64_t group, std::int64_t b,
                    std::int64_t vector) const;

  ShiftMap map_;
  const KernelSet<T>& set_;
  const WinogradKernel<T>& kernel_;
  std::string isa_;
  bool frozen_;
  std::int64_t in_vectors_, out_vectors_;
  const ProductKernel<T>& product_;  // the largest register tile of the products
  WinogradWindows<T> windows_;
  WeightPanels<T> weights_;
  bool from_panels_ = false;
  std::int64_t strip_bands_ = 1, channel_chunk_ = 1;
  double cycles_ = 0;
  std::int64_t splits_ = 1;  // of the panels, for more tasks
  int threads_ = 1;
};

template <class T>
std::unique_ptr<Plan> make_winograd_weight_gradient_plan(const PlanRequest& request);

}  // namespace tileconv
