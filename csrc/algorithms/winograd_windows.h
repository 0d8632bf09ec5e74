// What Winograd's algorithm reads of a map's input: bands of tiles, their rows in scratch, their transformed windows.
//
// A band is what six rows of the input give: 7 - taps rows of outputs, `dilation` apart, or a part of their width. A
// row of tiles covers them. Where the kernel has a single row, a band is three rows, with tiles for each: few enough
// that threads can share the bands of a small image. Outputs `dilation` columns apart make tiles of their own,
// interleaved with the others. Bands are fixed by the problem alone.
//
// The last tile of a row or column may lack outputs. With k of them missing along an axis, 6 - k elements of its window
// are read and as many positions will do. The elements beyond are free: they are chosen such that the last k positions
// vanish, and their products are left out. The last element is read by the last position only, which serves the last
// output only. The others continue the window as the recurrence whose characteristic roots are the points, other than
// 0, of the positions that stay: so the polynomials of the points left out vanish on it.
//
// With a stride, taps that leave the same remainder by it read the same columns, whole outputs apart: a segment of the
// axis (staging.h), whose taps make a convolution of stride 1. What a segment of the rows and one of the columns have
// of an in channel is a plane of its own, with windows of its own: 3 x 3 taps of stride 2 are 2 x 2 taps, or fewer, on
// each of four planes. A vector holds planes of as many channels and segments as it takes.
//
// A long kernel is cut in pieces (winograd_common.h), which read the windows of the tiles that follow: a row of tiles
// then has more windows than tiles, and below the last band of a column there are some of windows alone. Such windows
// serve several tiles: none of their elements is free.
#pragma once

#include <algorithm>
#include <array>
#include <vector>

