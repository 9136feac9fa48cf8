#include "server/shard/shard.h"

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
  return options;
}

TEST(ShardTest, AppliesTheMeanOnceAllAreIn) {
  ShardRig rig({TestBlob("w", 20)}, Options(2, 0));
  rig.InitAll(10);
  EXPECT_EQ(rig.Push(1, 0, 0, 4), Reason::kNone);
  EXPECT_EQ(rig.value(0), 10);
  EXPECT_EQ(rig.Push(0, 0, 0, 2), Reason::kNone);
  EXPECT_EQ(rig.value(0), 10 - 3);
  EXPECT_EQ(rig.value(0, 31), 0);  // padding
  EXPECT_EQ(rig.Push(0, 0, 0, 2), Reason::kDuplicate);
  EXPECT_EQ(rig.value(0), 7);
  EXPECT_EQ(rig.shard->counters().duplicates, 1);
}

TEST(ShardTest, WeightsByDifferingSampleCounts) {
  ShardRig rig({TestBlob("w", 20)}, Options(2, 0));
  rig.InitAll(0);
  ps::MessageHeader header = rig.Header(MessageType::kPush, 0, 0, 0);
  header.samples = 3;
  rig.Push(header, 8);
  rig.Push(1, 0, 0, 4);  // one sample
  EXPECT_EQ(rig.value(0), -7);
}

TEST(ShardTest, RefusesWhatTheContractRefuses) {
  ShardRig rig({TestBlob("w", 20)}, Options(2, 1));
  EXPECT_EQ(rig.Push(0, 0, 0, 1), Reason::kNotReady);
  rig.InitAll(0);
  EXPECT_EQ(rig.Push(0, 9, 0, 1), Reason::kNotMine);
  EXPECT_EQ(rig.Push(0, 0, 3, 1), Reason::kTooFarAhead);
  EXPECT_EQ(rig.Push(0, 0, 2, 1), Reason::kNone);  // within max_staleness
  ps::MessageHeader header = rig.Header(MessageType::kPush, 0, 0, 1);
  header.based_on = -1;
  EXPECT_EQ(rig.Push(header, 1), Reason::kTooStale);
  header.based_on = 2;
  EXPECT_EQ(rig.Push(header, 1), Reason::kBadMessage);
  header.based_on = 0;
  header.samples = 0;
  EXPECT_EQ(rig.Push(header, 1), Reason::kBadMessage);
  header.samples = 1;
  header.incarnation = 0;
  EXPECT_EQ(rig.Push(header, 1), Reason::kFenced);
  header.incarnation = 1;
  EXPECT_EQ(rig.Push(header, 1), Reason::kNone);
  EXPECT_EQ(rig.shard->counters().staleness[1], 1);
}

TEST(ShardTest, AnotherIncarnationFencesButKeepsTheParts) {
  ShardRig rig({TestBlob("w", 20)}, Options(2, 0));
  rig.InitAll(0);
  EXPECT_EQ(rig.Push(0, 0, 0, 2), Reason::kNone);
  EXPECT_EQ(rig.shard->Attach(0, 2, 77), Reason::kNone);
  EXPECT_EQ(rig.shard->Attach(0, 1, 1), Reason::kFenced);
  EXPECT_EQ(rig.Push(0, 0, 0, 2), Reason::kFenced);
  ps::MessageHeader again = rig.Header(MessageType::kPush, 0, 0, 0);
  again.incarnation = 2;
  EXPECT_EQ(rig.Push(again, 2), Reason::kDuplicate);
}

TEST(ShardTest, ParksAPullUntilTheBoundIsMet) {
  ShardRig rig({TestBlob("w", 20)}, Options(2, 1));
  rig.Pull(0, 0, 0);  // parked until the values are there
  EXPECT_TRUE(rig.output.values.empty());
  rig.InitAll(5);
  ASSERT_EQ(rig.output.values.size(), 1u);
  rig.Pull(0, 0, 1);  // version 0 will do at s = 1
  EXPECT_EQ(rig.output.values.size(), 2u);
  rig.Pull(0, 0, 2);
  const uint32_t pull = rig.sequence;
  EXPECT_EQ(rig.output.values.size(), 2u);
  EXPECT_EQ(rig.shard->Status().parked_pulls(), 1);
  rig.Push(0, 0, 0, 1);
  EXPECT_EQ(rig.output.values.size(), 2u);
  rig.Push(1, 0, 0, 1);
  ASSERT_EQ(rig.output.values.size(), 3u);
  EXPECT_EQ(rig.output.values[2].header.clock, 1);
  EXPECT_EQ(rig.output.values[2].peer, 1u);
  EXPECT_EQ(rig.output.values[2].header.sequence, pull);
  EXPECT_EQ(rig.shard->Status().parked_pulls(), 0);
  // What was sent before is what it was.
  EXPECT_EQ(rig.output.values[1].values.floats()[0], 5);
  EXPECT_EQ(rig.output.values[2].values.floats()[0], 4);
}

