// The blocking of shift_gemm: a written cost model of cycles, by the limits of the register tile (multiply-adds, loads,
// latency) and of the caches (what a sweep keeps in L1 and L2). Pure functions of the map, the kernels and the core.
#include <algorithm>
#include <numeric>

#include "../cpu.h"
#include "products.h"
#include "shift_gemm.h"

namespace tileconv {
namespace {

// The sum of f(size) over so many even parts of `total`.
template <class F>
double sum_parts(std::int64_t total, std::int64_t parts, F f) {
  double sum = 0;
  EvenParts(total, parts).for_each_size([&](std::int64_t, std::int64_t of_a_size, std::int64_t size) {
    sum += static_cast<double>(of_a_size) * f(size);
  });
  return sum;
}

template <class T>
class Model {
 public:
  Model(const ShiftMap& map, const PlanRequest& request)
      : map_(map),
        set_(kernel_set<T>(*request.kernels)),
        frozen_(request.frozen),
        in_place_(request.layout.input_planes && map.w.step == 1 && map.patch_elements() == 1 && map.h.inside() &&
                  map.w.inside()),
        out_rows_(request.layout.out_rows && map.block_h * map.block_w == 1),
        dense_(request.layout.out_planes),
        passes_(vector_passes(set_)),
        waits_(passes_ > 1 ? in_halves : at_once),
        beyond_l2_(map.in_channels * plane_bytes() > core_traits().l2 / 2),
        steps_(static_cast<double>(map.steps())),
        crowded_(set_.short_steps() && map.taps() > 1),
        staged_w_(map.w.staged_length(map.w.out_size)),
        staged_h_(map.h.staged_length(map.h.out_size)) {}

  // The largest tile of every width; smaller ones come up as the even parts of a size.
  Blocking best() const {
    Blocking best;
    const auto consider = [&](const Blocking& b) {
      if (best.cycles == 0 || b.cycles < best.cycles) best = b;
    };
    for (int i = 0; i < set_.channel_lanes_count; ++i)
      if (is_tallest(set_.channel_lanes, set_.channel_lanes_count, i))
        for (const bool packed : {false, true})
          if (!packed || map_.taps() == 1) consider(channel_lanes(set_.channel_lanes[i], packed));
    const bool whole = map_.w.out_size % set_.lanes == 0;
    const bool rows_fill_vectors = whole_vectors(staged_w_) - map_.w.out_size < set_.lanes;
    // Once a register tile has room for a line, wider ones only have fewer rows.
    const std::int64_t longest = (map_.h.out_size - 1) * whole_vectors(staged_w_) + map_.w.out_size;
    for (int i = 0, covered = 0; i < set_.pixel_lanes_count && covered < longest; ++i) {
      if (!is_tallest(set_.pixel_lanes, set_.pixel_lanes_count, i)) continue;
      Blocking b;
      b.vectors = set_.pixel_lanes[i].vectors;
      b.rows = set_.pixel_lanes[i].rows;
      if (covered < map_.w.out_size) {
        consider(pixel_lanes(b));
        b.in_place = true;
        // What does not fill a vector is computed with pixels before it.
        if (in_place_ && (whole || (b.vectors > 1 && map_.w.out_size > set_.lanes))) consider(pixel_lanes(b));
        b.packs_pixels = true;
        if (in_place_ && map_.taps() == 1) consider(pixel_lanes(b));
        b.in_place = b.packs_pixels = false;
      }
      b.flat = true;
      if (map_.taps() > 0) consider(pixel_lanes(b));
      b.row_vectors = true;
      if (map_.taps() > 0 && rows_fill_vectors) consider(pixel_lanes(b));
      covered = b.vectors * set_.lanes;
    }
    best.channel_lanes ? cut_channel_lanes(best) : cut_pixel_lanes(best);
    return best;
  }

 private:
  static constexpr double group_cycles = 300;  // setting out on a tile

