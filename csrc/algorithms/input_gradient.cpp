// The input gradient (and so the transposed convolution) as shifted GEMMs over the output's gradient: one map for each
// residue of the input's coordinates by the strides. Padding other than zeros is folded back: the gradient of the
// padded frame is computed strip by strip and added where the AxisMap says that its values came from.
#include <algorithm>

#include "../parallel.h"
#include "shift_gemm.h"

namespace tileconv {
namespace {

template <class T>
class InputGradientPlan final : public Plan {
 public:
  InputGradientPlan(const PlanRequest& request, const GradientPlans& plans)
      : plans_(plans),
        threads_(request.threads),
        lanes_(kernel_set<T>(*request.kernels).lanes),
        problem_(request.problem),
        map_h_{problem_.padding_mode, problem_.in_h},
        map_w_{problem_.padding_mode, problem_.in_w} {
    const ConvProblem& p = problem_;
    regions_.push_back(make_region(request, {0, p.in_h}, {0, p.in_w}, false));
    if (p.padding_mode == PaddingMode::zeros) return;
    const GradientRange all_columns{-p.pad_left, p.in_w + p.pad_right}, rows{0, p.in_h};
    const std::pair<GradientRange, GradientRange> strips[] = {{{-p.pad_top, 0}, all_columns},
                                                              {{p.in_h, p.in_h + p.pad_bottom}, all_columns},
                                                              {rows, {-p.pad_left, 0}},
                                                              {rows, {p.in_w, p.in_w + p.pad_right}}};
    for (const auto& [strip_rows, strip_columns] : strips)
      if (strip_rows.end > strip_rows.begin && strip_columns.end > strip_columns.begin)
        regions_.push_back(make_region(request, strip_rows, strip_columns, true));
  }

  double cycles() const noexcept override {
    const double sum = sum_parts(0.0, [](double all, const Plan& plan) { return all + plan.cycles(); });
    if (!plans_.by_group) return sum;
    // Every map of every group is set out on by itself, and its rows are spread among the others': measured on Zen 5.
    constexpr double map_cycles = 100, vector_cycles = 10;
    const double maps = sum_parts(0.0, [](double all, const Plan&) { return all + map_cycles; });
    const auto pixels = static_cast<double>(problem_.group_in_channels() * problem_.in_h * problem_.in_w);
    return static_cast<double>(problem_.groups) * (sum + maps + vector_cycles * pixels / lanes_);
  }
  std::int64_t workspace_bytes() const noexcept override {
    std::int64_t strip = 0;
    for (const Region& region : regions_) strip = std::max(strip, region.folded ? strip_bytes(region) : 0);
    return strip + sum_parts(std::int64_t{0}, [](std::int64_t most, const Plan& plan) {
             return std::max(most, plan.workspace_bytes());
           });
  }
  std::int64_t packed_bytes() const noexcept override { return packed_bytes_; }
  std::string packing_key() const override {
    std::string keys = "input_gradient";
    for (const auto& packing : packings_) keys += "|" + packing.key;
    return keys;
  }

  void pack(const ConvViews& v, void* packed) const override {
    for (const Packing& packing : packings_) packing.plan->pack(v, static_cast<char*>(packed) + packing.offset);
  }

  void run(const ConvViews& v, const void* packed) const override {
    run_region(regions_.front(), v, packed, problem_.batch);
    for (std::int64_t n = 0; regions_.size() > 1 && n < problem_.batch; ++n)
      for (std::size_t r = 1; r < regions_.size(); ++r) fold(regions_[r], n, v, packed);
  }

  PlanReport report() const override {
    const std::vector<Part>& parts = regions_.front().parts;
    PlanReport report = parts.empty() ? PlanReport{"none", 1, {}} : parts.front().plan->report();
    std::vector<std::string> kernels{report.kernel};
    for (const Part& part : parts) {
      const std::string kernel = part.plan->report().kernel;
      if (std::find(kernels.begin(), kernels.end(), kernel) != kernels.end()) continue;
      kernels.push_back(kernel);
      report.kernel += "; " + kernel;
    }
    if (plans_.by_group)
      report.threads = problem_.macs_per_image() * static_cast<double>(problem_.batch) > 1e6 ? threads_ : 1;
    report.blocking.emplace_back("maps", static_cast<std::int64_t>(regions_.front().parts.size()));
    report.blocking.emplace_back("folded_strips", static_cast<std::int64_t>(regions_.size() - 1));
    return report;
  }

