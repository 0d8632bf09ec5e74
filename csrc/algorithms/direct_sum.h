// The direct sum of some outputs: what is not finite within a faster algorithm is computed again by it.
#pragma once

#include <algorithm>
#include <cstdint>

#include "../plan.h"

namespace tileconv {

// A row of `pixels` of some out channels, one running sum each as shift_gemm computes it; `all` has the arguments of
// the first channel and pixel. Rows of input and output have room for whole vectors.
template <class T>
void sum_row_directly(const KernelSet<T>& set, const GemmArgs<T>& all, std::int64_t channels, std::int64_t pixels) {
  constexpr std::int64_t most_rows = 8;
  constexpr std::ptrdiff_t single = 0;
  GemmArgs<T> a = all;
  a.out_vectors = &single;
  for (std::int64_t k = 0; k < channels; k += most_rows)
    for (std::int64_t x = 0; x < pixels; x += set.lanes) {
      a.input = a.prefetch = all.input + x;
      a.weights = all.weights + k * all.weight_row;
      a.bias = all.bias ? all.bias + k : nullptr;
      a.out = all.out + k * all.out_channel_stride + x;
      a.partial_in = all.partial_in ? a.out : nullptr;
      find_kernel(set.pixel_lanes, set.pixel_lanes_count, static_cast<int>(std::min(most_rows, channels - k)), 1)
          .run(a);
    }
}

}  // namespace tileconv