  // Cycles beside multiply-adds and loads, of a vector unless said otherwise, measured on Zen 3 and, of cores that take
  // a vector in halves, on Zen 4: there many wait behind the multiply-adds.
  struct Waits {
    double same_set;            // of pixels read in place, with planes of 4 KiB and more
    double lost;                // of a cache line that L1 does not keep for the next run of pixels
    double page;                // of a step, where its pixels are in more pages than the first page table knows
    double scattered;           // of outputs beyond L2, stored a vector here and there
    double partial;             // of sums that wait for the next chunk
    double packed, far_packed;  // of pixels, from L2, from beyond
    double row;                 // of a register tile of a single tap with pixel lanes, the outputs of a channel
  };
  static constexpr Waits at_once{4, 0.8, 0.7, 4, 1.5, 2, 3, 0}, in_halves{0, 0, 0, 0, 6, 6, 6, 12};

  // Cycles of a step of a register tile. One of several taps has offsets to read and to add, and its part of a turn of
  // the loop.
  double step_cycles(double multiply_adds, double elements, double vectors) const {
    constexpr double issued = 4;  // instructions that a core starts in each cycle; some start six
    const double own = map_.taps() > 1 ? 5 : 1;
    return std::max(tile_cycles(multiply_adds, elements, vectors, passes_),
                    (multiply_adds + elements + vectors + own) / issued);
  }
  // Loads of a step for each row of a register tile with a single vector, where every multiply-add has one of its own.
  double single_vector_loads() const { return crowded_ ? 1.4 : 1.25; }

  // Vectors of the source wait for L2 or beyond; patches are staged a kernel row at a time.
  double stage_cycles(bool in_place) const {
    const auto channels = static_cast<double>(map_.in_channels), staged = static_cast<double>(staged_w_ * staged_h_);
    const bool patches = map_.patch_elements() > 1;
    return in_place ? 0.0 : channels * (6.0 * staged / set_.lanes + (patches ? 60 : 0));
  }

  Blocking channel_lanes(const GemmKernel<T>& kernel, bool packed) const {
    Blocking b;
    const std::int64_t columns = ceil_div(map_.out_channels, set_.lanes);
    b.channel_lanes = true;
    b.packs_pixels = packed;
    // A few pixels of every channel are read at a time: from beyond L2, each of them would be waited for, where staging
    // reads long rows.
    b.in_place = in_place_ && !beyond_l2_ && (packed || !fetched_between(plane_bytes()));
    b.rows = kernel.rows;
    b.vectors = static_cast<int>(ceil_div(columns, ceil_div(columns, kernel.vectors)));
    // Two narrow rows in one register tile halve the loads of weights for each of their pixels.
    b.paired = !packed && 2 * map_.w.out_size <= kernel.rows && map_.h.out_size > 1;
    // The pixels of a step are part of a cache line that later runs read on. Beside its panel L1 does not keep the
    // lines of a long chunk until then; cores that take a vector in halves have the time to fetch them again.
    const std::int64_t chunk = even_part(map_.in_channels, channel_chunk(b)), l1 = core_traits().l1d * 3 / 4;
    const std::int64_t line = std::min<std::int64_t>(64, plane_bytes());
    const bool collide = b.in_place && !packed && same_sets(64) && chunk * std::gcd(plane_bytes(), l1_way) > l1;
    const bool lost = !packed && chunk * (step_bytes(b) + line) > l1;
    const double lines = (collide ? waits_.same_set
                          : lost  ? waits_.lost * static_cast<double>(line) / 64
                                  : 0) /
                         static_cast<double>(std::max<std::int64_t>(1, map_.w.count));
    // Kernel rows in zero padding are left out, row by row.
    const double used_steps = steps_ * map_.h.used_share();
    // A few pixels of every channel are stored at a time, a plane apart.
    const double stored = written_bytes() > 4 * core_traits().l2 ? 27 : 12;
    const auto row = [&](std::int64_t width) {
      return sum_parts(width, ceil_div(width, kernel.rows), [&](std::int64_t pixels) {
        return sum_parts(columns, ceil_div(columns, b.vectors), [&](std::int64_t vectors) {
          const auto p = static_cast<double>(pixels), v = static_cast<double>(vectors);
          const double transposed = v * static_cast<double>(ceil_div(pixels, set_.lanes));
          // A panel that L1 does not hold comes from L2 for every tile.
          const double streamed =
              steps_ * v * set_.lanes * sizeof(T) > static_cast<double>(core_traits().l1d) / 2 ? 0.25 * v : 0;
          // With a single vector every multiply-add has a load of its own.
          const double elements = (vectors == 1 ? single_vector_loads() : 1) * p + 1;
          return used_steps * (step_cycles(p * v, elements, v) + 0.5 + streamed + lines) + 60 +
                 5.0 * set_.lanes * transposed + stored * v * set_.lanes;
        });
      });
    };
    const std::int64_t pairs = b.paired ? map_.h.out_size / 2 : 0, singles = map_.h.out_size - 2 * pairs;
    b.cycles = stage_cycles(b.in_place) + group_cycles;
    if (packed) {
      const std::int64_t runs = map_.h.out_size * ceil_div(map_.w.out_size, kernel.rows);
      b.cycles += pack_cycles * static_cast<double>(map_.in_channels * runs);
    }
    if (pairs > 0) b.cycles += static_cast<double>(pairs) * row(2 * map_.w.out_size);
    if (singles > 0) b.cycles += static_cast<double>(singles) * row(map_.w.out_size);
    // Packing reads and writes every weight, mostly beyond L2.
    if (!frozen_) b.cycles += static_cast<double>(map_.out_channels) * steps_ * sizeof(T) / 8;
    b.cycles *= static_cast<double>(map_.groups);
    return b;
  }