TEST(ShardTest, EagerValuesOneInFlightNewestWins) {
  ShardRig rig({TestBlob("w", 20)}, Options(1, 0));
  rig.InitAll(0);
  rig.shard->OnSubscribe(1, rig.Header(MessageType::kSubscribe, 0, 0, 0));
  for (int clock = 0; clock < 3; ++clock) rig.Push(0, 0, clock, 1);
  ASSERT_EQ(rig.output.values.size(), 1u);
  EXPECT_EQ(rig.output.values[0].header.clock, 1);
  EXPECT_EQ(rig.output.values[0].header.flags, ps::kFlagEager);
  rig.shard->OnValuesSent(1, 0);
  ASSERT_EQ(rig.output.values.size(), 2u);
  EXPECT_EQ(rig.output.values[1].header.clock, 3);  // 2 was skipped
  rig.shard->OnValuesSent(1, 0);
  EXPECT_EQ(rig.output.values.size(), 2u);
  rig.shard->Detach(1);
  rig.Push(0, 0, 3, 1);
  EXPECT_EQ(rig.output.values.size(), 2u);
}

TEST(ShardTest, ClocksAdvanceByTickAndPushes) {
  ShardRig rig({TestBlob("w", 5000)}, Options(1, 0));  // two chunks
  rig.InitAll(0);
  rig.Push(0, 0, 0, 1);
  EXPECT_EQ(rig.shard->Tick(rig.TickOf(0, 0, 2))->min_clock(), 0);
  rig.Push(0, 1, 0, 1);
  EXPECT_EQ(rig.shard->min_clock(), 1);
  control::Tick fenced = rig.TickOf(0, 1, 2);
  fenced.set_incarnation(0);
  EXPECT_TRUE(absl::IsFailedPrecondition(rig.shard->Tick(fenced).status()));
}

TEST(ShardTest, ADeadWorkerIsNotWaitedFor) {
  ShardRig rig({TestBlob("w", 5000)}, Options(3, 1));
  rig.InitAll(0);
  // Rank 2 dies with its part of chunk 0 in, but not that of chunk 1.
  rig.Push(2, 0, 0, 9);
  for (int rank : {0, 1}) {
    rig.Push(rank, 0, 0, 3);
    rig.Push(rank, 1, 0, 3);
  }
  EXPECT_EQ(rig.value(0), -5);
  EXPECT_EQ(rig.value(1), 0);
  rig.shard->WorkerGone(2, kIncarnation);
  EXPECT_EQ(rig.value(1), -3);  // divided by its own contributors
  EXPECT_EQ(rig.shard->counters().incomplete, 1);
  EXPECT_EQ(rig.Push(2, 1, 1, 9), Reason::kFenced);
  for (int rank : {0, 1}) rig.Push(rank, 0, 1, 1);
  EXPECT_EQ(rig.value(0), -6);
}

TEST(ShardTest, PolicyWaitWaits) {
  ShardOptions options = Options(2, 0);
  options.wait_for_dead = true;
  ShardRig rig({TestBlob("w", 20)}, options);
  rig.InitAll(0);
  rig.Push(0, 0, 0, 2);
  rig.shard->WorkerGone(1, kIncarnation);
  EXPECT_EQ(rig.value(0), 0);
  EXPECT_EQ(rig.shard->Attach(1, 2, 50), Reason::kNone);
  ps::MessageHeader header = rig.Header(MessageType::kPush, 1, 0, 0);
  header.incarnation = 2;
  EXPECT_EQ(rig.Push(header, 4), Reason::kNone);
  EXPECT_EQ(rig.value(0), -3);
}

TEST(ShardTest, FinishedWorkersAreNotWaitedFor) {
  ShardRig rig({TestBlob("w", 20)}, Options(2, 2));
  rig.InitAll(0);
  rig.Push(0, 0, 0, 1);
  rig.Push(1, 0, 0, 1);
  rig.Push(0, 0, 1, 1);
  EXPECT_EQ(rig.value(0), -1);
  control::Tick tick = rig.TickOf(1, 0, 1);
  tick.set_finished(true);
  ASSERT_TRUE(rig.shard->Tick(tick).ok());
  EXPECT_EQ(rig.value(0), -2);
  EXPECT_EQ(rig.shard->Status().done(1), kClockInfinity);
  EXPECT_EQ(rig.shard->counters().incomplete, 0);
}

