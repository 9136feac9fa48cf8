// The simulator against closed forms, and what it says of the nets that this
// project is about.
#include <cstdlib>

#include "gtest/gtest.h"
#include "tests/sim/scale/scale_sim.h"

namespace cssp {
namespace {

constexpr double kMegabyte = 1e6;
constexpr double k56Gb = 56e9 / 8;

// Nothing to compute: the links are all there is.
NetProfile OnlyBytes(double bytes, int stages) {
  NetProfile net;
  net.stages.assign(stages, {0, 0, bytes / stages});
  return net;
}

ScaleConfig CommunicationOnly(int workers, int dedicated) {
  ScaleConfig config;
  config.net = OnlyBytes(200 * kMegabyte, 64);
  config.shape.workers = workers;
  config.shape.dedicated = dedicated;
  config.shape.bytes_per_second = k56Gb;
  config.shape.latency = 0;
  config.shape.apply_bytes_per_second = 1e15;
  return config;
}

TEST(ScaleSimTest, ColocatedServersMatchTheClosedForm) {
  for (int n : {2, 4, 16, 64}) {
    const ScaleConfig config = CommunicationOnly(n, 0);
    const double expected =
        2.0 * (n - 1) * config.net.bytes() / (n * k56Gb);
    const double ratio = ScaleSim(config).Run() / expected;
    std::printf("colocated %d: %.4f\n", n, ratio);
    EXPECT_NEAR(ratio, 1, 0.04) << n;
  }
}

TEST(ScaleSimTest, DedicatedServersMatchTheClosedForm) {
  for (const auto& [n, k] : {std::pair{8, 1}, {8, 4}, {16, 4}, {64, 8}}) {
    const ScaleConfig config = CommunicationOnly(n, k);
    const double bytes = config.net.bytes();
    const double expected = std::max(bytes / k56Gb, n * bytes / (k * k56Gb));
    const double ratio = ScaleSim(config).Run() / expected;
    std::printf("dedicated %d %d: %.4f\n", n, k, ratio);
    EXPECT_NEAR(ratio, 1, 0.04) << n << " " << k;
  }
}

TEST(ScaleSimTest, ComputingAloneScalesPerfectly) {
  ScaleConfig config;
  config.net.stages.assign(8, {0.01, 0.02, 1});
  config.shape.workers = 64;
  EXPECT_NEAR(ScaleSim(config).Run(), config.net.seconds(),
              0.001 * config.net.seconds());
}

// The table in tests/sim/cluster/straggler_test.cc, row 1 + Exp(0.5), through
// this simulator.
TEST(ScaleSimTest, StalenessBuysWhatTheVirtualTimeTableSays) {
  ScaleConfig config;
  config.net.stages.assign(2, {0.2, 0.3, 1});
  config.shape.workers = 8;
  config.jitter = 0.5;
  config.clocks = 1000;
  const double bsp = ScaleSim(config).Run();
  for (const auto& [staleness, table] : {std::pair{1, 1.38}, {2, 1.46}}) {
    config.staleness = staleness;
    EXPECT_NEAR(bsp / ScaleSim(config).Run(), table, 0.03 * table);
  }
}

TEST(ScaleSimTest, TheSameSeedGivesTheSameRun) {
  ScaleConfig config = CommunicationOnly(8, 0);
  config.net.stages.assign(8, {0.001, 0.002, kMegabyte});
  config.jitter = 0.3;
  config.staleness = 2;
  const double first = ScaleSim(config).Run();
  EXPECT_EQ(ScaleSim(config).Run(), first);
  config.seed = 2;
  EXPECT_NE(ScaleSim(config).Run(), first);
}

TEST(NetProfileTest, StagesHoldTheWholeNet) {
  const std::string file = std::string(CSSP_PROFILE_DIR) + "/alexnet.csv";
  for (int stages : {4, 16, 64}) {
    const auto net = ReadProfile(file, 0.0273, stages);
    ASSERT_TRUE(net.ok()) << net.status();
    EXPECT_NEAR(net->bytes(), 243.9 * kMegabyte, 0.1 * kMegabyte);
    EXPECT_NEAR(net->seconds(), 0.0273, 1e-6);
    EXPECT_LE(net->stages.size(), stages + 1u);
  }
  EXPECT_FALSE(ReadProfile("/dev/null", 1, 4).ok());
}

// GoogLeNet, 128 images a worker on GPUs as fast as the measured one, 56 Gb/s,
// a server on every node (tests/bench/scale states where the figures come
// from).
TEST(ScaleSimTest, GoogLeNetScales) {
  const std::string file = std::string(CSSP_PROFILE_DIR) + "/googlenet.csv";
  ScaleConfig config;
  config.net = *ReadProfile(file, 0.0857, 16);
  config.shape.bytes_per_second = k56Gb;
  for (const auto& [workers, least] : {std::pair{16, 0.90}, {128, 0.60}}) {
    config.shape.workers = workers;
    EXPECT_GE(config.net.seconds() / ScaleSim(config).Run(), least) << workers;
  }
}

}  // namespace
}  // namespace cssp
