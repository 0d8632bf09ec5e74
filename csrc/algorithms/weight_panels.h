// Weights with the out channels in the lanes, as the register tiles of channel lanes and Winograd's transforms of
// weights that are never frozen read them. Plans of one problem whose panels are equally wide share them
// (Plan::packing_key).
//
// A group is a row of panels, `vectors` vectors of out channels at the most each. A panel is a vector column of biases,
// then one for every (in channel, kernel element), in the order of one running sum. Panels all take the room of the
// widest; lanes without a channel hold 0.
#pragma once

#include <string>

#include "../plan.h"
#include "../shift_map.h"

namespace tileconv {

template <class T>
class WeightPanels {
 public:
  WeightPanels(const ShiftMap& map, const PlanRequest& request, int vectors);

  std::int64_t panels() const noexcept { return panels_; }
  // Where panel p begins, in vectors.
  std::int64_t begin(std::int64_t p) const noexcept { return split_at(out_vectors_, panels_, p); }
  std::int64_t columns() const noexcept { return columns_; }
  // Of the packed weights, to the column of the next in channel.
  std::int64_t channel_size() const noexcept { return columns_ * kernel_elements_; }
  std::int64_t panel_size() const noexcept { return columns_ * (in_channels_ * kernel_elements_ + 1); }
  std::int64_t bytes() const noexcept {
    return header_bytes + groups_ * panels_ * panel_size() * static_cast<std::int64_t>(sizeof(T));
  }
  std::string key() const { return std::string(isa_) + ":panels:" + std::to_string(columns_); }

  // Packs `elements` adjacent columns of a panel, from in channel c of the group on.
  void pack_columns(const ShiftMap& map, const T* weight, std::int64_t g, std::int64_t panel, std::int64_t c,
                    std::int64_t elements, T* to) const;
  // Packs the weights and biases of all groups, on that many threads.
  void pack(const ShiftMap& map, const ConvViews& v, int threads, void* packed) const;

  // The first panel of a group.
  const T* group(const void* packed, std::int64_t g) const noexcept {
    return reinterpret_cast<const T*>(static_cast<const char*>(packed) + header_bytes) + g * panels_ * panel_size();
  }
  // Whether all weights are known to be finite: those of 1x1 kernels, and of patches, are not looked at.
  static bool finite(const void* packed) noexcept { return *static_cast<const bool*>(packed); }

 private:
  static constexpr std::int64_t header_bytes = 64;

  const KernelSet<T>& set_;
  const char* isa_;
  std::int64_t groups_, in_channels_, kernel_elements_, out_vectors_, panels_, columns_;
};

}  // namespace tileconv
