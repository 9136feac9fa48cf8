#include "common/ps/server_wire.h"

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "common/ps/messages.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace cssp::ps {
namespace {

using ::testing::ElementsAreArray;
using ::testing::IsEmpty;

absl::Span<const uint8_t> Bytes(const std::string& body) {
  return {reinterpret_cast<const uint8_t*>(body.data()), body.size()};
}

TEST(ServerWireTest, BytesAreLittleEndian) {
  EXPECT_EQ(absl::BytesToHexString(EncodeNorms({1.0, -0.15625})),
            "000000000000f03f"
            "000000000000c4bf");
  EXPECT_EQ(absl::BytesToHexString(EncodeContributors({3, 0x01020304, -2})),
            "03000000"
            "04030201"
            "feffffff");
}

TEST(ServerWireTest, NormsSurvive) {
  const std::vector<double> norms = {
      0, -0.0, 1.0 / 3, 1e300, std::numeric_limits<double>::denorm_min(),
      std::numeric_limits<double>::infinity()};
  const auto back = DecodeNorms(Bytes(EncodeNorms(norms)));
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_THAT(*back, ElementsAreArray(norms));
  EXPECT_TRUE(std::signbit((*back)[1]));
  const auto nan = DecodeNorms(Bytes(EncodeNorms({std::nan("")})));
  ASSERT_TRUE(nan.ok()) << nan.status();
  EXPECT_TRUE(std::isnan((*nan)[0]));
}

TEST(ServerWireTest, ContributorsSurvive) {
  const std::vector<int32_t> ranks = {
      0, 7, 300, -1, std::numeric_limits<int32_t>::max(),
      std::numeric_limits<int32_t>::min()};
  const auto back = DecodeContributors(Bytes(EncodeContributors(ranks)), 6);
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_THAT(*back, ElementsAreArray(ranks));
}

TEST(ServerWireTest, NothingIsSomethingToSay) {
  EXPECT_THAT(*DecodeNorms({}), IsEmpty());
  EXPECT_THAT(*DecodeContributors({}, 1), IsEmpty());
}

TEST(ServerWireTest, WhatIsCutShortIsRefused) {
  const std::string norms = EncodeNorms({1, 2});
  for (size_t bytes = 0; bytes <= norms.size(); ++bytes) {
    const bool whole = bytes % 8 == 0;
    EXPECT_EQ(DecodeNorms(Bytes(norms).first(bytes)).ok(), whole) << bytes;
    EXPECT_EQ(IsNormsSize(bytes), whole) << bytes;
  }
  const std::string ranks = EncodeContributors({1, 2, 3});
  for (size_t bytes = 0; bytes <= ranks.size(); ++bytes) {
    const bool whole = bytes % 4 == 0;
    EXPECT_EQ(DecodeContributors(Bytes(ranks).first(bytes), 3).ok(), whole)
        << bytes;
    EXPECT_EQ(IsContributorsSize(bytes, 3), whole) << bytes;
  }
}

TEST(ServerWireTest, TooManyAreRefused) {
  const std::string ranks = EncodeContributors({0, 1, 2});
  EXPECT_TRUE(absl::IsInvalidArgument(
      DecodeContributors(Bytes(ranks), 2).status()));
  EXPECT_FALSE(IsContributorsSize(12, 2));
  const std::string most(kMaxPayloadBytes, '\0');
  EXPECT_TRUE(DecodeNorms(Bytes(most)).ok());
  EXPECT_TRUE(absl::IsInvalidArgument(
      DecodeNorms(Bytes(most + std::string(8, '\0'))).status()));
}

}  // namespace
}  // namespace cssp::ps
