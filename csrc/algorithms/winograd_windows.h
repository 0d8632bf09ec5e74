// What Winograd's algorithm reads of a map's input: bands of tiles, their rows in scratch, their transformed windows.
//
// A band is what six rows of the input give: 7 - taps rows of outputs, `dilation` apart, or a part of their width. A
// row of tiles covers them. Where the kernel has a single row, a band is three rows, with tiles for each: few enough
// that threads can share the bands of a small image. Outputs `dilation` columns apart make tiles of their own,
// interleaved with the others. Bands are fixed by the problem alone.
//
// A long kernel is cut in pieces (winograd_common.h), which read the windows of the tiles that follow: a row of tiles
// then has more windows than tiles, and below the last band of a column there are some of windows alone.
#pragma once

#include <algorithm>
#include <vector>

#include "../plan.h"
#include "../shift_map.h"
#include "winograd_common.h"

namespace tileconv {

template <class T>
class WinogradWindows {
 public:
  // Rows first, first + dilation, .. of the output; columns [x0, x1).
  struct Band {
    std::int64_t first, rows, x0, x1;
    std::int64_t left;    // rows from the first on, in this and the bands below it; less than 1: windows alone
    std::size_t columns;  // of the image's parts
  };

  // One axis: coordinates in ascending order, whatever the order of the map's taps is.
  struct Axis {
    std::int64_t out_size, taps, dilation, first;  // output t and tap i read t + first + i * dilation; of one tap: 1
    std::int64_t pieces, piece_taps;               // of the taps
    bool reversed;                                 // tap i is the map's tap taps - 1 - i
    AxisMap map;
    explicit Axis(const MapAxis& axis)
        : out_size(axis.out_size),
          taps(axis.count),
          dilation(axis.count == 1       ? 1
                   : axis.difference < 0 ? -axis.difference
                                         : axis.difference),
          first(axis.tap(axis.difference < 0 ? axis.count - 1 : 0)),
          pieces(winograd_pieces(taps)),
          piece_taps(winograd_piece_taps(taps)),
          reversed(axis.difference < 0),
          map(axis.map) {}
    std::int64_t phases() const { return std::min(dilation, out_size); }
    std::int64_t original(std::int64_t i) const { return reversed ? taps - 1 - i : i; }
    // Tap j of a piece; -1: it has none there.
    std::int64_t piece_tap(std::int64_t piece, std::int64_t j) const {
      const std::int64_t i = piece * (piece_taps - 1) + j;
      return (piece > 0 && j == 0) || i >= taps ? -1 : i;
    }
    // From the first to the last tap of all pieces.
    std::int64_t reach() const { return pieces * (piece_taps - 1) * dilation; }
  };

  // Bands with at most most_tiles tiles.
  WinogradWindows(const ShiftMap& map, const KernelSet<T>& set, std::int64_t most_tiles);

  const Axis h, w;
  std::int64_t band_rows() const { return h.taps == 1 ? 3 : winograd_window_size + 1 - h.piece_taps; }
  std::int64_t band_tiles() const { return tile_rows_ * row_tiles_; }  // of a full one
  std::int64_t band_windows() const { return tile_rows_ * (row_tiles_ + (w.pieces - 1) * w.dilation); }
  std::int64_t band_width() const { return row_tiles_ * kernel_.outputs_w(); }
  std::int64_t bands_per_image() const { return static_cast<std::int64_t>(bands_.size()); }
  const std::vector<Band>& bands() const { return bands_; }  // of one image
  // Band b of the batch and its image.
  const Band& band(std::int64_t b) const { return bands_[static_cast<std::size_t>(b % bands_per_image())]; }
  std::int64_t image(std::int64_t b) const { return b / bands_per_image(); }
  // The band's row i in terms of the output.
  std::int64_t row(const Band& b, std::int64_t i) const { return b.first + h.dilation * i; }
  // f(row, column, tiles) for the rows of adjacent tiles of a band, in their order: where the first output of the first
  // tile lies in the band, and how many they are. Their outputs lie w.dilation columns apart.
  template <class F>
  void for_each_row(const Band& b, F f) const {
    for_each_row_of(b, b.rows, 0, f);
  }
  // The same of its windows.
  template <class F>
  void for_each_window_row(const Band& b, F f) const {
    for_each_row_of(b, h.pieces > 1 ? 1 : b.rows, w.pieces - 1, f);
  }
  std::int64_t tiles_of(const Band& b) const {
    std::int64_t all = 0;
    for_each_row(b, [&](std::int64_t, std::int64_t, std::int64_t tiles) { all += tiles; });
    return all;
  }

  // The rows of input that the direct sums of a band read, `pitch` elements apart, for up to a vector of channels,
  // channel_pitch apart; zeros where the band has no use for a row. `staged` has room for staged_size elements.
  std::int64_t pitch() const { return band_width() + w.reach(); }
  std::int64_t staged_rows() const { return band_rows() + h.taps - 1; }
  std::int64_t channel_pitch() const { return staged_rows() * pitch() + set_.lanes; }
  std::int64_t staged_size() const { return set_.lanes * (channel_pitch() + set_.lanes); }
  void stage(const ConvViews& v, const Band& b, std::int64_t image, std::int64_t channel, std::int64_t channels,
             T* staged) const;

  // The transformed windows of `channels` channels of the bands [begin, end), in their order: position p of window t
  // and channel c is out[p * out_position + t * out_tile + c], in whole vectors of channels. A band keeps the rows that
  // the one above it has brought.
  std::int64_t scratch_size() const { return staged_size() + window_rows() * pitch() * set_.lanes; }
  void transform(const ConvViews& v, std::int64_t begin, std::int64_t end, std::int64_t channel, std::int64_t channels,
                 T* scratch, T* out, std::ptrdiff_t out_position, std::ptrdiff_t out_tile) const;

 private:
  // The input's row that is row i of the band's; -1: one of zeros, or that no output has a use for.
  std::int64_t source_row(const Band& b, std::int64_t i) const {
    return i < b.left + h.taps - 1 ? h.map(row(b, i) + h.first) : -1;
  }
  std::int64_t window_rows() const { return band_rows() + h.piece_taps - 1; }
  template <class F>
  void for_each_row_of(const Band& b, std::int64_t rows, std::int64_t more, F f) const {
    for (std::int64_t row = 0; row < rows; row += kernel_.outputs_h())
      for (std::int64_t phase = 0; phase < std::min(w.dilation, b.x1 - b.x0); ++phase)
        f(row, phase, ceil_div(b.x1 - b.x0 - phase, kernel_.outputs_w() * w.dilation) + more);
  }

  const KernelSet<T>& set_;
  const WinogradKernel<T>& kernel_;
  std::int64_t tile_rows_, row_tiles_;
  std::vector<Band> bands_;
  std::vector<std::vector<StagePiece>> pieces_;
};

}  // namespace tileconv
