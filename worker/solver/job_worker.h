// One training process of a job, from joining to the last tick.
#ifndef CSSP_WORKER_SOLVER_JOB_WORKER_H_
#define CSSP_WORKER_SOLVER_JOB_WORKER_H_

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/device/device.h"
#include "common/metrics/metrics.h"
#include "common/ps/slab_layout.h"
#include "proto/control.pb.h"
#include "worker/net/layer_registry.h"
#include "worker/net/net.h"
#include "worker/solver/solver.h"
#include "worker/solver/solver_actions.h"
#include "worker/sync/job_session.h"
#include "worker/sync/metrics.h"
#include "worker/sync/ps_client.h"
#include "worker/sync/ps_sync.h"

namespace cssp {

// The net's parameters as servers are told of them.
std::vector<ps::BlobSpec> BlobSpecs(const Net& net);

// The layout that the shard map was made for.  InternalError where it is not
// the net's slab.
absl::StatusOr<ps::SlabLayout> LayoutOf(const Net& net,
                                        const control::ShardMap& map);

// "lo" where every server is on loopback and nothing else is asked for.
TransportOptions TransportFor(const TransportOptions& asked,
                              const control::ShardMap& map);

struct JobWorkerOptions {
  const LayerRegistry* layers = nullptr;  // borrowed
  Device* device = nullptr;               // borrowed
  MetricsRegistry* metrics = nullptr;     // borrowed, may be null
  TransportOptions transport;
  SolverActions* actions = nullptr;       // borrowed, may be null
  bool sync_layers = false;               // see NetOptions
  // Called once with a line on how this worker is connected; may be empty.
  std::function<void(const std::string&)> on_start;
  bool keep_blobs = false;                // for a program that looks at them
};

// A worker's solver, attached to its job.
//
// Thread-confined: the training thread.  Borrows the session.
class JobTrainer {
 public:
  // Builds the net, declares its layout, brings the initial values where that
  // is this rank's part, and connects.
  static absl::StatusOr<std::unique_ptr<JobTrainer>> Create(
      JobSession& session, const JobWorkerOptions& options);

  ~JobTrainer() { Detach(); }

  // Solve it until the job ends or this worker has to stop.
  Solver& solver() { return *solver_; }

  // After the service failed it or called it back: declares the layout again
  // and goes on from the clock that the coordinator gives.  False: the job
  // begins anew, for which this rank needs a new trainer.
  absl::StatusOr<bool> Rejoin();
  // It has left the job in order, before the end.
  bool let_go() const { return sync_ != nullptr && sync_->let_go(); }
  // Why training ended, where the service is the reason.
  absl::Status lost() const {
    return sync_ == nullptr ? absl::OkStatus() : sync_->lost();
  }

 private:
  JobTrainer(JobSession& session, const JobWorkerOptions& options)
      : session_(session), options_(options) {}
  absl::Status Begin();
  absl::StatusOr<control::DeclareLayoutResponse> Declare(
      int64_t start_clock, const PlateauState& plateau);
  absl::Status Attach(const control::DeclareLayoutResponse& declared);
  void Detach();

  JobSession& session_;
  const JobWorkerOptions options_;
  std::unique_ptr<SyncMetrics> metrics_;
  std::unique_ptr<PsSync> sync_;
  std::unique_ptr<Solver> solver_;  // goes first: its net is attached to sync_
};

// Trains until the job ends or this worker has to stop; goes on after the loss
// of servers, and of its own place where the job keeps it.  The session is
// borrowed; it is left with the reason on an error.
absl::Status RunJobWorker(JobSession& session, const JobWorkerOptions& options);

}  // namespace cssp

#endif  // CSSP_WORKER_SOLVER_JOB_WORKER_H_
