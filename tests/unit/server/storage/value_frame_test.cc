#include "server/storage/value_frame.h"

#include <gtest/gtest.h>

namespace cssp {
namespace {

TEST(ValueFrame, RoundTrips) {
  const std::string framed = FrameValue("key", "value");
  EXPECT_EQ(framed.size(), 5u + 4u);
  EXPECT_EQ(UnframeValue("key", framed).value(), "value");
}

TEST(ValueFrame, EveryFlippedBitIsFound) {
  const std::string framed = FrameValue("key", "value");
  for (size_t bit = 0; bit < framed.size() * 8; ++bit) {
    std::string damaged = framed;
    damaged[bit / 8] ^= 1 << (bit % 8);
    EXPECT_EQ(UnframeValue("key", damaged).status().code(),
              absl::StatusCode::kDataLoss);
  }
}

TEST(ValueFrame, AnotherKeysRecordIsFound) {
  EXPECT_FALSE(UnframeValue("other", FrameValue("key", "value")).ok());
}

TEST(ValueFrame, ATruncatedRecordIsFound) {
  const std::string framed = FrameValue("key", "value");
  for (size_t size = 0; size < framed.size(); ++size)
    EXPECT_FALSE(UnframeValue("key", framed.substr(0, size)).ok());
}

}  // namespace
}  // namespace cssp
