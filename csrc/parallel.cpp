// A pool of workers, asleep when idle, around one list of open jobs; see parallel.h.
#include "parallel.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <exception>
#include <mutex>
#include <new>
#include <thread>
#include <vector>

#ifndef _WIN32
#include <pthread.h>
#endif
#ifdef __linux__
#include <sched.h>
#endif

#include "cpu.h"

namespace tileconv {
namespace {

// One call of parallel_for. It lives on the caller's stack: the caller leaves only when no worker is inside.
//
// Every thread begins with a part of the tasks of its own, the same one in every call of that shape, and then helps
// with the others' parts: what a core read and wrote last time is in its own cache, and taking lines from another
// core's costs more than from memory.
struct Job {
  struct alignas(64) Part {
    std::atomic<std::int64_t> next{0};
    std::int64_t end = 0;
  };
  static constexpr int most_parts = 64;

  Job(TaskRef run, std::int64_t count, int threads)
      : task(run), seats(threads - 1), threads_(threads), parts_(threads < most_parts ? threads : most_parts) {
    for (int p = 0; p < parts_; ++p) {
      part[p].next = count * p / parts_;
      part[p].end = count * (p + 1) / parts_;
    }
  }

  TaskRef task;
  int seats;                   // workers that may still join; guarded by the pool's mutex
  std::atomic<int> inside{0};  // workers at work; changed under the pool's mutex, a worker's last touch of the job
  Job* after = nullptr;
  std::atomic<bool> out_of_memory{false};

  // Of the worker that takes a seat: 1, 2, .. The caller is thread 0.
  int take_seat() noexcept { return threads_ - seats--; }

  // The one thing that may fail in a task is its arena; the caller learns of it when the job is over.
  void work(int thread) noexcept {
    try {
      for (int p = 0; p < parts_; ++p) {
        Part& mine = part[(thread + p) % parts_];
        for (std::int64_t i; (i = mine.next.fetch_add(1, std::memory_order_relaxed)) < mine.end;) task(i);
      }
    } catch (const std::bad_alloc&) {
      out_of_memory = true;
    }
  }

 private:
  int threads_, parts_;
  Part part[most_parts];
};

class Pool {
 public:
  void run(Job& job, int helpers) {
    int to_wake = 0;  // helpers beyond the workers that are awake
    {
      std::lock_guard<std::mutex> lock(mutex_);
      grow(helpers);
      avoid_this_core();
      job.after = jobs_;
      jobs_ = &job;
      posted_.fetch_add(1, std::memory_order_relaxed);
      to_wake = helpers - awake_;
      awake_ = 0;
    }
    if (to_wake > 0) to_wake == 1 ? wake_.notify_one() : wake_.notify_all();
    job.work(0);
    std::unique_lock<std::mutex> lock(mutex_);
    for (Job** link = &jobs_; *link; link = &(*link)->after)
      if (*link == &job) {
        *link = job.after;
        break;
      }
    lock.unlock();
    // The last tasks of the workers end soon: going to sleep and being woken costs more than to wait for them awake.
    constexpr int patience = 200;
    for (int i = 0; i < patience && job.inside > 0; ++i) std::this_thread::yield();
    if (job.inside == 0) return;
    lock.lock();
    done_.wait(lock, [&] { return job.inside == 0; });
  }

 private:
  using Clock = std::chrono::steady_clock;

  // Workers are made when first needed and never end before the process: detached, they own nothing but their stack.
  // Where the system refuses a thread, the work is done by fewer.
  void grow(int helpers) noexcept {
    try {
      workers_.reserve(static_cast<std::size_t>(helpers));  // from here on only the start of a thread may fail
      while (static_cast<int>(workers_.size()) < helpers) {
        std::thread worker([this] { serve(); });
        workers_.push_back(worker.native_handle());
        worker.detach();
#ifdef __linux__
        placement_ = {};
#endif
      }
    } catch (const std::exception&) {
    }
  }

  // A worker that wakes on its caller's core waits there until the caller is done: schedulers place a woken thread near
  // its waker and move it only milliseconds later (seen in virtual machines, where half of the calls ran on one core).
  // So workers are kept off the core from which they are called.
  void avoid_this_core() noexcept {
#ifdef __linux__
    Placement now;
    now.core = sched_getcpu();
    if (now.core < 0 || sched_getaffinity(0, sizeof now.allowed, &now.allowed) != 0) return;
    if (now.core == placement_.core && CPU_EQUAL(&now.allowed, &placement_.allowed)) return;
    placement_ = now;
    cpu_set_t others = now.allowed;
    if (CPU_COUNT(&others) > 1) CPU_CLR(static_cast<std::size_t>(now.core), &others);
    for (const std::thread::native_handle_type worker : workers_)
      pthread_setaffinity_np(worker, sizeof others, &others);
#endif
  }

