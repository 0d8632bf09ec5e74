// How a winograd plan cuts the work, and what it costs.
#include "winograd.h"

#include "../cpu.h"
#include "../parallel.h"

namespace tileconv {
namespace {

// Transformed weights of which L2 keeps a good part.
bool are_near(double weights) { return weights <= 1.5 * static_cast<double>(core_traits().l2); }

// Half of L2, if the other half holds a good part of the weights. L2 or more, the more it takes to bring the
// weights in for each strip: from L3, or as they are transformed anew. A small L2 is not worth short strips: rows of 64
// channels cut in three took 1.3 times as long, on a core with 512 KB.
std::int64_t best_workspace(double weights, bool frozen) {
  constexpr std::int64_t least = 768 << 10, least_repeated = 1 << 20;
  const std::int64_t l2 = core_traits().l2, most = winograd_most_workspace();
  if (are_near(weights)) return std::min(std::max(l2 / 2, least), most);
  return frozen && weights <= 8.0 * static_cast<double>(l2) ? std::min(std::max(l2, least_repeated), most) : most;
}

// The outputs of all axes, in a grid that begins where the first of them does.
MapAxis common_axis(const std::vector<MapAxis>& axes) {
  MapAxis common = axes.front();
  std::int64_t begin = common.lowest(), end = begin + common.out_size;
  for (const MapAxis& axis : axes)
    begin = std::min(begin, axis.lowest()), end = std::max(end, axis.lowest() + axis.out_size);
  common.first += begin - common.lowest();
  common.out_size = end - begin;
  return common;
}

ShiftMap common_map(const InterleavedMap& maps, std::int64_t bundle) {
  ShiftMap map = maps.any;
  map.groups = ceil_div(map.groups, bundle);
  map.out_channels *= bundle;
  map.h = common_axis(maps.rows);
  map.w = common_axis(maps.columns);
  return map;
}

// Of maps whose weights are those of the problem as they lie, and whose sums have no pieces.
std::int64_t bundle_of(const InterleavedMap& maps, int lanes) {
  const ShiftMap& map = maps.any;
  const bool single =
      maps.rows.size() * maps.columns.size() == 1 && winograd_all_pieces(map.h) * winograd_all_pieces(map.w) == 1;
  if (!single || !map.adjacent_kernels() || map.weight_out != map.in_channels * map.kernel_elements) return 1;
  return winograd_bundle(map.groups, map.in_channels, map.out_channels, lanes);
}

}  // namespace

template <class T>
WinogradPlan<T>::WinogradPlan(const InterleavedMap& maps, const PlanRequest& request)
    : bundle_(bundle_of(maps, kernel_set<T>(*request.kernels).lanes)),
      bundled_groups_(maps.any.groups),
      map_(common_map(maps, bundle_)),
      rows_(static_cast<std::int64_t>(maps.rows.size())),
      columns_(static_cast<std::int64_t>(maps.columns.size())),
      set_(kernel_set<T>(*request.kernels)),
      kernel_(*find_winograd_pieces(set_, winograd_taps(map_.h), winograd_taps(map_.w))),
      isa_(request.kernels->isa),
      frozen_(request.frozen),
      in_vectors_(ceil_div(map_.h.remainders() * map_.w.remainders() * map_.in_channels * bundle_, set_.lanes)),
      out_vectors_(ceil_div(map_.out_channels, set_.lanes)),
      product_(choose_product(frozen_)),
      windows_(map_, set_, most_tiles(1, choose_product(false).vectors, false)),
      weights_(map_, request, product_.vectors) {
  for (std::int64_t i = 0; i < rows_; ++i)
    for (std::int64_t j = 0; j < columns_; ++j) {
      const MapAxis &h = maps.rows[static_cast<std::size_t>(i)], &w = maps.columns[static_cast<std::size_t>(j)];
      residues_.push_back({h, w, h.lowest() - map_.h.lowest(), w.lowest() - map_.w.lowest(), i, j});
    }
  direct_taps_.reserve(residues_.size() * static_cast<std::size_t>(map_.taps()));
  for (const Residue& r : residues_)
    for (std::int64_t i = 0; i < map_.h.count; ++i)
      for (std::int64_t j = 0; j < map_.w.count; ++j)
        direct_taps_.push_back({windows_.staged_tap(i, j), r.h.kernel(i) * map_.kernel_w + r.w.kernel(j)});
  for (std::int64_t c = 0; bundle_ > 1 && c < map_.in_channels; ++c)
    for (std::int64_t k = 0; k < set_.lanes; ++k)
      elements_.push_back(
          static_cast<std::int32_t>(k < map_.out_channels ? k / own_out_channels() * map_.in_channels + c : 0));
  cut_kernel();
  cut_strips();
  cycles_ = estimate();
  make_tasks(request.threads);
}

template <class T>
void WinogradPlan<T>::cut_kernel() {
  pieces_.reserve(static_cast<std::size_t>(winograd_all_pieces(map_.h) * winograd_all_pieces(map_.w)));
  for (std::int64_t i = 0; i < windows_.h.segments; ++i)
    for (std::int64_t j = 0; j < windows_.w.segments; ++j)
      for (std::int64_t below = 0; below < windows_.h.pieces; ++below)
        for (std::int64_t beside = 0; beside < windows_.w.pieces; ++beside) pieces_.push_back({i, j, below, beside});
  needed_pieces_.reserve(static_cast<std::size_t>(positions() * pieces()));
  for (std::int64_t position = 0; position < positions(); ++position) {
    for (std::int64_t i = 0; i < pieces(); ++i)
      if (needs(position, pieces_[static_cast<std::size_t>(i)])) needed_pieces_.push_back(i);
    needed_begin_[position + 1] = needed_pieces_.size();
  }
}

template <class T>
PlanReport WinogradPlan<T>::report() const {
  const std::string sum = pieces() > 1 ? std::to_string(pieces()) + " times " : "";
  const std::string bundle = bundle_ > 1 ? " of " + std::to_string(bundle_) + " groups" : "";
  return {sum + winograd_name(kernel_) + ", products " + std::to_string(product_.rows) + "x" +
              std::to_string(product_.vectors) + bundle,
          threads_,
          {{"tiles_per_band", windows_.band_tiles()},
           {"bands_per_strip", strip_bands_},
           {"bands_per_image", windows_.bands_per_image()},
           {"kinds_of_tiles", static_cast<std::int64_t>(windows_.kinds().size())},
           {"channels_per_chunk", channel_chunk_}}};
}

// Panels are narrow where their transformed weights should stay in L2.
template <class T>
const ProductKernel<T>& WinogradPlan<T>::choose_product(bool frozen) const {
  if (bundle_ > 1) return set_.bundle_product[set_.bundle_product_count - 1];
  return best_product(set_, out_vectors_, frozen ? set_.product[set_.product_count - 1].vectors : 2);
}

// How many tiles a strip has: those whose windows and sums L2 holds; or more, which L3 delivers at the pace of the
// products, so that every weight, on its way from L3 or transformed anew for the strip, meets many tiles. A strip of a
// kernel in pieces transforms the windows of the bands below it too: of twice the tiles they are a smaller part.
template <class T>
std::int64_t WinogradPlan<T>::most_tiles(std::int64_t together, int vectors, bool frozen) const {
  const std::int64_t tile_bytes = positions() * (in_vectors_ + together * vectors) * set_.lanes * element;
  const std::int64_t times = winograd_pieces(winograd_taps(map_.h)) > 1 ? 2 : 1;
  const std::int64_t room = std::min(times * best_workspace(weight_bytes(), frozen), winograd_most_workspace());
  return std::max<std::int64_t>(4, room / tile_bytes);
}

template <class T>
std::int64_t WinogradPlan<T>::most_bands(std::int64_t together, int vectors, bool frozen) const {
  return std::max<std::int64_t>(1, most_tiles(together, vectors, frozen) / windows_.band_tiles());
}

template <class T>
void WinogradPlan<T>::cut_strips() {
  const auto bands = [&](std::int64_t together) { return most_bands(together, product_.vectors, frozen_); };
  // All residues at a time, if that makes no strips.
  together_ = static_cast<std::int64_t>(residues_.size());
  if (bands(together_) < windows_.bands_per_image()) together_ = 1;
  strip_bands_ = bands(together_);
  from_panels_ = map_.scattered_weights() &&
                 (map_.kernel_elements > together_ * map_.taps() || windows_.bands_per_image() > strip_bands_);
  // Chunks show in the bits, so there is one size for all plans. A chunk of a packed panel stays in L1 while all tiles
  // of a position pass; one that is transformed on the way stays in L2 while all positions do.
  const std::int64_t most_channels = pieces() == 1 ? 64 : std::max<std::int64_t>(1, 128 / pieces());
  channel_chunk_ = ceil_div(map_.in_channels, std::max<std::int64_t>(1, ceil_div(map_.in_channels, most_channels)));
}

// Of all groups, transformed.
template <class T>
double WinogradPlan<T>::weight_bytes() const {
  const std::int64_t kernel_pieces = winograd_all_pieces(map_.h) * winograd_all_pieces(map_.w);
  return residues() * static_cast<double>(positions() * kernel_pieces * map_.groups * map_.in_channels * out_vectors_ *
                                          set_.lanes * element);
}

// Cycles of one image, as if with packed weights: an estimate does not depend on freezing. Each band costs 100 cycles a
// vector of channels, and the rows of a stride are staged before they are transposed (measured on Zen 3). The sums of a
// chunk take 3 steps to be read and written (1, beside the permutations of a bundle), and a step for each further
// piece. Weights have to arrive; between short steps there is less time for them.
template <class T>
double WinogradPlan<T>::estimate() const {
  const auto tiles = static_cast<double>(windows_.image_tiles());
  const auto tile_positions = static_cast<double>(windows_.image_positions());
  double windows = 0;
  for (const Band& b : windows_.bands())
    windows_.for_each_window_row(
        b, [&](std::int64_t, std::int64_t, std::int64_t n, std::size_t) { windows += static_cast<double>(n); });
  const bool frozen = !map_.scattered_weights();  // where that can be
  const ProductKernel<T>& tile = choose_product(frozen);
  // The windows of the bands below a strip are transformed again for the next one.
  const std::int64_t strip =
      std::clamp<std::int64_t>(windows_.bands_per_image(), 1, most_bands(1, tile.vectors, frozen));
  windows *= static_cast<double>(strip + windows_.h.pieces - 1) / static_cast<double>(strip);
  const auto groups = static_cast<double>(map_.groups);
  const double vectors = static_cast<double>(in_vectors_) + residues() * static_cast<double>(out_vectors_);
  const auto rows = static_cast<double>(windows_.segments() > 1 ? kernel_.window_h() * in_vectors_ : 0);
  const double bands = static_cast<double>(windows_.bands_per_image()) *
                       (100 * vectors + rows * (100 + 6 * static_cast<double>(windows_.band_width())));
  const double product =
      bundle_ > 1 ? bundle_product_cycles(vector_passes(set_))
                  : product_cycles(tile.rows, tile.vectors, vector_passes(set_)) / (tile.rows * tile.vectors);
  const double steps = static_cast<double>(needed_pieces_.size()) / static_cast<double>(positions()) *
                       static_cast<double>(map_.in_channels);  // of a position, in the mean
  const double each_chunk = bundle_ > 1 ? 1 : 3 + static_cast<double>(pieces() - 1);
  const double products = residues() * product * groups * tile_positions *
                          (steps + each_chunk * static_cast<double>(chunks())) * static_cast<double>(out_vectors_);
  const double transforms = winograd_pace(set_) * groups *
                            (windows * static_cast<double>(in_vectors_) * window_cycles(kernel_) +
                             residues() * tiles * static_cast<double>(out_vectors_) * output_cycles(kernel_) + bands);
  const auto strips = static_cast<double>(ceil_div(windows_.bands_per_image(), strip));
  const double streamed = strips * weight_cycles(weight_bytes(), set_.short_steps());
  // Weights that are never frozen are transformed for every strip, from panels that are packed once.
  const auto taps = static_cast<double>(map_.taps());
  const double transformed =
      residues() * groups * static_cast<double>(map_.in_channels * out_vectors_) *
      (strips * (3.6 * static_cast<double>(positions() * pieces()) + 10 * taps) + 1.5 * taps * set_.lanes);
  const double seen = set_.short_steps() ? 0.25 : 0;
  const double sums = map_.scattered_weights() ? products + transformed
                                               : std::max(products, streamed) + seen * std::min(products, streamed);
  return winograd_margin(pieces()) * (sums + transforms + groups * 500);
}

// Threads share the groups and strips; where there are few, the panels too, and stage the same bands again. A strip has
// as many bands as end the last thread's share soonest; or all threads have as many bands, and each has some panels of
// those that are left. Groups of a single strip share what is found out about its tiles; those of several have their
// weights pass one after the other.
template <class T>
void WinogradPlan<T>::make_tasks(int threads) {
  threads_ = threads_for(cycles_ * static_cast<double>(map_.batch), threads);
  const std::int64_t bands = map_.batch * windows_.bands_per_image();
  if (threads_ == 1) {
    shares_ = {1, bands, ceil_div(bands, strip_bands_)};
    group_parts_ = strip_bands_ < bands ? map_.groups : 1;
    return;
  }
  strip_bands_ = std::min(strip_bands_, bands);
  // Of a band: setting out on a strip; what each part of its panels does again, and takes longer for few tiles.
  constexpr double strip_cost = 0.25, part_cost = 0.5;
  const auto share = [&](std::int64_t strip) {
    const std::int64_t strips = ceil_div(bands, strip) * map_.groups;
    return static_cast<double>(ceil_div(strips, threads_)) * (static_cast<double>(strip) + strip_cost);
  };
  const std::int64_t least_tiles = are_near(weight_bytes()) ? 8 : 24;  // to pay for the weights' way
  const std::int64_t least = std::min(strip_bands_, ceil_div(least_tiles, windows_.band_tiles()));
  std::int64_t best = strip_bands_;
  for (std::int64_t strip = strip_bands_ - 1; strip >= least; --strip)
    if (share(strip) < share(best)) best = strip;
  const Shares even{threads_, bands / threads_, ceil_div(bands / threads_, strip_bands_), 1, bands % threads_};
  if (map_.groups == 1 && even.bands > 0 && even.left > 0 && even.left <= strip_bands_ && panels() >= threads_) {
    const double cost = static_cast<double>(even.bands) + static_cast<double>(even.strips + 1) * strip_cost +
                        static_cast<double>(even.left) * (part_cost + (1 - part_cost) / threads_);
    if (cost < share(best)) {
      shares_ = even;
      strip_bands_ = std::max(ceil_div(even.bands, even.strips), even.left);
      return;
    }
  }
  strip_bands_ = best;
  const std::int64_t strips = ceil_div(bands, strip_bands_);
  shares_ = {1, bands, strips, balanced_splits(strips * map_.groups, panels(), threads_)};
  group_parts_ = strip_bands_ < bands ? map_.groups : splits_for(shares_.splits, map_.groups, threads_);
}

template <class T>
typename WinogradPlan<T>::Strip WinogradPlan<T>::strip(std::int64_t task) const {
  TaskDigits digits(task);
  const std::int64_t index = digits.next(shares_.share_tasks()), share = digits.rest();
  const auto panel = [&](std::int64_t parts, std::int64_t part) { return split_at(panels(), parts, part); };
  if (index == shares_.strips * shares_.splits) {
    const std::int64_t begin = shares_.count * shares_.bands;
    return {begin, begin + shares_.left, panel(shares_.count, share), panel(shares_.count, share + 1)};
  }
  const std::int64_t strip = index / shares_.splits, split = index % shares_.splits, first = share * shares_.bands;
  return {first + split_at(shares_.bands, shares_.strips, strip),
          first + split_at(shares_.bands, shares_.strips, strip + 1), panel(shares_.splits, split),
          panel(shares_.splits, split + 1)};
}

template class WinogradPlan<float>;
template class WinogradPlan<double>;

}  // namespace tileconv
