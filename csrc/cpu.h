// The machine: which instruction sets it runs, its caches and vector units, and which kernel table is in use.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "kernels/kernels.h"

namespace tileconv {

// Bytes of a way of L1, which x86 cores find by the offset in a page: addresses so far apart compete for the same
// lines.
constexpr std::int64_t l1_way = 4096;

// Where a few pixels of one channel after the other are read, two to three and a quarter cache lines apart, prefetchers
// bring the lines between as well: a fifth to a third slower than at any other distance (Zen 3).
inline bool fetched_between(std::int64_t bytes) noexcept { return bytes > 128 && bytes < 208 && bytes % 64 != 0; }

// What the cost models know of a core, as far as the system tells; typical values otherwise.
struct CoreTraits {
  std::int64_t l1d, l2, l3;   // bytes of caches, the core's own share
  std::int64_t vector_bytes;  // that each of its two multiply-add units and two load ports takes at once
};
const CoreTraits& core_traits();
// Of L3, whose other part other cores have: what is larger comes from memory.
inline std::int64_t l3_part() { return std::min<std::int64_t>(core_traits().l3, 12 << 20); }
// Plans made from now on are cut for these instead: for tests of what the cost model chooses on a given machine.
void set_core_traits(const CoreTraits& traits);

// How many times the units take a vector of the table, a part of it each time.
template <class T>
double vector_passes(const KernelSet<T>& set) {
  const auto bytes = static_cast<std::int64_t>(set.lanes * sizeof(T));
  return bytes > core_traits().vector_bytes
             ? static_cast<double>(bytes) / static_cast<double>(core_traits().vector_bytes)
             : 1.0;
}

// Vectors that the kernels of rows of pixels take for one: a half at its end counts as such if the units have as much
// less to do.
template <class T>
double row_vectors(const KernelSet<T>& set, std::int64_t pixels) {
  const std::int64_t left = pixels % set.lanes;
  const double end = left == 0 ? 0 : left <= set.half_lanes && vector_passes(set) > 1 ? 0.5 : 1;
  return static_cast<double>(pixels / set.lanes) + end;
}

// Cycles of a step of a register tile: two multiply-adds and two loads start in each, and the result of one is ready
// after four. What is loaded are `elements`, each for all lanes, at once, and whole `vectors`.
inline double tile_cycles(double multiply_adds, double elements, double vectors, double passes) noexcept {
  return std::max({multiply_adds * passes / 2, (elements + vectors * passes) / 2, 4.0});
}

// The tables of this build, whether or not the machine can run them, the best last.
const std::vector<const KernelTable*>& built_kernels();
// Those that it can run. Never empty.
const std::vector<const KernelTable*>& available_kernels();

// The table in use: TILECONV_ISA if set, else the best. An unknown or unsupported name is a ValueError, never a
// fallback.
const KernelTable& active_kernels();
void set_active_kernels(const std::string& isa);

std::string cpu_name();

// The cores this process may run on.
int available_cores();

}  // namespace tileconv
