// What the unit tests share: memory between inaccessible pages, random data, loops over kernel tables, and problems
// written as one line.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "cpu.h"
#include "problem.h"

#if __has_include(<sys/mman.h>)
#include <sys/mman.h>
#include <unistd.h>
#define TILECONV_HAS_MMAP
#endif

namespace tileconv::test {

enum class Edge { begin, end };

// Elements flush with an inaccessible page: on `Edge::begin` the page is in front of them (and they are aligned to a
// page), on `Edge::end` behind. A read or write across that edge ends the process. Where there is no mmap, plain
// memory.
template <class T>
class Guarded {
 public:
  explicit Guarded(std::size_t count, Edge edge = Edge::begin) : count_(count) {
#ifdef TILECONV_HAS_MMAP
    const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
    const std::size_t body = (count * sizeof(T) + page - 1) / page * page;
    bytes_ = body + 2 * page;
    base_ = static_cast<char*>(mmap(nullptr, bytes_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    if (base_ == MAP_FAILED || (body > 0 && mprotect(base_ + page, body, PROT_READ | PROT_WRITE) != 0))
      throw std::bad_alloc();
    char* const first = base_ + page + (edge == Edge::begin ? 0 : body - count * sizeof(T));
#else
    static_cast<void>(edge);
    char* const first = base_ = static_cast<char*>(::operator new(count * sizeof(T) + 1, std::align_val_t{64}));
#endif
    data_ = reinterpret_cast<T*>(first);
  }
  ~Guarded() {
#ifdef TILECONV_HAS_MMAP
    munmap(base_, bytes_);
#else
    ::operator delete(base_, std::align_val_t{64});
#endif
  }
  Guarded(const Guarded&) = delete;
  Guarded& operator=(const Guarded&) = delete;

  T* data() noexcept { return data_; }
  T* begin() noexcept { return data_; }
  T* end() noexcept { return data_ + count_; }
  T& operator[](std::ptrdiff_t i) noexcept { return data_[i]; }
  std::size_t size() const noexcept { return count_; }

 private:
  std::size_t count_, bytes_ = 0;
  char* base_;
  T* data_;
};

template <class T>
constexpr T nan = std::numeric_limits<T>::quiet_NaN();

// A core that takes a vector of the table at once, or in halves.
inline CoreTraits core_for(const KernelTable& table, bool at_once) {
  const std::int64_t vector_bytes = table.f32.lanes * static_cast<std::int64_t>(sizeof(float));
  return {32 << 10, 512 << 10, 32 << 20, at_once ? vector_bytes : vector_bytes / 2};
}

using Random = std::mt19937;

// Integers of -4 .. 4: all sums are exact, so results are compared for equality.
template <class Range>
void fill_integers(Range&& range, Random& random) {
  for (auto& x : range) x = static_cast<std::decay_t<decltype(x)>>(static_cast<int>(random() % 9) - 4);
}

template <class Range>
void fill_normals(Range&& range, Random& random) {
  std::normal_distribution<double> normal;
  for (auto& x : range) x = static_cast<std::decay_t<decltype(x)>>(normal(random));
}

// The same bits, or both NaN: which NaN an operation returns is the processor's choice.
template <class T>
bool same_value(T a, T b) {
  return std::memcmp(&a, &b, sizeof a) == 0 || (a != a && b != b);
}

// Calls f(KernelSet<T>) for each instruction set of this machine.
template <class T, class F>
void for_each_set(F f) {
  for (const KernelTable* table : available_kernels()) {
    SCOPED_TRACE(table->isa);
    f(kernel_set<T>(*table));
  }
}

// Arguments from one line such as "b1 ic64 ih56 oc64 kh3 s2 p1 g2 f64 reflect bias", the form that
// ConvProblem::describe() writes. iw and kw follow ih and kh; strides s or sh sw, dilations d or dh dw, padding p, ph
// pw, or pt pb pl pr, or a name.
ConvArguments parse(const std::string& line);

inline ConvProblem make_problem(const std::string& line) { return ConvProblem::make(parse(line)); }

// Problems that together take every road: small, but for those that are cut into several tiles, chunks or threads.
extern const std::vector<const char*> problem_lines;

// The arrays of a problem. Weight and bias end where reading is allowed to end.
template <class T>
struct Operands {
  std::vector<T> input;
  Guarded<T> weight, bias;

  explicit Operands(const ConvProblem& p)
      : input(static_cast<std::size_t>(p.batch * p.in_channels * p.in_h * p.in_w)),
        weight(static_cast<std::size_t>(p.out_channels * p.group_in_channels() * p.taps()), Edge::end),
        bias(static_cast<std::size_t>(p.out_channels), Edge::end) {}

  template <class Fill>
  void fill(Fill fill_range) {
    Random random(6);
    fill_range(input, random);
    fill_range(weight, random);
    fill_range(bias, random);
  }
};

}  // namespace tileconv::test
