// What the shard thread counts; made by main, passed in.
#ifndef CSSP_SERVER_SERVICE_METRICS_H_
#define CSSP_SERVER_SERVICE_METRICS_H_

#include "common/metrics/metrics.h"
#include "server/shard/shard_counters.h"

namespace cssp {

// Thread-safe.  The registry is borrowed for its life.  Counters add up over
// jobs; gauges are of now.
struct ShardHostMetrics {
  explicit ShardHostMetrics(MetricsRegistry& registry);
  // Brings the metrics from `before` to `now` of one shard.
  void Add(const ShardCounters& now, const ShardCounters& before);

  Counter* pushes;
  Counter* push_bytes;
  Counter* duplicates;
  Counter* late;
  Counter* refused;
  Counter* refused_stale;
  Counter* values_sent;
  Counter* values_bytes;
  Counter* eager_sent;
  Counter* parked_total;
  Gauge* parked_now;
  Counter* applied;
  Counter* incomplete;
  Histogram* staleness;      // of pushes, in clocks
  Histogram* apply_seconds;  // one message's turn in the shard, push to done
  Counter* bad_messages;     // unreadable, unauthorised
  Gauge* peers;
  Gauge* jobs;
  Gauge* parameter_bytes;
  Gauge* min_clock;    // least over jobs
  Gauge* max_version;  // highest over jobs
  Histogram* checkpoint_seconds;
  Counter* checkpoints;
  Counter* checkpoint_failures;
  Counter* turns;  // of the progress loop
};

}  // namespace cssp

#endif  // CSSP_SERVER_SERVICE_METRICS_H_
