#include "tests/sim/cluster/logistic.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "tests/sim/cluster/cluster_sim.h"
#include "tests/sim/cluster/straggler_models.h"

namespace cssp {
namespace {

constexpr int kDims = 10;
constexpr int kRecords = 256;
using Point = std::array<double, kDims>;

double Dot(const Point& a, const Point& b) {
  double sum = 0;
  for (int i = 0; i < kDims; ++i) sum += a[i] * b[i];
  return sum;
}

// Records times label, of norm 1; one label in ten is wrong, so that the
// minimum is finite.
std::vector<Point> MakeRecords(uint64_t seed) {
  SimRandom random(seed);
  Point truth;
  for (double& x : truth) x = random.Uniform() - 0.5;
  std::vector<Point> records(kRecords);
  for (Point& record : records) {
    for (double& x : record) x = random.Uniform() - 0.5;
    double scale = 1 / std::sqrt(Dot(record, record));
    if ((Dot(record, truth) < 0) != random.Chance(0.1)) scale = -scale;
    for (double& x : record) x *= scale;
  }
  return records;
}

double Loss(const Point& x, const Point& record) {
  return std::log1p(std::exp(-Dot(x, record)));
}
// The gradient is this times the record.
double Slope(const Point& x, const Point& record) {
  return -1 / (1 + std::exp(Dot(x, record)));
}

// Minimises the mean over records, each taken counts[i] times.
Point Minimum(const std::vector<Point>& records,
              const std::vector<int>& counts) {
  Point x{};
  double all = 0;
  for (int n : counts) all += n;
  for (int step = 0; step < 5000; ++step) {
    Point gradient{};
    for (int i = 0; i < kRecords; ++i) {
      const double slope = Slope(x, records[i]) * counts[i] / all;
      for (int k = 0; k < kDims; ++k) gradient[k] += slope * records[i][k];
    }
    for (int k = 0; k < kDims; ++k) x[k] -= 4 * gradient[k];  // < 2 / curvature
  }
  return x;
}

Point PointOf(absl::Span<const float> weights) {
  Point x;
  for (int k = 0; k < kDims; ++k) x[k] = weights[k];
  return x;
}

int RecordOf(uint64_t seed, int rank, int64_t clock) {
  return static_cast<int>(SimUniform(seed + 77, rank, clock) * kRecords);
}

}  // namespace

Regret MeasureRegret(const RegretConfig& given) {
  const std::vector<Point> records = MakeRecords(given.seed);
  std::vector<int> counts(kRecords, 0);
  for (int rank = 0; rank < given.workers; ++rank) {
    for (int64_t clock = 0; clock < given.clocks; ++clock) {
      ++counts[RecordOf(given.seed, rank, clock)];
    }
  }
  const Point best = Minimum(records, counts);
  const double radius = 2 * std::sqrt(Dot(best, best));
  const double f = std::sqrt(2.0) * radius;  // diameter^2 / 2 = F^2
  const double updates = static_cast<double>(given.workers * given.clocks);
  const double spread = 2.0 * (given.staleness + 1) * given.workers;
  const double sigma = f / std::sqrt(spread);

  double losses = 0, farthest = 0;
  SimConfig config;
  config.seed = given.seed;
  config.workers = given.workers;
  config.staleness = given.staleness;
  config.per_push = given.per_push;
  config.clocks = given.clocks;
  config.retry_after = 1e6;
  config.duration = Rotating(given.workers);
  config.gradient = [&](int rank, int64_t clock, int,
                        absl::Span<const float> weights,
                        absl::Span<float> gradient) {
    const Point x = PointOf(weights);
    const Point& record = records[RecordOf(given.seed, rank, clock)];
    losses += Loss(x, record);
    farthest = std::max(farthest, std::sqrt(Dot(x, x)));
    const double slope = Slope(x, record);
    std::fill(gradient.begin(), gradient.end(), 0.0f);
    for (int k = 0; k < kDims; ++k) {
      gradient[k] = static_cast<float>(slope * record[k]);
    }
  };
  config.shard = [&](ShardOptions* options) {
    // A shard takes 1 / P of each worker's step; t = P * (clock + 1).
    options->solver.set_lr_policy("inv");
    options->solver.set_base_lr(
        static_cast<float>(sigma * std::sqrt(double(given.workers))));
    options->solver.set_gamma(1);
    options->solver.set_power(0.5f);
    options->solver.set_momentum(0);
  };
  ClusterSim sim(config);
  Regret regret;
  regret.failure = sim.Run();
  if (farthest > radius) regret.failure += "a read outside the ball";
  double minimum = 0;
  for (int i = 0; i < kRecords; ++i) {
    minimum += counts[i] * Loss(best, records[i]);
  }
  regret.regret = (losses - minimum) / updates;
  regret.bound = 4 * f * std::sqrt(spread / updates);
  return regret;
}

}  // namespace cssp
