// The weight gradient of depthwise_channels: products of a vector of channels' pixels with those of the output's
// gradient, summed in registers for a dozen taps at a time.
#include "../parallel.h"
#include "depthwise_channels.h"

namespace tileconv {
namespace {

// A task owns a block of planes and sums over all images and tiles in order.
template <class T>
class DepthwiseChannelsWeightPlan final : public Plan {
 public:
  explicit DepthwiseChannelsWeightPlan(const PlanRequest& request)
      : map_(forward_map(request.problem, {false, false, false, false, false, false})),
        set_(kernel_set<T>(*request.kernels)),
        tiles_(InterleavedMap(map_), set_),
        threads_(threads_for(cycles() * static_cast<double>(map_.batch), request.threads)) {
    for (std::int64_t i = 0; i < map_.h.count; ++i)
      for (std::int64_t j = 0; j < map_.w.count; ++j) taps_.push_back(tiles_.tap_offset(map_.h.tap(i), map_.w.tap(j)));
    for (std::int64_t t = 0; t < tiles_.tiles_w(); ++t) {
      const std::int64_t width = tiles_.column(t + 1) - tiles_.column(t);
      grad_columns_.push_back({{{0, width, 0, width, 0, 1}}, width});
    }
  }
  double cycles() const noexcept override { return tiles_.cycles(map_.out_channels, 5.5, 0.55); }
  std::int64_t workspace_bytes() const noexcept override {
    return (tiles_.input_size() + tiles_.scratch_size() + grad_size() + sums_size()) * element;
  }
  PlanReport report() const override {
    return {"channel products", threads_, {{"tile_h", tiles_.tile_h()}, {"tile_w", tiles_.tile_w()}}};
  }
  void run(const ConvViews& v, const void*) const override {
    parallel_for(tiles_.blocks(), threads_, [&](std::int64_t block) { run_block(v, block); });
  }

 private:
  static constexpr auto element = static_cast<std::int64_t>(sizeof(T));
  std::int64_t grad_size() const { return tiles_.tile_h() * tiles_.tile_w() * set_.lanes; }
  std::int64_t sums_size() const { return map_.out_channels * map_.taps() * set_.lanes; }

  void run_block(const ConvViews& v, std::int64_t block) const {
    T* const input = static_cast<T*>(thread_arena(Arena::workspace, static_cast<std::size_t>(workspace_bytes())));
    T *const scratch = input + tiles_.input_size(), *const grad = scratch + tiles_.scratch_size(),
             *const sums = grad + grad_size();
    std::fill_n(sums, sums_size(), T(0));
    const std::int64_t lanes = set_.lanes;
    ChannelProductArgs<T> a{};
    a.input = input;
    a.input_row = map_.h.step * tiles_.pitch() * lanes;
    a.input_column = map_.w.step * lanes;
    a.taps = taps_.data();
    a.tap_count = map_.taps();
    a.grad = grad;
    for (std::int64_t n = 0; n < map_.batch; ++n)
      for (std::int64_t tile = 0; tile < tiles_.tiles(); ++tile) {
        const std::int64_t row = tile / tiles_.tiles_w(), column = tile % tiles_.tiles_w();
        const std::int64_t y0 = tiles_.row(row), y1 = tiles_.row(row + 1);
        tiles_.transpose_input(v, n, block, y0, y1, column, tiles_.all_padding, scratch, input);
        a.height = y1 - y0;
        a.width = tiles_.column(column + 1) - tiles_.column(column);
        for (std::int64_t k = 0; k < map_.out_channels; ++k) {
          transpose_grad(v, n, block, k, y0, column, a.height, a.width, scratch, grad);
          a.out = sums + k * map_.taps() * lanes;
          set_.channel_products(a);
        }
      }
    T* const out = reinterpret_cast<T*>(v.out) + block * lanes * map_.out_channels * map_.taps();
    const std::int64_t elements = map_.out_channels * map_.taps();
    set_.pack({sums, lanes, 1, elements, elements, tiles_.planes(block), out, elements});
  }

  void transpose_grad(const ConvViews& v, std::int64_t n, std::int64_t block, std::int64_t k, std::int64_t y0,
                      std::int64_t column, std::int64_t height, std::int64_t width, T* scratch, T* to) const {
    const std::ptrdiff_t* const stride = v.grad_output_stride;
    const char* const source = v.grad_output + n * stride[0] +
                               (block * set_.lanes * map_.out_channels + k) * stride[1] + y0 * stride[2] +
                               tiles_.column(column) * stride[3];
    transpose_rows(
        set_, grad_columns_[static_cast<std::size_t>(column)], width, width,
        {{source, stride[1] * map_.out_channels, stride[3], tiles_.planes(block)}, stride[2]}, height,
        [](std::int64_t i) { return i; }, scratch, to);
  }

  ShiftMap map_;
  const KernelSet<T>& set_;
  ChannelTiles<T> tiles_;
  std::vector<std::ptrdiff_t> taps_;
  std::vector<RowColumns> grad_columns_;  // of each tile column
  int threads_;
};

}  // namespace

template <class T>
std::unique_ptr<Plan> make_depthwise_channels_weight_plan(const PlanRequest& request) {
  return std::make_unique<DepthwiseChannelsWeightPlan<T>>(request);
}
template std::unique_ptr<Plan> make_depthwise_channels_weight_plan<float>(const PlanRequest&);
template std::unique_ptr<Plan> make_depthwise_channels_weight_plan<double>(const PlanRequest&);

}  // namespace tileconv
