// The register tiles of plain matrix products, and what they cost.
#pragma once

#include <cmath>
#include <cstdint>

#include "../cpu.h"
#include "../plan.h"
#include "../shift_map.h"
#include "packed_pixels.h"
#include "weights_ahead.h"

namespace tileconv {

// Cycles of a register tile of the products, for a step of its sums. With a single vector every multiply-add has a load
// of its own.
inline double product_cycles(double rows, double vectors, double passes) noexcept {
  const double elements = (vectors == 1 ? 1.25 : 1) * rows + 1;
  return tile_cycles(rows * vectors, elements, vectors, passes) + 0.1 * (rows + vectors);
}

// Of a task: the arena keeps it.
constexpr std::int64_t most_workspace = std::int64_t{4} << 20;

// Weights of which a good part is in memory, whatever a system says of L3: it is of all its cores, or more.
constexpr std::int64_t far_weights = 16 << 20;

// Cycles until so many bytes of weights have arrived: from L2; from L3; from where a larger matrix is, much of it
// memory: with short steps the mean of Zen 3 and Zen 4, which have less and more of it.
inline double weight_cycles(double bytes, bool short_steps) noexcept {
  const auto near = 0.75 * static_cast<double>(core_traits().l2);
  return bytes / (bytes < near ? 64 : bytes < static_cast<double>(far_weights) ? 12 : short_steps ? 5 : 6);
}

// The register tile of at most that many vectors by the cycles that `vectors` of columns take for each of its rows. Of
// equal multiply-adds the larger tile loads less.
template <class T>
const ProductKernel<T>& best_product(const KernelSet<T>& set, std::int64_t vectors, int most_vectors) noexcept {
  double best = 0;
  const ProductKernel<T>* chosen = set.product;
  for (int i = 0; i < set.product_count; ++i) {
    const ProductKernel<T>& kernel = set.product[i];
    const std::int64_t parts = ceil_div(vectors, kernel.vectors);
    if (ceil_div(vectors, parts) != kernel.vectors || kernel.vectors > most_vectors) continue;
    const double columns = static_cast<double>(vectors) / static_cast<double>(parts), rows = kernel.rows;
    const double cost = static_cast<double>(parts) * product_cycles(rows, columns, vector_passes(set)) / rows;
    if (best == 0 || cost < best) best = cost, chosen = &kernel;
  }
  return *chosen;
}

// Pixels by out channels, a matrix product. Of in channel c, the pixels of a run lie at input + runs.at(run) + c *
// runs.step(), the out channels of a panel of `vectors` at weights + c * columns. Row x of out is pixel x, `columns`
// elements from the next.
template <class T>
struct PixelProduct {
  PixelRuns runs;
  const T* input;
  std::int64_t in_channels;
  const T* weights;
  std::int64_t columns, vectors;
  T* out;
};
// Summed by themselves: errors grow with the chunk. Shorter ones cost up to 2 %.
constexpr std::int64_t product_steps = 256;

// Pixels are the rows of the register tile and are broadcast; out channels are its vectors. While a chunk of the
// weights serves all pixels, what follows it is fetched.
template <class T>
void multiply_pixels(const KernelSet<T>& set, const PixelProduct<T>& p) {
  const ProductKernel<T>* const kernels = find_products(set, static_cast<int>(p.vectors));
  const std::int64_t runs = p.runs.count(), chunks = ceil_div(p.in_channels, product_steps);
  ProductArgs<T> a{};
  a.row = 1;
  a.row_step = p.runs.step();
  a.column_step = a.out_row = p.columns;
  for (std::int64_t chunk = 0; chunk < chunks; ++chunk) {
    const std::int64_t c = split_at(p.in_channels, chunks, chunk);
    a.steps = split_at(p.in_channels, chunks, chunk + 1) - c;
    a.columns = p.weights + c * p.columns;
    const WeightsAhead<T> ahead(set, a.steps * p.columns, a.steps / set.steps_a_turn, runs);
    a.accumulate = chunk > 0;
    p.runs.pixels().for_each_size([&](std::int64_t run, std::int64_t count, std::int64_t rows) {
      a.rows = p.input + p.runs.at(run) + c * p.runs.step();
      a.out = p.out + p.runs.begin(run) * p.columns;
      a.further_tiles = count - 1;
      a.next = {p.runs.at(run + 1) - p.runs.at(run), rows * p.columns};
      ahead.tell(a, run, a.columns, a.columns + a.steps * p.columns);
      kernels[rows - 1].run(a);
    });
  }
}

// Cycles of a register tile of it. Every so many steps one call, in which the sums are read and written, was measured;
// in a longer chunk its share goes to weights that are more than L1 holds.
inline double pixel_product_cycles(double in_channels, double rows, double vectors, double passes) noexcept {
  constexpr double steps_a_call = 128;
  return in_channels * product_cycles(rows, vectors, passes) +
         std::ceil(in_channels / steps_a_call) * (60 + passes * rows * vectors);
}

// The biases of a vector of out channels, of which there are `channels`, the first being `first` of all groups.
template <class T>
void load_bias(const ConvViews& v, std::int64_t first, std::int64_t channels, std::int64_t lanes, T* to) {
  for (std::int64_t k = 0; k < lanes; ++k)
    to[k] = v.bias && k < channels ? reinterpret_cast<const T*>(v.bias)[first + k] : T(0);
}

}  // namespace tileconv
