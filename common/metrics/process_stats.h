// What Prometheus' client libraries call process_*: read from /proc.
#ifndef CSSP_COMMON_METRICS_PROCESS_STATS_H_
#define CSSP_COMMON_METRICS_PROCESS_STATS_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace cssp {

struct ProcessStats {
  double cpu_seconds = 0;         // user + system
  double start_time_seconds = 0;  // since the Unix epoch
  double virtual_memory_bytes = 0;
  double resident_memory_bytes = 0;
  double open_fds = 0;
  double max_fds = 0;
};

// Of this process.  NotFound where there is no /proc.
absl::StatusOr<ProcessStats> ReadProcessStats();

// The fields of /proc/PID/stat that concern us; `boot_seconds` is btime of
// /proc/stat.  Pure, for tests: the process name may hold spaces and brackets.
absl::StatusOr<ProcessStats> ParseProcStat(absl::string_view stat,
                                           double boot_seconds,
                                           double ticks_per_second,
                                           double page_bytes);

}  // namespace cssp

#endif  // CSSP_COMMON_METRICS_PROCESS_STATS_H_