 private:
  struct Part {
    std::int64_t row, column;  // the region's first coordinate of this residue
    std::unique_ptr<Plan> plan;
    std::int64_t packed_offset;
  };
  struct Region {
    GradientRange rows, columns;
    bool folded;
    std::vector<Part> parts;
    bool has_gaps = false;  // residues that no kernel element meets: the bias alone, or zeros
  };
  struct Packing {
    std::string key;
    std::int64_t offset;
    const Plan* plan;
  };

  template <class S, class F>
  S sum_parts(S sum, F f) const {
    for (const Region& region : regions_)
      for (const Part& part : region.parts) sum = f(sum, *part.plan);
    return sum;
  }

  Region make_region(const PlanRequest& request, GradientRange rows, GradientRange columns, bool folded) {
    Region region{rows, columns, folded, {}};
    PlanRequest part_request = request;
    const ConvProblem& p = problem_;
    if (folded) part_request.layout.out_rows = part_request.layout.out_planes = true;
    if (plans_.of_all) {
      add_part(region, rows.begin, columns.begin, plans_.of_all(map_region(rows, columns, folded), part_request));
      return region;
    }
    if (plans_.by_group) part_request.threads = 1;
    part_request.layout.out_rows = part_request.layout.out_rows && p.stride_w == 1;
    part_request.layout.out_planes = part_request.layout.out_planes && p.stride_h == 1 && p.stride_w == 1;
    if (!folded && is_block_gradient(p)) {
      add_part(region, rows.begin, columns.begin, plans_.of_map(block_gradient_map(p), part_request));
      return region;
    }
    const InterleavedMap maps = map_region(rows, columns, folded);
    const std::vector<std::size_t> met_rows = met(maps.rows), met_columns = met(maps.columns);
    region.has_gaps = met_rows.size() < maps.rows.size() || met_columns.size() < maps.columns.size();
    for (const std::size_t i : met_rows)
      for (const std::size_t j : met_columns)
        add_part(region, rows.begin + static_cast<std::int64_t>(i), columns.begin + static_cast<std::int64_t>(j),
                 plans_.of_map(residue_map(maps, i, j, part_request.layout), part_request));
    return region;
  }

  // The residues that a kernel element meets.
  static std::vector<std::size_t> met(const std::vector<MapAxis>& axes) {
    std::vector<std::size_t> found;
    for (std::size_t i = 0; i < axes.size(); ++i)
      if (axes[i].count > 0) found.push_back(i);
    return found;
  }

  InterleavedMap map_region(GradientRange rows, GradientRange columns, bool folded) const {
    InterleavedMap maps = input_gradient_maps(problem_, rows, columns);
    if (folded || plans_.by_group) maps.any.batch = 1;
    if (plans_.by_group) maps.any.groups = 1;
    return maps;
  }

  void add_part(Region& region, std::int64_t row, std::int64_t column, std::unique_ptr<Plan> plan) {
    const std::int64_t offset = packed_offset(*plan);
    region.parts.push_back({row, column, std::move(plan), offset});
  }

  // Parts of the same packing share it.
  std::int64_t packed_offset(const Plan& plan) {
    if (plan.packed_bytes() == 0) return 0;
    for (const Packing& packing : packings_)
      if (packing.key == plan.packing_key()) return packing.offset;
    packings_.push_back({plan.packing_key(), packed_bytes_, &plan});
    packed_bytes_ += ceil_div(plan.packed_bytes(), 64) * 64;
    return packings_.back().offset;
  }

