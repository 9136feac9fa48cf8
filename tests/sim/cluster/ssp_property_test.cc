// The contract (server/README.md) under random schedules: durations,
// delays, drops with retry, duplicates, reorders, reconnects, a dead worker;
// PER_CLOCK and PER_PUSH, eager and lazy.

#include "gtest/gtest.h"
#include "tests/sim/cluster/cluster_sim.h"
#include "tests/sim/cluster/schedules.h"

namespace cssp {
namespace {

SimConfig RandomConfig(uint64_t seed) {
  SimRandom random(seed * 0x5851f42d4c957f2dull + 1);
  SimConfig config;
  config.seed = seed;
  config.workers = 2 + random.Below(4);
  config.chunks = 1 + random.Below(4);
  config.servers = 1 + random.Below(3);
  config.staleness = random.Below(4);
  config.clocks = 3 + random.Below(6);
  config.per_push = random.Chance(0.4);
  config.lazy = random.Chance(0.3);
  if (config.per_push && random.Chance(0.2)) config.staleness = 8;  // async
  config.clip = !config.per_push && random.Chance(0.1);
  if (random.Chance(0.2)) config.snapshot = 1 + random.Below(3);
  if (random.Chance(0.75)) {
    config.faults.max_delay = 0.05 + 2 * random.Uniform();
    if (random.Chance(0.6)) config.faults.drop = 0.3 * random.Uniform();
    if (random.Chance(0.6)) config.faults.duplicate = 0.3 * random.Uniform();
    if (random.Chance(0.1)) config.reconnects = 1 + random.Below(3);
  }
  if (random.Chance(0.1)) {
    config.dead_rank = random.Below(config.workers);
    config.dies_at = config.clocks * 1.5 * random.Uniform();
    config.noticed_after = 3 * random.Uniform();
    config.membership_order = random.Chance(0.5);
  }
  if (config.per_push && config.dead_rank < 0 && random.Chance(0.1)) {
    config.uneven = 1 + random.Below(2);
  }
  const bool bursts = random.Chance(0.5);
  const uint64_t salt = random.Next();
  config.duration = [bursts, salt](int rank, int64_t clock) {
    SimRandom draw(salt + rank * 1000003 + clock * 7919);
    const double slow = bursts && draw.Chance(0.2) ? 4 : 1;
    return slow * (0.5 + draw.Uniform());
  };
  return config;
}

TEST(SspPropertyTest, EveryScheduleKeepsTheContract) {
  const int64_t only = FromEnvironment("CSSP_SIM_SEED", -1);
  const int64_t count =
      only >= 0 ? 1 : FromEnvironment("CSSP_SIM_SCHEDULES", 100000);
  int64_t stale_reads = 0, reads = 0, blocked = 0;
  for (int64_t i = 0; i < count; ++i) {
    const SimConfig config = RandomConfig(only >= 0 ? only : i);
    ClusterSim sim(config);
    const std::string failure = sim.Run();
    ASSERT_EQ(failure, "") << config.ToString()
                           << "\nagain: CSSP_SIM_SEED=" << config.seed;
    for (const auto& [age, n] : sim.stats().reads) {
      reads += n;
      if (age > 0) stale_reads += n;
    }
    blocked += sim.stats().blocked_reads;
  }
  RecordProperty("schedules", static_cast<int>(count));
  // The test would prove nothing if no schedule came near the bound.
  if (count < 1000) return;
  EXPECT_GT(stale_reads, reads / 20);
  EXPECT_GT(blocked, count / 10);
}

}  // namespace
}  // namespace cssp
