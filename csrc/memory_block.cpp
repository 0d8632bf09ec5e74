// See memory_block.h.
#include "memory_block.h"

#include <cstdint>
#include <new>

#ifdef __linux__
#include <sys/mman.h>
#include <unistd.h>
#endif

namespace tileconv {
namespace {

constexpr std::align_val_t alignment{64};

#ifdef MADV_HUGEPAGE
constexpr std::size_t large_page = std::size_t{2} << 20, least_large = 2 * large_page;

// Pages from a multiple of large_page on; nullptr: there are none. Not from the heap, where the advice would outlast
// the block, and what lies before an aligned one would keep its place from being used again.
void* map_pages(std::size_t bytes) noexcept {
  void* const mapped = mmap(nullptr, bytes + large_page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED) return nullptr;
  const std::size_t before = (large_page - reinterpret_cast<std::uintptr_t>(mapped) % large_page) % large_page;
  char* const first = static_cast<char*>(mapped) + before;
  if (before > 0) munmap(mapped, before);
  munmap(first + bytes, large_page - before);
  madvise(first, bytes, MADV_HUGEPAGE);  // which the system may refuse
  return first;
}
#endif

}  // namespace

MemoryBlock::MemoryBlock(std::size_t bytes) : data_(nullptr) {
#ifdef MADV_HUGEPAGE
  if (bytes >= least_large) {
    if (bytes > SIZE_MAX - 2 * large_page) throw std::bad_alloc();
    const auto small_page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
    mapped_ = (bytes + small_page - 1) / small_page * small_page;
    data_ = map_pages(mapped_);
    if (!data_) throw std::bad_alloc();
    return;
  }
#endif
  data_ = ::operator new(bytes, alignment);
}

MemoryBlock::~MemoryBlock() {
#ifdef MADV_HUGEPAGE
  if (mapped_ > 0) {
    munmap(data_, mapped_);
    return;
  }
#endif
  ::operator delete(data_, alignment);
}

}  // namespace tileconv
