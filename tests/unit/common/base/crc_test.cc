#include "common/base/crc.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <random>
#include <vector>

namespace cssp {
namespace {

// One bit at a time.
uint32_t Plain(const uint8_t* p, size_t size, uint32_t crc) {
  crc = ~crc;
  for (size_t i = 0; i < size; ++i) {
    crc ^= p[i];
    for (int bit = 0; bit < 8; ++bit)
      crc = (crc >> 1) ^ ((crc & 1) ? 0x82f63b78 : 0);
  }
  return ~crc;
}

TEST(CrcTest, KnownAnswer) {
  EXPECT_EQ(Crc32c("123456789", 9), 0xe3069283);
  EXPECT_EQ(Crc32c("", 0), 0u);
}

// Lengths around every threshold of the vector versions, unaligned starts,
// continued sums.
TEST(CrcTest, EveryLengthAndStartAgreesWithThePlainSum) {
  std::mt19937 random(7);
  std::vector<uint8_t> bytes(1 << 13);
  for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random());
  std::vector<size_t> sizes;
  for (size_t size = 0; size < 300; ++size) sizes.push_back(size);
  for (size_t size = 1000; size < 1400; ++size) sizes.push_back(size);
  for (int i = 0; i < 200; ++i) sizes.push_back(random() % 8000);
  for (size_t size : sizes) {
    const uint8_t* start = bytes.data() + random() % 64;
    const uint32_t from = random();
    EXPECT_EQ(Crc32c(start, size, from), Plain(start, size, from)) << size;
    const size_t half = size / 2;
    EXPECT_EQ(Crc32c(start + half, size - half, Crc32c(start, half, from)),
              Plain(start, size, from))
        << size;
  }
}

TEST(CrcTest, ACopyIsTheBytesAndTheirSum) {
  std::mt19937 random(8);
  std::vector<uint8_t> bytes(3 << 13);
  for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random());
  for (int i = 0; i < 500; ++i) {
    const size_t size = i < 100 ? i * 16 : random() % (bytes.size() - 64);
    const uint8_t* from = bytes.data() + random() % 64;
    std::vector<uint8_t> copy(size + 128, 0xa5);
    uint8_t* to = copy.data() + random() % 64;
    ASSERT_EQ(CopyWithCrc32c(to, from, size), Crc32c(from, size)) << size;
    ASSERT_TRUE(std::equal(from, from + size, to)) << size;
    ASSERT_EQ(std::count(copy.begin(), copy.end(), 0xa5) -
                  std::count(from, from + size, 0xa5),
              128)
        << "bytes around the copy of " << size << " were written";
  }
}

}  // namespace
}  // namespace cssp
