// Metrics of the coordinator; catalogue: monitoring/README.md.
#ifndef CSSP_SERVER_COORDINATOR_METRICS_H_
#define CSSP_SERVER_COORDINATOR_METRICS_H_

#include <string>

#include "common/metrics/metrics.h"

namespace cssp {

// Thread-safe: handles are atomics.  Constructed by main.
struct CoordinatorMetrics {
  explicit CoordinatorMetrics(MetricsRegistry& registry);

  // Series of one job; removed when it ends.
  Gauge* JobLoss(const std::string& job) const;
  Gauge* JobClock(const std::string& job) const;
  Gauge* JobWorkers(const std::string& job) const;
  Gauge* JobStalled(const std::string& job) const;
  void ForgetJob(const std::string& job) const;

  MetricsRegistry& registry;
  Gauge* running_jobs;
  Gauge* live_servers;
  Counter* dead_workers;
  Counter* committed_checkpoints;
  Counter* failed_checkpoints;
};

}  // namespace cssp

#endif  // CSSP_SERVER_COORDINATOR_METRICS_H_
