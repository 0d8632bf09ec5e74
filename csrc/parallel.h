// The thread pool and the per-thread arena. No OpenMP: idle workers sleep, any thread may start a job at any time, and
// a forked child starts with a pool of its own.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <new>

namespace tileconv {

// Threads of one call, the caller included. At start: TILECONV_NUM_THREADS, else OMP_NUM_THREADS, else the cores this
// process may run on.
int num_threads();
constexpr int most_threads = 1024;
void set_num_threads(int n);  // from 1 to most_threads, checked by the caller

// A borrowed callable: no allocation, no ownership; it must outlive the call it is passed to.
class TaskRef {
 public:
  template <class F>
  TaskRef(const F& f)  // NOLINT: implicit on purpose, as std::function_ref
      : object_(&f), call_([](const void* object, std::int64_t task) { (*static_cast<const F*>(object))(task); }) {}
  void operator()(std::int64_t task) const { call_(object_, task); }

 private:
  const void* object_;
  void (*call_)(const void*, std::int64_t);
};

// Runs task(0) .. task(count - 1), each once, on up to `threads` threads, this one included;
// returns when all are done. A task may throw std::bad_alloc and nothing else; it is rethrown here, and what was left
// of the work is undone. With threads == 1 nothing but the calls happens.
void parallel_for(std::int64_t count, int threads, TaskRef task);

// A task's number as the digits of a mixed base, the fastest first.
class TaskDigits {
 public:
  explicit TaskDigits(std::int64_t task) : rest_(task) {}
  std::int64_t next(std::int64_t count) noexcept {
    const std::int64_t digit = rest_ % count;
    rest_ /= count;
    return digit;
  }
  std::int64_t rest() const noexcept { return rest_; }

 private:
  std::int64_t rest_;
};

// Scratch memory of this thread, one block for each use.
enum class Arena { workspace, packed_weights, border, flags };
constexpr int arena_count = 4;

// At least `bytes`, 64-byte aligned, valid until the thread's next request for the same use. Content is undefined. A
// block grows to the largest request and is kept, up to a limit; release_large_arenas gives larger ones back, and is
// called at the end of every run. Throws std::bad_alloc.
void* thread_arena(Arena use, std::size_t bytes);
void release_large_arenas() noexcept;

// Flags that tasks set on whatever thread, in the arena of the one that made them, until it makes others.
class SharedFlags {
 public:
  SharedFlags(std::int64_t count, bool value)
      : count_(count),
        flags_(static_cast<Flag*>(thread_arena(Arena::flags, static_cast<std::size_t>(count) * sizeof(Flag)))) {
    for (std::int64_t i = 0; i < count; ++i) new (flags_ + i) Flag(value);
  }
  void set(std::int64_t i) noexcept { flags_[i].store(true, std::memory_order_relaxed); }
  bool operator[](std::int64_t i) const noexcept { return flags_[i].load(std::memory_order_relaxed); }
  std::int64_t count() const noexcept { return count_; }

 private:
  using Flag = std::atomic<bool>;
  std::int64_t count_;
  Flag* flags_;
};

}  // namespace tileconv
