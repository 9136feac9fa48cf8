// A process of a job, worker or evaluator, from its options to its end: what
// caffe-worker and the ranks of `caffe train` have in common.
#ifndef CSSP_WORKER_CAFFE_WORKER_PROCESS_H_
#define CSSP_WORKER_CAFFE_WORKER_PROCESS_H_

#include <functional>
#include <string>

#include "absl/status/status.h"
#include "common/device/device.h"
#include "proto/config.pb.h"
#include "worker/caffe/runtime.h"
#include "worker/solver/solver_actions.h"
#include "worker/sync/job_session.h"

namespace cssp {

struct WorkerProcessOptions {
  // coordinator, job, rank, evaluator, threads, gpu, transport, metrics_port,
  // bind_host.
  WorkerConfig config;
  std::string token;
  int ranks_on_host = 1;             // for the default number of threads
  int data_threads = 0;              // of each data layer; 0: as compute
  // Which of them this is; of several GPUs it takes its own.
  int host_rank = 0;
  CudaOptions cuda;
  bool sync_layers = false;          // see NetOptions
  LayerExtension extension;
  SolverActions* actions = nullptr;  // borrowed, may be null
  // Called once this process has joined; may be empty.
  std::function<absl::Status(JobSession&)> on_join;
};

// Joins, works, leaves.  Cancelled: the job was aborted elsewhere.
absl::Status RunWorkerProcess(const WorkerProcessOptions& options);

}  // namespace cssp

#endif  // CSSP_WORKER_CAFFE_WORKER_PROCESS_H_
