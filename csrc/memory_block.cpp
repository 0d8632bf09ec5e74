// See memory_block.h.
#include "memory_block.h"

#include <new>
#include <utility>

#ifdef __linux__
#include <sys/mman.h>
#endif

namespace tileconv {
namespace {

constexpr std::size_t large_page = std::size_t{2} << 20, least_large = 2 * large_page;

std::align_val_t alignment_of(std::size_t bytes) noexcept {
  return std::align_val_t{bytes >= least_large ? large_page : 64};
}

}  // namespace

MemoryBlock::MemoryBlock(std::size_t bytes) : data_(::operator new(bytes, alignment_of(bytes))), bytes_(bytes) {
#ifdef MADV_HUGEPAGE
  // Whole pages alone: nothing is added to what the process keeps. Advice, which may be refused.
  if (bytes >= least_large) static_cast<void>(madvise(data_, bytes / large_page * large_page, MADV_HUGEPAGE));
#endif
}
MemoryBlock::MemoryBlock(MemoryBlock&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
MemoryBlock& MemoryBlock::operator=(MemoryBlock&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(bytes_, other.bytes_);
  return *this;
}
MemoryBlock::~MemoryBlock() {
  if (data_) ::operator delete(data_, alignment_of(bytes_));
}

}  // namespace tileconv