  void run_region(const Region& region, const ConvViews& v, const void* packed, std::int64_t batch) const {
    const auto run_parts = [&](const ConvViews& views, std::int64_t images, std::int64_t channels) {
      if (region.has_gaps) fill(region, views, images, channels);
      for (const Part& part : region.parts) {
        ConvViews part_views = views;
        part_views.out +=
            (part.row - region.rows.begin) * v.out_stride[2] + (part.column - region.columns.begin) * v.out_stride[3];
        if (!plans_.of_all) {
          part_views.out_stride[2] *= problem_.stride_h;
          part_views.out_stride[3] *= problem_.stride_w;
        }
        const bool own = part.plan->packed_bytes() > 0;
        part.plan->run(part_views, own ? static_cast<const char*>(packed) + part.packed_offset : nullptr);
      }
    };
    if (!plans_.by_group) return run_parts(v, batch, problem_.in_channels);
    const ConvProblem& p = problem_;
    constexpr auto element = static_cast<std::ptrdiff_t>(sizeof(T));
    const double macs = p.macs_per_image() * static_cast<double>(batch);
    parallel_for(batch * p.groups, macs > 1e6 ? threads_ : 1, [&](std::int64_t task) {
      const std::int64_t n = task / p.groups, g = task % p.groups;
      ConvViews group = v;
      group.input += n * v.input_stride[0] + g * p.group_out_channels() * v.input_stride[1];
      group.weight += g * p.group_out_channels() * p.group_in_channels() * p.taps() * element;
      if (v.bias) group.bias += g * p.group_in_channels() * element;
      group.out += n * v.out_stride[0] + g * p.group_in_channels() * v.out_stride[1];
      run_parts(group, 1, p.group_in_channels());
    });
  }

  void fill(const Region& region, const ConvViews& v, std::int64_t images, std::int64_t channels) const {
    const std::int64_t planes = images * channels;
    const double vectors = static_cast<double>(planes * height(region) * width(region)) / lanes_;
    parallel_for(planes, plans_.by_group ? 1 : threads_for(vectors, threads_), [&](std::int64_t plane) {
      const std::int64_t n = plane / channels, c = plane % channels;
      const T value = v.bias ? reinterpret_cast<const T*>(v.bias)[c] : T(0);
      for (std::int64_t y = 0; y < height(region); ++y) {
        char* const row = v.out + n * v.out_stride[0] + c * v.out_stride[1] + y * v.out_stride[2];
        for (std::int64_t x = 0; x < width(region); ++x) *reinterpret_cast<T*>(row + x * v.out_stride[3]) = value;
      }
    });
  }

  static std::int64_t height(const Region& r) { return r.rows.end - r.rows.begin; }
  static std::int64_t width(const Region& r) { return r.columns.end - r.columns.begin; }
  std::int64_t strip_bytes(const Region& r) const {
    return problem_.in_channels * height(r) * width(r) * static_cast<std::int64_t>(sizeof(T));
  }

  void fold(const Region& region, std::int64_t n, const ConvViews& v, const void* packed) const {
    constexpr auto element = static_cast<std::ptrdiff_t>(sizeof(T));
    T* const strip = static_cast<T*>(thread_arena(Arena::border, static_cast<std::size_t>(strip_bytes(region))));
    const std::int64_t plane = height(region) * width(region);
    ConvViews strip_views = v;
    strip_views.input += n * v.input_stride[0];
    strip_views.out = reinterpret_cast<char*>(strip);
    strip_views.out_stride[0] = 0;
    strip_views.out_stride[1] = plane * element;
    strip_views.out_stride[2] = width(region) * element;
    strip_views.out_stride[3] = element;
    run_region(region, strip_views, packed, 1);
    for (std::int64_t c = 0; c < problem_.in_channels; ++c)
      for (std::int64_t y = 0; y < height(region); ++y) {
        const T* const from = strip + c * plane + y * width(region);
        char* const row =
            v.out + n * v.out_stride[0] + c * v.out_stride[1] + map_h_(region.rows.begin + y) * v.out_stride[2];
        for (std::int64_t x = 0; x < width(region); ++x)
          *reinterpret_cast<T*>(row + map_w_(region.columns.begin + x) * v.out_stride[3]) += from[x];
      }
  }

  GradientPlans plans_;  // by group: what the maps of a group interleave in the result stays in L1
  int threads_, lanes_;
  ConvProblem problem_;
  AxisMap map_h_, map_w_;
  std::vector<Region> regions_;  // the input itself, then the strips of its frame
  std::vector<Packing> packings_;
  std::int64_t packed_bytes_ = 0;
};

}  // namespace

template <class T>
std::unique_ptr<Plan> make_input_gradient_plan(const PlanRequest& request, const GradientPlans& plans) {
  return std::make_unique<InputGradientPlan<T>>(request, plans);
}
template std::unique_ptr<Plan> make_input_gradient_plan<float>(const PlanRequest&, const GradientPlans&);
template std::unique_ptr<Plan> make_input_gradient_plan<double>(const PlanRequest&, const GradientPlans&);

}  // namespace tileconv
