#include "server/shard/contributors.h"

#include "gtest/gtest.h"
#include "tests/testing/shard_rig.h"

namespace cssp {
namespace {

TEST(ContributorsTest, ASetNeverChanges) {
  Contributors sets(4, 10);
  EXPECT_EQ(sets.next(), 10);
  EXPECT_TRUE(sets.Add(11, {0, 2}));  // in any order
  EXPECT_EQ(sets.next(), 10);
  EXPECT_TRUE(sets.Add(10, {1}));
  EXPECT_EQ(sets.next(), 12);
  EXPECT_TRUE(sets.Add(11, {0, 2}));  // repeated
  EXPECT_FALSE(sets.Add(11, {0, 1}));
  EXPECT_TRUE(sets.Contains(11, 2));
  EXPECT_FALSE(sets.Contains(11, 1));
  EXPECT_EQ(sets.Ranks(11), (std::vector<int32_t>{0, 2}));
}

TEST(ContributorsTest, RefusesWhatCannotBe) {
  Contributors sets(2, 0);
  EXPECT_FALSE(sets.Add(0, {}));
  EXPECT_FALSE(sets.Add(0, {2}));
  EXPECT_FALSE(sets.Add(0, {-1}));
  EXPECT_FALSE(sets.Add(Contributors::kMaxAhead + 1, {0}));
}

TEST(ContributorsTest, ForgetsWhatNobodyNeeds) {
  Contributors sets(2, 0);
  for (int64_t clock = 0; clock < 5; ++clock) EXPECT_TRUE(sets.Add(clock, {0}));
  sets.Prune(3);
  EXPECT_FALSE(sets.Knows(2));
  EXPECT_TRUE(sets.Knows(3));
  EXPECT_TRUE(sets.Add(1, {1}));  // long past: read and dropped
  sets.Prune(100);                // never beyond what is known
  EXPECT_EQ(sets.oldest(), 5);
}

class BackupShardTest : public testing::Test {
 protected:
  BackupShardTest() : rig_({TestBlob("w", 4)}, Options()) { rig_.InitAll(10); }
  static ShardOptions Options() {
    ShardOptions options;
    options.solver = PlainSgd(1);
    options.workers = 3;
    options.backup = 1;
    return options;
  }
  void Tick(int rank, int64_t clock) {
    ASSERT_TRUE(rig_.shard->Tick(rig_.TickOf(rank, clock, 1)).ok());
  }
  ShardRig rig_;
};

TEST_F(BackupShardTest, ClosesWithTheFirstAndDropsTheLate) {
  rig_.Push(0, 0, 0, 1);
  Tick(0, 0);
  rig_.Push(2, 0, 0, 3);
  EXPECT_EQ(rig_.value(0), 10);  // pushed, but not complete: no tick
  Tick(2, 0);
  EXPECT_EQ(rig_.value(0), 8);  // the mean of 1 and 3
  EXPECT_EQ(rig_.Push(1, 0, 0, 100), ps::Reason::kLate);
  EXPECT_EQ(rig_.output.replies.back().header.type, ps::MessageType::kPushAck);
  EXPECT_EQ(rig_.output.replies.back().header.based_on, 1);  // go on there
  Tick(1, 0);
  EXPECT_EQ(rig_.value(0), 8);
  EXPECT_EQ(rig_.shard->done(1), 1);
  EXPECT_EQ(rig_.shard->counters().late, 1);
  // It has jumped, and is among the first now.
  rig_.Push(1, 0, 1, 4);
  Tick(1, 1);
  rig_.Push(0, 0, 1, 2);
  Tick(0, 1);
  EXPECT_EQ(rig_.value(0), 5);
}

TEST_F(BackupShardTest, WaitsForNoDeadWorker) {
  rig_.Push(0, 0, 0, 2);
  Tick(0, 0);
  rig_.shard->WorkerGone(1, kIncarnation);
  EXPECT_EQ(rig_.value(0), 10);  // two could still come
  rig_.shard->WorkerGone(2, kIncarnation);
  EXPECT_EQ(rig_.value(0), 8);
}

// All parts are in, the ticks were lost with a server; nothing more comes but
// the workers themselves, who go on behind their parts.
TEST_F(BackupShardTest, DecidesByThePartsOfWorkersThatComeAgain) {
  rig_.Push(0, 0, 0, 1);
  rig_.Push(1, 0, 0, 3);
  rig_.Push(2, 0, 0, 100);
  Tick(0, 0);
  EXPECT_EQ(rig_.value(0), 10);
  control::RejoinWorkerRequest again;
  again.set_rank(1);
  again.set_incarnation(kIncarnation);
  again.set_clock(-1);
  const auto answer = rig_.shard->Rejoin(again);
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(answer->next_clock(), 1);
  EXPECT_EQ(rig_.value(0), 10);
  again.set_clock(answer->next_clock());
  ASSERT_TRUE(rig_.shard->Rejoin(again).ok());
  EXPECT_EQ(rig_.value(0), 8);  // of the first two, 1 and 3
}

}  // namespace
}  // namespace cssp
