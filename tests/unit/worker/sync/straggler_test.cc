#include "worker/sync/straggler.h"

#include "gtest/gtest.h"

namespace cssp {
namespace {

TEST(StragglerTest, ParsesBothForms) {
  EXPECT_EQ(Straggler::Parse("", 4)->get(), nullptr);
  for (const char* bad : {"4:2", "-1:2", "0:0.5", "0", "rotating", "x:2",
                          "rotating:nan", "0:1e9", "rotating:"})
    EXPECT_EQ(Straggler::Parse(bad, 4).status().code(),
              absl::StatusCode::kInvalidArgument)
        << bad;
}

TEST(StragglerTest, ASetDurationNeedsNoMeasuredOne) {
  auto straggler = *Straggler::Parse("rotating:4@20", 4);
  EXPECT_EQ(straggler->Extra(1, 5), absl::Milliseconds(80));
  EXPECT_EQ(straggler->Extra(2, 5), absl::Milliseconds(20));
  for (const char* bad : {"rotating:4@", "rotating:4@0", "rotating:4@-3",
                          "rotating:4@x", "rotating:@20"})
    EXPECT_FALSE(Straggler::Parse(bad, 4).ok()) << bad;
}

TEST(StragglerTest, DrawsAreTheSameInEveryRunAndAsWideAsTheySay) {
  const auto random = *Straggler::Parse("random:4@10", 4);
  const auto exponential = *Straggler::Parse("exponential:1.5@10", 4);
  int slow = 0;
  double sum = 0;
  for (int64_t clock = 0; clock < 5000; ++clock) {
    for (int rank = 0; rank < 4; ++rank) {
      const absl::Duration extra = random->Extra(rank, clock);
      EXPECT_EQ(extra, random->Extra(rank, clock));
      slow += extra == absl::Milliseconds(40);
      EXPECT_GE(exponential->Extra(rank, clock), absl::Milliseconds(10));
      sum += absl::ToDoubleMilliseconds(exponential->Extra(rank, clock));
    }
  }
  EXPECT_NEAR(slow / 20000.0, 0.05, 0.005);
  EXPECT_NEAR(sum / 20000, 15, 0.2);
}

TEST(StragglerTest, AlwaysOneWorker) {
  auto straggler = *Straggler::Parse("1:3", 4);
  EXPECT_EQ(straggler->Extra(1, 0), absl::ZeroDuration())
      << "nothing is known of compute time yet";
  straggler->Observe(absl::Milliseconds(10));
  EXPECT_EQ(straggler->Extra(1, 7), absl::Milliseconds(20));
  EXPECT_EQ(straggler->Extra(0, 7), absl::ZeroDuration());
}

TEST(StragglerTest, SleepsByTheRecordsOfTheClock) {
  auto set = *Straggler::Parse("1:3@10", 4);
  EXPECT_EQ(set->Extra(1, 0, 0.5), absl::Milliseconds(15));
  EXPECT_EQ(set->Extra(0, 0, 2), absl::Milliseconds(20));
  auto stretched = *Straggler::Parse("1:3", 4);
  stretched->Observe(absl::Milliseconds(5), 0.5);  // 10 for a whole clock
  EXPECT_EQ(stretched->Extra(1, 0), absl::Milliseconds(20));
  EXPECT_EQ(stretched->Extra(1, 0, 0.5), absl::Milliseconds(10));
}

TEST(StragglerTest, Rotating) {
  auto straggler = *Straggler::Parse("rotating:4", 3);
  straggler->Observe(absl::Milliseconds(10));
  for (int64_t clock = 0; clock < 9; ++clock)
    for (int rank = 0; rank < 3; ++rank)
      EXPECT_EQ(straggler->Extra(rank, clock),
                clock % 3 == rank ? absl::Milliseconds(30)
                                  : absl::ZeroDuration());
}

TEST(StragglerTest, TheMedianIgnoresAnOutlier) {
  auto straggler = *Straggler::Parse("0:2", 1);
  for (int i = 0; i < 9; ++i) straggler->Observe(absl::Milliseconds(10));
  straggler->Observe(absl::Seconds(5));
  EXPECT_EQ(straggler->Extra(0, 0), absl::Milliseconds(10));
}

}  // namespace
}  // namespace cssp