  void serve() {
    constexpr std::chrono::microseconds wake_up{20};
    std::unique_lock<std::mutex> lock(mutex_);
    Clock::time_point awake_until{};
    for (;;) {
      Job* job = jobs_;
      while (job && job->seats == 0) job = job->after;
      if (!job) {
        if (!posted_before(awake_until, lock)) wake_.wait(lock);
        continue;
      }
      const int thread = job->take_seat();
      ++job->inside;
      lock.unlock();
      job->work(thread);
      release_large_arenas();
      awake_until = Clock::now() + wake_up;
      lock.lock();
      if (--job->inside == 0) done_.notify_all();
    }
  }

  // Whether a job is posted until then. Where layers are called in a row the next one comes within a few microseconds,
  // but a worker that sleeps costs its caller up to 10 us and comes 25 us later (in a virtual machine, where the
  // hypervisor wakes its core). So a worker waits awake for as long as that after its last task, yielding its core to
  // any other thread; only then it sleeps. (Karlin, Li, Manasse, Owicki, "Empirical studies of competitive spinning for
  // a shared-memory multiprocessor", 1991: to wait as long as a wake-up costs is at most twice as dear as the best
  // choice.)
  bool posted_before(Clock::time_point end, std::unique_lock<std::mutex>& lock) {
    if (Clock::now() >= end) return false;
    const unsigned seen = posted_;
    const auto posted = [&] { return posted_.load(std::memory_order_relaxed) != seen; };
    ++awake_;
    lock.unlock();
    while (!posted() && Clock::now() < end) std::this_thread::yield();
    lock.lock();
    if (posted()) return true;
    --awake_;
    return false;
  }

  std::mutex mutex_;
  std::condition_variable wake_, done_;
  Job* jobs_ = nullptr;
  std::atomic<unsigned> posted_{0};  // jobs so far; changed under the mutex
  int awake_ = 0;                    // workers that wait awake for the next one
  std::vector<std::thread::native_handle_type> workers_;
#ifdef __linux__
  struct Placement {
    int core = -1;
    cpu_set_t allowed = {};
  };
  Placement placement_;  // of the last caller
#endif
};

// Never destroyed: detached workers may be waiting on it while the process ends. After a fork the child's copy has no
// workers and may have a locked mutex: it is abandoned for a new one.
std::atomic<Pool*> pool_pointer{nullptr};

Pool& pool() {
  static const bool registered = [] {
    pool_pointer = new Pool;
#ifndef _WIN32
    pthread_atfork(nullptr, nullptr, [] { pool_pointer = new Pool; });
#endif
    return true;
  }();
  static_cast<void>(registered);
  return *pool_pointer;
}

int initial_threads() {
  for (const char* name : {"TILECONV_NUM_THREADS", "OMP_NUM_THREADS"}) {
    const char* text = std::getenv(name);
    const int n = text ? std::atoi(text) : 0;
    if (n > 0) return std::min(n, most_threads);
  }
  return std::min(available_cores(), most_threads);
}

std::atomic<int>& thread_count() {
  static std::atomic<int> count{initial_threads()};
  return count;
}

constexpr std::size_t alignment = 64;
constexpr std::size_t kept_bytes = std::size_t{16} << 20;  // fresh pages cost more than packing into them

struct Block {
  void* memory = nullptr;
  std::size_t bytes = 0;
  void reset(std::size_t n) {
    if (memory) ::operator delete(memory, std::align_val_t{alignment});
    memory = nullptr, bytes = 0;
    if (n > 0) memory = ::operator new(n, std::align_val_t{alignment}), bytes = n;
  }
  ~Block() { reset(0); }
};
thread_local Block arenas[arena_count];

}  // namespace

int num_threads() { return thread_count().load(std::memory_order_relaxed); }
void set_num_threads(int n) { thread_count().store(n, std::memory_order_relaxed); }

void parallel_for(std::int64_t count, int threads, TaskRef task) {
  const int helpers = static_cast<int>(count < threads ? count : threads) - 1;
  if (helpers <= 0) {
    for (std::int64_t i = 0; i < count; ++i) task(i);
    return;
  }
  Job job(task, count, helpers + 1);
  pool().run(job, helpers);
  if (job.out_of_memory) throw std::bad_alloc();
}

void* thread_arena(Arena use, std::size_t bytes) {
  Block& block = arenas[static_cast<int>(use)];
  if (bytes > block.bytes) block.reset(bytes);
  return block.memory;
}

void release_large_arenas() noexcept {
  for (Block& block : arenas)
    if (block.bytes > kept_bytes) block.reset(0);
}

}  // namespace tileconv
