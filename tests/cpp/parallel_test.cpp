// The pool under every kind of caller, and the arena.
#include "parallel.h"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <ctime>
#include <fstream>
#include <new>
#include <thread>

#include "test_support.h"

#ifndef _WIN32
#include <sys/wait.h>
#include <unistd.h>
#endif

namespace tileconv::test {
namespace {

// Each task ran exactly once.
bool runs_each_once(std::int64_t count, int threads) {
  std::vector<std::atomic<int>> runs(static_cast<std::size_t>(count));
  parallel_for(count, threads, [&](std::int64_t task) { ++runs[static_cast<std::size_t>(task)]; });
  for (const auto& n : runs)
    if (n != 1) return false;
  return true;
}

TEST(ParallelFor, RunsEveryTaskOnce) {
  for (const int threads : {1, 2, 3, 4, 9})
    for (const std::int64_t count : {0, 1, 2, 3, 4, 5, 31, 1000})
      for (int round = 0; round < 20; ++round)
        ASSERT_TRUE(runs_each_once(count, threads)) << count << " tasks on " << threads << " threads";
}

TEST(ParallelFor, OneThreadIsTheCallersInOrder) {
  std::vector<std::int64_t> order;
  const auto self = std::this_thread::get_id();
  parallel_for(5, 1, [&](std::int64_t task) {
    EXPECT_EQ(std::this_thread::get_id(), self);
    order.push_back(task);
  });
  EXPECT_EQ(order, (std::vector<std::int64_t>{0, 1, 2, 3, 4}));
}

// Whether as many threads run these tasks, which wait for each other.
bool meet(int threads) {
  std::atomic<int> arrived{0};
  std::atomic<bool> late{false};
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  parallel_for(threads, threads, [&](std::int64_t) {
    ++arrived;
    while (arrived < threads && !late) {
      if (std::chrono::steady_clock::now() > end) late = true;
      std::this_thread::yield();
    }
  });
  return !late;
}

// Whether the workers still wait awake, fall asleep just now or have slept for long.
TEST(ParallelFor, UsesSeveralThreadsAfterAnyPause) {
  for (int pause = 0; pause <= 60; ++pause)
    for (const int threads : {2, 4, 3, 2}) {
      ASSERT_TRUE(meet(threads)) << threads << " threads after " << pause << " us";
      const auto end = std::chrono::steady_clock::now() + std::chrono::microseconds(pause);
      while (std::chrono::steady_clock::now() < end) {
      }
    }
}

TEST(ParallelFor, GivesEveryCallerItsWorkers) {
  ASSERT_TRUE(meet(4));  // three workers
  std::atomic<int> met{0};
  std::vector<std::thread> callers;
  for (int caller = 0; caller < 3; ++caller)
    callers.emplace_back([&] {
      for (int round = 0; round < 100; ++round) met += meet(2);
    });
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(met, 300);
}

TEST(ParallelFor, MayBeNestedAndCalledFromAnyThread) {
  std::atomic<std::int64_t> sum{0};
  std::vector<std::thread> callers;
  for (int caller = 0; caller < 5; ++caller)
    callers.emplace_back([&] {
      for (int round = 0; round < 50; ++round)
        parallel_for(7, 3, [&](std::int64_t i) { parallel_for(5, 2, [&](std::int64_t j) { sum += 10 * i + j; }); });
    });
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(sum, 5 * 50 * (10 * 21 * 5 + 10 * 7));
}

TEST(ParallelFor, RethrowsBadAllocAndStaysUsable) {
  for (const int threads : {1, 2, 4})
    for (std::int64_t failing = 0; failing < 20; ++failing) {
      EXPECT_THROW(parallel_for(20, threads,
                                [&](std::int64_t task) {
                                  if (task == failing) throw std::bad_alloc();
                                }),
                   std::bad_alloc);
      EXPECT_TRUE(runs_each_once(20, threads));
    }
}

TEST(ParallelFor, TheNumberOfThreadsIsASetting) {
  const int before = num_threads();
  EXPECT_GE(before, 1);
  set_num_threads(3);
  EXPECT_EQ(num_threads(), 3);
  set_num_threads(before);
}

#ifndef _WIN32
TEST(ParallelFor, IdleWorkersSleep) {
  ASSERT_TRUE(runs_each_once(100, 4));
  const std::clock_t start = std::clock();
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  EXPECT_LT(static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC, 0.005);
}

TEST(ParallelFor, WorksInAForkedChild) {
  ASSERT_TRUE(runs_each_once(100, 4));
  std::atomic<bool> stop{false};
  std::thread busy([&] {
    while (!stop) runs_each_once(10, 3);
  });
  for (int round = 0; round < 5; ++round) {
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      alarm(20);  // a child that hangs is a failure too
      _exit(runs_each_once(100, 4) && runs_each_once(1000, 2) ? 0 : 1);
    }
    int status = -1;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << "the child ended with status " << status;
    EXPECT_TRUE(runs_each_once(100, 4));
  }
  stop = true;
  busy.join();
}
#endif

constexpr std::size_t large = std::size_t{64} << 20;

TEST(ThreadArena, IsAlignedGrowsAndIsKept) {
  void* last = nullptr;
  for (const std::size_t bytes : {1, 63, 64, 1000, 100'000, 1'000'000}) {
    last = thread_arena(Arena::workspace, bytes);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(last) % 64, 0u) << bytes;
    std::memset(last, 0xff, bytes);
  }
  EXPECT_EQ(thread_arena(Arena::workspace, 10), last);
  void* const packed = thread_arena(Arena::packed_weights, 1000);
  EXPECT_NE(packed, last);
  release_large_arenas();
  EXPECT_EQ(thread_arena(Arena::workspace, 1'000'000), last);
  EXPECT_EQ(thread_arena(Arena::packed_weights, 1000), packed);
}

TEST(ThreadArena, BelongsToOneThread) {
  void* const mine = thread_arena(Arena::workspace, 1000);
  std::thread([&] { EXPECT_NE(thread_arena(Arena::workspace, 1000), mine); }).join();
}

// AddressSanitizer's allocator ends the process where it cannot allocate, and keeps what is freed.
#ifndef __SANITIZE_ADDRESS__
TEST(ThreadArena, RefusesWhatMemoryCannotHold) {
  std::memset(thread_arena(Arena::workspace, 1000), 0xff, 1000);
  EXPECT_THROW(thread_arena(Arena::workspace, SIZE_MAX / 4), std::bad_alloc);
  void* const again = thread_arena(Arena::workspace, 1000);
  ASSERT_NE(again, nullptr);
  std::memset(again, 0xff, 1000);
}

#ifdef __linux__
std::size_t resident_bytes() {
  std::size_t all = 0, resident = 0;
  std::ifstream("/proc/self/statm") >> all >> resident;
  return resident * static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
}

TEST(ThreadArena, GivesLargeBlocksBack) {
  const std::size_t before = resident_bytes();
  std::memset(thread_arena(Arena::workspace, large), 0xff, large);
  EXPECT_GT(resident_bytes(), before + large / 2);
  release_large_arenas();
  EXPECT_LT(resident_bytes(), before + large / 2);
}

TEST(ThreadArena, WorkersGiveLargeBlocksBack) {
  const std::size_t before = resident_bytes();
  std::atomic<int> arrived{0};
  parallel_for(2, 2, [&](std::int64_t) {
    std::memset(thread_arena(Arena::workspace, large), 0xff, large);
    ++arrived;
    while (arrived < 2) std::this_thread::yield();
  });
  release_large_arenas();
  EXPECT_LT(resident_bytes(), before + large / 2);
}
#endif
#endif

}  // namespace
}  // namespace tileconv::test
