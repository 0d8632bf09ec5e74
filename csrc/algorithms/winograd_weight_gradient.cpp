// The weight gradient of stride 1 by F(r x r, m x m), m + r = 7: in a window of the input, the m x m gradients of a
// tile's outputs take the place of the kernel, and what comes out are sums for the r x r kernel elements. Of the tiles'
// products only the sum is transformed back, once:
//
//   grad_weight[k, c] = A^T [ sum over tiles of (G g G^T)[tile, k] * (B^T d B)[tile, c] ] A
//
// The windows are those of the forward pass; g is transformed as a kernel of m taps would be. For each of the
// positions, the sum is a matrix product (in channels x tiles) by (tiles x out channels).
//
// A task is a block of in channels and a part of the out channels, which it takes a few panels at a time, so that their
// sums stay in L2 while strips of tiles pass:
//   transform the strip's windows, unless they are those of the panels before
//   for each panel: transform the gradients of the strip's tiles; add its products to the sums
//   transform the sums, write them as kernels
// A value that is not finite, or an overflow in a transform, spoils all that it meets, which shows in the sums. Then
// everything is computed again by the direct sum.
#include <atomic>
#include <cmath>
#include <cstdlib>

#include "../channel_rows.h"
#include "../cpu.h"
#include "../parallel.h"
#include "shift_gemm.h"
#include "winograd.h"

namespace tileconv {
namespace {

template <class T>
class WinogradWeightGradientPlan final : public Plan {
 public:
  explicit WinogradWeightGradientPlan(const PlanRequest& request)
      : map_(forward_map(request.problem, request.layout)),
        set_(kernel_set<T>(*request.kernels)),
        kernel_(*find_winograd(set_, winograd_outputs(static_cast<int>(map_.h.count)),
                               winograd_outputs(static_cast<int>(map_.w.count)))),
        in_vectors_(ceil_div(map_.in_channels, set_.lanes)),
        out_vectors_(ceil_div(map_.out_channels, set_.lanes)),
        windows_(map_, set_, widest_band),
        direct_(make_weight_gradient_plan<T>(request)) {
    for (const auto& band : windows_.bands())
      if (band.part == grad_columns_.size())
        grad_columns_.push_back({{{0, windows_.band_width(), 0, band.x1 - band.x0, 0, 1}}, map_.w.out_size});
    const Cut one = choose_cut(false), many = choose_cut(true);
    cut_ = map_.batch > 1 ? many : one;
    size_ = sizes(cut_);
    cycles_ = one.cycles;
    workspace_ = std::max({direct_->workspace_bytes(), sizes(one).total * element, sizes(many).total * element});
    blocks_ = ceil_div(in_vectors_, cut_.block);
    threads_ = threads_for(cycles() * static_cast<double>(map_.batch), request.threads);
    splits_ = splits_for(map_.groups * blocks_, panels(), threads_);
  }

  // For little gain the exact sum is preferred.
  double cycles() const noexcept override { return 1.1 * cycles_; }
  std::int64_t workspace_bytes() const noexcept override { return workspace_; }
  PlanReport report() const override {
    return {winograd_name(kernel_) + ", products " + std::to_string(cut_.rows) + "x" + std::to_string(cut_.vectors),
            threads_,
            {{"channels_per_block", cut_.block * set_.lanes},
             {"panels_at_a_time", cut_.panels},
             {"tiles_per_band", windows_.band_tiles()},
             {"bands_per_strip", cut_.bands}}};
  }
  void run(const ConvViews& v, const void*) const override {
    const std::int64_t bands = map_.batch * windows_.bands_per_image();
    std::atomic<bool> finite{bands > 0};
    if (finite)
      parallel_for(map_.groups * blocks_ * splits_, threads_, [&](std::int64_t task) {
        const std::int64_t split = task % splits_, block = task / splits_ % blocks_;
        if (!run_task(v, bands, task / splits_ / blocks_, block, split)) finite = false;
      });
    if (!finite) direct_->run(v, nullptr);
  }

 private:
  static constexpr std::int64_t element = sizeof(T);
  static constexpr std::int64_t widest_band = 16;        // tiles, of which strips are made
  static constexpr std::int64_t finished_together = 16;  // in channels whose kernels stay in L1 until they are written

  using Order = typename WinogradWindows<T>::Order;

  // How the work is cut, and an estimate for one image. Vectors of in channels; panels of a part of the out channels;
  // bands of a strip.
  struct Cut {
    int rows = 1, vectors = 1;  // of the products' largest register tile
    std::int64_t block = 1, panels = 1, bands = 1;
    double cycles = 0;
  };
  // Of the parts of the workspace, in elements.
  struct Sizes {
    std::int64_t window_tile, window_position, grad_position, sum_position, windows, grads, sums, total;
  };
  struct Task {
    std::int64_t group, channel, channels;  // a block of in channels
    T *windows, *grads, *sums, *scratch;
  };