  Blocking pixel_lanes(Blocking b) const {
    b.rows = static_cast<int>(ceil_div(map_.out_channels, ceil_div(map_.out_channels, b.rows)));
    const std::int64_t width = map_.w.out_size, pitch = staged_row(b, width);
    const std::int64_t pixels = b.flat ? (map_.h.out_size - 1) * pitch + width : width;
    // What a vector writes behind its row may be overwritten by the next.
    const bool all_spill = !out_rows_ || (b.copies() && b.flat && (!dense_ || (!b.row_vectors && pitch != width)));
    const bool may_spill = b.copies() && !b.flat && !dense_;
    const auto more_chunks = static_cast<double>(ceil_div(map_.in_channels, pixel_chunk(b)) - 1);
    // Planes that lie in more pages, as large as a way of L1, than the first page table knows at once: each is waited
    // for.
    constexpr std::int64_t most_pages = 48;
    const std::int64_t chunk = even_part(map_.in_channels, pixel_chunk(b));
    const bool paged = !b.copies() && map_.adjacent_kernels() && map_.block_h * map_.block_w == 1 &&
                       chunk * std::min(plane_bytes(), l1_way) > most_pages * l1_way;
    const double paging = paged ? waits_.page / static_cast<double>(std::max<std::int64_t>(1, map_.taps())) : 0;
    // The share of the panels of out channels for which the pixels, read in place, have to come from L2 or beyond.
    const double brought =
        reused(b) && stays_in_l1(b) ? static_cast<double>(b.rows) / static_cast<double>(map_.out_channels) : 1;
    // Of a single tap in place, panel after panel reads the same pixels. There, and where rows run on, each panel
    // stores a vector here and there, which waits for its line to come from beyond L2: measured on Zen 3. Where rows
    // run on, lines that were asked for come while the sums are taken.
    const bool again = !b.copies() && map_.taps() == 1 && map_.out_channels > b.rows;
    const double collided = again && same_sets(2 * tile_bytes(b) + 128) && !stays_in_l1(b) ? waits_.same_set : 0;
    const bool waits = map_.out_channels > b.rows && written_bytes() > core_traits().l2;
    const std::int64_t line_vectors = ceil_div(pixels, set_.lanes);
    // The vectors that several taps share lie across cache lines, but for some of those in aligned rows. A fit of 200
    // layers on Zen 3, for float32; for float64 it came to a third, which improved no choice.
    const double crossing = crowded_ && !b.row_vectors && sizeof(T) == sizeof(float) ? 0.36 : 0;
    const double row = map_.taps() == 1 ? waits_.row : 0;
    // spilled: the share of register tiles.
    const auto panels = [&](double v, double spilled) {
      return sum_parts(map_.out_channels, ceil_div(map_.out_channels, b.rows), [&](std::int64_t channels) {
        const auto m = static_cast<double>(channels);
        // Unaligned loads touch two cache lines, which a single tap does not share with another; staged, it has none.
        const bool aligned = map_.taps() == 1 && b.copies();
        // The way from L2 hides behind multiply-adds of several passes, if there are some for each vector.
        const bool hidden = map_.taps() > 1 || b.copies() || (passes_ > 1 && channels >= 4);
        const double fresh = hidden ? 0.1 * v : ((beyond_l2_ ? 1 : 0.4) * brought + collided) * v;
        // Weights beyond L2: a cache line of each channel now and then, where no prefetcher follows.
        const double far = weight_bytes() > core_traits().l2 / 2 ? m * element / 64 : 0;
        const double elements = (v <= 1 && crowded_ ? single_vector_loads() : 1) * m + 1;
        const double loads = (aligned ? 1 : 2) * v;
        const double sums =
            steps_ * (step_cycles(m * v, elements, loads) + 0.3 + 0.05 * v + crossing * v + fresh + paging + far);
        const double scattered = !waits   ? 0
                                 : b.flat ? std::max(0.0, 8 * m * v - sums)
                                 : again  ? waits_.scattered * m * v
                                          : 0;
        return sums + 80 + row * m + (0.75 + 7.25 * spilled) * m * v + scattered +
               more_chunks * (50 + waits_.partial * m * v);
      });
    };
    const auto line_cycles = [&](const Blocking::LineTiles& tiles) {
      const bool last_spills = may_spill && tiles.covered(set_) != width;
      const double spilled = all_spill ? 1 : last_spills ? 1 / static_cast<double>(tiles.count()) : 0;
      // The last tile is a call of another kernel, for each panel.
      const double halves = tiles.halves == 0 ? 0
                                              : panels(static_cast<double>(tiles.halves) / 2, spilled) +
                                                    20 * static_cast<double>(ceil_div(map_.out_channels, b.rows));
      return halves + sum_parts(tiles.whole.total(), tiles.whole.count,
                                [&](std::int64_t vectors) { return panels(static_cast<double>(vectors), spilled); });
    };
    double line = line_cycles(b.line_tiles(pixels, set_));
    b.half_end = passes_ > 1 && !b.packs_pixels;  // packed blocks are of whole vectors
    const Blocking::LineTiles ended = b.line_tiles(pixels, set_);
    const double with_halves = ended.halves > 0 ? line_cycles(ended) : line;
    b.half_end = with_halves < line;
    line = std::min(line, with_halves);
    const double lines = b.flat ? 1.0 : static_cast<double>(map_.h.out_size);
    // Scattered weights are gathered one by one, for every tile.
    double gathered = 0;
    if (!map_.adjacent_kernels()) {
      const std::int64_t tiles = ceil_div(chunk * staged_h_ * staged_w_ * element, most_staged(b));
      gathered = 3 * static_cast<double>(tiles * map_.out_channels) * steps_;
    }
    const double pack_vector = beyond_l2_ ? waits_.far_packed : waits_.packed;
    const double packed = b.packs_pixels ? static_cast<double>(map_.in_channels) * lines *
                                               (pack_vector * static_cast<double>(line_vectors) + 15)
                                         : 0;
    b.cycles =
        (line * lines + stage_cycles(b.in_place) + packed + gathered + group_cycles) * static_cast<double>(map_.groups);
    return b;
  }

