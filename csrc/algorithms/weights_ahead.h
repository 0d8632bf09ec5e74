// Weights that are fetched into L2 while those before them are used.
#pragma once

#include <cstdint>

#include "../kernels/kernels.h"
#include "../shift_map.h"

namespace tileconv {

// `size` elements, evenly in so many register tiles of so many turns each (KernelSet). What takes more lines than a
// turn asks for is left to the hardware's prefetcher, which fetches of a part would make slower (products of few tiles
// took up to twice as long). So is what serves a single register tile: there is nothing to compute meanwhile.
template <class T>
class WeightsAhead {
 public:
  WeightsAhead(const KernelSet<T>& set, std::int64_t size, std::int64_t turns, std::int64_t tiles) noexcept {
    if (turns == 0 || tiles < 2) return;
    const std::int64_t step = ceil_div(size, turns * tiles);
    if (step * static_cast<std::int64_t>(sizeof(T)) > set.fetched_lines * 64) return;
    step_ = step;
    tile_ = turns * step;
  }
  // Tells the register tile of this number what to fetch of those that lie `ahead`. If that is nothing, it asks for the
  // weights that it has `here`.
  template <class Args>
  void tell(Args& a, std::int64_t tile, const T* here, const T* ahead) const noexcept {
    a.prefetch = step_ > 0 ? ahead + tile * tile_ : here;
    a.prefetch_step = step_;
  }

 private:
  std::int64_t step_ = 0, tile_ = 0;
};

}  // namespace tileconv
