// Pixels packed for register tiles: in runs for those that broadcast them, in blocks for those that load vectors.
#pragma once

#include <algorithm>
#include <cstdint>

#include "../kernels/kernels.h"
#include "../shift_map.h"

namespace tileconv {

// Elements from a packed run or block of pixels, `width` for each channel, to the next: the last one's vector may reach
// beyond it, and what is between keeps runs from falling into the same sets of the caches.
inline std::int64_t packed_run_size(std::int64_t channels, std::int64_t width, std::int64_t lanes) noexcept {
  return (ceil_div(channels * width, lanes) + 2) * lanes;
}

// Channels of which pixels are packed together: L1 holds their rows meanwhile.
constexpr std::int64_t packed_together = 32;
constexpr double pack_cycles = 4;  // of a channel of a run, measured on Zen 3

// Packs a run: `pixels` of each channel, of rows that are from_row apart, `width` apart.
template <class T>
void pack_run(const KernelSet<T>& set, const T* from, std::ptrdiff_t from_row, std::int64_t channels,
              std::int64_t pixels, T* to, std::int64_t width) {
  set.sum_pixels({{from}, 1, from_row, to, width, channels, pixels});
}

// The pixels of register tiles, one tile after the other: cut evenly in runs of `rows` at the most, the longer ones
// first. The first channel's are found at(run), the next one's a step() further.
class PixelRuns {
 public:
  // In rows of pixels, one of each channel.
  static PixelRuns in_rows(std::int64_t pixels, std::int64_t rows, std::ptrdiff_t row_step) noexcept {
    return {pixels, rows, row_step, 0};
  }
  // One run behind the other; of each, its pixels of one channel behind those of the other. A step reads on where the
  // one before it ended. From rows it takes a part of a cache line of every channel, and if these are more than L1
  // keeps until the next run's turn, takes them again. More pixels take no less room.
  static PixelRuns packed(std::int64_t pixels, std::int64_t rows, std::int64_t channels, std::int64_t lanes) noexcept {
    return {pixels, rows, rows, packed_run_size(channels, rows, lanes)};
  }
  const EvenParts& pixels() const noexcept { return pixels_; }
  std::int64_t count() const noexcept { return pixels_.count; }
  std::int64_t begin(std::int64_t run) const noexcept { return pixels_.begin(run); }
  std::ptrdiff_t at(std::int64_t run) const noexcept { return run_size_ > 0 ? run * run_size_ : begin(run); }
  std::ptrdiff_t step() const noexcept { return step_; }
  std::int64_t size() const noexcept { return count() * run_size_; }  // packed: elements

 private:
  PixelRuns(std::int64_t pixels, std::int64_t rows, std::ptrdiff_t step, std::int64_t run_size) noexcept
      : pixels_(EvenParts::of_at_most(pixels, rows)), step_(step), run_size_(run_size) {}
  EvenParts pixels_;
  std::int64_t step_, run_size_;  // run_size_: 0 in rows
};

// Packs the pixels of rows that are from_row apart to runs.size() elements.
template <class T>
void pack_pixels(const KernelSet<T>& set, const PixelRuns& runs, const T* from, std::ptrdiff_t from_row,
                 std::int64_t channels, T* to) {
  for (std::int64_t c = 0; c < channels; c += packed_together)
    for (std::int64_t run = 0; run < runs.count(); ++run)
      pack_run(set, from + c * from_row + runs.begin(run), from_row, std::min(packed_together, channels - c),
               runs.begin(run + 1) - runs.begin(run), to + runs.at(run) + c * runs.step(), runs.step());
}

// Packs a line of pixels in blocks of whole vectors, block_size apart: some channels, those from `first` on, found in
// rows that are from_row apart.
template <class T>
void pack_line(const KernelSet<T>& set, const EvenParts& blocks, const T* from, std::ptrdiff_t from_row,
               std::int64_t first, std::int64_t channels, std::int64_t pixels, T* to, std::ptrdiff_t block_size) {
  blocks.for_each_size([&](std::int64_t block, std::int64_t count, std::int64_t vectors) {
    const std::int64_t begin = blocks.begin(block) * set.lanes, end = begin + count * vectors * set.lanes;
    set.pixel_blocks({from + begin, from_row, to + block * block_size + first * vectors * set.lanes, block_size,
                      channels, std::min(end, pixels) - begin, vectors});
  });
}

}  // namespace tileconv
