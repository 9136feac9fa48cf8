// What delay does to optimisation, through the real shard in virtual time: the
// edge of stability of momentum SGD, and Theorem 1 of the SSP paper.
#include <algorithm>
#include <cmath>
#include <vector>

#include "gtest/gtest.h"
#include "tests/sim/cluster/cluster_sim.h"
#include "tests/sim/cluster/logistic.h"
#include "tests/sim/cluster/straggler_models.h"

namespace cssp {
namespace {

// Largest |x| over the last clocks of f(x) = x^2 / 2 from x = 1: the gradient
// is the weight itself, so the rate is rate * curvature.  Values are on the way
// long enough that every read is `delay` clocks old.
double LastOfQuadratic(float rate, int delay,
                       const std::function<void(ShardOptions*)>& mode) {
  SimConfig config;
  config.workers = 2;
  config.staleness = delay;
  config.clocks = 400;
  config.latency = delay > 0 ? delay - 0.5 : 0;
  config.retry_after = 1e6;
  config.duration = [](int, int64_t) { return 1.0; };
  std::vector<double> sizes;
  config.gradient = [](int, int64_t, int, absl::Span<const float> weights,
                       absl::Span<float> gradient) {
    std::copy_n(weights.begin(), gradient.size(), gradient.begin());
    // Starts at 0, not at 1: x = w + 1.
    for (float& g : gradient) g += 1;
  };
  config.on_read = [&](int rank, int64_t clock, int,
                       absl::Span<const float> weights) {
    const double size = std::abs(weights[0] + 1.0);
    if (rank == 0) sizes.push_back(std::isfinite(size) ? size : HUGE_VAL);
  };
  config.shard = [&](ShardOptions* options) {
    options->solver.set_base_lr(rate);
    options->solver.set_momentum(0.9f);
    if (mode) mode(options);
  };
  ClusterSim sim(config);
  EXPECT_EQ(sim.Run(), "");
  // The delay is what was asked for, but for the start.
  const auto& reads = sim.stats().reads;
  const auto at = reads.find(delay);
  EXPECT_TRUE(at != reads.end() && at->second > config.clocks * 1.8);
  return *std::max_element(sizes.end() - 20, sizes.end());
}

// Largest stable rates at momentum .9 (roots of the characteristic polynomial).
constexpr float kEdge0 = 3.8f, kEdge1 = 0.1f, kEdge2 = 0.0512f,
                kEdge4 = 0.0265f;

TEST(DelayTest, TheEdgeOfStabilityIsWhereTheoryPutsIt) {
  for (const auto& [delay, edge] :
       {std::pair(0, kEdge0), std::pair(1, kEdge1), std::pair(2, kEdge2),
        std::pair(4, kEdge4)}) {
    EXPECT_LT(LastOfQuadratic(edge * 0.85f, delay, nullptr), 0.5) << delay;
    EXPECT_GT(LastOfQuadratic(edge * 1.15f, delay, nullptr), 2) << delay;
  }
}

TEST(DelayTest, TwiceTheEdgeDivergesUnlessTheRateFollowsTheAge) {
  EXPECT_GT(LastOfQuadratic(2 * kEdge4, 4, nullptr), 1e6);
  EXPECT_LT(LastOfQuadratic(2 * kEdge4, 4,
                            [](ShardOptions* options) {
                              options->staleness_lr = control::STALENESS_LR_INV;
                            }),
            1e-2);
}

// Looking ahead moves the edge by 2.5, 2.2, 1.8 and 1.5 at a delay of 1, 2, 4
// and 8: it predicts momentum, not gradients.
TEST(DelayTest, LookingAheadMovesTheEdge) {
  const auto look = [](ShardOptions* options) { options->lookahead = true; };
  EXPECT_LT(LastOfQuadratic(2.2f * kEdge1, 1, look), 0.5);
  EXPECT_LT(LastOfQuadratic(2 * kEdge2, 2, look), 0.5);
  EXPECT_LT(LastOfQuadratic(1.6f * kEdge4, 4, look), 0.5);
  EXPECT_GT(LastOfQuadratic(2.2f * kEdge4, 4, look), 2);
}

TEST(DelayTest, RegretStaysUnderTheorem1) {
  for (const int workers : {2, 8}) {
    for (const int staleness : {0, 2, 8}) {
      for (const bool per_push : {false, true}) {
        RegretConfig config;
        config.workers = workers;
        config.staleness = staleness;
        config.per_push = per_push;
        config.clocks = 150;
        const Regret regret = MeasureRegret(config);
        EXPECT_EQ(regret.failure, "");
        EXPECT_LE(regret.regret, regret.bound)
            << "P " << workers << " s " << staleness;
        EXPECT_GT(regret.regret, 0);
      }
    }
  }
}

}  // namespace
}  // namespace cssp
