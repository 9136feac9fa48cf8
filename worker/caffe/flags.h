// The command line of `caffe`: BVLC's flags, and those of a job.
#ifndef CSSP_WORKER_CAFFE_FLAGS_H_
#define CSSP_WORKER_CAFFE_FLAGS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/device/device.h"

namespace cssp {

struct CaffeFlags {
  std::string action;  // train, test, time, device_query, help
  // BVLC's.
  std::string gpu, solver, model, phase, stage, snapshot, weights;
  int32_t level = 0;
  int32_t iterations = 50;
  std::string sigint_effect = "stop", sighup_effect = "snapshot";
  // Ours, any action.
  int32_t threads = 0;
  int32_t data_threads = 0;
  bool deterministic = false;
  std::string math = "fp32";
  bool sync_layers = false;
  // Ours, train under mpirun.
  int32_t staleness = 0;
  std::string ssp_update = "PER_CLOCK";
  int32_t max_ahead = 0;
  bool lookahead = false;
  double fresh_wait = 0.25;
  std::string straggler;
  int32_t backup = 0;
  std::string wire = "FP32";
  bool balance = false;
  int32_t chunk_bytes = 0;
  bool global_batch = false;
  bool lazy_pull = false;
  bool wait_for_dead = false;
  std::string bind_host;
  std::string server_program;
  int32_t metrics_port = -1;
  bool help = false;
  bool version = false;
  std::string help_text;
  std::vector<std::string> job_options;  // given job options, for messages
};

// The GPU's part of the flags.  REQUIRES: parsed flags.
CudaOptions CudaOptionsOf(const CaffeFlags& flags);

// InvalidArgument: unknown flag or action, malformed value.
absl::StatusOr<CaffeFlags> ParseCaffeFlags(
    const std::vector<std::string>& args);

}  // namespace cssp

#endif  // CSSP_WORKER_CAFFE_FLAGS_H_
