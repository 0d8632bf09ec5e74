// See weight_panels.h.
#include "weight_panels.h"

#include <algorithm>
#include <atomic>

#include "../parallel.h"

namespace tileconv {

template <class T>
WeightPanels<T>::WeightPanels(const ShiftMap& map, const PlanRequest& request, int vectors)
    : set_(kernel_set<T>(*request.kernels)),
      isa_(request.kernels->isa),
      groups_(map.groups),
      in_channels_(map.in_channels),
      kernel_elements_(map.kernel_elements),
      out_vectors_(ceil_div(map.out_channels, set_.lanes)),
      panels_(ceil_div(out_vectors_, vectors)),
      columns_(vectors * set_.lanes) {}

template <class T>
void WeightPanels<T>::pack_columns(const ShiftMap& map, const T* weight, std::int64_t g, std::int64_t panel,
                                   std::int64_t c, std::int64_t elements, T* to) const {
  const std::int64_t from = begin(panel) * set_.lanes, padded = begin(panel + 1) * set_.lanes - from;
  weight += g * map.out_channels * in_channels_ * kernel_elements_ + from * map.weight_out + c * map.weight_in;
  set_.pack({weight, map.weight_out, kernel_elements_ == 1 ? map.weight_in : 1,
             std::min(padded, map.out_channels - from), padded, elements, to, columns_});
}

// A panel takes in channels in one piece where they follow one another, one element each or whole kernels. Else a stack
// of kernels lies between them (input gradients): a few are read in order and dealt out to all panels. Whether weights
// are finite is asked of those that were just read; not of single elements, which hardly ever fall into padding.
template <class T>
void WeightPanels<T>::pack(const ShiftMap& map, const ConvViews& v, int threads, void* packed) const {
  const T* const weight = reinterpret_cast<const T*>(v.weight);
  const T* const bias = reinterpret_cast<const T*>(v.bias);
  const std::int64_t rows = in_channels_ * kernel_elements_, group_weights = map.out_channels * rows;
  const bool whole = kernel_elements_ == 1 || map.weight_in == kernel_elements_;
  const std::int64_t together = whole ? in_channels_ : 8, parts = ceil_div(in_channels_, together);
  std::atomic<bool> finite{kernel_elements_ > 1};
  parallel_for(groups_ * parts * (whole ? panels_ : 1), threads, [&](std::int64_t task) {
    const std::int64_t first = whole ? task % panels_ : 0, last = whole ? first + 1 : panels_;
    const std::int64_t part = whole ? 0 : task % parts, g = task / (whole ? panels_ : parts);
    const std::int64_t end = std::min(in_channels_, (part + 1) * together);
    for (std::int64_t c = part * together; c < end; c += whole ? in_channels_ : 1)
      for (std::int64_t panel = first; panel < last; ++panel) {
        const std::int64_t from = begin(panel) * set_.lanes, padded = begin(panel + 1) * set_.lanes - from;
        const std::int64_t channels = std::min(padded, map.out_channels - from);
        const T* const source = weight + g * group_weights + from * map.weight_out + c * map.weight_in;
        T* const to = const_cast<T*>(group(packed, g)) + panel * panel_size();
        for (std::int64_t k = 0; k < padded && c == 0; ++k)
          to[k] = bias && k < channels ? bias[(g * map.out_channels + from + k) / (map.block_h * map.block_w)] : T(0);
        const std::int64_t columns = whole ? rows : kernel_elements_;
        pack_columns(map, weight, g, panel, c, columns, to + columns_ + c * channel_size());
        const std::int64_t joined = map.weight_out == columns ? channels : 1;
        for (std::int64_t k = 0; k < channels && kernel_elements_ > 1; k += joined)
          if (!set_.finite(reinterpret_cast<const char*>(source + k * map.weight_out), joined * columns))
            finite = false;
      }
  });
  *static_cast<bool*>(packed) = finite;
}

template class WeightPanels<float>;
template class WeightPanels<double>;

}  // namespace tileconv
