// The bands of a map and their windows.
#include "winograd_windows.h"

#include <cassert>
#include <numeric>
#include <set>

#include "../stage_tile.h"

namespace tileconv {
namespace {

// Chooses the free elements of a window that lacks outputs, `count` windows at a time: element j is at
// window + j * apart. The recurrence has the points of the positions that stay as its roots: of two, 0 and 1, it is
// d[j] = d[j - 1]; with -1 it is d[j - 2], with 1/2 d[j - 2] + (d[j - 1] - d[j - 3]) / 2. With one output missing, five
// positions stay, and the last element does not matter.
template <class T>
void complete_window(T* window, std::int64_t apart, std::int64_t count, std::int64_t missing) {
  const std::int64_t stay = winograd_window_size - missing;
  for (std::int64_t j = stay; j < winograd_window_size - 1; ++j) {
    T* const to = window + j * apart;
    const T *const one = to - apart, *const two = one - apart, *const three = two - apart;
    if (stay == 4)
      for (std::int64_t i = 0; i < count; ++i) to[i] = two[i] + (one[i] - three[i]) / 2;
    else
      std::copy_n(stay == 3 ? two : one, count, to);
  }
}

}  // namespace

template <class T>
WinogradWindows<T>::WinogradWindows(const ShiftMap& map, const KernelSet<T>& set, std::int64_t most_tiles)
    : h(map.h), w(map.w), set_(set), kernel_(*find_winograd_pieces(set, h.taps, w.taps)) {
  tile_rows_ = band_rows() / kernel_.outputs_h();
  // A band's columns are cut in blocks that hold one tile of every phase.
  const std::int64_t block = kernel_.outputs_w() * w.dilation;
  const std::int64_t blocks = std::max<std::int64_t>(1, ceil_div(w.out_size, block));
  constexpr std::int64_t widest = 256;  // outputs, whose staged rows leave L1 otherwise
  const std::int64_t most = std::max<std::int64_t>(1, std::min(most_tiles / tile_rows_ / w.dilation, widest / block));
  row_tiles_ = w.dilation * ceil_div(blocks, ceil_div(blocks, most));
  for (std::int64_t x0 = 0; x0 < w.out_size; x0 += band_width()) {
    const std::int64_t x1 = std::min(w.out_size, x0 + band_width());
    for (std::int64_t phase = 0; phase < h.phases(); ++phase) {
      const std::int64_t rows = ceil_div(h.out_size - phase, h.dilation);
      for (std::int64_t row = 0; row < rows + (h.pieces - 1) * band_rows(); row += band_rows())
        bands_.push_back({phase + h.dilation * row, std::clamp<std::int64_t>(rows - row, 0, band_rows()), x0, x1,
                          rows - row, parts_.size()});
    }
    // All columns that the taps of a segment reach, then zeros for the tiles that end beyond x1: what no output reads
    // would show in the rounding errors.
    std::vector<StagePiece> pieces;
    for (std::int64_t segment = 0; segment < w.segments; ++segment) {
      const std::int64_t reach = x1 - x0 + (w.taps_of(segment) - 1) * w.dilation;
      for (StagePiece piece : make_pieces(w.map, x0 * w.step + w.first(segment), reach, w.step)) {
        if (piece.position + piece.length == reach) piece.length = band_width() + w.reach() - piece.position;
        piece.position += segment * pitch();
        pieces.push_back(piece);
      }
    }
    parts_.push_back({RowColumns(std::move(pieces), w.map.size), {}});
  }
  // With fewer products it takes longer to tell tiles apart; whole rows of them, not as long.
  constexpr std::int64_t least_products = 1024, least_row_products = 256;
  const bool whole = h.pieces == 1 && w.pieces == 1;
  const std::int64_t products = whole ? segments() * map.in_channels * map.out_channels : 0;
  const bool leaves_out = products >= least_products;
  leaves_out_rows_ = products >= least_row_products;
  for (std::size_t i = 0; i < parts_.size(); ++i) {
    const std::int64_t width = std::min(w.out_size - static_cast<std::int64_t>(i) * band_width(), band_width());
    for (std::int64_t phase = 0; phase < std::min(w.dilation, width); ++phase) {
      const std::int64_t outputs = ceil_div(width - phase, w.dilation), tiles = ceil_div(outputs, kernel_.outputs_w());
      parts_[i].phases.push_back({tiles, (tiles - 1) * block, leaves_out ? tiles * kernel_.outputs_w() - outputs : 0});
    }
  }
  find_kinds();
}

// Kinds that lack no columns begin; those that lack no rows are next to each other, from the second kind of columns to
// the first. So the tiles that need a position are a single stretch, unless columns lack three different counts.
template <class T>
void WinogradWindows<T>::find_kinds() {
  std::set<std::int64_t> all_below, all_beside{0};
  for (const Band& b : bands_)
    for (std::int64_t row = 0; row < b.rows; row += kernel_.outputs_h()) all_below.insert(missing_h(b, row));
  for (const Part& part : parts_)
    for (const Phase& phase : part.phases) all_beside.insert(phase.missing);
  std::vector<std::int64_t> rows(all_below.rbegin(), all_below.rend());
  for (const std::int64_t beside : all_beside) {
    for (const std::int64_t below : rows) {
      Kind kind{0, 0};
      for (std::int64_t i = 0; i < kernel_.window_h() - below; ++i)
        for (std::int64_t j = 0; j < kernel_.window_w() - beside; ++j)
          kind.positions |= std::uint64_t{1} << (i * kernel_.window_w() + j), ++kind.position_count;
      kind_of_[below][beside] = kinds_.size();
      kinds_.push_back(kind);
    }
    std::reverse(rows.begin(), rows.end());
  }
  assert(kinds_.size() <= most_kinds);
  for (std::int64_t position = 0; position < kernel_.positions(); ++position) {
    std::int64_t other = 0;
    while (!std::all_of(kinds_.begin(), kinds_.end(),
                        [&](const Kind& kind) { return kind.needs(position) == kind.needs(other); }))
      ++other;
    first_alike_.push_back(other);
  }
}

template <class T>
typename WinogradWindows<T>::Order WinogradWindows<T>::order(std::int64_t begin, std::int64_t end) const {
  Order order{};
  for (std::int64_t b = begin; b < end; ++b)
    for_each_tile_row(
        band(b), [&](std::int64_t, std::int64_t, std::int64_t tiles, std::size_t kind) { order[kind + 1] += tiles; });
  std::partial_sum(order.begin(), order.end(), order.begin());
  return order;
}

template <class T>
std::int64_t WinogradWindows<T>::image_positions() const {
  const Order image = order(0, bands_per_image());
  std::int64_t all = 0;
  for (std::size_t k = 0; k < kinds_.size(); ++k) all += (image[k + 1] - image[k]) * kinds_[k].position_count;
  return all;
}

template <class T>
void WinogradWindows<T>::stage(const ConvViews& v, const Band& b, std::int64_t image, std::int64_t channel,
                               std::int64_t channels, T* staged) const {
  const auto& pieces = parts_[b.part].columns.pieces;
  const char* const source = v.input + image * v.input_stride[0] + channel * v.input_stride[1];
  for (std::int64_t segment = 0; segment < h.segments; ++segment)
    stage_rows<T>(set_,
                  {staged + segment * staged_rows() * row_size(), channel_pitch(), source, v.input_stride[1],
                   v.input_stride[3], channels, pieces.data(), static_cast<std::int64_t>(pieces.size()), row_size()},
                  row_size(), v.input_stride[2], staged_rows(), true,
                  [&](std::int64_t i) { return source_row(b, segment, i); });
}

// Of a transposed row of a band.
template <class T>
void WinogradWindows<T>::complete_columns(const Part& part, T* row) const {
  for (const Phase& phase : part.phases) {
    complete_window(row + phase.last * set_.lanes, w.dilation * set_.lanes, set_.lanes, phase.missing);
    row += set_.lanes;
  }
}

// Rows from `begin` on of a band, transposed: a vector of planes, from `plane` on. Those of several segments are staged
// side by side before, channel by channel.
template <class T>
void WinogradWindows<T>::bring_rows(const ConvViews& v, const Band& band, std::int64_t image, std::int64_t begin,
                                    std::int64_t channel, std::int64_t channels, std::int64_t plane, T* staged,
                                    T* rows) const {
  const RowColumns& columns = parts_[band.part].columns;
  const std::ptrdiff_t* const stride = v.input_stride;
  const char* const source = v.input + image * stride[0] + channel * stride[1];
  const std::int64_t row = pitch() * set_.lanes, count = std::min<std::int64_t>(set_.lanes, planes(channels) - plane);
  if (segments() == 1)
    return transpose_rows(
        set_, columns, pitch(), pitch(), {{source + plane * stride[1], stride[1], stride[3], count}, stride[2]},
        window_rows() - begin, [&](std::int64_t i) { return source_row(band, 0, begin + i); }, staged,
        rows + begin * row);
  const std::int64_t first = plane / w.segments, last = ceil_div(plane + count, w.segments);
  for (std::int64_t i = begin; i < window_rows(); ++i) {
    for (std::int64_t next = first, together; next < last; next += together) {
      const std::int64_t segment = next / channels, c = next % channels, from = source_row(band, segment, i);
      together = std::min(last - next, channels - c);
      set_.stage({staged + (next - first) * row_size(), row_size(),
                  from == zero_row ? nullptr : source + from * stride[2] + c * stride[1], stride[1], stride[3],
                  together, columns.pieces.data(), static_cast<std::int64_t>(columns.pieces.size()),
                  row_size() - set_.lanes});
    }
    set_.pack({staged + (plane - first * w.segments) * pitch(), pitch(), 1, count, set_.lanes, band_width() + w.reach(),
               rows + i * row, set_.lanes});
  }
}

template <class T>
void WinogradWindows<T>::transform(const ConvViews& v, std::int64_t begin, std::int64_t end, const Order& strip,
                                   std::int64_t channel, std::int64_t channels, T* scratch, T* out,
                                   std::ptrdiff_t out_position, std::ptrdiff_t out_tile) const {
  const std::int64_t lanes = set_.lanes, row = pitch() * lanes, shared = h.piece_taps - 1;
  T* const rows = scratch + staged_size();
  for (std::int64_t plane = 0; plane < planes(channels); plane += lanes) {
    Order order = strip;
    const Band* above = nullptr;
    for (std::int64_t b = begin; b < end; ++b) {
      const Band& next = band(b);
      // It continues the one above it, which is of the same image then.
      const bool follows = above && above->part == next.part && next.left + band_rows() == above->left;
      if (follows) std::copy_n(rows + band_rows() * row, shared * row, rows);
      bring_rows(v, next, image(b), follows ? shared : 0, channel, channels, plane, scratch, rows);
      for (std::int64_t i = follows ? shared : 0; i < window_rows(); ++i)
        complete_columns(parts_[next.part], rows + i * row);
      // A band that lacks rows has a single row of tiles, and none follows it.
      complete_window(rows, row, row, missing_h(next, 0));
      for_each_window_row(next, [&](std::int64_t y, std::int64_t x, std::int64_t windows, std::size_t kind) {
        kernel_.input({rows + y * row + x * lanes, row, w.dilation * lanes,
                       out + plane + take(order, windows, kind) * out_tile, out_position, out_tile, windows});
      });
      above = &next;
    }
  }
}

template class WinogradWindows<float>;
template class WinogradWindows<double>;

}  // namespace tileconv