  std::int64_t whole_vectors(std::int64_t n) const { return ceil_div(n, set_.lanes) * set_.lanes; }
  std::int64_t staged_row(const Blocking& b, std::int64_t width) const {
    const std::int64_t length = map_.w.staged_length(width);
    return b.row_vectors ? whole_vectors(length) : length;
  }

  static constexpr auto element = static_cast<std::int64_t>(sizeof(T));
  std::int64_t tile_bytes(const Blocking& b) const { return b.vectors * set_.lanes * element; }
  // What a tile of h x w outputs reads of a chunk.
  std::int64_t read_bytes(const Blocking& b, std::int64_t h, std::int64_t w) const {
    return b.chunk * element * (b.in_place || b.packs_pixels ? h * w : map_.h.staged_length(h) * staged_row(b, w));
  }

  // Bytes of a panel that all register tiles of an image read: it stays in L1. Where multiply-adds take several passes,
  // the way from L2 hides behind them, and fewer partial sums are worth more.
  std::int64_t most_panel() const { return passes_ > 1 ? core_traits().l2 / 8 : core_traits().l1d / 2; }

  // Weights of an in channel in a panel.
  std::int64_t step_bytes(const Blocking& b) const { return tile_bytes(b) * std::max<std::int64_t>(1, map_.taps()); }
  // In channels at the most. A chunk's panel of weights stays while the register tiles of the image pass, if there are
  // several of them and the chunk is long enough to be worth the partial sums; else in L2 beside the staged tile.
  std::int64_t channel_chunk(const Blocking& b) const {
    const CoreTraits& cache = core_traits();
    const std::int64_t kept = most_panel() / step_bytes(b), pixels = map_.h.out_size * map_.w.out_size;
    constexpr std::int64_t least_steps = 96, least_uses = 8;
    // Weights beyond L2 are to come once: not if the partial sums of all pixels are too many for a tile. But where
    // steps are short the way from L2 in each of them is longer than the way from L3 in each tile of some size.
    const std::int64_t tile = most_kept(b) / (map_.out_channels * element), uses = least_uses * b.rows;
    const bool once = kept >= map_.in_channels || weight_bytes() <= cache.l2 / 2 || pixels <= tile;
    const bool repeats = set_.short_steps() && weight_bytes() < far_weights && tile >= uses;
    const bool resident = kept * map_.taps() >= least_steps && pixels >= uses && (once || repeats);
    return resident ? kept : cache.l2 / 4 / step_bytes(b);
  }
  void cut_channel_lanes(Blocking& b) const {
    const CoreTraits& cache = core_traits();
    set_chunk(b, channel_chunk(b));
    cut_tile(b, b.rows);
    const std::int64_t panel = b.chunk * map_.taps() * tile_bytes(b),
                       weights = map_.out_channels * b.chunk * map_.taps() * element;
    b.panels_outer = panel <= most_panel() || weights > cache.l2 / 2;
    b.prefetch = b.panels_outer && map_.taps() > 0 && read_bytes(b, b.tile_h, b.tile_w) + 2 * panel <= cache.l2 * 7 / 8;
  }

