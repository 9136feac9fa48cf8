// What a worker's sync shows to Prometheus.  Catalogue: monitoring/README.md.
#ifndef CSSP_WORKER_SYNC_METRICS_H_
#define CSSP_WORKER_SYNC_METRICS_H_

#include <string>

#include "common/metrics/metrics.h"

namespace cssp {

// Immutable; the handles are thread-safe.  Made by main, passed in.
struct SyncMetrics {
  SyncMetrics(MetricsRegistry& registry, const std::string& job, int rank)
      : SyncMetrics(registry, Labels{{"job_id", job},
                                     {"worker", std::to_string(rank)}}) {}

  Gauge* const clock;
  Gauge* const loss;
  Gauge* const samples_per_second;
  Counter* const samples;
  Counter* const data_wait_seconds;
  Counter* const weight_wait_seconds;
  Counter* const gradient_wait_seconds;
  Counter* const fresh_wait_seconds;
  Histogram* const clock_seconds;
  Histogram* const staleness;
  Counter* const pushed_bytes;
  Counter* const pulled_bytes;
  Histogram* const push_seconds;
  Counter* const push_retries;
  Counter* const reconnects;
  Counter* const dropped_values;
  Counter* const skipped_clocks;

 private:
  SyncMetrics(MetricsRegistry& r, const Labels& labels)
      : clock(r.AddGauge("cssp_worker_clock_clocks",
                         "Clocks that this worker has committed.", labels)),
        loss(r.AddGauge("cssp_worker_loss_value",
                        "Loss of the last clock.", labels)),
        samples_per_second(r.AddGauge(
            "cssp_worker_throughput_samples_per_second",
            "Samples trained per second, last clock.", labels)),
        samples(r.AddCounter("cssp_worker_samples_total",
                             "Samples trained.", labels)),
        data_wait_seconds(r.AddCounter(
            "cssp_worker_data_wait_seconds_total",
            "Time that training stood still for records.", labels)),
        weight_wait_seconds(r.AddCounter(
            "cssp_worker_weight_wait_seconds_total",
            "Time that training stood still for weights within the bound.",
            labels)),
        gradient_wait_seconds(r.AddCounter(
            "cssp_worker_gradient_wait_seconds_total",
            "Time that training stood still for a gradient generation.",
            labels)),
        fresh_wait_seconds(r.AddCounter(
            "cssp_worker_fresh_wait_seconds_total",
            "Part of the weight wait spent on a fresher version than the "
            "bound asks for.",
            labels)),
        clock_seconds(r.AddHistogram("cssp_worker_clock_duration_seconds",
                                     "Duration of a clock.",
                                     DurationBuckets(), labels)),
        staleness(r.AddHistogram(
            "cssp_worker_read_staleness_clocks",
            "Clock minus version, per chunk read.", IntegerBuckets(16),
            labels)),
        pushed_bytes(r.AddCounter("cssp_worker_push_bytes_total",
                                  "Gradient bytes sent.", labels)),
        pulled_bytes(r.AddCounter("cssp_worker_pull_bytes_total",
                                  "Weight bytes received.", labels)),
        push_seconds(r.AddHistogram(
            "cssp_worker_push_latency_seconds",
            "From a chunk's push to its acknowledgement.", DurationBuckets(),
            labels)),
        push_retries(r.AddCounter("cssp_worker_push_retries_total",
                                  "Pushes sent again.", labels)),
        reconnects(r.AddCounter("cssp_worker_reconnects_total",
                                "Connections to servers made again.", labels)),
        dropped_values(r.AddCounter(
            "cssp_worker_dropped_values_total",
            "Arriving versions refused for want of a slot.", labels)),
        skipped_clocks(r.AddCounter(
            "cssp_worker_skipped_clocks_total",
            "Clocks closed without this worker that it did not compute "
            "(backup workers).",
            labels)) {}
};

}  // namespace cssp

#endif  // CSSP_WORKER_SYNC_METRICS_H_
