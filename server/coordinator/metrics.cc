#include "server/coordinator/metrics.h"

namespace cssp {

CoordinatorMetrics::CoordinatorMetrics(MetricsRegistry& registry)
    : registry(registry),
      running_jobs(registry.AddGauge("cssp_coordinator_running_jobs",
                                     "Jobs that have not ended.")),
      live_servers(registry.AddGauge("cssp_coordinator_live_servers",
                                     "Servers that keep their lease.")),
      dead_workers(registry.AddCounter(
          "cssp_coordinator_dead_workers_total",
          "Workers whose lease ended before their work.")),
      committed_checkpoints(
          registry.AddCounter("cssp_coordinator_checkpoints_total",
                              "Checkpoints committed by their manifest.")),
      failed_checkpoints(
          registry.AddCounter("cssp_coordinator_failed_checkpoints_total",
                              "Cuts that did not become checkpoints.")) {}

Gauge* CoordinatorMetrics::JobLoss(const std::string& job) const {
  return registry.AddGauge("cssp_coordinator_job_loss",
                           "Mean loss over records of the last clock.",
                           {{"job_id", job}});
}
Gauge* CoordinatorMetrics::JobClock(const std::string& job) const {
  return registry.AddGauge("cssp_coordinator_job_clock",
                           "Clocks that every worker has committed.",
                           {{"job_id", job}});
}
Gauge* CoordinatorMetrics::JobWorkers(const std::string& job) const {
  return registry.AddGauge("cssp_coordinator_job_workers",
                           "Workers of the job that are alive.",
                           {{"job_id", job}});
}
Gauge* CoordinatorMetrics::JobStalled(const std::string& job) const {
  return registry.AddGauge("cssp_coordinator_job_stalled_workers",
                           "Workers that a slower one has held back for longer "
                           "than the job's bound on stalls.",
                           {{"job_id", job}});
}
void CoordinatorMetrics::ForgetJob(const std::string& job) const {
  registry.RemoveByLabel("job_id", job);
}

}  // namespace cssp