  std::int64_t positions() const { return kernel_.positions(); }
  std::int64_t panels() const { return ceil_div(out_vectors_, cut_.vectors); }
  std::int64_t panel_begin(std::int64_t p) const { return split_at(out_vectors_, panels(), p); }  // in vectors
  std::int64_t columns() const { return cut_.vectors * set_.lanes; }
  std::int64_t apart(std::int64_t size) const { return winograd_apart<T>(size, set_.lanes); }
  // A row of a band on its way, and the rows of a vector of channels.
  std::int64_t staged_size() const { return set_.lanes * (windows_.band_width() + set_.lanes); }
  std::int64_t grad_scratch() const {
    return staged_size() + windows_.band_rows() * windows_.band_width() * set_.lanes;
  }

  Sizes sizes(const Cut& cut) const {
    Sizes s{};
    const std::int64_t tiles = cut.bands * windows_.band_tiles(), width = cut.vectors * set_.lanes;
    s.window_tile = apart(cut.block * set_.lanes);
    s.window_position = apart(tiles * s.window_tile);
    s.grad_position = apart(tiles * width);
    s.sum_position = apart(cut.block * set_.lanes * width);
    s.windows = positions() * s.window_position;
    s.grads = positions() * s.grad_position;
    s.sums = cut.panels * positions() * s.sum_position;
    const std::int64_t finished = finished_together * map_.taps() * width;
    s.total = s.windows + s.grads + s.sums + std::max({windows_.scratch_size(), grad_scratch(), finished});
    return s;
  }
  Cut choose_cut(bool many_images) const;
  bool run_task(const ConvViews& v, std::int64_t bands, std::int64_t group, std::int64_t block,
                std::int64_t split) const;
  Order transform_grads(const ConvViews& v, const Task& t, std::int64_t panel, std::int64_t b,
                        const Order& order) const;
  void multiply(const Task& t, std::int64_t panel, const Order& tiles, bool accumulate, T* sums) const;
  bool finish(const ConvViews& v, const Task& t, std::int64_t panel, const T* sums) const;

