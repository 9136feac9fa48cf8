// The figures of the SSP and ESSP papers in virtual time, by the real shard and
// the real cache: prints one JSON object; ssp_curves.py draws it.
//
//   lazy_eager  per (eager or lazy, latency, s): time per clock, waiting per
//               compute, pulls and values per clock, reads by age
//   progress    per s: clocks of all workers against time
//   stragglers  per (model, P, s): clocks/time over those of s = 0
//   regret      per (mode, P, s): regret and Theorem 1's bound
#include <cstdio>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "common/base/logging.h"
#include "tests/sim/cluster/cluster_sim.h"
#include "tests/sim/cluster/logistic.h"
#include "tests/sim/cluster/straggler_models.h"

namespace cssp {
namespace {

SimStats Measure(const SimConfig& config) {
  ClusterSim sim(config);
  const std::string failure = sim.Run();
  CHECK(failure.empty()) << config.ToString() << ": " << failure;
  return sim.stats();
}

SimConfig Base(int workers, int64_t clocks, const SimDuration& duration) {
  SimConfig config;
  config.workers = workers;
  config.clocks = clocks;
  config.retry_after = 1e9;
  config.duration = duration;
  return config;
}

std::vector<std::string> LazyAgainstEager(int64_t clocks) {
  std::vector<std::string> rows;
  SimConfig config = Base(8, clocks, Jitter(1));
  for (const double latency : {5.0, 1.0, 0.2}) {
    for (const bool lazy : {true, false}) {
      for (const int s : {0, 1, 2, 4, 8, 16, 24, 32, 40, 48}) {
        config.latency = latency;
        config.lazy = lazy;
        config.staleness = s;
        const SimStats stats = Measure(config);
        const double all = static_cast<double>(config.workers * clocks);
        std::vector<std::string> ages;
        for (const auto& [age, n] : stats.reads) {
          ages.push_back(absl::StrFormat("\"%d\": %d", age, n));
        }
        rows.push_back(absl::StrFormat(
            "{\"lazy\": %s, \"latency\": %g, \"s\": %d, "
            "\"time_per_compute\": %.4f, \"wait_per_compute\": %.4f, "
            "\"pulls_per_clock\": %.4f, \"values_per_clock\": %.4f, "
            "\"reads\": {%s}}",
            lazy ? "true" : "false", latency, s,
            stats.seconds * config.workers / stats.computed,
            stats.waited / stats.computed, stats.pulls / all,
            stats.values / all, absl::StrJoin(ages, ", ")));
      }
    }
  }
  return rows;
}

std::vector<std::string> Progress(int64_t clocks) {
  std::vector<std::string> rows;
  for (const int s : {0, 1, 2, 4, 8}) {
    SimConfig config = Base(8, clocks, RandomlySlow(1));
    config.staleness = s;
    const SimStats stats = Measure(config);
    std::vector<std::string> points;
    for (size_t i = 0; i < stats.progress.size(); i += 8 * 5) {
      const auto& [time, done] = stats.progress[i];
      points.push_back(absl::StrFormat("[%.3f, %d]", time, done));
    }
    rows.push_back(absl::StrFormat("{\"s\": %d, \"points\": [%s]}", s,
                                   absl::StrJoin(points, ", ")));
  }
  return rows;
}

std::vector<std::string> Stragglers(int64_t clocks) {
  std::vector<std::string> rows;
  for (const int workers : {4, 8}) {
    const std::pair<const char*, SimDuration> models[] = {
        {"rotating 4x", Rotating(workers)},
        {"random 5 % of 4x", RandomlySlow(1)},
        {"1 + Exp(0.5)", Exponential(1)},
        {"one worker 2x", OneSlow()}};
    for (const auto& [name, duration] : models) {
      SimConfig config = Base(workers, clocks, duration);
      const double lockstep = Measure(config).seconds;
      for (const bool per_push : {false, true}) {
        for (const int s : {1, 2, 4, 8, 32}) {
          config.per_push = per_push;
          config.staleness = s;
          rows.push_back(absl::StrFormat(
              "{\"model\": \"%s\", \"workers\": %d, \"mode\": \"%s\", "
              "\"s\": %d, \"speedup\": %.4f}",
              name, workers, per_push ? "PER_PUSH" : "PER_CLOCK", s,
              lockstep / Measure(config).seconds));
        }
        config.per_push = false;
        config.staleness = 0;
      }
    }
  }
  return rows;
}

std::vector<std::string> Regrets(int64_t updates) {
  std::vector<std::string> rows;
  for (const bool per_push : {false, true}) {
    for (const int workers : {2, 8, 32}) {
      for (const int s : {0, 1, 2, 4, 8, 16, 32}) {
        RegretConfig config;
        config.workers = workers;
        config.staleness = s;
        config.per_push = per_push;
        config.clocks = updates / workers;
        const Regret regret = MeasureRegret(config);
        CHECK(regret.failure.empty()) << regret.failure;
        rows.push_back(absl::StrFormat(
            "{\"mode\": \"%s\", \"workers\": %d, \"s\": %d, \"regret\": %.6f, "
            "\"bound\": %.6f}",
            per_push ? "PER_PUSH" : "PER_CLOCK", workers, s, regret.regret,
            regret.bound));
      }
    }
  }
  return rows;
}

void Print(const char* name, const std::vector<std::string>& rows,
           const char* end) {
  std::printf("\"%s\": [\n  %s]%s\n", name,
              absl::StrJoin(rows, ",\n  ").c_str(), end);
}

int Main() {
  std::printf("{\n");
  Print("lazy_eager", LazyAgainstEager(1000), ",");
  Print("progress", Progress(200), ",");
  Print("stragglers", Stragglers(2000), ",");
  Print("regret", Regrets(6400), "");
  std::printf("}\n");
  return 0;
}

}  // namespace
}  // namespace cssp

int main() { return cssp::Main(); }
