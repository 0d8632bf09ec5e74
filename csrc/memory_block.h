// Blocks of memory for packed weights and scratch.
#pragma once

#include <cstddef>

namespace tileconv {

// 64-byte aligned, its content undefined. A large block is in large pages where the system has them: a walk through
// packed weights of many megabytes, each read once, waits for page tables otherwise (a tenth of the time of 3x3 kernels
// of 512 channels on Zen 3).
class MemoryBlock {
 public:
  MemoryBlock() = default;
  explicit MemoryBlock(std::size_t bytes);  // throws std::bad_alloc
  MemoryBlock(MemoryBlock&& other) noexcept;
  MemoryBlock& operator=(MemoryBlock&& other) noexcept;
  ~MemoryBlock();

  void* data() const noexcept { return data_; }
  std::size_t bytes() const noexcept { return bytes_; }

 private:
  void* data_ = nullptr;
  std::size_t bytes_ = 0;
};

}  // namespace tileconv
