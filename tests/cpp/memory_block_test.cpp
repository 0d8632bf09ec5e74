// Blocks of memory, small ones and those in large pages.
#include "memory_block.h"

#include <cstdint>
#include <cstring>
#include <limits>
#include <new>
#include <utility>

#include "test_support.h"

namespace tileconv::test {
namespace {

constexpr std::size_t megabyte = std::size_t{1} << 20;

TEST(MemoryBlock, IsAlignedAndWritable) {
  for (const std::size_t bytes : {std::size_t{1}, std::size_t{64}, 4 * megabyte - 1, 4 * megabyte, 5 * megabyte + 3}) {
    const MemoryBlock block(bytes);
    ASSERT_EQ(block.bytes(), bytes);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(block.data()) % 64, 0u) << bytes;
    std::memset(block.data(), 0xA5, bytes);
    EXPECT_EQ(static_cast<const unsigned char*>(block.data())[bytes - 1], 0xA5);
  }
}

TEST(MemoryBlock, MovesItsMemory) {
  MemoryBlock small(100), large(6 * megabyte);
  void* const at = large.data();
  small = std::move(large);
  EXPECT_EQ(small.data(), at);
  EXPECT_EQ(small.bytes(), 6 * megabyte);
  MemoryBlock moved(std::move(small));
  EXPECT_EQ(moved.data(), at);
  EXPECT_EQ(small.data(), nullptr);
  EXPECT_EQ(small.bytes(), 0u);
  moved = MemoryBlock();
  EXPECT_EQ(moved.data(), nullptr);
}

TEST(MemoryBlock, ThrowsWhereThereIsNotSoMuch) {
  EXPECT_THROW(MemoryBlock(std::numeric_limits<std::size_t>::max() / 4), std::bad_alloc);
}

}  // namespace
}  // namespace tileconv::test
