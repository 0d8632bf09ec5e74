// The road of one call below the arguments: request -> choose an algorithm -> Plan -> run.
//
// A plan is made by a pure function of the request and decides everything: kernel, blocking, tables, workspace. run()
// allocates nothing but its arena and decides nothing, but for toeplitz and winograd_rows, which plan a direct sum for
// images that are not finite. Results do not depend on layout, threads or weights' lifetime in the request: they only
// let a plan take a faster road to the same bits.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "kernels/kernels.h"
#include "problem.h"

namespace tileconv {

// The arrays of one call. Strides in bytes, in the order of the shape (n, c, h, w). The input may be any view,
// unaligned too. Weight and bias are aligned and contiguous. The output is aligned, with strides of whole elements.
// NumPy owns all of it.
struct ConvViews {
  const char* input = nullptr;
  std::ptrdiff_t input_stride[4] = {};
  const char* weight = nullptr;
  const char* bias = nullptr;
  const char* grad_output = nullptr;
  std::ptrdiff_t grad_output_stride[4] = {};
  char* out = nullptr;
  std::ptrdiff_t out_stride[4] = {};
};

// What a plan may exploit of the arrays' memory.
struct Layout {
  bool input_rows = true;    // aligned, whole elements, adjacent along the width
  bool input_planes = true;  // and rows adjacent too
  bool out_rows = true;      // adjacent along the width
  bool out_planes = true;
  bool grad_output_rows = true;    // weight gradient: as input_rows
  bool grad_output_planes = true;  // its rows follow one another in the steps of its columns: a plane is one long row
  static Layout of(const ConvProblem& problem, const ConvViews& views) noexcept;
  bool operator==(const Layout& other) const noexcept {
    const auto tie = [](const Layout& l) {
      return std::tie(l.input_rows, l.input_planes, l.out_rows, l.out_planes, l.grad_output_rows, l.grad_output_planes);
    };
    return tie(*this) == tie(other);
  }
};

struct PlanRequest {
  ConvProblem problem;
  const KernelTable* kernels = nullptr;
  int threads = 1;
  bool frozen = false;  // weights are packed once for many calls
  Layout layout;
};

struct PlanReport {
  std::string kernel;
  int threads = 1;  // that a call uses at most
  std::vector<std::pair<std::string, std::int64_t>> blocking;
};

class Plan {
 public:
  virtual ~Plan() = default;
  // Estimated cycles of one image on one core: what the choice goes by. They depend on the problem, the kernels and the
  // core, never on batch, threads or frozen weights: algorithms may round differently, and these must not show in the
  // bits. Nor on the layout, but for 1x1 layers, whose estimates choose() compares for one layout.
  virtual double cycles() const noexcept = 0;
  // Scratch of one thread, independent of the batch size.
  virtual std::int64_t workspace_bytes() const noexcept = 0;
  // The weights in the plan's own layout; 0: read in place. Plans of equal packing_key share the packed weights.
  virtual std::int64_t packed_bytes() const noexcept { return 0; }
  virtual std::string packing_key() const { return {}; }
  virtual void pack(const ConvViews&, void* /*packed*/) const {}
  // packed: what pack() wrote, 64-byte aligned; nullptr where packed_bytes() is 0.
  virtual void run(const ConvViews& views, const void* packed) const = 0;
  virtual PlanReport report() const = 0;
};

// Threads for that many cycles of work, `threads` at the most: as long as each has some 10 us to do. In a row of calls
// nobody has to be woken; to wake a worker takes 5 to 40 us, and its caller 2 to 13, so that by themselves calls just
// above the limit may lose a few.
int threads_for(double cycles, int threads) noexcept;
// Into how many parts, `most` at the most, a task is split so that each thread gets a few.
std::int64_t splits_for(std::int64_t tasks, std::int64_t most, int threads) noexcept;

// The same where each part stages its task again: the fewest that are balanced among the threads, or many.
std::int64_t balanced_splits(std::int64_t tasks, std::int64_t most, int threads) noexcept;

// An entry of the table of algorithms.
struct Algorithm {
  const char* name;
  const char* accuracy;                            // of the running sums, as explain() states it
  const char* (*unsupported)(const PlanRequest&);  // the reason, or nullptr
  // No plan's estimate lies below: what a plan that would lose need not be prepared for. A few operations.
  double (*least_cycles)(const PlanRequest&);
  std::unique_ptr<Plan> (*prepare)(const PlanRequest&);
};

// In order of priority: of equal estimates the first is taken.
extern const Algorithm* const algorithms[];
extern const int algorithm_count;

struct Choice {
  const Algorithm* algorithm = nullptr;
  std::unique_ptr<Plan> plan;
  std::vector<std::pair<std::string, std::string>> rejected;  // name, reason; only if asked for
};

// name: "auto" or an algorithm's. ValueError if the name is unknown, or its algorithm does not support the problem.
Choice choose(const PlanRequest& request, const std::string& name, bool reasons = false);

// The kernels of the tables with the given tile, which must exist.
template <class T>
const GemmKernel<T>& find_kernel(const GemmKernel<T>* table, int count, int rows, int vectors) noexcept {
  int i = 0;
  while (i + 1 < count && (table[i].rows != rows || table[i].vectors != vectors)) ++i;
  return table[i];
}

template <class T>
const DotKernel<T>& find_dot(const KernelSet<T>& set, int rows, int columns) noexcept {
  int i = 0;
  while (i + 1 < set.dot_count && (set.dot[i].rows != rows || set.dot[i].columns != columns)) ++i;
  return set.dot[i];
}

// Register tiles of the products with so many vectors and 1, 2, .. rows.
template <class T>
const ProductKernel<T>* find_products(const KernelSet<T>& set, int vectors) noexcept {
  const ProductKernel<T>* kernel = set.product;
  while (kernel->vectors != vectors) ++kernel;
  return kernel;
}

// Whether kernel i of a table has the most rows of those with its count of vectors.
template <class Kernel>
bool is_tallest(const Kernel* table, int count, int i) noexcept {
  return i + 1 == count || table[i + 1].vectors != table[i].vectors;
}

}  // namespace tileconv