  // A chunk of a block's pixels stays in L1 while all weights pass, if more than a few panels do. Else the pixels are
  // read once: from memory few planes at a time, which the hardware's prefetcher can follow. Two outputs of 64 planes
  // of 1 MB: 16 GB/s by all, 23 by sixteens, 31 by eights, 27 by fours. From L3 all are best, up to 1.7 times.
  bool reused(const Blocking& b) const { return map_.out_channels > 2 * b.rows; }
  std::int64_t pixel_chunk(const Blocking& b) const {
    if (reused(b)) return std::max<std::int64_t>(1, core_traits().l1d * 9 / 10 / tile_bytes(b));
    if (map_.in_channels * plane_bytes() < l3_part()) return map_.in_channels;
    return b.copies() ? 16 : 8;
  }
  // Whether L1 keeps them where they are read in place. A way of L1 is as large as a page, so that planes which are a
  // multiple of 1/n of a page apart share n places in it, each as long as that part.
  bool stays_in_l1(const Blocking& b) const {
    const std::int64_t apart = std::max(std::gcd(plane_bytes(), l1_way), tile_bytes(b) + 64);
    return even_part(map_.in_channels, pixel_chunk(b)) * apart <= core_traits().l1d * 3 / 4;
  }

  // Whether the same pixels of all channels, so many bytes, crowd into a part of L1's sets.
  bool same_sets(std::int64_t bytes) const { return std::gcd(plane_bytes(), l1_way) > bytes; }

  void cut_pixel_lanes(Blocking& b) const {
    set_chunk(b, pixel_chunk(b));
    cut_tile(b, b.vectors * set_.lanes);
    // What some lines of pixels read stays in L1: then each out channel is written along whole lines, not a block here
    // and there, a plane apart, where caches and page tables have few places. For that a line that is written beyond L2
    // may be read from L2.
    const std::int64_t in_l1 = core_traits().l1d / 2;
    const std::int64_t one_line = written_bytes() > core_traits().l2 ? core_traits().l2 / 4 : in_l1;
    const auto read = [&](std::int64_t lines) {
      return b.chunk * map_.h.staged_length(lines) * staged_row(b, b.tile_w) * element;
    };
    b.panels_outer = b.packs_pixels || (!b.flat && read(1) <= one_line);
    if (b.packs_pixels) b.lines = b.tile_h;
    while (b.panels_outer && b.lines < b.tile_h && read(2 * b.lines) <= in_l1) b.lines *= 2;
  }

