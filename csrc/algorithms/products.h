// The register tiles of plain matrix products, and what they cost.
#pragma once

#include <cstdint>

#include "../cpu.h"
#include "../plan.h"
#include "../shift_map.h"

namespace tileconv {

// Cycles of a register tile of the products, for a step of its sums. With a single vector every multiply-add has a load
// of its own.
inline double product_cycles(double rows, double vectors, double passes) noexcept {
  const double loads = (vectors == 1 ? 1.25 : 1) * rows + vectors + 1;
  return tile_cycles(rows * vectors, loads, passes) + 0.1 * (rows + vectors);
}

// Cycles until so many bytes of weights have arrived: from L2; from L3; from where a larger matrix is, much of it
// memory. What a system says of L3 is of all its cores, or more.
inline double weight_cycles(double bytes) noexcept {
  constexpr double far = 16 << 20;
  const auto near = 0.75 * static_cast<double>(core_traits().l2);
  return bytes / (bytes < near ? 64 : bytes < far ? 12 : 6);
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

}  // namespace tileconv
