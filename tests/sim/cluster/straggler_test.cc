// What staleness buys, in virtual time with free communication, against the
// table in DESIGN.md section 3.
#include <cmath>

#include "gtest/gtest.h"
#include "tests/sim/cluster/cluster_sim.h"

namespace cssp {
namespace {

using Duration = std::function<double(int, int64_t)>;

double ClocksPerSecond(int workers, int staleness, int64_t clocks,
                       const Duration& duration) {
  SimConfig config;
  config.workers = workers;
  config.staleness = staleness;
  config.clocks = clocks;
  config.retry_after = 1000;
  config.duration = duration;
  ClusterSim sim(config);
  EXPECT_EQ(sim.Run(), "") << config.ToString();
  return clocks / sim.seconds();
}

double Speedup(int workers, int staleness, const Duration& duration) {
  constexpr int64_t kClocks = 1000;
  return ClocksPerSecond(workers, staleness, kClocks, duration) /
         ClocksPerSecond(workers, 0, kClocks, duration);
}

// One worker in turn is four times slower.
Duration Rotating(int workers) {
  return [workers](int rank, int64_t clock) {
    return clock % workers == rank ? 4.0 : 1.0;
  };
}

Duration Random(uint64_t seed) {
  return [seed](int rank, int64_t clock) {
    SimRandom random(seed + clock * 100 + rank);
    random.Next();
    return random.Chance(0.05) ? 4.0 : 1.0;
  };
}

Duration Exponential(uint64_t seed) {
  return [seed](int rank, int64_t clock) {
    SimRandom random(seed + clock * 100 + rank);
    random.Next();
    return 1 - 0.5 * std::log(1 - random.Uniform());
  };
}

void ExpectWithin3Percent(double measured, double table) {
  EXPECT_NEAR(measured, table, 0.03 * table);
}

TEST(StragglerTest, RotatingMatchesTheTable) {
  ExpectWithin3Percent(Speedup(4, 1, Rotating(4)), 2.00);
  ExpectWithin3Percent(Speedup(4, 2, Rotating(4)), 2.29);
  ExpectWithin3Percent(Speedup(8, 1, Rotating(8)), 2.00);
  ExpectWithin3Percent(Speedup(8, 2, Rotating(8)), 2.91);
}

TEST(StragglerTest, RandomMatchesTheTable) {
  ExpectWithin3Percent(Speedup(8, 1, Random(7)), 1.25);
  ExpectWithin3Percent(Speedup(8, 2, Random(7)), 1.42);
  ExpectWithin3Percent(Speedup(8, 4, Random(7)), 1.57);
}

TEST(StragglerTest, ExponentialMatchesTheTable) {
  ExpectWithin3Percent(Speedup(8, 1, Exponential(7)), 1.38);
  ExpectWithin3Percent(Speedup(8, 2, Exponential(7)), 1.46);
  ExpectWithin3Percent(Speedup(8, 4, Exponential(7)), 1.51);
}

TEST(StragglerTest, OneWorkerAlwaysSlowGainsNothing) {
  const Duration slow = [](int rank, int64_t) { return rank == 0 ? 2.0 : 1.0; };
  ExpectWithin3Percent(Speedup(8, 4, slow), 1.00);
}

TEST(StragglerTest, MoreStalenessIsNeverSlower) {
  double last = 0;
  for (int s : {0, 1, 2, 3, 4, 8}) {
    const double rate = ClocksPerSecond(4, s, 300, Random(11));
    EXPECT_GE(rate, last * (1 - 1e-9)) << "staleness " << s;
    last = rate;
  }
}

}  // namespace
}  // namespace cssp
