#include "common/optim/bfloat16.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "gtest/gtest.h"

namespace cssp {
namespace {

float FromBits(uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

uint16_t Packed(float value) {
  uint16_t packed;
  PackBf16({&value, 1}, {&packed, 1});
  return packed;
}

TEST(Bfloat16Test, RoundsToTheNearestAndTiesToEven) {
  EXPECT_EQ(Packed(1.0f), 0x3f80);
  EXPECT_EQ(Packed(FromBits(0x3f807fff)), 0x3f80);
  EXPECT_EQ(Packed(FromBits(0x3f808000)), 0x3f80);  // a tie, even below
  EXPECT_EQ(Packed(FromBits(0x3f808001)), 0x3f81);
  EXPECT_EQ(Packed(FromBits(0x3f818000)), 0x3f82);  // a tie, even above
  EXPECT_EQ(Packed(-0.0f), 0x8000);
  EXPECT_EQ(Packed(FromBits(0x00018001)), 0x0002);  // a denormal
  EXPECT_EQ(Packed(std::numeric_limits<float>::max()), 0x7f80);  // nearest
  EXPECT_EQ(Packed(-INFINITY), 0xff80);
  EXPECT_EQ(Packed(FromBits(0x7f800001)) & 0x7fc0, 0x7fc0);  // still a NaN
  EXPECT_EQ(Packed(FromBits(0x7fffffff)) & 0x7fc0, 0x7fc0);
}

// Lengths around vectors and stripes; every value that bfloat16 has.
TEST(Bfloat16Test, WhatIsWidenedInPlaceIsWhatWasPacked) {
  for (const size_t count :
       {1u, 2u, 15u, 16u, 17u, 1023u, 1024u, 1025u, 2047u, 65536u, 70001u}) {
    std::vector<uint16_t> packed(count);
    for (size_t i = 0; i < count; ++i) packed[i] = static_cast<uint16_t>(i * 7);
    std::vector<float> values(count, -1);
    std::memcpy(reinterpret_cast<uint8_t*>(values.data()) + count * 2,
                packed.data(), count * 2);
    UnpackBf16InPlace(absl::MakeSpan(values));
    for (size_t i = 0; i < count; ++i) {
      uint32_t bits;
      std::memcpy(&bits, &values[i], sizeof(bits));
      ASSERT_EQ(bits, uint32_t{packed[i]} << 16) << i << " of " << count;
    }
    std::vector<uint16_t> again(count);
    PackBf16(values, absl::MakeSpan(again));
    for (size_t i = 0; i < count; ++i) {
      if (!std::isnan(values[i])) {
        ASSERT_EQ(again[i], packed[i]);
      }
    }
  }
}

TEST(Bfloat16Test, ErrorsAreHalfALastPlace) {
  std::mt19937 random(11);
  std::normal_distribution<float> normal;
  std::vector<float> values(5000);
  for (float& value : values) value = normal(random) * 1e-3f;
  std::vector<uint16_t> packed(values.size());
  PackBf16(values, absl::MakeSpan(packed));
  for (size_t i = 0; i < values.size(); ++i) {
    EXPECT_NEAR(FromBits(uint32_t{packed[i]} << 16), values[i],
                std::abs(values[i]) / 256);
  }
}

}  // namespace
}  // namespace cssp
