#include "server/shard/vector_clock.h"

#include "gtest/gtest.h"

namespace cssp {
namespace {

TEST(VectorClockTest, NeedsTheTickAndEveryPushInAnyOrder) {
  VectorClock clocks(2, 0);
  clocks.CountPush(0, 0);
  EXPECT_TRUE(clocks.Tick(0, 0, 2, false).ok());
  EXPECT_EQ(clocks.done(0), 0);
  clocks.CountPush(0, 0);
  EXPECT_EQ(clocks.done(0), 1);
  EXPECT_EQ(clocks.min(), 0);
  EXPECT_TRUE(clocks.Tick(1, 0, 0, false).ok());
  EXPECT_EQ(clocks.min(), 1);
}

TEST(VectorClockTest, LaterClocksWaitForEarlierOnes) {
  VectorClock clocks(1, 10);
  EXPECT_TRUE(clocks.Tick(0, 11, 1, false).ok());
  clocks.CountPush(0, 11);
  EXPECT_EQ(clocks.done(0), 10);
  EXPECT_TRUE(clocks.Tick(0, 10, 0, false).ok());
  EXPECT_EQ(clocks.done(0), 12);
  EXPECT_TRUE(clocks.Tick(0, 10, 5, false).ok());  // repeated
  EXPECT_EQ(clocks.done(0), 12);
}

TEST(VectorClockTest, FinishedIsInfinityOnceItsPushesAreIn) {
  VectorClock clocks(2, 0);
  EXPECT_TRUE(clocks.Tick(0, 0, 1, true).ok());
  EXPECT_EQ(clocks.finished_at(0), 1);
  EXPECT_EQ(clocks.done(0), 0);
  clocks.CountPush(0, 0);
  EXPECT_EQ(clocks.done(0), kClockInfinity);
  EXPECT_TRUE(clocks.Tick(1, 0, 0, true).ok());  // a closing tick of its own
  EXPECT_EQ(clocks.finished_at(1), 0);
  EXPECT_EQ(clocks.min(), kClockInfinity);
}

TEST(VectorClockTest, RemovedAndRestored) {
  VectorClock clocks(2, 0);
  for (int c = 0; c < 5; ++c) EXPECT_TRUE(clocks.Tick(0, c, 0, false).ok());
  EXPECT_EQ(clocks.min(), 0);
  clocks.Remove(1);
  EXPECT_EQ(clocks.min(), 5);
  clocks.Restore(1, 7);
  EXPECT_EQ(clocks.min(), 5);
  EXPECT_EQ(clocks.done(1), 7);
}

TEST(VectorClockTest, RefusesWhatWouldEatMemory) {
  VectorClock clocks(1, 0);
  EXPECT_FALSE(clocks.Tick(0, VectorClock::kMaxOpenClocks, 0, false).ok());
  EXPECT_FALSE(clocks.CanCount(0, VectorClock::kMaxOpenClocks));
  EXPECT_FALSE(clocks.Tick(1, 0, 0, false).ok());
  EXPECT_FALSE(clocks.Tick(-1, 0, 0, false).ok());
}

}  // namespace
}  // namespace cssp