TEST(ShardTest, MembershipOrdersHoldTheirClockUntilDecided) {
  ShardRig rig({TestBlob("w", 20)}, Options(2, 2));
  rig.InitAll(0);
  control::ProposeOrderRequest request;
  control::Order& order = *request.mutable_order();
  order.set_number(1);
  order.set_effective_clock(1);
  order.mutable_membership()->add_ranks(0);
  EXPECT_TRUE(rig.shard->ProposeOrder(request)->accepted());
  for (int rank : {0, 1}) rig.Push(rank, 0, 0, 1);
  rig.Push(0, 0, 1, 5);
  rig.Push(1, 0, 1, 7);
  EXPECT_EQ(rig.value(0), -1);  // clock 1 waits for the decision
  request.set_commit(true);
  EXPECT_TRUE(rig.shard->ProposeOrder(request)->accepted());
  EXPECT_EQ(rig.value(0), -1 - 6);  // what was in before counts
  EXPECT_EQ(rig.Push(1, 0, 2, 7), Reason::kFenced);
  rig.Push(0, 0, 2, 1);
  EXPECT_EQ(rig.value(0), -8);
  // A clock that is open cannot be ordered about.
  order.set_number(2);
  order.set_effective_clock(3);
  request.set_commit(false);
  const auto refused = rig.shard->ProposeOrder(request);
  EXPECT_FALSE(refused->accepted());
  EXPECT_EQ(refused->opened_clock(), 3);
}

TEST(ShardTest, CutsAreExactAndSnapshotsHaveHistory) {
  ShardOptions options = Options(1, 0);
  options.solver.set_momentum(0.5);
  options.solver.set_test_interval(2);
  options.solver.add_test_iter(1);
  options.solver.set_snapshot(3);
  ShardRig rig({TestBlob("w", 20)}, options);
  ps::MessageHeader exact = rig.Header(MessageType::kPullExact, -1, 0, 2);
  rig.shard->OnPullExact(99, exact);  // parked: still to come
  EXPECT_TRUE(rig.output.values.empty());
  rig.InitAll(0);
  for (int clock = 0; clock < 4; ++clock) rig.Push(0, 0, clock, 1);
  // v: 1, 1.5, 1.75, 1.875; w: -1, -2.5, -4.25, -6.125
  ASSERT_EQ(rig.output.values.size(), 1u);
  EXPECT_EQ(rig.output.values[0].peer, 99u);
  EXPECT_EQ(rig.output.values[0].header.clock, 2);
  EXPECT_EQ(rig.output.values[0].values.floats()[0], -2.5);
  ASSERT_EQ(rig.output.cuts.size(), 1u);
  EXPECT_EQ(rig.output.cuts[0].clock, 3);
  EXPECT_EQ(rig.output.cuts[0].chunks[0][0].floats()[0], -4.25);
  EXPECT_EQ(rig.output.cuts[0].chunks[0][1].floats()[0], 1.75);
  exact.clock = 3;
  exact.slot = 1;
  rig.shard->OnPullExact(99, exact);
  EXPECT_EQ(rig.output.values.back().values.floats()[0], 1.75);
  exact.clock = 0;
  exact.slot = 0;  // two newer test cuts
  rig.shard->OnPullExact(99, exact);
  EXPECT_EQ(rig.output.last_reason(), Reason::kGone);
  exact.clock = 1;  // no cut point
  rig.shard->OnPullExact(99, exact);
  EXPECT_EQ(rig.output.last_reason(), Reason::kGone);
}

TEST(ShardTest, StatisticsAreMovingAverages) {
  std::vector<ps::BlobSpec> blobs = {TestBlob("mean", 16)};
  blobs[0].statistic = true;
  blobs[0].moving_average_fraction = 0.5;
  ShardRig rig(blobs, Options(2, 0));
  rig.InitAll(8);
  rig.Push(0, 0, 0, 1);
  rig.Push(1, 0, 0, 3);
  EXPECT_EQ(rig.value(0), 0.5 * 8 + 2);
}

TEST(ShardTest, HistoryInitialisedInAnyOrder) {
  ShardOptions options = Options(1, 0);
  options.solver.set_momentum(0.5);
  options.start_clock = 100;
  ShardRig rig({TestBlob("w", 16)}, options);
  ps::MessageHeader header = rig.Header(MessageType::kInit, 0, 0, 100);
  header.slot = 1;
  header.flags = ps::kFlagLastOfInit;
  rig.shard->OnInit(1, header, std::vector<float>(16, 4));
  EXPECT_EQ(rig.Push(0, 0, 100, 1), Reason::kNotReady);
  header.slot = 0;
  header.flags = 0;
  rig.shard->OnInit(1, header, std::vector<float>(16, 10));
  EXPECT_EQ(rig.Push(0, 0, 100, 1), Reason::kNone);
  EXPECT_EQ(rig.value(0), 10 - (0.5 * 4 + 1));
  rig.shard->OnInit(1, header, std::vector<float>(16, 10));
  EXPECT_EQ(rig.output.last_reason(), Reason::kDuplicate);
  header.slot = 2;
  rig.shard->OnInit(1, header, std::vector<float>(16, 10));
  EXPECT_EQ(rig.output.last_reason(), Reason::kBadMessage);
}

