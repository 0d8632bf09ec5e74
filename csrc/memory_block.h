// Blocks of memory that live long.
#pragma once

#include <cstddef>

namespace tileconv {

// 64-byte aligned, its content undefined. A large block has pages of its own, large ones where the system has them: a
// walk through packed weights of many megabytes, each read once, waits for page tables otherwise (a tenth of the time
// of 3x3 kernels of 512 channels on Zen 3).
class MemoryBlock {
 public:
  explicit MemoryBlock(std::size_t bytes);  // throws std::bad_alloc
  ~MemoryBlock();
  MemoryBlock(const MemoryBlock&) = delete;
  MemoryBlock& operator=(const MemoryBlock&) = delete;

  void* data() const noexcept { return data_; }

 private:
  void* data_;
  std::size_t mapped_ = 0;  // bytes of the pages of its own
};

}  // namespace tileconv