  // The largest of the even parts of `total`, none larger than `limit`.
  static std::int64_t even_part(std::int64_t total, std::int64_t limit) {
    return ceil_div(total, ceil_div(total, std::clamp<std::int64_t>(limit, 1, total)));
  }
  void set_chunk(Blocking& b, std::int64_t limit) const { b.chunk = even_part(map_.in_channels, limit); }

  std::int64_t plane_bytes() const { return map_.h.map.size * map_.w.map.size * element; }  // of the input
  std::int64_t written_bytes() const { return map_.out_channels * map_.h.out_size * map_.w.out_size * element; }
  std::int64_t weight_bytes() const { return map_.out_channels * map_.in_channels * map_.taps() * element; }
  // Of the partial sums of a tile. More gains nothing, and is slower where L2 takes longer to answer.
  std::int64_t most_kept(const Blocking& b) const {
    const std::int64_t l2 = core_traits().l2;
    return !b.copies() ? l2 / 2 : std::min<std::int64_t>(l2 * 3 / 8, 384 << 10);
  }
  // Of what a tile reads. A single tap with pixel lanes is staged or packed to be read from L1, where few pages are
  // better, if L2 gives the weights again for every tile.
  std::int64_t most_staged(const Blocking& b) const {
    const bool light = weight_bytes() <= core_traits().l2 / 4;
    const bool from_l1 = !b.channel_lanes && b.copies() && map_.taps() == 1 && light && map_.adjacent_kernels();
    return from_l1 ? 2 * core_traits().l1d : most_kept(b);
  }

  // The tile: as wide, then as high, as what is read and what is kept of partial sums leave in L2. Rows are cut in
  // whole register tiles, `unit` pixels.
  void cut_tile(Blocking& b, std::int64_t unit) const {
    const std::int64_t budget = most_staged(b), kept = most_kept(b);
    const auto fits = [&](std::int64_t h, std::int64_t w) {
      const bool chunked = b.chunk < map_.in_channels;
      return read_bytes(b, h, w) <= budget && (!chunked || map_.out_channels * h * w * element <= kept);
    };
    b.tile_w = map_.w.out_size;
    while (!fits(1, b.tile_w) && b.tile_w > unit) b.tile_w = ceil_div(ceil_div(b.tile_w, 2), unit) * unit;
    while (read_bytes(b, 1, b.tile_w) > budget && b.chunk > 1) b.chunk = ceil_div(b.chunk, 2);
    std::int64_t low = 1, high = map_.h.out_size;
    while (low < high) {
      const std::int64_t middle = high - (high - low) / 2;
      if (fits(middle, b.tile_w))
        low = middle;
      else
        high = middle - 1;
    }
    // Rows that run on without a halo: tiles of whole vectors, if they need not be much lower for it.
    const std::int64_t row = staged_row(b, b.tile_w);
    if (b.flat && map_.taps() == 1 && low < map_.h.out_size) {
      std::int64_t h = low;
      while (h > low / 2 && (h * row % set_.lanes != 0 || map_.h.out_size % h != 0)) --h;
      if (h > low / 2) low = h;
    }
    b.tile_h = ceil_div(map_.h.out_size, ceil_div(map_.h.out_size, low));
  }

  const ShiftMap& map_;
  const KernelSet<T>& set_;
  bool frozen_, in_place_;
  bool out_rows_;  // pixels of an output row are adjacent
  bool dense_;     // rows of the output are adjacent
  double passes_;  // of the core's units, for a vector
  const Waits& waits_;
  bool beyond_l2_;  // the input
  double steps_;
  bool crowded_;                      // short steps with offsets to read
  std::int64_t staged_w_, staged_h_;  // of the whole image
};

}  // namespace

template <class T>
Blocking choose_blocking(const ShiftMap& map, const PlanRequest& request) {
  return Model<T>(map, request).best();
}
template Blocking choose_blocking<float>(const ShiftMap&, const PlanRequest&);
template Blocking choose_blocking<double>(const ShiftMap&, const PlanRequest&);

}  // namespace tileconv
