#include "server/shard/per_push_shard.h"

#include <cmath>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/shard_rig.h"

namespace cssp {
namespace {

using ps::MessageType;
using ps::Reason;

ShardOptions Options(int workers, int staleness) {
  ShardOptions options;
  options.solver = PlainSgd(1);
  options.workers = workers;
  options.staleness = staleness;
  options.max_staleness = staleness + 1;
  options.update = control::PER_PUSH;
  return options;
}

// Pushes one value to every chunk and ticks.
void Clock(ShardRig& rig, int rank, int64_t clock, float value) {
  const int chunks = static_cast<int>(rig.shard->chunks().size());
  for (int c = 0; c < chunks; ++c) {
    ps::MessageHeader header = rig.Header(MessageType::kPush, rank, c, clock);
    header.based_on = std::min(clock, rig.shard->min_version());
    ASSERT_EQ(rig.Push(header, value), Reason::kNone) << ps::ToString(header);
  }
  ASSERT_TRUE(rig.shard->Tick(rig.TickOf(rank, clock, chunks)).ok());
}

TEST(PerPushShardTest, AppliesAWorkersClockWhole) {
  ShardRig rig({TestBlob("w", 5000)}, Options(2, 0));  // two chunks
  rig.InitAll(10);
  rig.Push(0, 0, 0, 4);
  ASSERT_TRUE(rig.shard->Tick(rig.TickOf(0, 0, 2)).ok());
  EXPECT_EQ(rig.value(0), 10) << "a clock is applied to all chunks or to none";
  rig.Push(0, 1, 0, 4);
  EXPECT_EQ(rig.value(0), 10 - 4 / 2.0f);
  EXPECT_EQ(rig.value(1), 10 - 4 / 2.0f);
  EXPECT_EQ(rig.shard->min_version(), 0);
  EXPECT_EQ(rig.Push(0, 0, 0, 4), Reason::kDuplicate);
  // The other channel first.
  ASSERT_TRUE(rig.shard->Tick(rig.TickOf(1, 0, 2)).ok());
  rig.Push(1, 0, 0, 2);
  EXPECT_EQ(rig.shard->min_version(), 0);
  rig.Push(1, 1, 0, 2);
  EXPECT_EQ(rig.value(0), 7);
  EXPECT_EQ(rig.value(1, 905), 0);  // padding
  EXPECT_EQ(rig.shard->min_version(), 1);
}

TEST(PerPushShardTest, ReadMyWrites) {
  ShardRig rig({TestBlob("w", 20)}, Options(2, 1));
  rig.InitAll(0);
  rig.Pull(0, 0, 1);
  EXPECT_TRUE(rig.output.values.empty()) << "its own clock 0 is not in";
  Clock(rig, 0, 0, 2);
  ASSERT_EQ(rig.output.values.size(), 1u);
  EXPECT_EQ(rig.output.values[0].header.clock, 0);
  EXPECT_EQ(rig.output.values[0].header.based_on, 1);
  EXPECT_EQ(rig.output.values[0].values.floats()[0], -1);
  Clock(rig, 0, 1, 2);
  rig.Pull(0, 0, 2);  // clock 2 - s of the other is not in
  EXPECT_EQ(rig.output.values.size(), 1u);
  Clock(rig, 1, 0, 2);
  ASSERT_EQ(rig.output.values.size(), 2u);
  EXPECT_EQ(rig.output.values[1].header.clock, 1);
  EXPECT_EQ(rig.output.values[1].header.based_on, 2);
  EXPECT_EQ(rig.output.values[1].values.floats()[0], -3);
}

TEST(PerPushShardTest, TheBoundHoldsForPushesToo) {
  ShardRig rig({TestBlob("w", 20)}, Options(2, 1));
  rig.InitAll(0);
  Clock(rig, 0, 0, 1);
  ps::MessageHeader stale = rig.Header(MessageType::kPush, 0, 0, 3);
  stale.based_on = 1;
  EXPECT_EQ(rig.Push(stale, 1), Reason::kTooStale);
  stale.clock = 4;
  stale.based_on = 4;
  EXPECT_EQ(rig.Push(stale, 1), Reason::kTooFarAhead);
}

TEST(PerPushShardTest, EagerValuesOnceAClockWhenTheyFit) {
  ShardRig rig({TestBlob("w", 20)}, Options(2, 1));
  rig.InitAll(0);
  rig.shard->OnSubscribe(1, rig.Header(MessageType::kSubscribe, 0, 0, 0));
  const auto sent = [&rig] {
    const size_t n = rig.output.values.size();
    for (int i = 0; i < 4; ++i) rig.shard->OnValuesSent(1, 0);
    return n;
  };
  Clock(rig, 0, 0, 1);
  EXPECT_EQ(sent(), 1u);
  Clock(rig, 0, 1, 1);
  EXPECT_EQ(sent(), 1u) << "clock 2 may not be read yet";
  Clock(rig, 1, 0, 1);
  EXPECT_EQ(sent(), 2u);
  EXPECT_EQ(rig.output.values[1].header.based_on, 2);
  Clock(rig, 1, 1, 1);
  EXPECT_EQ(sent(), 2u) << "the reader has what it needs";
}

// Both rules are linear: at s = 0 the sum of the workers' steps is the step of
// the mean.
TEST(PerPushShardTest, EqualsPerClockForLinearRules) {
  for (const char* type : {"SGD", "Nesterov"}) {
    ShardOptions options = Options(3, 0);
    options.solver.set_type(type);
    options.solver.set_base_lr(0.1f);
    options.solver.set_momentum(0.9f);
    ShardRig push({TestBlob("w", 20)}, options);
    options.update = control::PER_CLOCK;
    ShardRig clock({TestBlob("w", 20)}, options);
    push.InitAll(1);
    clock.InitAll(1);
    for (int c = 0; c < 20; ++c) {
      for (int rank : {c % 3, (c + 1) % 3, (c + 2) % 3}) {
        const float gradient = std::sin(c * 3.0f + rank);
        Clock(push, rank, c, gradient);
        Clock(clock, rank, c, gradient);
      }
      EXPECT_NEAR(push.value(0), clock.value(0), 1e-5) << type << " " << c;
    }
  }
}

TEST(PerPushShardTest, SharesFollowTheSamples) {
  ShardRig rig({TestBlob("w", 20)}, Options(2, 0));
  rig.InitAll(0);
  ps::MessageHeader header = rig.Header(MessageType::kPush, 1, 0, 0);
  header.samples = 3;
  rig.Push(header, 8);
  ASSERT_TRUE(rig.shard->Tick(rig.TickOf(1, 0, 1)).ok());
  EXPECT_EQ(rig.value(0), -4) << "the other's samples are not known";
  Clock(rig, 0, 0, 8);
  EXPECT_EQ(rig.value(0), -6);
  header = rig.Header(MessageType::kPush, 1, 0, 1);
  header.samples = 3;
  rig.Push(header, 8);
  ASSERT_TRUE(rig.shard->Tick(rig.TickOf(1, 1, 1)).ok());
  EXPECT_EQ(rig.value(0), -12);
}

TEST(PerPushShardTest, ClipsByTheTicksNorm) {
  ShardOptions options = Options(1, 0);
  options.solver.set_clip_gradients(10);
  ShardRig rig({TestBlob("w", 16)}, options);
  rig.InitAll(0);
  rig.Push(0, 0, 0, 5);  // norm 20
  control::Tick tick = rig.TickOf(0, 0, 1);
  tick.set_squared_norm(400);
  ASSERT_TRUE(rig.shard->Tick(tick).ok());
  EXPECT_FLOAT_EQ(rig.value(0), -2.5f);
}

TEST(PerPushShardTest, StatisticsAreAnAverageOverPushes) {
  ps::BlobSpec blob = TestBlob("bn", 16);
  blob.statistic = true;
  blob.moving_average_fraction = 0.81f;
  ShardRig rig({blob}, Options(2, 1));
  rig.InitAll(1);
  Clock(rig, 0, 0, 4);
  EXPECT_FLOAT_EQ(rig.value(0), 0.9f * 1 + 4 / 2.0f);
  Clock(rig, 1, 0, 2);
  EXPECT_FLOAT_EQ(rig.value(0), 0.9f * 2.9f + 2 / 2.0f);
}

TEST(PerPushShardTest, CutsAreAligned) {
  ShardOptions options = Options(2, 3);
  options.solver.set_snapshot(2);
  options.solver.set_momentum(0.5f);
  ShardRig rig({TestBlob("w", 20)}, options);
  rig.InitAll(0);
  for (int c = 0; c < 4; ++c) Clock(rig, 0, c, 2);
  const float after_two = -1 - (0.5f + 1);
  EXPECT_EQ(rig.value(0), after_two) << "clocks 2 and 3 wait for the cut";
  Clock(rig, 1, 0, 2);
  EXPECT_TRUE(rig.output.cuts.empty());
  Clock(rig, 1, 1, 2);
  ASSERT_EQ(rig.output.cuts.size(), 1u);
  const RetainedCut& cut = rig.output.cuts[0];
  EXPECT_EQ(cut.clock, 2);
  ASSERT_EQ(cut.chunks[0].size(), 4u);  // values, sum, one a worker
  EXPECT_EQ(cut.chunks[0][0].floats()[0], 2 * after_two);
  EXPECT_EQ(cut.chunks[0][1].floats()[0], 3);
  EXPECT_EQ(cut.chunks[0][2].floats()[0], 1.5f);
  EXPECT_LT(rig.value(0), 2 * after_two) << "and go on after it";
  EXPECT_EQ(rig.output.cuts.size(), 1u);
}

TEST(PerPushShardTest, AnotherNumberOfWorkersContinuesTheSum) {
  ShardOptions options = Options(4, 0);
  options.solver.set_momentum(0.5f);
  ShardRig rig({TestBlob("w", 20)}, options);
  const std::vector<float> values(32, 1.0f), sum(32, 8.0f);
  rig.shard->Restore(0, 0, values, false);
  rig.shard->Restore(0, 1, sum, true);
  for (int rank = 0; rank < 4; ++rank) Clock(rig, rank, 0, 0);
  EXPECT_EQ(rig.value(0), 1 - 0.5f * 8);
}

TEST(PerPushShardTest, TheSameNumberGetsItsOwnBack) {
  ShardOptions options = Options(2, 1);
  options.solver.set_momentum(0.5f);
  ShardRig rig({TestBlob("w", 20)}, options);
  ASSERT_EQ(rig.shard->worker_histories(), 2);
  rig.shard->RestoreWorkerHistory(0, 0, std::vector<float>(32, 2.0f));
  rig.shard->RestoreWorkerHistory(0, 1, std::vector<float>(32, 6.0f));
  rig.shard->Restore(0, 0, std::vector<float>(32, 0.0f), true);
  Clock(rig, 1, 0, 0);
  EXPECT_EQ(rig.value(0), -3);
  Clock(rig, 0, 0, 0);
  EXPECT_EQ(rig.value(0), -4);
}

TEST(PerPushShardTest, WhoFinishesCountsAsInfinity) {
  ShardRig rig({TestBlob("w", 20)}, Options(2, 0));
  rig.InitAll(0);
  Clock(rig, 0, 0, 2);
  control::Tick last = rig.TickOf(0, 1, 0);
  last.set_finished(true);
  ASSERT_TRUE(rig.shard->Tick(last).ok());
  Clock(rig, 1, 0, 2);
  EXPECT_EQ(rig.value(0), -2);
  Clock(rig, 1, 1, 2);  // alone now: its share is 1
  EXPECT_EQ(rig.value(0), -4);
  EXPECT_EQ(rig.shard->min_version(), 2);
}

TEST(PerPushShardTest, ADeadWorkerIsNotWaitedForAndComesBackWithoutMomentum) {
  ShardOptions options = Options(2, 0);
  options.solver.set_momentum(0.5f);
  ShardRig rig({TestBlob("w", 20)}, options);
  rig.InitAll(0);
  Clock(rig, 1, 0, 4);
  Clock(rig, 0, 0, 0);
  EXPECT_EQ(rig.value(0), -2);
  rig.Push(1, 0, 1, 100);  // its tick never comes
  rig.shard->WorkerGone(1, kIncarnation);
  Clock(rig, 0, 1, 1);
  EXPECT_EQ(rig.value(0), -3);
  EXPECT_EQ(rig.shard->min_version(), 2);

  control::ProposeOrderRequest join;
  join.set_commit(true);
  join.mutable_order()->set_number(1);
  join.mutable_order()->set_effective_clock(3);
  for (int rank : {0, 1}) {
    join.mutable_order()->mutable_membership()->add_ranks(rank);
  }
  ASSERT_EQ(rig.shard->Attach(1, 2, 2), Reason::kNone);
  ASSERT_TRUE(rig.shard->ProposeOrder(join)->accepted());
  Clock(rig, 0, 2, 0);
  const float before = rig.value(0);
  ps::MessageHeader header = rig.Header(MessageType::kPush, 1, 0, 3);
  header.incarnation = 2;
  ASSERT_EQ(rig.Push(header, 2), Reason::kNone);
  control::Tick tick = rig.TickOf(1, 3, 1);
  tick.set_incarnation(2);
  ASSERT_TRUE(rig.shard->Tick(tick).ok());
  EXPECT_EQ(rig.value(0), before - 1);
  EXPECT_EQ(rig.shard->min_version(), 3);
}

TEST(PerPushShardTest, LooksAheadByEachWorkersOwnMomentum) {
  ShardOptions options = Options(2, 2);
  options.solver.set_momentum(0.5f);
  options.lookahead = true;
  ShardRig rig({TestBlob("w", 20)}, options);
  rig.InitAll(0);
  Clock(rig, 0, 0, 4);  // history 2, value -2
  Clock(rig, 1, 0, 8);  // history 4, value -6
  Clock(rig, 0, 1, 0);  // history 1, value -7
  rig.Pull(0, 0, 2);    // rank 1's clock 1 is missing
  ASSERT_EQ(rig.output.values.size(), 1u);
  EXPECT_EQ(rig.output.values[0].header.flags, ps::kFlagPredicted);
  EXPECT_EQ(rig.output.values[0].header.samples, 1u);
  EXPECT_FLOAT_EQ(rig.output.values[0].values.floats()[0], -7 - 0.5f * 4);
}

TEST(PerPushShardTest, RefusesWhatIsNotLinear) {
  RecordingOutput output;
  const auto layout = *ps::SlabLayout::Create({TestBlob("w", 4)}, 0);
  ShardOptions options = Options(1, 0);
  options.chunk_server = {0};
  for (const char* type : {"Adam", "AdaGrad", "RMSProp", "AdaDelta"}) {
    options.solver.set_type(type);
    const absl::Status status = Shard::Create(layout, options, output).status();
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
    EXPECT_THAT(std::string(status.message()), testing::HasSubstr(type));
  }
  options.solver.set_type("SGD");
  options.solver.set_lars_eta(0.1f);
  EXPECT_TRUE(absl::IsInvalidArgument(
      Shard::Create(layout, options, output).status()));
}

TEST(PerPushShardTest, ASteadyStateAllocatesNoBuffers) {
  ShardRig rig({TestBlob("w", 20)}, Options(4, 2));
  rig.InitAll(0);
  int64_t made = 0;
  for (int clock = 0; clock < 50; ++clock) {
    for (int rank = 0; rank < 4; ++rank) Clock(rig, rank, clock, 1);
    const ChunkState& chunk = rig.shard->chunks()[0];
    const int64_t now = chunk.value_pool.made() + chunk.part_pool.made();
    if (clock > 2) {
      EXPECT_EQ(now, made) << "clock " << clock;
    }
    made = now;
  }
}

}  // namespace
}  // namespace cssp
