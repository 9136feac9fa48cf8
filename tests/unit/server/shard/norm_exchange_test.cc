#include "server/shard/norm_exchange.h"

#include <numeric>

#include "gtest/gtest.h"
#include "tests/testing/shard_rig.h"

namespace cssp {
namespace {

// Blob b has 3 blocks, a has 1; chunks of 2 blocks.
ps::SlabLayout Layout() {
  return *ps::SlabLayout::Create({TestBlob("a", 100), TestBlob("b", 10000)},
                                 2 * ps::SlabLayout::kMinChunkBytes);
}

TEST(NormExchangeTest, KeyOrderWhateverTheOrderOfArrival) {
  const ps::SlabLayout layout = Layout();
  ASSERT_EQ(layout.chunks().size(), 3u);  // a | b 0..1 | b 2
  const std::vector<int> owner = {1, 0, 1};
  NormExchange norms(layout, owner, {.servers = 2, .self = 0}, 0);
  EXPECT_EQ(norms.expected(0), 2);
  EXPECT_EQ(norms.expected(1), 2);
  EXPECT_TRUE(norms.AddPeer(1, 0, {1.0, 4.0}));
  EXPECT_FALSE(norms.Complete(0));
  EXPECT_TRUE(norms.AddOwn(1, 0, {2.0, 3.0}));
  ASSERT_TRUE(norms.Complete(0));
  EXPECT_EQ(norms.All(0), (std::vector<double>{1, 2, 3, 4}));
  EXPECT_TRUE(norms.AddPeer(1, 0, {1.0, 4.0}));  // repeated
  EXPECT_TRUE(norms.Complete(0));
  EXPECT_EQ(norms.Own(0), (std::vector<double>{2, 3}));
}

TEST(NormExchangeTest, KeepsTheLastClockForPeersThatLag) {
  NormExchange norms(Layout(), {1, 0, 1}, {.servers = 2, .self = 0}, 5);
  EXPECT_TRUE(norms.AddOwn(1, 5, {2.0, 3.0}));
  EXPECT_TRUE(norms.AddPeer(1, 6, {1.0, 1.0}));   // it may be one ahead
  EXPECT_FALSE(norms.AddPeer(1, 7, {1.0, 1.0}));  // but not two
  EXPECT_FALSE(norms.AddPeer(1, 5, {1.0}));       // nor of another length
  EXPECT_TRUE(norms.AddPeer(1, 5, {1.0, 1.0}));
  norms.Applied(5);
  EXPECT_EQ(norms.Own(5).size(), 2u);
  EXPECT_TRUE(norms.AddPeer(1, 5, {1.0, 1.0}));
  EXPECT_TRUE(norms.AddOwn(1, 6, {1.0, 1.0}));
  EXPECT_TRUE(norms.Complete(6));
}

TEST(NormExchangeTest, TwoDoublesABlock) {
  NormExchange norms(Layout(), {1, 0, 1}, {.servers = 2, .self = 0, .width = 2},
                     0);
  EXPECT_EQ(norms.expected(0), 4);
  EXPECT_FALSE(norms.AddPeer(1, 0, {1.0, 4.0}));  // of one double a block
  EXPECT_TRUE(norms.AddPeer(1, 0, {1.0, 10.0, 4.0, 40.0}));
  EXPECT_TRUE(norms.AddOwn(1, 0, {2.0, 20.0, 3.0, 30.0}));
  ASSERT_TRUE(norms.Complete(0));
  EXPECT_EQ(norms.All(0),
            (std::vector<double>{1, 10, 2, 20, 3, 30, 4, 40}));
}

TEST(NormExchangeTest, ServersWithoutGradientsStandAside) {
  std::vector<ps::BlobSpec> blobs = {TestBlob("w", 5000), TestBlob("s", 5000)};
  blobs[1].statistic = true;
  const auto layout =
      *ps::SlabLayout::Create(blobs, 2 * ps::SlabLayout::kMinChunkBytes);
  NormExchange norms(layout, {0, 1}, {.servers = 2, .self = 0}, 0);
  EXPECT_FALSE(norms.Participates(1));
  EXPECT_TRUE(norms.AddOwn(0, 0, {1.0, 2.0}));
  EXPECT_TRUE(norms.Complete(0));
}

}  // namespace
}  // namespace cssp