TEST(ShardTest, ASteadyStateAllocatesNoBuffers) {
  ShardRig rig({TestBlob("w", 20)}, Options(4, 2));
  rig.InitAll(0);
  int64_t made = 0;
  for (int clock = 0; clock < 100; ++clock) {
    for (int rank = 0; rank < 4; ++rank) rig.Push(rank, 0, clock, 1);
    const ChunkState& chunk = rig.shard->chunks()[0];
    const int64_t now = chunk.value_pool.made() + chunk.part_pool.made();
    if (clock > 2) EXPECT_EQ(now, made) << "clock " << clock;
    made = now;
  }
}

TEST(ShardTest, AShardWithoutChunksHasItsPartInCuts) {
  ShardOptions options = Options(1, 0);
  options.solver.set_snapshot(2);
  options.servers = 2;
  options.self = 1;
  options.chunk_server = {0};
  ShardRig rig({TestBlob("w", 20)}, options);
  for (int clock = 0; clock < 5; ++clock) {
    ASSERT_TRUE(rig.shard->Tick(rig.TickOf(0, clock, 0)).ok());
  }
  ASSERT_EQ(rig.output.cuts.size(), 2u);
  EXPECT_EQ(rig.output.cuts[1].clock, 4);
}

TEST(ShardTest, ALateReaderGetsWhatMomentumPredicts) {
  ShardOptions options = Options(1, 2);
  options.solver.set_momentum(0.5f);
  options.lookahead = true;
  ShardRig rig({TestBlob("w", 20)}, options);
  rig.InitAll(0);
  rig.Push(0, 0, 0, 2);  // history 2, value -2
  rig.Pull(0, 0, 1);
  rig.Pull(0, 0, 3);
  ASSERT_EQ(rig.output.values.size(), 2u);
  EXPECT_EQ(rig.output.values[0].header.flags, 0);
  EXPECT_EQ(rig.output.values[0].values.floats()[0], -2);
  const RecordingOutput::Values& ahead = rig.output.values[1];
  EXPECT_EQ(ahead.header.flags, ps::kFlagPredicted);
  EXPECT_EQ(ahead.header.samples, 2u);
  EXPECT_EQ(ahead.header.clock, 1);
  EXPECT_FLOAT_EQ(ahead.values.floats()[0], -2 - (0.5f + 0.25f) * 2);
  EXPECT_EQ(rig.value(0), -2) << "never stored";
}

TEST(ShardTest, LookaheadNeedsMomentumToPredict) {
  RecordingOutput output;
  ShardOptions options = Options(1, 0);
  options.chunk_server = {0};
  options.solver.set_type("Adam");
  options.lookahead = true;
  EXPECT_TRUE(absl::IsInvalidArgument(
      Shard::Create(*ps::SlabLayout::Create({TestBlob("w", 4)}, 0), options,
                    output)
          .status()));
}

TEST(ShardTest, StaleGradientsLowerTheRate) {
  ShardOptions options = Options(2, 4);
  options.staleness_lr = control::STALENESS_LR_INV;
  ShardRig rig({TestBlob("w", 20)}, options);
  rig.InitAll(0);
  for (int clock = 0; clock < 4; ++clock) {
    for (int rank : {0, 1}) {
      ps::MessageHeader header = rig.Header(MessageType::kPush, rank, 0, clock);
      header.based_on = std::max(0, clock - 1);  // one clock old: no factor
      rig.Push(header, 1);
    }
  }
  EXPECT_EQ(rig.value(0), -4);
  ps::MessageHeader header = rig.Header(MessageType::kPush, 0, 0, 4);
  header.based_on = 0;
  rig.Push(header, 8);
  rig.Push(1, 0, 4, 8);
  EXPECT_FLOAT_EQ(rig.value(0), -4 - 8 * (0.25f + 1) / 2);
}

TEST(ShardTest, RefusesAMapThatCannotBe) {
  RecordingOutput output;
  auto layout = *ps::SlabLayout::Create({TestBlob("w", 4)}, 0);
  ShardOptions options = Options(1, 0);
  options.chunk_server = {1};
  EXPECT_TRUE(
      absl::IsInvalidArgument(Shard::Create(layout, options, output).status()));
}

}  // namespace
}  // namespace cssp
