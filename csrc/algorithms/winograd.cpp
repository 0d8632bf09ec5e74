// winograd: 3x3 kernels of stride 1 by F(4x4, 3x3), a quarter of the multiply-adds of the direct sum (the mathematics
// are in kernels/winograd.inl.h). Dilated outputs d apart form d * d phases, each a dense problem of its own.
//
// The unit of work is a band: the 4 rows of a phase that a row of tiles covers, `band_tiles` of them. Bands are fixed
// by the problem alone. A strip of them is one task:
//   stage 6 rows of a vector of channels, transpose them, transform every window     -> V[position][tile][channel]
//   for each panel of weights, for each position: V x U, a plain GEMM                -> M[tile][out channel]
//   transform the sums, transpose them into rows of the output
// Outputs that come out not finite are computed again by the direct sum: a NaN, an infinity or an overflow within the
// transforms reaches the whole tile, but must show only where the direct sum has it.
#include <algorithm>
#include <cstdlib>
#include <cstdio>

#include "../cpu.h"
#include "../parallel.h"
#include "algorithms.h"
#include "shift_gemm.h"

namespace tileconv {
namespace {

constexpr std::int64_t tile_size = winograd_outputs_per_axis, window = winograd_window_size,
                       positions = winograd_positions;

// One axis of a phase: outputs phase, phase + dilation, .. of the map, whose taps are then adjacent.
struct PhaseAxis : AxisTaps {
  std::int64_t phase, dilation;
  bool reversed;  // taps in order of their coordinate are the map's in reverse
};

PhaseAxis phase_axis(const MapAxis& axis, std::int64_t phase) {
  PhaseAxis result{};
  result.dilation = std::abs(axis.difference);
  result.phase = phase;
  result.reversed = axis.difference < 0;
  result.out_size = ceil_div(axis.out_size - phase, result.dilation);
  result.step = result.difference = result.dilation;
  result.map = axis.map;
  result.first = axis.tap(result.reversed ? axis.count - 1 : 0) + phase;
  result.count = axis.count;
  return result;
}

template <class T>
class WinogradPlan final : public Plan {
 public:
  WinogradPlan(const ShiftMap& map, const PlanRequest& request)
      : map_(map),
        set_(kernel_set<T>(*request.kernels)),
        isa_(request.kernels->isa),
        out_rows_(request.layout.out_rows),
        in_vectors_(ceil_div(map.in_channels, set_.lanes)),
        out_vectors_(ceil_div(map.out_channels, set_.lanes)) {
    for (std::int64_t p = 0; p < std::min(std::abs(map.h.difference), map.h.out_size); ++p)
      rows_.push_back(phase_axis(map.h, p));
    for (std::int64_t p = 0; p < std::min(std::abs(map.w.difference), map.w.out_size); ++p)
      columns_.push_back(phase_axis(map.w, p));
    cut();
    make_bands();
    make_kernels();
    make_tasks(request.threads);
  }

  double cycles() const noexcept override {
    const auto tiles = static_cast<double>(tiles_per_image_);
    const auto c = static_cast<double>(map_.in_channels);
    const auto k = static_cast<double>(out_vectors_);
    // A multiply-add costs half a cycle, a vector of transforms with its transposition what was measured.
    const double gemm = tiles * positions * c * k / 2 * 1.15;
    const double transforms = tiles * (static_cast<double>(in_vectors_) * 330 + k * 280);
    return static_cast<double>(map_.groups) * (gemm + transforms + 2000);
  }
  std::int64_t workspace_bytes() const noexcept override {
    return (products_size() + sums_size() + staged_size() + transposed_size() + outputs_size() + direct_size() +
            set_.lanes) *
           static_cast<std::int64_t>(sizeof(T));
  }
  std::int64_t packed_bytes() const noexcept override {
    return map_.groups * group_size() * static_cast<std::int64_t>(sizeof(T));
  }
  std::string packing_key() const override { return isa_ + (":winograd:" + std::to_string(panel_vectors_)); }
  PlanReport report() const override {
    return {"F(4x4, 3x3), products " + std::to_string(kernel_rows_) + "x" + std::to_string(panel_vectors_),
            threads_,
            {{"band_tiles", band_tiles_},
             {"bands_per_strip", strip_bands_},
             {"phases", static_cast<std::int64_t>(rows_.size() * columns_.size())}}};
  }

