// What a shard counts; the service turns it into metrics.
#ifndef CSSP_SERVER_SHARD_SHARD_COUNTERS_H_
#define CSSP_SERVER_SHARD_SHARD_COUNTERS_H_

#include <array>
#include <cstdint>

namespace cssp {

// Plain data, cumulative unless said otherwise.
struct ShardCounters {
  static constexpr int kStalenessBuckets = 17;
  static constexpr int kReasons = 17;

  int64_t pushes = 0;      // parts taken
  int64_t duplicates = 0;  // pushes acknowledged and dropped
  int64_t late = 0;        // the same: their clock was closed without them
  int64_t values_sent = 0;
  int64_t eager_sent = 0;  // of these, unasked
  int64_t parked_total = 0;
  int64_t parked_now = 0;                   // gauge
  int64_t applied = 0;                      // chunk updates
  int64_t incomplete = 0;                   // of these, without a member's part
  std::array<int64_t, kReasons> refused{};  // by ps::Reason
  // Element i: pushes computed on a version i clocks old; the last: or older.
  std::array<int64_t, kStalenessBuckets> staleness{};
};

}  // namespace cssp

#endif  // CSSP_SERVER_SHARD_SHARD_COUNTERS_H_
