#include "worker/sync/job_links.h"

#include <cstdint>

#include "gtest/gtest.h"

namespace cssp {
namespace {

constexpr int64_t kMib = int64_t{1} << 20;

TEST(PushWindowBytes, HoldsTwoChunks) {
  EXPECT_EQ(PushWindowBytes(kMib / 2, control::CHECKPOINT), kMib);
  EXPECT_EQ(PushWindowBytes(4 * kMib, control::CHECKPOINT), 8 * kMib);
}

TEST(PushWindowBytes, IsAMebibyteForManySmallOnesAndForTables) {
  EXPECT_EQ(PushWindowBytes(64 << 10, control::CHECKPOINT), kMib);
  EXPECT_EQ(PushWindowBytes(0, control::CHECKPOINT), kMib);
}

TEST(PushWindowBytes, KeepsALogsDiskBusyBetweenTwoAcknowledgements) {
  EXPECT_EQ(PushWindowBytes(kMib / 2, control::LOG), 8 * kMib);
}

}  // namespace
}  // namespace cssp