  void pack(const ConvViews& v, void* packed) const override {
    parallel_for(map_.groups * panels(), threads_, [&](std::int64_t task) {
      pack_panel(v, static_cast<T*>(packed), task / panels(), task % panels());
    });
  }
  void run(const ConvViews& v, const void* packed) const override {
    const std::int64_t bands = map_.batch * bands_per_image(), strips = ceil_div(bands, strip_bands_);
    parallel_for(map_.groups * strips * splits_, threads_, [&](std::int64_t task) {
      const std::int64_t split = task % splits_, strip = task / splits_ % strips, group = task / splits_ / strips;
      run_strip(v, static_cast<const T*>(packed) + group * group_size(), group, split_at(bands, strips, strip),
                split_at(bands, strips, strip + 1), split_at(panels(), splits_, split),
                split_at(panels(), splits_, split + 1));
    });
  }

 private:
  // A band of one image: indices of its phase's axes, the row of tiles, the outputs [x0, x1) of the phase.
  struct Band {
    std::size_t row_phase, column_phase, pieces;
    std::int64_t tile_row, x0, x1;
    std::int64_t tiles() const { return ceil_div(x1 - x0, tile_size); }
  };
  struct Workspace {
    T *products, *sums, *staged, *transposed, *outputs, *direct;
  };

  std::int64_t panels() const { return ceil_div(out_vectors_, panel_vectors_); }
  std::int64_t panel_begin(std::int64_t p) const { return split_at(out_vectors_, panels(), p); }  // in vectors
  std::int64_t panel_columns() const { return panel_vectors_ * set_.lanes; }
  std::int64_t position_size() const { return map_.in_channels * panel_columns(); }
  std::int64_t bias_size() const { return out_vectors_ * set_.lanes; }
  // Biases in whole vectors, then the panels: for each position, for each in channel, the panel's out channels.
  std::int64_t group_size() const { return bias_size() + panels() * positions * position_size(); }
  std::int64_t bands_per_image() const { return static_cast<std::int64_t>(bands_.size()); }

  // Strides keep off multiples of a page, where the 36 positions or the rows of a register tile would compete for the
  // same cache sets.
  std::int64_t padded(std::int64_t size) const {
    return size * static_cast<std::int64_t>(sizeof(T)) % 1024 == 0 ? size + set_.lanes : size;
  }
  std::int64_t product_row() const { return padded(in_vectors_ * set_.lanes); }
  std::int64_t product_position() const { return padded(strip_tiles() * product_row()); }
  std::int64_t products_size() const { return positions * product_position(); }
  std::int64_t strip_tiles() const { return strip_bands_ * band_tiles_; }
  std::int64_t sum_position() const { return padded(strip_tiles() * panel_columns()); }
  std::int64_t sums_size() const { return positions * sum_position(); }
  std::int64_t pitch() const { return band_tiles_ * tile_size + window - tile_size; }
  std::int64_t staged_channel() const { return window * pitch() + set_.lanes; }
  std::int64_t staged_size() const { return set_.lanes * (staged_channel() + set_.lanes); }
  std::int64_t transposed_size() const { return window * pitch() * set_.lanes; }
  std::int64_t outputs_size() const { return tile_size * tile_size * band_tiles_ * set_.lanes; }
  std::int64_t line_vectors() const { return ceil_div(tile_size * band_tiles_, set_.lanes); }
  std::int64_t direct_size() const { return tile_size * set_.lanes * line_vectors() * set_.lanes; }