  ShiftMap map_;
  const KernelSet<T>& set_;
  const WinogradKernel<T>& kernel_;  // of m taps and r outputs
  std::int64_t in_vectors_, out_vectors_;
  WinogradWindows<T> windows_;
  std::vector<RowColumns> grad_columns_;  // of each of the image's parts
  std::unique_ptr<Plan> direct_;
  Cut cut_;
  Sizes size_{};
  double cycles_ = 0;
  std::int64_t workspace_ = 0, blocks_ = 1, splits_ = 1;
  int threads_ = 1;
};

// Small blocks are transformed again and again, large ones leave no room in L2 for a strip of many tiles, and sums are
// loaded and stored for every strip. The cut with the fewest cycles, whose constants were measured on an Intel server
// core with AVX-512: for one image, or for each of many.
template <class T>
typename WinogradWeightGradientPlan<T>::Cut WinogradWeightGradientPlan<T>::choose_cut(bool many_images) const {
  const std::int64_t image_tiles = windows_.image_tiles(), tile_positions = windows_.image_positions();
  const auto tiles = static_cast<double>(image_tiles);
  const double windows =
      tiles * static_cast<double>(in_vectors_) * window_cycles(*find_winograd(set_, map_.h.count, map_.w.count));
  const double grads = tiles * static_cast<double>(out_vectors_) *
                       (2 * static_cast<double>(positions()) + 13 * kernel_.taps_h * kernel_.taps_w);
  const double pairs = static_cast<double>(map_.in_channels * out_vectors_);
  const double finished = pairs * (4 * static_cast<double>(positions()) + 15 * static_cast<double>(map_.taps())) + 2000;
  // Elements of one position: those of windows, gradients and sums in L2; those of a strip that pass through L1.
  const std::int64_t room = std::min<std::int64_t>(core_traits().l2, std::int64_t{2} << 20) / element / positions();
  const std::int64_t room_l1 = core_traits().l1d / 2 / element;
  constexpr std::int64_t fewest_tiles = 4, enough_tiles = 32;  // of a strip; of a strip of several images
  Cut best;
  for (int i = 0; i < set_.product_count; ++i) {
    const int rows = set_.product[i].rows, vectors = set_.product[i].vectors;
    if (!is_tallest(set_.product, set_.product_count, i) || vectors > out_vectors_) continue;
    const std::int64_t all_panels = ceil_div(out_vectors_, vectors), width = vectors * set_.lanes;
    // Block sizes that one more block does not change are tried once.
    const auto changes = [](std::int64_t total, std::int64_t parts) {
      return parts == 1 || ceil_div(total, parts) != ceil_div(total, parts - 1);
    };
    for (std::int64_t blocks = 1; blocks <= in_vectors_; ++blocks)
      for (std::int64_t parts = 1; parts <= all_panels && changes(in_vectors_, blocks); ++parts) {
        if (!changes(all_panels, parts)) continue;
        Cut cut{rows, vectors, ceil_div(in_vectors_, blocks), ceil_div(all_panels, parts)};
        const std::int64_t channels = cut.block * set_.lanes, strip = channels + width;
        const std::int64_t most = std::min({(room - channels * width * cut.panels) / strip, room_l1 / strip,
                                            std::max(many_images ? enough_tiles : 1, image_tiles)});
        if (most < fewest_tiles && (blocks < in_vectors_ || parts < all_panels)) continue;
        cut.bands = std::max<std::int64_t>(1, most / windows_.band_tiles());
        const double strips = tiles / static_cast<double>(cut.bands * windows_.band_tiles());
        const auto r = static_cast<double>(channels) / static_cast<double>(ceil_div(channels, rows)),
                   v = static_cast<double>(out_vectors_) / static_cast<double>(all_panels);
        const double products =
            static_cast<double>(tile_positions) * product_cycles(r, v, vector_passes(set_)) / (r * v);
        double sums = (many_images ? strips : std::ceil(strips)) * (5 + 20 / (r * v));
        // When all tiles have passed, the first sums are to be found in L2 if that is not full.
        const std::int64_t used = strip * cut.bands * windows_.band_tiles() + channels * width * cut.panels;
        if (!many_images && 2 * used > room) sums += 6;
        cut.cycles = static_cast<double>(map_.groups) *
                     (windows * (many_images || strips > 1 ? static_cast<double>(parts) : 1) +
                      grads * static_cast<double>(blocks) +
                      pairs * (products + static_cast<double>(positions()) * sums) + finished);
        if (best.cycles == 0 || cut.cycles < best.cycles) best = cut;
      }
  }
  return best;
}

template <class T>
bool WinogradWeightGradientPlan<T>::run_task(const ConvViews& v, std::int64_t bands, std::int64_t group,
                                             std::int64_t block, std::int64_t split) const {
  const std::int64_t first = split_at(in_vectors_, blocks_, block) * set_.lanes,
                     last = split_at(in_vectors_, blocks_, block + 1) * set_.lanes;
  Task t{group, first, std::min(last, map_.in_channels) - first, nullptr, nullptr, nullptr, nullptr};
  t.windows = static_cast<T*>(thread_arena(Arena::workspace, static_cast<std::size_t>(workspace_bytes())));
  t.grads = t.windows + size_.windows;
  t.sums = t.grads + size_.grads;
  t.scratch = t.sums + size_.sums;
  const std::int64_t begin = split_at(panels(), splits_, split), count = split_at(panels(), splits_, split + 1) - begin;
  const std::int64_t parts = ceil_div(count, cut_.panels), strips = ceil_div(bands, cut_.bands);
  std::int64_t transformed = -1;  // the strip whose windows are there
  bool finite = true;
  for (std::int64_t part = 0; part < parts; ++part) {
    const std::int64_t p0 = begin + split_at(count, parts, part), p1 = begin + split_at(count, parts, part + 1);
    for (std::int64_t strip = 0; strip < strips; ++strip) {
      const std::int64_t b0 = strip * cut_.bands, b1 = std::min(bands, b0 + cut_.bands);
      const Order tiles = windows_.order(b0, b1);
      if (strip != transformed)
        windows_.transform(v, b0, b1, tiles, group * map_.in_channels + t.channel, t.channels, t.scratch, t.windows,
                           size_.window_position, size_.window_tile);
      transformed = strip;
      for (std::int64_t panel = p0; panel < p1; ++panel) {
        Order order = tiles;
        for (std::int64_t b = b0; b < b1; ++b) order = transform_grads(v, t, panel, b, order);
        multiply(t, panel, tiles, strip > 0, t.sums + (panel - p0) * positions() * size_.sum_position);
      }
    }
    for (std::int64_t panel = p0; panel < p1; ++panel)
      finite = finish(v, t, panel, t.sums + (panel - p0) * positions() * size_.sum_position) && finite;
  }
  return finite;
}

// Of a band, whose tiles are the next in order; returns what follows them. Gradients beyond the last row and column are
// zeros.
template <class T>
typename WinogradWeightGradientPlan<T>::Order WinogradWeightGradientPlan<T>::transform_grads(
    const ConvViews& v, const Task& t, std::int64_t panel, std::int64_t b, const Order& order) const {
  const auto& band = windows_.band(b);
  const std::int64_t lanes = set_.lanes, rows = windows_.band_rows(), pitch = windows_.band_width();
  const std::int64_t d = windows_.w.dilation;
  std::ptrdiff_t tap_at[winograd_most_taps * winograd_most_taps];
  for (std::int64_t i = 0; i < kernel_.taps_h; ++i)
    for (std::int64_t j = 0; j < kernel_.taps_w; ++j) tap_at[i * kernel_.taps_w + j] = (i * pitch + j * d) * lanes;
  T* const transposed = t.scratch + staged_size();
  Order next = order;
  for (std::int64_t vector = panel_begin(panel); vector < panel_begin(panel + 1); ++vector) {
    const std::int64_t k = vector * lanes, channels = std::min(lanes, map_.out_channels - k);
    const char* const source = v.grad_output + windows_.image(b) * v.grad_output_stride[0] +
                               (t.group * map_.out_channels + k) * v.grad_output_stride[1] +
                               band.x0 * v.grad_output_stride[3];
    transpose_rows(
        set_, grad_columns_[band.part], pitch, pitch,
        {{source, v.grad_output_stride[1], v.grad_output_stride[3], channels}, v.grad_output_stride[2]}, rows,
        [&](std::int64_t i) { return i < band.rows ? windows_.row(band, i) : zero_row; }, t.scratch, transposed);
    T* const to = t.grads + (vector - panel_begin(panel)) * lanes;
    next = order;
    windows_.for_each_tile_row(band, [&](std::int64_t y, std::int64_t x, std::int64_t tiles, std::size_t kind) {
      kernel_.weights({transposed + (y * pitch + x) * lanes, tap_at, kernel_.taps_w * d * lanes,
                       to + windows_.take(next, tiles, kind) * columns(), size_.grad_position, columns(), tiles});
    });
  }
  return next;
}

template <class T>
void WinogradWeightGradientPlan<T>::multiply(const Task& t, std::int64_t panel, const Order& tiles, bool accumulate,
                                             T* sums) const {
  const ProductKernel<T>* const kernels =
      find_products(set_, static_cast<int>(panel_begin(panel + 1) - panel_begin(panel)));
  const auto channels = EvenParts::of_at_most(t.channels, cut_.rows);
  ProductArgs<T> a{};
  a.row = 1;
  a.row_step = size_.window_tile;
  a.column_step = a.out_row = columns();
  for (std::int64_t position = 0; position < positions(); ++position, sums += size_.sum_position) {
    a.accumulate = accumulate;
    windows_.for_each_stretch(tiles, position, [&](std::int64_t first, std::int64_t count) {
      a.steps = count;
      a.columns = a.prefetch = t.grads + position * size_.grad_position + first * columns();
      channels.for_each_size([&](std::int64_t tile, std::int64_t of_a_size, std::int64_t rows) {
        const std::int64_t c = channels.begin(tile);
        a.rows = t.windows + position * size_.window_position + first * size_.window_tile + c;
        a.out = sums + c * columns();
        a.further_tiles = of_a_size - 1;
        a.next = {rows, rows * columns()};
        kernels[rows - 1].run(a);
      });
      a.accumulate = true;
    });
    if (!a.accumulate) std::fill_n(sums, t.channels * columns(), T(0));
  }
}

// Whether all elements are finite.
template <class T>
bool WinogradWeightGradientPlan<T>::finish(const ConvViews& v, const Task& t, std::int64_t panel, const T* sums) const {
  const T no_bias[64 / sizeof(float)] = {};
  const std::int64_t begin = panel_begin(panel), vectors = panel_begin(panel + 1) - begin;
  const std::int64_t k = begin * set_.lanes;
  T* const out =
      reinterpret_cast<T*>(v.out) + (t.group * map_.out_channels + k) * map_.steps() + t.channel * map_.taps();
  bool finite = true;
  for (std::int64_t c = 0; c < t.channels; c += finished_together) {
    const std::int64_t together = std::min(finished_together, t.channels - c), elements = together * map_.taps();
    for (std::int64_t vector = 0; vector < vectors; ++vector)
      finite = kernel_.output({sums + c * columns() + vector * set_.lanes, size_.sum_position, columns(), no_bias,
                               t.scratch + vector * set_.lanes, map_.w.count * columns(), columns(),
                               map_.taps() * columns(), together}) &&
               finite;
    set_.pack({t.scratch, columns(), 1, elements, elements, std::min(vectors * set_.lanes, map_.out_channels - k),
               out + c * map_.taps(), map_.steps()});
  }
  return finite;
}

}  // namespace

template <class T>
std::unique_ptr<Plan> make_winograd_weight_gradient_plan(const PlanRequest& request) {
  return std::make_unique<WinogradWeightGradientPlan<T>>(request);
}
template std::unique_ptr<Plan> make_winograd_weight_gradient_plan<float>(const PlanRequest&);
template std::unique_ptr<Plan> make_winograd_weight_gradient_plan<double>(const PlanRequest&);

}  // namespace tileconv
