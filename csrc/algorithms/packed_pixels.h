// Pixels packed for register tiles that broadcast them.
#pragma once

#include <algorithm>
#include <cstdint>

#include "../kernels/kernels.h"
#include "../shift_map.h"

namespace tileconv {

// Elements of a run of pixels, `width` for each channel: behind the last a vector may be written, and a line keeps runs
// from falling into the same sets of the caches.
inline std::int64_t packed_run_size(std::int64_t channels, std::int64_t width, std::int64_t lanes) noexcept {
  return (ceil_div(channels * width, lanes) + 2) * lanes;
}

// Channels of which pixels are packed together: L1 holds their rows meanwhile.
constexpr std::int64_t packed_together = 32;
constexpr double pack_cycles = 4;  // of a channel of a run

// How a register tile after the other finds its pixels: cut evenly in runs of `rows` at the most, each of them read
// channel by channel.
class PixelRuns {
 public:
  // From rows of pixels, one of each channel.
  static PixelRuns in_rows(std::int64_t pixels, std::int64_t rows, std::ptrdiff_t row_step) noexcept {
    PixelRuns runs(pixels, rows);
    runs.step_ = row_step;
    return runs;
  }
  // One run behind the other; of each, its pixels of one channel behind those of the other. A step reads on where the
  // one before it ended. From rows it takes a part of a cache line of every channel, and if these are more than L1
  // keeps until the next run's turn, takes them again.
  static PixelRuns packed(std::int64_t pixels, std::int64_t rows, std::int64_t channels, std::int64_t lanes) noexcept {
    PixelRuns runs(pixels, rows);
    runs.step_ = ceil_div(pixels, std::max<std::int64_t>(1, runs.count_));
    runs.size_ = packed_run_size(channels, runs.step_, lanes);
    return runs;
  }
  std::int64_t count() const noexcept { return count_; }
  std::int64_t begin(std::int64_t run) const noexcept { return split_at(pixels_, count_, run); }
  std::ptrdiff_t at(std::int64_t run) const noexcept { return size_ > 0 ? run * size_ : begin(run); }
  std::ptrdiff_t step() const noexcept { return step_; }         // from a channel to the next
  std::int64_t size() const noexcept { return size_ * count_; }  // packed: elements of all

 private:
  PixelRuns(std::int64_t pixels, std::int64_t rows) noexcept : pixels_(pixels), count_(ceil_div(pixels, rows)) {}
  std::int64_t pixels_, count_, step_ = 0, size_ = 0;
};

// Packs the pixels of rows that are from_row apart, to runs.size() elements behind which a vector more may be written.
template <class T>
void pack_pixels(const KernelSet<T>& set, const PixelRuns& runs, const T* from, std::ptrdiff_t from_row,
                 std::int64_t channels, T* to) {
  for (std::int64_t c = 0; c < channels; c += packed_together)
    for (std::int64_t run = 0; run < runs.count(); ++run)
      set.sum_pixels({{from + c * from_row + runs.begin(run)},
                      1,
                      from_row,
                      to + runs.at(run) + c * runs.step(),
                      runs.step(),
                      std::min(packed_together, channels - c),
                      runs.begin(run + 1) - runs.begin(run)});
}

}  // namespace tileconv
