// psctl submit: from a solver's files to a job that runs.
#ifndef CSSP_SERVER_PSCTL_SUBMIT_H_
#define CSSP_SERVER_PSCTL_SUBMIT_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "common/config/flag_set.h"
#include "proto/control.pb.h"
#include "server/psctl/commands.h"

namespace cssp {

struct SubmitOptions {
  std::string solver;
  std::string tables;
  std::string name, request_id;
  int32_t workers = 1;
  int32_t staleness = 0;
  std::string ssp_update = "PER_CLOCK";
  bool async = false;
  int32_t max_ahead = 0;
  bool lazy_pull = false, lookahead = false;
  std::string staleness_lr = "default";
  double fresh_wait = 0.25;
  int64_t seed = 0;
  int32_t chunk_bytes = 0;
  int32_t threads = 0;
  bool global_batch = false;
  int32_t backup = 0;
  std::string wire = "FP32";
  bool balance = false;
  int32_t max_workers = 0;
  std::string dssp;
  double stall_seconds = 0;
  std::string straggler;
  std::string resume, weights, snapshot;
  std::string launch = "none";
  std::string worker_binary, hostfile, worker_config;
  std::string token_file, job_file, log_file, events_file;
  bool detach = false, wait = false;
  std::string dead_workers = "continue", durability = "CHECKPOINT";
  int64_t checkpoint_clocks = 0;
  double checkpoint_seconds = 0;
  int32_t keep_checkpoints = 0, restarts = 3, join_wait = 60;
};

void AddSubmitFlags(SubmitOptions* options, FlagSet* flags);

// Reads the solver and its nets.  InvalidArgument with file:line:column,
// NotFound with the paths that were tried.
absl::StatusOr<control::JobSpec> MakeJobSpec(const SubmitOptions& options);

// Submits, launches, follows; gives the exit code.
absl::StatusOr<int> Submit(const GlobalOptions& global,
                           const SubmitOptions& options);

}  // namespace cssp

#endif  // CSSP_SERVER_PSCTL_SUBMIT_H_
