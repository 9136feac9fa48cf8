#include "worker/sync/fresh_budget.h"

#include "gtest/gtest.h"

namespace cssp {
namespace {

constexpr absl::Duration kClock = absl::Milliseconds(100);

TEST(FreshBudget, GivesAShareOfAClock) {
  FreshBudget budget(0.25);
  EXPECT_LE(budget.left(), absl::ZeroDuration());
  budget.BeginClock(kClock);
  EXPECT_EQ(budget.left(), absl::Milliseconds(25));
  budget.Spend(absl::Milliseconds(10));
  EXPECT_EQ(budget.left(), absl::Milliseconds(15));
}

TEST(FreshBudget, KeepsWhatIsNotSpentForFourClocks) {
  FreshBudget budget(0.25);
  for (int clock = 0; clock < 10; ++clock) budget.BeginClock(kClock);
  EXPECT_EQ(budget.left(), kClock);
  budget.Spend(kClock);
  budget.BeginClock(kClock);
  EXPECT_EQ(budget.left(), absl::Milliseconds(25));
}

TEST(FreshBudget, AStragglerInEveryClockCostsTheShare) {
  FreshBudget budget(0.25);
  absl::Duration waited;
  for (int clock = 0; clock < 100; ++clock) {
    budget.BeginClock(kClock);
    waited += budget.left();
    budget.Spend(budget.left());
  }
  EXPECT_EQ(waited, 25 * kClock);
}

TEST(FreshBudget, AnOverrunIsPaidBack) {
  FreshBudget budget(0.25);
  budget.BeginClock(kClock);
  budget.Spend(absl::Milliseconds(40));
  EXPECT_LT(budget.left(), absl::ZeroDuration());
  budget.BeginClock(kClock);
  EXPECT_EQ(budget.left(), absl::Milliseconds(10));
}

TEST(FreshBudget, NoneWithoutAShare) {
  FreshBudget budget(0);
  for (int clock = 0; clock < 10; ++clock) budget.BeginClock(kClock);
  EXPECT_EQ(budget.left(), absl::ZeroDuration());
}

}  // namespace
}  // namespace cssp
