#include "server/service/metrics.h"

namespace cssp {

ShardHostMetrics::ShardHostMetrics(MetricsRegistry& r)
    : pushes(r.AddCounter("cssp_shard_pushes_total", "Gradient chunks taken.")),
      push_bytes(r.AddCounter("cssp_shard_push_bytes_total",
                              "Bytes of gradient chunks that arrived.")),
      duplicates(r.AddCounter("cssp_shard_duplicates_total",
                              "Repeated pushes, acknowledged and dropped.")),
      late(r.AddCounter("cssp_shard_late_parts_total",
                        "Pushes of clocks that were closed without them "
                        "(backup workers), acknowledged and dropped.")),
      refused(r.AddCounter("cssp_shard_refused_total",
                           "Requests refused, for any reason.")),
      refused_stale(r.AddCounter(
          "cssp_shard_refused_stale_total",
          "Pushes refused: computed on a version beyond the bound.")),
      values_sent(r.AddCounter("cssp_shard_values_sent_total",
                               "Chunks of values sent.")),
      values_bytes(r.AddCounter("cssp_shard_values_bytes_total",
                                "Bytes of values sent.")),
      eager_sent(r.AddCounter("cssp_shard_eager_sent_total",
                              "Chunks of values sent before they were asked "
                              "for.")),
      parked_total(r.AddCounter("cssp_shard_parked_pulls_total",
                                "Pulls that had to wait for the bound.")),
      parked_now(r.AddGauge("cssp_shard_parked_pulls",
                            "Pulls that wait for the bound now.")),
      applied(
          r.AddCounter("cssp_shard_applied_total", "Chunk updates applied.")),
      incomplete(
          r.AddCounter("cssp_shard_missing_parts_total",
                       "Parts of members that a chunk update went without.")),
      staleness(r.AddHistogram(
          "cssp_shard_staleness_clocks",
          "Clock of a push less the oldest version it was computed on.",
          IntegerBuckets(ShardCounters::kStalenessBuckets - 2))),
      apply_seconds(r.AddHistogram(
          "cssp_shard_push_seconds",
          "Handling of one push on the shard thread: check, hold or sum and "
          "apply.",
          DurationBuckets())),
      bad_messages(r.AddCounter("cssp_shard_bad_messages_total",
                                "Messages unreadable or out of order.")),
      peers(r.AddGauge("cssp_shard_peers", "Connections of the data plane.")),
      jobs(r.AddGauge("cssp_shard_jobs", "Jobs with a shard here.")),
      parameter_bytes(
          r.AddGauge("cssp_shard_parameter_bytes", "Values and history held.")),
      min_clock(r.AddGauge("cssp_shard_min_clocks",
                           "Clocks that every worker of the slowest job has "
                           "committed.")),
      max_version(r.AddGauge("cssp_shard_max_version_clocks",
                             "Newest version of any chunk.")),
      checkpoint_seconds(r.AddHistogram("cssp_shard_checkpoint_seconds",
                                        "Writing this server's part of a cut.",
                                        DurationBuckets())),
      checkpoints(r.AddCounter("cssp_shard_checkpoints_total",
                               "Parts of cuts made durable.")),
      checkpoint_failures(r.AddCounter("cssp_shard_checkpoint_failures_total",
                                       "Parts of cuts that failed.")),
      turns(r.AddCounter("cssp_shard_turns_total",
                         "Turns of the shard thread's progress loop.")) {}

void ShardHostMetrics::Add(const ShardCounters& now,
                           const ShardCounters& before) {
  pushes->Add(now.pushes - before.pushes);
  duplicates->Add(now.duplicates - before.duplicates);
  late->Add(now.late - before.late);
  values_sent->Add(now.values_sent - before.values_sent);
  eager_sent->Add(now.eager_sent - before.eager_sent);
  parked_total->Add(now.parked_total - before.parked_total);
  applied->Add(now.applied - before.applied);
  incomplete->Add(now.incomplete - before.incomplete);
  for (int i = 0; i < ShardCounters::kReasons; ++i) {
    refused->Add(now.refused[i] - before.refused[i]);
  }
  constexpr int kStale = 4;  // ps::Reason::kTooStale
  refused_stale->Add(now.refused[kStale] - before.refused[kStale]);
  for (int i = 0; i < ShardCounters::kStalenessBuckets; ++i) {
    for (int64_t n = before.staleness[i]; n < now.staleness[i]; ++n) {
      staleness->Observe(i);
    }
  }
}

}  // namespace cssp
