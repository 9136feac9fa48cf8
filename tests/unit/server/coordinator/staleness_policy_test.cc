#include "server/coordinator/staleness_policy.h"

#include <algorithm>
#include <functional>
#include <optional>
#include <vector>

#include "gtest/gtest.h"

namespace cssp {
namespace {

using Duration = std::function<double(int, int64_t)>;

// Virtual time: `workers` under the gate with the policy's staleness, as orders
// would change it; gives clocks/s of the second half.
struct Outcome {
  double rate = 0;
  int staleness = 0;
  int orders = 0;
};
Outcome Train(int workers, int lower, int upper, int64_t clocks,
              const Duration& seconds) {
  StalenessPolicy policy(lower, upper, lower);
  std::vector<double> finish(workers, 0);
  std::vector<double> everyone(clocks, 0);
  Outcome outcome{.staleness = lower};
  for (int64_t c = 0; c < clocks; ++c) {
    const int64_t s = outcome.staleness;
    const double readable = c - s - 1 >= 0 ? everyone[c - s - 1] : 0;
    for (int q = 0; q < workers; ++q) {
      const double busy = seconds(q, c);
      finish[q] = std::max(finish[q], readable) + busy;
      everyone[c] = std::max(everyone[c], finish[q]);
      policy.Observe(q, c, busy);
    }
    if (const auto wanted = policy.Propose()) {
      outcome.staleness = *wanted;
      ++outcome.orders;
    }
  }
  outcome.rate = (clocks / 2) / (everyone[clocks - 1] - everyone[clocks / 2 - 1]);
  return outcome;
}

double Rotating(int rank, int64_t clock) { return clock % 4 == rank ? 4 : 1; }
double Persistent(int rank, int64_t clock) { return rank == 2 ? 2 : 1; }
double Even(int rank, int64_t clock) { return 1 + 0.01 * ((rank + clock) % 3); }

TEST(StalenessPolicyTest, ReplayAgreesWithTheTable) {
  std::vector<std::vector<double>> seconds(4, std::vector<double>(24));
  for (int q = 0; q < 4; ++q)
    for (int c = 0; c < 24; ++c) seconds[q][c] = Rotating(q, c);
  const double bsp = ReplayRate(seconds, 0);
  EXPECT_NEAR(bsp, 0.25, 1e-9);
  EXPECT_NEAR(ReplayRate(seconds, 1) / bsp, 2.00, 0.06);
  EXPECT_NEAR(ReplayRate(seconds, 2) / bsp, 2.29, 0.07);
  EXPECT_NEAR(ReplayRate(seconds, 4) / bsp, 2.29, 0.07);
}

TEST(StalenessPolicyTest, TakesTheSlackThatARotatingStragglerAsksFor) {
  const Outcome outcome = Train(4, 0, 8, 400, Rotating);
  EXPECT_EQ(outcome.staleness, 2);  // more would buy nothing
  EXPECT_EQ(outcome.orders, 1);
  EXPECT_NEAR(outcome.rate / 0.25, 2.29, 0.07);
}

TEST(StalenessPolicyTest, LeavesAPersistentStragglerAndEvenWorkersAlone) {
  const Outcome slow = Train(4, 0, 8, 400, Persistent);
  EXPECT_EQ(slow.staleness, 0);  // no slack mends it
  EXPECT_EQ(slow.orders, 0);
  EXPECT_EQ(Train(4, 0, 8, 400, Even).orders, 0);
}

TEST(StalenessPolicyTest, StaysInItsRange) {
  EXPECT_EQ(Train(4, 1, 1, 200, Rotating).staleness, 1);
  EXPECT_EQ(Train(4, 3, 8, 200, Persistent).staleness, 3);
  EXPECT_EQ(Train(4, 0, 1, 200, Rotating).staleness, 1);
}

TEST(StalenessPolicyTest, FollowsAChangeOfWeatherRarely) {
  const Outcome outcome =
      Train(4, 0, 8, 1200, [](int rank, int64_t clock) {
        return clock / 400 == 1 ? Rotating(rank, clock) : Even(rank, clock);
      });
  EXPECT_EQ(outcome.staleness, 0);
  EXPECT_EQ(outcome.orders, 2);  // up, and down again
}

TEST(StalenessPolicyTest, GapsAndNewRanksOnlyDelayIt) {
  StalenessPolicy policy(0, 8, 0);
  for (int64_t c = 0; c < 200; ++c) {
    for (int q = 0; q < 4; ++q) {
      if (q == 3 && c < 100) continue;  // joins at clock 100
      policy.Observe(q, c, Rotating(q, c));
    }
    if (c > 100 && c < 100 + StalenessPolicy::kWindow) {
      EXPECT_EQ(policy.Propose(), std::nullopt) << c;
    }
  }
}

}  // namespace
}  // namespace cssp
