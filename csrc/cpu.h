// The machine: which instruction sets it runs, how large its caches are, and which kernel table is in use.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kernels/kernels.h"

namespace tileconv {

struct CacheSizes {
  std::int64_t l1d, l2, l3;  // bytes of one core's share, as far as the system tells; typical values otherwise
};
const CacheSizes& cache_sizes();
// Plans made from now on are cut for these instead: for tests of what the cost model chooses on a given machine.
void set_cache_sizes(const CacheSizes& sizes);

// The tables this machine can run, the best last. Never empty.
const std::vector<const KernelTable*>& available_kernels();

// The table in use: TILECONV_ISA if set, else the best. An unknown or unsupported name is a ValueError, never a
// fallback.
const KernelTable& active_kernels();
void set_active_kernels(const std::string& isa);

std::string cpu_name();

// The cores this process may run on.
int available_cores();

}  // namespace tileconv
