// Detection of instruction sets, caches and cores; see cpu.h.
#include "cpu.h"

#include <atomic>
#include <cstdlib>
#include <fstream>
#include <thread>

#ifdef __linux__
#include <sched.h>
#include <unistd.h>
#endif

#ifdef TILECONV_X86
#include <cpuid.h>
#endif

#include "problem.h"

namespace tileconv {

const KernelTable kernels_baseline{"baseline", kernels_baseline_float, kernels_baseline_double};
#ifdef TILECONV_X86
const KernelTable kernels_avx2{"avx2", kernels_avx2_float, kernels_avx2_double};
const KernelTable kernels_avx512{"avx512", kernels_avx512_float, kernels_avx512_double};
#endif

namespace {

// Both the processor's feature bits and the operating system's saving of the wide registers are asked for by the
// compilers' own detection (__builtin_cpu_supports reads CPUID and XGETBV).
bool supported(const KernelTable* table) {
#ifdef TILECONV_X86
  __builtin_cpu_init();
  if (table == &kernels_avx2) return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  if (table == &kernels_avx512)
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("fma");
#endif
  return table == &kernels_baseline;
}

const KernelTable* find_kernels(const std::string& isa, const char* source) {
  std::string names;
  for (const KernelTable* table : available_kernels()) {
    if (isa == table->isa) return table;
    names += std::string(names.empty() ? "" : ", ") + table->isa;
  }
  throw ValueError(std::string(source) + " is '" + isa +
                   "', which this machine cannot run or tileconv does not know; " + "expected one of: " + names);
}

std::atomic<const KernelTable*>& active() {
  static std::atomic<const KernelTable*> table{[] {
    const char* name = std::getenv("TILECONV_ISA");
    return name && *name ? find_kernels(name, "TILECONV_ISA") : available_kernels().back();
  }()};
  return table;
}

std::int64_t cache_size(int name, std::int64_t fallback) {
#if defined(__linux__) && defined(_SC_LEVEL1_DCACHE_SIZE)
  const long size = sysconf(name);
  return size > 0 ? size : fallback;
#else
  static_cast<void>(name);
  return fallback;
#endif
}

// AMD's family 19h (Zen 4) takes vectors of 512 bits in two halves. By CPUID, since the compilers' names of processors
// depend on their age.
std::int64_t unit_bytes() {
#ifdef TILECONV_X86
  unsigned a = 0, b = 0, c = 0, d = 0;
  constexpr unsigned auth = 0x68747541, zen_4_family = 0x19;  // "Auth" of AuthenticAMD
  const bool amd = __get_cpuid(0, &a, &b, &c, &d) && b == auth;
  if (amd && __get_cpuid(1, &a, &b, &c, &d) && (a >> 8 & 0xf) + (a >> 20 & 0xff) == zen_4_family) return 32;
#endif
  return 64;
}

CoreTraits& current_core_traits() {
#if defined(__linux__) && defined(_SC_LEVEL1_DCACHE_SIZE)
  static CoreTraits traits{cache_size(_SC_LEVEL1_DCACHE_SIZE, 32 << 10), cache_size(_SC_LEVEL2_CACHE_SIZE, 512 << 10),
                           cache_size(_SC_LEVEL3_CACHE_SIZE, 8 << 20), unit_bytes()};
#else
  static CoreTraits traits{32 << 10, 512 << 10, 8 << 20, unit_bytes()};
#endif
  return traits;
}
}  // namespace

const CoreTraits& core_traits() { return current_core_traits(); }
void set_core_traits(const CoreTraits& traits) { current_core_traits() = traits; }

const std::vector<const KernelTable*>& built_kernels() {
#ifdef TILECONV_X86
  static const std::vector<const KernelTable*> tables{&kernels_baseline, &kernels_avx2, &kernels_avx512};
#else
  static const std::vector<const KernelTable*> tables{&kernels_baseline};
#endif
  return tables;
}

const std::vector<const KernelTable*>& available_kernels() {
  static const std::vector<const KernelTable*> tables = [] {
    std::vector<const KernelTable*> found;
    for (const KernelTable* table : built_kernels())
      if (supported(table)) found.push_back(table);
    return found;
  }();
  return tables;
}

const KernelTable& active_kernels() { return *active().load(std::memory_order_relaxed); }

void set_active_kernels(const std::string& isa) { active().store(find_kernels(isa, "isa"), std::memory_order_relaxed); }

std::string cpu_name() {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);)
    if (line.rfind("model name", 0) == 0) return line.substr(line.find(':') + 2);
  return "unknown";
}

int available_cores() {
#ifdef __linux__
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
#endif
  const unsigned n = std::thread::hardware_concurrency();
  return n > 0 ? static_cast<int>(n) : 1;
}

}  // namespace tileconv
