// The run of a winograd_rows plan: windows and products of a band, one row of tiles after the other.
#include <algorithm>

#include "../parallel.h"
#include "../stage_tile.h"
#include "spoilt_images.h"
#include "weight_panels.h"
#include "winograd_common.h"
#include "winograd_rows.h"

namespace tileconv {

// Kernels of a few in channels and a vector of out channels at a time, which are then dealt out to their blocks.
template <class T>
void WinogradRowsPlan<T>::pack(const ConvViews& v, void* packed) const {
  const T* const weight = reinterpret_cast<const T*>(v.weight);
  const bool finite = set_.finite(v.weight, map_.groups * map_.out_channels * map_.in_channels * map_.kernel_elements);
  *static_cast<bool*>(packed) = finite;
  if (!finite) return;
  T* const first = reinterpret_cast<T*>(static_cast<char*>(packed) + header_bytes);
  const WeightPanels<T> panels(map_, request_, 1);
  const std::int64_t lanes = set_.lanes, together = packed_together();
  parallel_for(map_.groups * panels.panels(), threads_, [&](std::int64_t task) {
    T* const kernels = static_cast<T*>(thread_arena(Arena::workspace, static_cast<std::size_t>(workspace_bytes())));
    T* const transformed = kernels + together * panels.channel_size();
    const std::int64_t group = task / panels.panels(), panel = task % panels.panels();
    const std::int64_t begin = panel * lanes, end = std::min(begin + lanes, map_.out_channels);
    for (std::int64_t c = 0; c < map_.in_channels; c += together) {
      const std::int64_t channels = std::min(together, map_.in_channels - c);
      const std::int64_t joined = map_.scattered_weights() ? 1 : channels;
      for (std::int64_t i = 0; i < channels; i += joined)
        panels.pack_columns(map_, weight, group, panel, c + i, map_.kernel_elements * joined,
                            kernels + i * panels.channel_size());
      transform_kernels(kernels, channels, transformed);
      for (std::int64_t k = begin; k < end;) {
        const std::int64_t part = blocks_.part_of(k), block = blocks_.begin(part),
                           size = blocks_.begin(part + 1) - block;
        const std::int64_t count = std::min(block + size, end) - k;
        const T* from = transformed + k - begin;
        T* to = first + ((group * map_.out_channels + block) * sums() + c * taps() * size) * positions() + k - block;
        for (std::int64_t n = 0; n < channels * taps() * positions(); ++n, from += lanes, to += size)
          for (std::int64_t i = 0; i < count; ++i) to[i] = from[i];
        k += count;
      }
    }
  });
}

// Kernels of some in channels with a vector of out channels for each element; position p of tap t of one of them goes
// to out + ((channel * taps() + t) * positions() + p) * lanes.
template <class T>
void WinogradRowsPlan<T>::transform_kernels(const T* kernels, std::int64_t channels, T* out) const {
  const std::int64_t lanes = set_.lanes;
  for (std::int64_t segment = 0; segment < segments_; ++segment)
    for (std::int64_t piece = 0; piece < pieces_.count; ++piece)
      for (std::int64_t j = 0; j < map_.w.count; ++j, out += positions() * lanes) {
        std::ptrdiff_t tap_at[winograd_most_taps];
        for (std::int64_t i = 0; i < pieces_.taps; ++i) {
          // From top to bottom; pieces share a tap, which belongs to the first.
          const std::int64_t row = segment + (piece * outputs() + i) * segments_;
          const bool own = row < map_.h.count && (piece == 0 || i > 0);
          const std::int64_t h = map_.h.difference > 0 ? row : map_.h.count - 1 - row;
          tap_at[i] = own ? map_.kernel_index(h, j) * lanes : -1;
        }
        kernels_->weights(
            {kernels, tap_at, map_.kernel_elements * lanes, out, lanes, taps() * positions() * lanes, channels});
      }
}

template <class T>
void WinogradRowsPlan<T>::run(const ConvViews& v, const void* packed) const {
  const bool finite = *static_cast<const bool*>(packed);
  SharedFlags spoilt(map_.batch, !finite);
  const T* const weights = reinterpret_cast<const T*>(static_cast<const char*>(packed) + header_bytes);
  if (finite)
    parallel_for(map_.batch * group_parts_ * phases_ * bands_, threads_,
                 [&](std::int64_t task) { run_band(v, weights, task, spoilt); });
  sum_spoilt_images<T>(spoilt, map_, request_, v);
}

template <class T>
void WinogradRowsPlan<T>::run_band(const ConvViews& v, const T* weights, std::int64_t task, SharedFlags& spoilt) const {
  Band b{};
  TaskDigits digits(task);
  const std::int64_t band = digits.next(bands_);
  b.phase = digits.next(phases_);
  const std::int64_t part = digits.next(group_parts_);
  b.n = digits.rest();
  const std::int64_t tiles = ceil_div(tile_rows(b.phase), outputs());
  const std::int64_t begin = split_at(tiles, bands_, band), end = split_at(tiles, bands_, band + 1);
  if (begin == end) return;
  begin_band(v, b);
  bool finite = true;
  for (b.group = split_at(map_.groups, group_parts_, part); b.group < split_at(map_.groups, group_parts_, part + 1);
       ++b.group) {
    const T* const group_weights = weights + b.group * map_.out_channels * sums() * positions();
    for (std::int64_t tile = begin; tile < end; ++tile) {
      for (std::int64_t p = tile == begin ? 0 : pieces_.count - 1; p < pieces_.count; ++p) make_windows(v, b, tile + p);
      finite &= multiply(v, b, group_weights, tile);
    }
  }
  if (!finite) spoilt.set(b.n);
}

// Clears the windows: beside their columns, and behind those where half a vector leaves lanes unwritten, they stay so.
template <class T>
void WinogradRowsPlan<T>::begin_band(const ConvViews& v, Band& b) const {
  b.windows = static_cast<T*>(thread_arena(Arena::workspace, static_cast<std::size_t>(workspace_bytes())));
  b.zeros = b.windows + pieces_.count * window_size();
  b.staged = b.zeros + pitch_;
  b.outputs = b.staged + staged_size();
  std::fill_n(b.zeros, pitch_, T(0));
  std::fill_n(b.windows, pieces_.count * window_size(), T(0));
  b.window_args.channels = map_.in_channels;
  b.window_args.columns = columns_;
  b.window_args.out_channel = positions() * pitch_;
  b.window_args.out_position = pitch_;
  b.window_args.out_turn = part_;
  WinogradRowArgs<T>& a = b.product_args;
  a.in_channel = positions() * pitch_;
  a.position = pitch_;
  a.kinds = tap_kinds_.data();
  a.kinds_count = static_cast<std::int64_t>(tap_kinds_.size());
  a.in_channels = map_.in_channels;
  a.out_channel = out_rows_ ? v.out_stride[1] / element : outputs() * outputs_row();
  a.out_row = out_rows_ ? dilation_ * v.out_stride[2] / element : outputs_row();
}

// The windows of a row of tiles, over those of the tile `pieces` before. Rows that no output reads are zeros.
template <class T>
void WinogradRowsPlan<T>::make_windows(const ConvViews& v, Band& b, std::int64_t tile) const {
  WinogradRowWindowArgs<T>& a = b.window_args;
  T* const windows = b.windows + tile % pieces_.count * window_size();
  const char* const source = map_source(map_, v, b.n, b.group, 0) + source_ * v.input_stride[3];
  for (std::int64_t segment = 0; segment < segments_; ++segment) {
    const std::int64_t tap = map_.h.difference > 0 ? map_.h.tap(segment) : map_.h.lowest();
    const std::int64_t segment_taps = winograd_segment_taps(map_.h, segment);
    const std::int64_t rows = tile_rows(b.phase) + segment_taps - 1;
    // The last row is in the product of infinity alone, which a segment that lacks a tap leaves out.
    const std::int64_t rows_read = pieces_.count == 1 ? outputs() + segment_taps - 1 : positions();
    std::int64_t y[winograd_most_points];
    for (std::int64_t i = 0; i < positions(); ++i) {
      const std::int64_t row = tile * outputs() + i;
      y[i] = i < rows_read && row < rows ? map_.h.map((b.phase + row * dilation_) * map_.h.step + tap) : -1;
    }
    if (!in_place_)
      stage_rows<T>(set_,
                    {b.staged, staged_row(), source, v.input_stride[1], v.input_stride[3], a.channels, staged_.data(),
                     static_cast<std::int64_t>(staged_.size()), columns_},
                    map_.in_channels * staged_row(), v.input_stride[2], positions(), false,
                    [&](std::int64_t i) { return y[i]; });
    for (std::int64_t i = 0; i < positions(); ++i) {
      a.row_channel[i] = y[i] < 0 ? 0 : in_place_ ? v.input_stride[1] / element : staged_row();
      a.rows[i] = y[i] < 0    ? b.zeros
                  : in_place_ ? reinterpret_cast<const T*>(source + y[i] * v.input_stride[2])
                              : b.staged + i * map_.in_channels * staged_row();
    }
    a.out = windows + segment * segment_size() + columns_at_;
    kernels_->windows[turns_ - 1](a);
  }
  for (std::int64_t row = 0; !margins_.empty() && row < planes() * positions(); ++row)
    for (const Margin& margin : margins_) windows[row * pitch_ + margin.column] = windows[row * pitch_ + margin.source];
}

// Returns whether all outputs are finite.
template <class T>
bool WinogradRowsPlan<T>::multiply(const ConvViews& v, Band& b, const T* weights, std::int64_t tile) const {
  const std::int64_t y = b.phase + tile * outputs() * dilation_, width = map_.w.out_size;
  const T* const bias = v.bias ? reinterpret_cast<const T*>(v.bias) + b.group * map_.out_channels : nullptr;
  const std::ptrdiff_t out_channel = v.out_stride[1] / element, out_row = dilation_ * v.out_stride[2] / element;
  char* const first_out =
      v.out + b.n * v.out_stride[0] + b.group * map_.out_channels * v.out_stride[1] + y * v.out_stride[2];
  WinogradRowArgs<T>& a = b.product_args;
  a.taps = taps_at_.data() + tile % pieces_.count * taps();
  a.rows = std::min<std::int64_t>(outputs(), tile_rows(b.phase) - tile * outputs());
  bool finite = true;
  for (std::int64_t next = 0; next < width; next += tile_w_) {
    // What is left at the end is moved back to be a vector, or a half one.
    const std::int64_t least = width - next <= set_.half_lanes ? set_.half_lanes : set_.lanes;
    const std::int64_t x = std::min(next, std::max<std::int64_t>(0, width - least));
    a.input = b.windows + x;
    a.width = std::min(next + tile_w_, width) - x;
    blocks_.for_each_size([&](std::int64_t block, std::int64_t count, std::int64_t channels) {
      for (std::int64_t k = blocks_.begin(block), end = k + count * channels; k < end; k += channels) {
        T* const out = reinterpret_cast<T*>(first_out + k * v.out_stride[1] + x * v.out_stride[3]);
        a.weights = weights + k * sums() * positions();
        a.bias = bias ? bias + k : nullptr;
        a.out = out_rows_ ? out : b.outputs;
        finite &= kernels_[channels - 1].run(a);
        for (std::int64_t row = 0; !out_rows_ && row < a.rows; ++row)
          set_.spread({b.outputs + row * a.out_row, a.out_channel, channels, a.width, out + row * out_row, out_channel,
                       v.out_stride[3] / element});
      }
    });
  }
  return finite;
}

template class WinogradRowsPlan<float>;
template class WinogradRowsPlan<double>;

}  // namespace tileconv