  void cut();
  void make_bands();
  void make_kernels();
  void make_tasks(int threads);
  void pack_panel(const ConvViews& v, T* packed, std::int64_t group, std::int64_t panel) const;
  void run_strip(const ConvViews& v, const T* packed, std::int64_t group, std::int64_t begin, std::int64_t end,
                 std::int64_t panel_begin, std::int64_t panel_end) const;
  std::int64_t stage(const ConvViews& v, std::int64_t n, std::int64_t group, const Band& band,
                     std::int64_t vector, T* staged) const;
  void multiply(const Workspace& w, const T* weights, std::int64_t vectors, std::int64_t tiles) const;
  void finish(const ConvViews& v, const Workspace& w, const T* bias, std::int64_t n, std::int64_t group,
              const Band& band, std::int64_t first_tile, std::int64_t panel) const;
  void direct(const ConvViews& v, const Workspace& w, std::int64_t n, std::int64_t group, const Band& band,
              std::int64_t vector) const;
  // Rows [0, rows) x width pixels of `channels` channels, at(channel, row), to the band's place in the output.
  T* output(const ConvViews& v, std::int64_t n, std::int64_t channel, const Band& band, std::int64_t row) const {
    const PhaseAxis &h = rows_[band.row_phase], &w = columns_[band.column_phase];
    const std::int64_t y = h.phase + h.dilation * (band.tile_row * tile_size + row),
                       x = w.phase + w.dilation * band.x0;
    return reinterpret_cast<T*>(v.out + n * v.out_stride[0] + channel * v.out_stride[1] + y * v.out_stride[2] +
                                x * v.out_stride[3]);
  }
  std::int64_t band_rows(const Band& band) const {
    return std::min(tile_size, rows_[band.row_phase].out_size - band.tile_row * tile_size);
  }
  std::ptrdiff_t out_step(const ConvViews& v, const Band& band) const {
    return v.out_stride[3] / static_cast<std::ptrdiff_t>(sizeof(T)) * columns_[band.column_phase].dilation;
  }
  std::int64_t channels_of(std::int64_t vector, std::int64_t channels) const {
    return std::min<std::int64_t>(set_.lanes, channels - vector * set_.lanes);
  }
  // The element of the map's kernel that belongs to tap (i, j) in order of coordinates.
  std::int64_t kernel_index(std::int64_t i, std::int64_t j) const {
    return map_.kernel_index(map_.h.difference < 0 ? map_.h.count - 1 - i : i,
                             map_.w.difference < 0 ? map_.w.count - 1 - j : j);
  }

