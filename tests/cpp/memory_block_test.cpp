// Blocks of memory, small ones and those with pages of their own.
#include "memory_block.h"

#include <cstdint>
#include <cstring>
#include <limits>
#include <new>

#include "test_support.h"

namespace tileconv::test {
namespace {

constexpr std::size_t megabyte = std::size_t{1} << 20;

TEST(MemoryBlock, IsAlignedAndWritable) {
  for (const std::size_t bytes : {std::size_t{1}, std::size_t{64}, 4 * megabyte - 1, 4 * megabyte, 5 * megabyte + 3})
    for (int round = 0; round < 3; ++round) {
      const MemoryBlock block(bytes);
      EXPECT_EQ(reinterpret_cast<std::uintptr_t>(block.data()) % 64, 0u) << bytes;
      std::memset(block.data(), 0xA5, bytes);
      EXPECT_EQ(static_cast<const unsigned char*>(block.data())[bytes - 1], 0xA5);
    }
}

TEST(MemoryBlock, BlocksLieApart) {
  constexpr std::size_t bytes = 5 * megabyte;
  const MemoryBlock first(bytes), second(bytes);
  std::memset(first.data(), 1, bytes);
  std::memset(second.data(), 2, bytes);
  EXPECT_EQ(static_cast<const char*>(first.data())[0], 1);
  EXPECT_EQ(static_cast<const char*>(first.data())[bytes - 1], 1);
}

TEST(MemoryBlock, ThrowsWhereThereIsNotSoMuch) {
  for (const std::size_t part : {1, 4, 64})
    EXPECT_THROW(MemoryBlock(std::numeric_limits<std::size_t>::max() / part), std::bad_alloc) << part;
}

}  // namespace
}  // namespace tileconv::test
