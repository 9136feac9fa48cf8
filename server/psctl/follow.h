// Follows a job's events to its end: what watch and submit show.
#ifndef CSSP_SERVER_PSCTL_FOLLOW_H_
#define CSSP_SERVER_PSCTL_FOLLOW_H_

#include <cstdio>
#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/rpc/coordinator_client.h"
#include "proto/control.pb.h"
#include "server/psctl/launcher.h"
#include "server/psctl/output.h"

namespace cssp {

struct FollowOptions {
  std::string job_id;
  // Events before this clock are not shown.
  int64_t from_clock = 0;
  bool json = false;         // events as JSON lines instead of text
  bool quiet = false;        // nothing on stdout (workers write there)
  bool live = false;         // stdout is a terminal: one line, rewritten
  std::string events_file;   // every event as a line of JSON
  // A signal cancels the job (the second one gives up); else it ends the
  // following and leaves the job alone.
  bool cancel_on_signal = false;
  // Ends once the job runs.
  bool until_running = false;
  // Starts more workers, where the job is to have more (psctl scale).
  std::function<absl::Status(int)> launch_more;
  Launcher* launcher = nullptr;  // borrowed; its end is noticed
  // How often the launcher starts each dead worker again.
  int restarts = 0;
  // A launched worker that joins so much later than the last one that did is
  // started again (restarts, this host), else the job is cancelled.
  absl::Duration join_wait = absl::Minutes(1);
  // How long the coordinator may be away.
  absl::Duration patience = absl::Minutes(1);
  absl::Duration plain_interval = absl::Seconds(5);
};

// SIGINT and SIGTERM are taken by FollowJob from now on.  Before any thread.
void BlockSignals();

// The job's last status.  Cancelled status: a signal ended the following.
// Unavailable: the coordinator is gone (for longer than a restart takes).
absl::StatusOr<control::JobStatus> FollowJob(CoordinatorClient& client,
                                             const FollowOptions& options);

}  // namespace cssp

#endif  // CSSP_SERVER_PSCTL_FOLLOW_H_
