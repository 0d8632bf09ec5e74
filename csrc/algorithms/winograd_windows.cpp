// The bands of a map and their windows.
#include "winograd_windows.h"

#include "../channel_rows.h"
#include "../stage_tile.h"

namespace tileconv {

template <class T>
WinogradWindows<T>::WinogradWindows(const ShiftMap& map, const KernelSet<T>& set, std::int64_t most_tiles)
    : h(map.h), w(map.w), set_(set), kernel_(*find_winograd_pieces(set, map.h.count, map.w.count)) {
  tile_rows_ = band_rows() / kernel_.outputs_h();
  // A band's columns are cut in blocks that hold one tile of every phase.
  const std::int64_t block = kernel_.outputs_w() * w.dilation;
  const std::int64_t blocks = std::max<std::int64_t>(1, ceil_div(w.out_size, block));
  constexpr std::int64_t widest = 256;  // outputs, whose staged rows leave L1 otherwise
  const std::int64_t most = std::max<std::int64_t>(1, std::min(most_tiles / tile_rows_ / w.dilation, widest / block));
  row_tiles_ = w.dilation * ceil_div(blocks, ceil_div(blocks, most));
  for (std::int64_t x0 = 0; x0 < w.out_size; x0 += band_width()) {
    const std::int64_t x1 = std::min(w.out_size, x0 + band_width());
    // All columns that the taps reach, in one run, then zeros for the tiles that end beyond x1.
    const std::int64_t reach = x1 - x0 + (w.taps - 1) * w.dilation;
    std::vector<StagePiece> pieces = make_pieces(w.map, x0 + w.first, reach);
    pieces.back().length += pitch() - reach;
    pieces_.push_back(std::move(pieces));
    for (std::int64_t phase = 0; phase < h.phases(); ++phase) {
      const std::int64_t rows = ceil_div(h.out_size - phase, h.dilation);
      for (std::int64_t row = 0; row < rows + (h.pieces - 1) * band_rows(); row += band_rows())
        bands_.push_back({phase + h.dilation * row, std::clamp<std::int64_t>(rows - row, 0, band_rows()), x0, x1,
                          rows - row, pieces_.size() - 1});
    }
  }
}

template <class T>
void WinogradWindows<T>::stage(const ConvViews& v, const Band& b, std::int64_t image, std::int64_t channel,
                               std::int64_t channels, T* staged) const {
  const auto& pieces = pieces_[b.columns];
  stage_rows<T>(
      set_,
      {staged, channel_pitch(), v.input + image * v.input_stride[0] + channel * v.input_stride[1], v.input_stride[1],
       v.input_stride[3], channels, pieces.data(), static_cast<std::int64_t>(pieces.size()), pitch()},
      pitch(), v.input_stride[2], staged_rows(), true, [&](std::int64_t i) { return source_row(b, i); });
}

template <class T>
void WinogradWindows<T>::transform(const ConvViews& v, std::int64_t begin, std::int64_t end, std::int64_t channel,
                                   std::int64_t channels, T* scratch, T* out, std::ptrdiff_t out_position,
                                   std::ptrdiff_t out_tile) const {
  const std::int64_t lanes = set_.lanes, row_size = pitch() * lanes, shared = h.piece_taps - 1;
  T* const rows = scratch + staged_size();
  const auto follows = [&](std::int64_t b) {
    return b > begin && image(b) == image(b - 1) && band(b).columns == band(b - 1).columns &&
           band(b).left + band_rows() == band(b - 1).left;
  };
  for (std::int64_t c = 0; c < channels; c += lanes) {
    T* to = out + c;
    for (std::int64_t b = begin; b < end; ++b) {
      if (follows(b)) std::copy_n(rows + band_rows() * row_size, shared * row_size, rows);
      const char* const source = v.input + image(b) * v.input_stride[0] + (channel + c) * v.input_stride[1];
      for (std::int64_t i = follows(b) ? shared : 0; i < window_rows(); ++i) {
        const std::int64_t from = source_row(band(b), i);
        transpose_row(set_, pieces_[band(b).columns], pitch(),
                      {from < 0 ? nullptr : source + from * v.input_stride[2], v.input_stride[1], v.input_stride[3],
                       std::min(lanes, channels - c)},
                      scratch, rows + i * row_size);
      }
      for_each_window_row(band(b), [&](std::int64_t row, std::int64_t column, std::int64_t windows) {
        kernel_.input({rows + row * row_size + column * lanes, row_size, w.dilation * lanes, to, out_position, out_tile,
                       windows});
        to += windows * out_tile;
      });
    }
  }
}

template class WinogradWindows<float>;
template class WinogradWindows<double>;

}  // namespace tileconv