#include "../channel_rows.h"
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
    std::int64_t left;  // rows from the first on, in this and the bands below it; less than 1: windows alone
    std::size_t part;   // of the image's columns
  };

  // One axis. Its taps are taken in the order of their coordinates, whatever the order of the map's taps is: tap i
  // belongs to segment i % segments.
  struct Axis {
    std::int64_t out_size, step, count, segments;
    // Of a segment, the first at least: output t and tap j read (t + j * dilation) * step + first(segment). Of one tap,
    // the dilation is 1.
    std::int64_t taps, dilation;
    std::int64_t pieces, piece_taps;  // of these taps
    std::int64_t lowest, apart;       // coordinate of tap 0 for output 0; from one tap to the next
    bool reversed;                    // tap i is the map's tap count - 1 - i
    AxisMap map;
    explicit Axis(const MapAxis& axis)
        : out_size(axis.out_size),
          step(axis.step),
          count(axis.count),
          segments(axis.remainders()),
          taps(winograd_taps(axis)),
          dilation(taps == 1 ? 1 : std::abs(axis.difference) / (step / segments)),
          pieces(winograd_pieces(taps)),
          piece_taps(winograd_piece_taps(taps)),
          lowest(axis.lowest()),
          apart(std::abs(axis.difference)),
          reversed(axis.difference < 0),
          map(axis.map) {}
    std::int64_t phases() const { return std::min(dilation, out_size); }
    std::int64_t first(std::int64_t segment) const { return lowest + segment * apart; }
    std::int64_t taps_of(std::int64_t segment) const { return ceil_div(count - segment, segments); }
    std::int64_t original(std::int64_t i) const { return reversed ? count - 1 - i : i; }
    // Tap j of a piece of a segment; -1: it has none there.
    std::int64_t piece_tap(std::int64_t segment, std::int64_t piece, std::int64_t j) const {
      const std::int64_t i = segment + (piece * (piece_taps - 1) + j) * segments;
      return (piece > 0 && j == 0) || i >= count ? -1 : i;
    }
    // From the first to the last tap of all pieces, in outputs.
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
  // Tiles that lack the same numbers of rows and columns of outputs, and so need the same positions.
  struct Kind {
    std::uint64_t positions;  // bit p stands for position p
    std::int64_t position_count;
    bool needs(std::int64_t position) const { return (positions >> position & 1) != 0; }
  };
  const std::vector<Kind>& kinds() const { return kinds_; }
  // The first position that the same kinds need.
  std::int64_t first_alike(std::int64_t position) const { return first_alike_[static_cast<std::size_t>(position)]; }
  // f(row, column, tiles, kind) for adjacent tiles of a band, in the order of its rows: where the first output of the
  // first one lies in the band, how many they are, and of which kind. Their outputs lie w.dilation columns apart. Of a
  // row the last tile comes first, if it is of another kind: where rows of outputs adjoin, what it writes beyond its
  // own is to be overwritten.
  template <class F>
  void for_each_tile_row(const Band& b, F f) const {
    for_each_row_of(b, b.rows, 0, f);
  }
  // The same of the windows.
  template <class F>
  void for_each_window_row(const Band& b, F f) const {
    for_each_row_of(b, h.pieces > 1 ? 1 : b.rows, w.pieces - 1, f);
  }

  // The order of a strip's tiles in memory, and of their windows: kind by kind, so that the products of a position are
  // a few of the stretches. As order() gives it, kind k is the tiles [order[k], order[k + 1]). A walk over the strip
  // uses a copy up: there order[k] is the next tile of kind k.
  static constexpr std::size_t most_kinds = 9;  // of rows and of columns: nothing is missing, or one of two counts
  using Order = std::array<std::int64_t, most_kinds + 1>;
  Order order(std::int64_t begin, std::int64_t end) const;  // of the bands [begin, end)
  // Of one image: its tiles, and the positions that they need, all together.
  std::int64_t image_tiles() const { return order(0, bands_per_image())[kinds_.size()]; }
  std::int64_t image_positions() const;
  // The next `tiles` of a kind: the number of the first one.
  static std::int64_t take(Order& order, std::int64_t tiles, std::size_t kind) {
    order[kind] += tiles;
    return order[kind] - tiles;
  }
  // f(first, tiles) for those of a strip that need a position's products, in as few stretches as they lie in.
  template <class F>
  void for_each_stretch(const Order& strip, std::int64_t position, F f) const {
    std::int64_t begin = 0, end = 0;
    for (std::size_t k = 0; k < kinds_.size(); ++k) {
      if (!kinds_[k].needs(position)) continue;
      if (strip[k] != end) {
        if (begin != end) f(begin, end - begin);
        begin = strip[k];
      }
      end = strip[k + 1];
    }
    if (begin != end) f(begin, end - begin);
  }

  // The rows of input that the direct sums of a band read, segment by segment, for up to staged_channels channels,
  // channel_pitch apart; zeros where the band has no use for a row. The segments of a row's columns follow each other,
  // `pitch` elements apart, with room for a vector behind each. `staged` has room for staged_size elements.
  std::int64_t staged_channels() const { return std::max<std::int64_t>(1, set_.lanes / segments()); }
  std::int64_t pitch() const { return band_width() + w.reach() + (segments() > 1 ? set_.lanes : 0); }
  std::int64_t row_size() const { return w.segments * pitch(); }
  std::int64_t staged_rows() const { return band_rows() + h.taps - 1; }  // of a segment
  std::int64_t channel_pitch() const { return h.segments * staged_rows() * row_size() + set_.lanes; }
  // Where output 0 finds the map's tap (i, j) there.
  std::ptrdiff_t staged_tap(std::int64_t i, std::int64_t j) const {
    i = h.original(i), j = w.original(j);
    return (i % h.segments * staged_rows() + i / h.segments) * row_size() + j % w.segments * pitch() +
           j / w.segments * w.dilation;
  }
  // Or as many rows as a vector of planes is made of: of every channel that has a plane among them, all segments.
  std::int64_t staged_size() const {
    const std::int64_t channels = staged_channels() * (channel_pitch() + set_.lanes);
    return ceil_div(std::max(channels, (set_.lanes + 2 * w.segments) * pitch()), set_.lanes) * set_.lanes;
  }
  void stage(const ConvViews& v, const Band& b, std::int64_t image, std::int64_t channel, std::int64_t channels,
             T* staged) const;

  // The planes of in channels: that of segments i of the rows and j of the columns of channel c is
  // (i * channels + c) * w.segments + j.
  std::int64_t segments() const { return h.segments * w.segments; }
  std::int64_t planes(std::int64_t channels) const { return segments() * channels; }

  // The transformed windows of all planes of `channels` channels of the bands [begin, end), in the order of their tiles
  // or, of a kernel in pieces, as they come: position p of window t and plane c is
  // out[p * out_position + t * out_tile + c], in whole vectors of planes. A band keeps the rows that the one above it
  // has brought.
  std::int64_t scratch_size() const { return staged_size() + window_rows() * pitch() * set_.lanes; }
  void transform(const ConvViews& v, std::int64_t begin, std::int64_t end, const Order& strip, std::int64_t channel,
                 std::int64_t channels, T* scratch, T* out, std::ptrdiff_t out_position, std::ptrdiff_t out_tile) const;

 private:
  // Columns of the image, `dilation` apart: how many tiles, how far the last one begins from the first, and what it
  // lacks.
  struct Phase {
    std::int64_t tiles, last, missing;
  };
  // Adjacent columns, those of a band: the pieces of all segments.
  struct Part {
    RowColumns columns;
    std::vector<Phase> phases;
  };

  // The input's row that is row i of the band's, of a segment; zero_row: one of zeros, or that no output has a use for.
  std::int64_t source_row(const Band& b, std::int64_t segment, std::int64_t i) const {
    return i < b.left + h.taps_of(segment) - 1 ? h.map(row(b, i) * h.step + h.first(segment)) : zero_row;
  }
  std::int64_t window_rows() const { return band_rows() + h.piece_taps - 1; }
  // Rows of outputs that the tiles lack which begin in that row of the band.
  std::int64_t missing_h(const Band& b, std::int64_t row) const {
    return leaves_out_rows_ ? std::max<std::int64_t>(0, row + kernel_.outputs_h() - b.rows) : 0;
  }
  std::size_t kind_of(std::int64_t below, std::int64_t beside) const {
    return kind_of_[static_cast<std::size_t>(below)][static_cast<std::size_t>(beside)];
  }
  // The last tile of a phase may be of another kind than the others.
  template <class F>
  void for_each_row_of(const Band& b, std::int64_t rows, std::int64_t more, F f) const {
    const std::vector<Phase>& phases = parts_[b.part].phases;
    for (std::int64_t row = 0; row < rows; row += kernel_.outputs_h()) {
      const std::int64_t below = missing_h(b, row);
      for (std::size_t i = 0; i < phases.size(); ++i) {
        const auto phase = static_cast<std::int64_t>(i);
        const std::int64_t beside = phases[i].missing, whole = phases[i].tiles + more - (beside > 0 ? 1 : 0);
        if (beside > 0) f(row, phase + phases[i].last, 1, kind_of(below, beside));
        if (whole > 0) f(row, phase, whole, kind_of(below, 0));
      }
    }
  }
  void bring_rows(const ConvViews& v, const Band& band, std::int64_t image, std::int64_t begin, std::int64_t channel,
                  std::int64_t channels, std::int64_t plane, T* staged, T* rows) const;
  void find_kinds();
  void complete_columns(const Part& part, T* row) const;

  const KernelSet<T>& set_;
  const WinogradKernel<T>& kernel_;
  std::int64_t tile_rows_, row_tiles_;
  bool leaves_out_rows_;
  std::vector<Band> bands_;
  std::vector<Part> parts_;
  std::vector<Kind> kinds_;
  std::size_t kind_of_[winograd_window_size][winograd_window_size] = {};
  std::vector<std::int64_t> first_alike_;
};

}  // namespace tileconv
