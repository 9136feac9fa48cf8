// What staleness buys, in virtual time with free communication, by the real shard
// and the real cache: clocks a second against those of s = 0.
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "tests/sim/cluster/cluster_sim.h"
#include "tests/sim/cluster/straggler_models.h"

namespace cssp {
namespace {

double ClocksPerSecond(const SimConfig& base, int staleness) {
  SimConfig config = base;
  config.staleness = staleness;
  config.retry_after = 1e6;
  ClusterSim sim(config);
  EXPECT_EQ(sim.Run(), "") << config.ToString();
  return config.clocks / sim.seconds();
}

struct Row {
  std::string name;
  int workers;
  SimDuration duration;
  std::vector<double> speedups;  // at s = 1, 2, 4, 8
};

std::vector<Row> Table() {
  return {
      {"rotating", 8, Rotating(8), {2.00, 2.91, 2.91, 2.91}},
      {"random", 8, RandomlySlow(1), {1.25, 1.42, 1.57, 1.65}},
      {"exponential", 8, Exponential(1), {1.38, 1.46, 1.51, 1.55}},
      {"one slow", 8, OneSlow(), {1.00, 1.00, 1.00, 1.00}},
      {"rotating", 4, Rotating(4), {2.00, 2.29, 2.29, 2.29}},
      {"random", 4, RandomlySlow(1), {1.12, 1.21, 1.27, 1.30}},
      {"exponential", 4, Exponential(1), {1.25, 1.30, 1.32, 1.34}},
  };
}

TEST(StragglerTest, EveryNumberOfTheTable) {
  for (const Row& row : Table()) {
    SimConfig config;
    config.workers = row.workers;
    config.clocks = 2000;
    config.duration = row.duration;
    const double lockstep = ClocksPerSecond(config, 0);
    for (size_t i = 0; i < row.speedups.size(); ++i) {
      const int staleness = 1 << i;
      const double speedup = ClocksPerSecond(config, staleness) / lockstep;
      EXPECT_NEAR(speedup, row.speedups[i], 0.03 * row.speedups[i])
          << row.name << " P " << row.workers << " s " << staleness;
    }
  }
}

// Read-my-writes costs nothing where the way does not: PER_PUSH lets a worker
// begin a clock when PER_CLOCK does, so the table is its, too.
TEST(StragglerTest, PerPushTakesTheSameTime) {
  for (const Row& row : Table()) {
    SimConfig config;
    config.workers = row.workers;
    config.clocks = 150;
    config.duration = row.duration;
    for (const int staleness : {0, 1, 2, 4, 8}) {
      config.per_push = false;
      const double per_clock = ClocksPerSecond(config, staleness);
      config.per_push = true;
      EXPECT_NEAR(ClocksPerSecond(config, staleness), per_clock,
                  1e-6 * per_clock)
          << row.name << " P " << row.workers << " s " << staleness;
    }
  }
}

TEST(StragglerTest, MoreStalenessIsNeverSlower) {
  for (const bool per_push : {false, true}) {
    SimConfig config;
    config.workers = 4;
    config.clocks = 300;
    config.duration = RandomlySlow(11);
    config.per_push = per_push;
    double last = 0;
    for (int s : {0, 1, 2, 3, 4, 8}) {
      const double rate = ClocksPerSecond(config, s);
      EXPECT_GE(rate, last * (1 - 1e-9)) << "staleness " << s;
      last = rate;
    }
  }
}

// The paper's pulls against values that are sent at once, with a way of five
// clocks: nobody waits longer, and a cached value that is still legal costs
// nothing.  Reads are fresher, too, once s is beyond the way (below, lazy
// readers stand still so long that what they get is newer).
TEST(StragglerTest, EagerAgainstLazy) {
  SimConfig config;
  config.workers = 8;
  config.clocks = 400;
  config.duration = Jitter(1);
  config.latency = 5;
  config.retry_after = 1e6;
  const auto mean_age = [](const SimStats& stats) {
    double sum = 0, reads = 0;
    for (const auto& [age, n] : stats.reads) {
      sum += static_cast<double>(age) * n;
      reads += n;
    }
    return sum / reads;
  };
  for (int s : {1, 2, 4, 8, 16}) {
    config.staleness = s;
    config.lazy = true;
    ClusterSim lazy(config);
    ASSERT_EQ(lazy.Run(), "");
    config.lazy = false;
    ClusterSim eager(config);
    ASSERT_EQ(eager.Run(), "");
    EXPECT_LE(eager.seconds(), lazy.seconds() * (1 + 1e-9)) << s;
    if (s > 2 * config.latency) {
      EXPECT_LE(mean_age(eager.stats()), mean_age(lazy.stats())) << s;
    }
    const double pulls =
        lazy.stats().pulls / double(config.clocks * config.workers);
    EXPECT_LE(pulls, 2.0 / (s + 1) + 0.1) << s;
    EXPECT_GE(pulls, 1.0 / (s + 1) - 0.05) << s;
  }
}

}  // namespace
}  // namespace cssp