  ShiftMap map_;
  const KernelSet<T>& set_;
  std::string isa_;
  bool out_rows_;
  std::int64_t in_vectors_, out_vectors_;
  std::vector<PhaseAxis> rows_, columns_;
  std::vector<Band> bands_;  // of one image
  std::vector<std::vector<StagePiece>> pieces_;
  std::int64_t band_tiles_ = 1, strip_bands_ = 1, tiles_per_image_ = 0, splits_ = 1, channel_chunk_ = 1;
  std::int64_t kernel_rows_ = 1, panel_vectors_ = 1;
  std::vector<const ProductKernel<T>*> products_;  // for each count of vectors, tiles of 1, 2, .. rows
  const GemmKernel<T>* direct_kernels_ = nullptr;
  int threads_ = 1;
};

// The register tile, by the cycles of a panel's width; and how many tiles a strip may have: V and M share L2 with the
// weights that stream by, or L3 where the weights do not fit L2 and many tiles should meet each of them.
template <class T>
void WinogradPlan<T>::cut() {
  double best = 0;
  for (int i = 0; i < set_.product_count; ++i) {
    const ProductKernel<T>& kernel = set_.product[i];
    const std::int64_t parts = ceil_div(out_vectors_, kernel.vectors);
    if (ceil_div(out_vectors_, parts) != kernel.vectors) continue;
    const double vectors = static_cast<double>(out_vectors_) / static_cast<double>(parts), rows = kernel.rows;
    // Of equal products the larger tile loads less.
    const double cycles = std::max({rows * vectors / 2, (rows + vectors + 1) / 2, 4.0}) + 0.1 * (rows + vectors);
    const double cost = static_cast<double>(parts) * cycles / rows;
    if (best == 0 || cost < best) best = cost, kernel_rows_ = kernel.rows, panel_vectors_ = kernel.vectors;
  }
  if (const char* k = getenv("TC_WK")) { int r, v; sscanf(k, "%dx%d", &r, &v); const std::int64_t parts = ceil_div(out_vectors_, v); panel_vectors_ = ceil_div(out_vectors_, parts); kernel_rows_ = r; }
  constexpr auto element = static_cast<std::int64_t>(sizeof(T));
  std::int64_t widest = 1;
  for (const PhaseAxis& axis : columns_) widest = std::max(widest, ceil_div(axis.out_size, tile_size));
  const std::int64_t tile_bytes = positions * (in_vectors_ * set_.lanes + panel_columns()) * element;
  const char* e = getenv("TC_WB");
  const std::int64_t budget = e ? atoi(e) * 1024 : cache_sizes().l2 * 3 / 2;
  const std::int64_t tiles = std::max<std::int64_t>(4, budget / tile_bytes);
  band_tiles_ = ceil_div(widest, ceil_div(widest, std::min<std::int64_t>(tiles, 64)));
  strip_bands_ = std::max<std::int64_t>(1, tiles / band_tiles_);
  // A chunk of a panel stays in L1 while all tiles pass.
  const std::int64_t chunk = std::max<std::int64_t>(1, (getenv("TC_WC") ? atoi(getenv("TC_WC")) * 1024 : cache_sizes().l1d * 5 / 8) / (panel_columns() * element));
  channel_chunk_ = ceil_div(map_.in_channels, ceil_div(map_.in_channels, chunk));
}

template <class T>
void WinogradPlan<T>::make_bands() {
  for (std::size_t i = 0; i < columns_.size(); ++i) {
    const PhaseAxis& axis = columns_[i];
    const std::int64_t width = band_tiles_ * tile_size;
    const StagedAxis staged = make_staged_axis(axis, width);
    for (std::int64_t x0 = 0; x0 < axis.out_size; x0 += width) {
      const std::int64_t x1 = std::min(axis.out_size, x0 + width);
      std::vector<StagePiece> pieces = make_pieces(axis, staged, width, x0, x1);
      const std::int64_t staged_columns = x1 - x0 + window - tile_size;
      if (staged_columns < pitch()) pieces.push_back({staged_columns, pitch() - staged_columns, 0, 0, 0, 1});
      pieces_.push_back(std::move(pieces));
      for (std::size_t p = 0; p < rows_.size(); ++p)
        for (std::int64_t t = 0; t < ceil_div(rows_[p].out_size, tile_size); ++t) {
          bands_.push_back({p, i, pieces_.size() - 1, t, x0, x1});
          tiles_per_image_ += bands_.back().tiles();
        }
    }
  }
}

template <class T>
void WinogradPlan<T>::make_kernels() {
  const auto first = [](auto table, int count, int vectors) {
    int i = 0;
    while (i + 1 < count && table[i].vectors != vectors) ++i;
    return table + i;
  };
  products_.push_back(nullptr);
  for (int vectors = 1; vectors <= panel_vectors_; ++vectors)
    products_.push_back(first(set_.product, set_.product_count, vectors));
  direct_kernels_ = first(set_.pixel_lanes, set_.pixel_lanes_count, 1);
}

// Threads share the strips; where there are few, the panels of weights too, and stage the same bands again.
template <class T>
void WinogradPlan<T>::make_tasks(int threads) {
  const double work = cycles() * static_cast<double>(map_.batch);
  constexpr double least_cycles = 1e5;
  threads_ = static_cast<int>(std::clamp(work / least_cycles, 1.0, static_cast<double>(threads)));
  const std::int64_t bands = map_.batch * bands_per_image();
  std::int64_t strips = std::max<std::int64_t>(1, ceil_div(bands, strip_bands_));
  if (threads_ == 1) return;
  constexpr std::int64_t least_tiles = 24;  // fewer do not pay for the weights' way from L3
  const std::int64_t most = std::max<std::int64_t>(strips, bands * band_tiles_ / least_tiles);
  strips = std::min(most, ceil_div(strips, threads_) * threads_);
  strip_bands_ = std::max<std::int64_t>(1, ceil_div(bands, strips));
  const std::int64_t tasks = ceil_div(bands, strip_bands_) * map_.groups;
  while (splits_ < panels() && tasks * splits_ % threads_ != 0 && tasks * splits_ < 8 * threads_) ++splits_;
}

template <class T>
void WinogradPlan<T>::pack_panel(const ConvViews& v, T* packed, std::int64_t group, std::int64_t panel) const {
  const int lanes = set_.lanes;
  T* const base = packed + group * group_size();
  const T* const bias = v.bias ? reinterpret_cast<const T*>(v.bias) + group * map_.out_channels : nullptr;
  const T* const weights =
      reinterpret_cast<const T*>(v.weight) + group * map_.out_channels * map_.in_channels * map_.kernel_elements;
  // Kernels of one in channel, or of some that follow one another, side by side for a vector of out channels.
  constexpr std::int64_t together = 16;
  T* const block = static_cast<T*>(
      thread_arena(Arena::workspace, static_cast<std::size_t>(together * map_.kernel_elements * lanes) * sizeof(T)));
  std::ptrdiff_t taps[winograd_taps_per_axis * winograd_taps_per_axis];
  for (std::int64_t i = 0; i < winograd_taps_per_axis; ++i)
    for (std::int64_t j = 0; j < winograd_taps_per_axis; ++j)
      taps[i * winograd_taps_per_axis + j] = kernel_index(i, j) * lanes;
  for (std::int64_t vector = panel_begin(panel); vector < panel_begin(panel + 1); ++vector) {
    const std::int64_t k = vector * lanes, channels = channels_of(vector, map_.out_channels);
    for (std::int64_t m = 0; m < lanes; ++m) base[k + m] = bias && m < channels ? bias[k + m] : T(0);
    T* const out =
        base + bias_size() + panel * positions * position_size() + (vector - panel_begin(panel)) * lanes;
    const bool adjacent = map_.weight_in == map_.kernel_elements;
    for (std::int64_t c = 0; c < map_.in_channels; c += together) {
      const std::int64_t count = std::min(together, map_.in_channels - c);
      const T* const from = weights + k * map_.weight_out + c * map_.weight_in;
      for (std::int64_t piece = 0; piece < (adjacent ? 1 : count); ++piece)
        set_.pack({from + piece * map_.weight_in, map_.weight_out, 1, channels, lanes,
                   map_.kernel_elements * (adjacent ? count : 1), block + piece * map_.kernel_elements * lanes, lanes});
      set_.winograd_weights({block, taps, map_.kernel_elements * lanes, out + c * panel_columns(), position_size(),
                             panel_columns(), count});
    }
  }
}

// Six rows of the band for a vector of channels, zeros where the band needs none. Returns how many channels these are.
template <class T>
std::int64_t WinogradPlan<T>::stage(const ConvViews& v, std::int64_t n, std::int64_t group, const Band& band,
                                    std::int64_t vector, T* staged) const {
  const PhaseAxis& axis = rows_[band.row_phase];
  const auto& pieces = pieces_[band.pieces];
  const std::int64_t channels = channels_of(vector, map_.in_channels);
  const char* const source =
      v.input + n * v.input_stride[0] + (group * map_.in_channels + vector * set_.lanes) * v.input_stride[1];
  for (std::int64_t i = 0; i < window; ++i) {
    const std::int64_t t = band.tile_row * tile_size + i;
    const bool used = t < axis.out_size + winograd_taps_per_axis - 1;
    const std::int64_t row = used ? axis.map(t * axis.step + axis.first) : -1;
    set_.stage({staged + i * pitch(), staged_channel(), row < 0 ? nullptr : source + row * v.input_stride[2],
                v.input_stride[1], v.input_stride[3], channels, pieces.data(),
                static_cast<std::int64_t>(pieces.size()), pitch()});
  }
  return channels;
}

template <class T>
void WinogradPlan<T>::run_strip(const ConvViews& v, const T* packed, std::int64_t group, std::int64_t begin,
                                std::int64_t end, std::int64_t panel_from, std::int64_t panel_to) const {
  Workspace w{};
  w.products = static_cast<T*>(thread_arena(Arena::workspace, static_cast<std::size_t>(workspace_bytes())));
  w.sums = w.products + products_size();
  w.staged = w.sums + sums_size();
  w.transposed = w.staged + staged_size();
  w.outputs = w.transposed + transposed_size();
  w.direct = w.outputs + outputs_size();

  std::int64_t tiles = 0;
  for (std::int64_t b = begin; b < end; ++b) {
    const Band& band = bands_[static_cast<std::size_t>(b % bands_per_image())];
    for (std::int64_t vector = 0; vector < in_vectors_; ++vector) {
      const std::int64_t channels = stage(v, b / bands_per_image(), group, band, vector, w.staged);
      set_.pack({w.staged, staged_channel(), 1, channels, set_.lanes, window * pitch(), w.transposed, set_.lanes});
      set_.winograd_input({w.transposed, pitch() * set_.lanes,
                           w.products + tiles * product_row() + vector * set_.lanes, product_position(),
                           product_row(), band.tiles()});
    }
    tiles += band.tiles();
  }
  for (std::int64_t panel = panel_from; panel < panel_to; ++panel) {
    multiply(w, packed + bias_size() + panel * positions * position_size(),
             panel_begin(panel + 1) - panel_begin(panel), tiles);
    std::int64_t first_tile = 0;
    for (std::int64_t b = begin; b < end; ++b) {
      const Band& band = bands_[static_cast<std::size_t>(b % bands_per_image())];
      finish(v, w, packed, b / bands_per_image(), group, band, first_tile, panel);
      first_tile += band.tiles();
    }
  }
}

// M = V x U for every position. The tiles are the rows of the register tile and are broadcast; the out channels of the
// panel are its vectors.
template <class T>
void WinogradPlan<T>::multiply(const Workspace& w, const T* weights, std::int64_t vectors, std::int64_t tiles) const {
  const std::int64_t parts = ceil_div(tiles, kernel_rows_), chunks = ceil_div(map_.in_channels, channel_chunk_);
  const ProductKernel<T>* const kernels = products_[static_cast<std::size_t>(vectors)];
  ProductArgs<T> a{};
  a.row = product_row();
  a.column_step = a.out_row = panel_columns();
  for (std::int64_t position = 0; position < positions; ++position) {
    for (std::int64_t chunk = 0; chunk < chunks; ++chunk) {
      const std::int64_t c = split_at(map_.in_channels, chunks, chunk);
      a.steps = split_at(map_.in_channels, chunks, chunk + 1) - c;
      a.columns = weights + position * position_size() + c * panel_columns();
      a.accumulate = chunk > 0;
      // While a chunk of the panel serves all tiles, the next one is fetched into L2, an equal part for each of them.
      const std::int64_t chunk_size = a.steps * panel_columns();
      a.prefetch_step = ceil_div(panel_columns(), parts);
      for (std::int64_t part = 0; part < parts; ++part) {
        const std::int64_t tile = split_at(tiles, parts, part), rows = split_at(tiles, parts, part + 1) - tile;
        a.rows = w.products + position * product_position() + tile * product_row() + c;
        a.out = w.sums + position * sum_position() + tile * panel_columns();
        a.prefetch = a.columns + chunk_size + chunk_size * part / parts;
        kernels[rows - 1].run(a);
      }
    }
  }
}

template <class T>
void WinogradPlan<T>::finish(const ConvViews& v, const Workspace& w, const T* bias, std::int64_t n,
                             std::int64_t group, const Band& band, std::int64_t first_tile,
                             std::int64_t panel) const {
  const int lanes = set_.lanes;
  const std::int64_t width = band.x1 - band.x0, out_row = band.tiles() * tile_size * lanes;
  const std::ptrdiff_t step = out_step(v, band);
  constexpr auto element = static_cast<std::ptrdiff_t>(sizeof(T));
  for (std::int64_t vector = panel_begin(panel); vector < panel_begin(panel + 1); ++vector) {
    const T* const sums = w.sums + first_tile * panel_columns() + (vector - panel_begin(panel)) * lanes;
    if (!set_.winograd_output({sums, sum_position(), panel_columns(), bias + vector * lanes, w.outputs, out_row,
                               band.tiles()})) {
      direct(v, w, n, group, band, vector);
      continue;
    }
    const std::int64_t channels = channels_of(vector, map_.out_channels);
    const std::int64_t channel = group * map_.out_channels + vector * lanes;
    for (std::int64_t row = 0; row < band_rows(band); ++row) {
      const T* const from = w.outputs + row * out_row;
      if (step == 1) {
        set_.pack({from, lanes, 1, width, width, channels, output(v, n, channel, band, row), v.out_stride[1] / element});
        continue;
      }
      set_.pack({from, lanes, 1, width, width, channels, w.direct, width});
      for (std::int64_t k = 0; k < channels; ++k)
        set_.spread(w.direct + k * width, width, output(v, n, channel + k, band, row), step);
    }
  }
}

// The band's outputs of a vector of channels by the direct sum, one running sum over (channel, row, column) as
// shift_gemm computes it. Vectors run over pixels, on into the next staged row, where their values are dropped.
template <class T>
void WinogradPlan<T>::direct(const ConvViews& v, const Workspace& w, std::int64_t n, std::int64_t group,
                             const Band& band, std::int64_t vector) const {
  constexpr std::int64_t taps_per_axis = winograd_taps_per_axis;
  Tap taps[taps_per_axis * taps_per_axis];
  for (std::int64_t i = 0; i < taps_per_axis; ++i)
    for (std::int64_t j = 0; j < taps_per_axis; ++j) {
      // In the map's order of taps.
      const std::int64_t y = map_.h.difference < 0 ? taps_per_axis - 1 - i : i,
                         x = map_.w.difference < 0 ? taps_per_axis - 1 - j : j;
      taps[i * taps_per_axis + j] = {y * pitch() + x, map_.kernel_index(i, j)};
    }
  const int lanes = set_.lanes;
  const std::int64_t channels = channels_of(vector, map_.out_channels);
  const std::int64_t channel = group * map_.out_channels + vector * lanes;
  const std::int64_t width = band.x1 - band.x0, line = line_vectors() * lanes;
  const T* const weights = reinterpret_cast<const T*>(v.weight) +
                           (group * map_.in_channels * map_.out_channels) * map_.kernel_elements +
                           vector * lanes * map_.weight_out;
  constexpr std::int64_t most_rows = 8;
  GemmArgs<T> a{};
  a.taps = taps;
  a.tap_count = taps_per_axis * taps_per_axis;
  a.input_step = staged_channel();
  a.weight_step = map_.weight_in;
  a.weight_row = map_.weight_out;
  a.partial_row = a.out_channel_stride = line;
  for (std::int64_t in_vector = 0; in_vector < in_vectors_; ++in_vector) {
    a.steps = stage(v, n, group, band, in_vector, w.staged);
    for (std::int64_t row = 0; row < band_rows(band); ++row)
      for (std::int64_t k = 0; k < channels; k += most_rows)
        for (std::int64_t x = 0; x < width; x += lanes) {
          a.input = w.staged + row * pitch() + x;
          a.weights = weights + k * map_.weight_out + in_vector * lanes * map_.weight_in;
          a.bias = v.bias ? reinterpret_cast<const T*>(v.bias) + channel + k : nullptr;
          a.out = w.direct + (row * lanes + k) * line + x;
          a.partial_in = in_vector > 0 ? a.out : nullptr;
          direct_kernels_[std::min(most_rows, channels - k) - 1].run(a);
        }
  }
  for (std::int64_t row = 0; row < band_rows(band); ++row)
    for (std::int64_t k = 0; k < channels; ++k)
      set_.spread(w.direct + (row * lanes + k) * line, width, output(v, n, channel + k, band, row), out_step(v, band));
}

const char* unsupported(const PlanRequest& request) {
  const ConvProblem& p = request.problem;
  if (p.pass == Pass::weight_gradient) return "it computes the forward pass and the input gradient";
  if (p.kernel_h != winograd_taps_per_axis || p.kernel_w != winograd_taps_per_axis) return "the kernel is not 3x3";
  if (p.stride_h != 1 || p.stride_w != 1) return "the stride is not 1";
  return nullptr;
}

template <class T>
std::unique_ptr<Plan> make_map_plan(const ShiftMap& map, const PlanRequest& request) {
  return std::make_unique<WinogradPlan<T>>(map, request);
}

template <class T>
std::unique_ptr<Plan> prepare(const PlanRequest& request) {
  if (request.problem.pass == Pass::input_gradient) return make_input_gradient_plan<T>(request, make_map_plan<T>, false);
  return make_map_plan<T>(forward_map(request.problem, request.layout), request);
}

}  // namespace

const Algorithm winograd_algorithm = {
    "winograd",
    "error below 1e-5 (float32) and 1e-13 (float64) of the largest output",
    unsupported,
    [](const PlanRequest& r) { return r.problem.dtype == DType::float32 ? prepare<float>(r) : prepare<double>(r); },
};

}  // namespace tileconv
