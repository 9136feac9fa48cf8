// A process's membership in a job: it joins, keeps its lease, reports, and
// hears the coordinator's directives.
#ifndef CSSP_WORKER_SYNC_JOB_SESSION_H_
#define CSSP_WORKER_SYNC_JOB_SESSION_H_

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/base/bounded_queue.h"
#include "common/base/thread.h"
#include "common/ps/slab_layout.h"
#include "common/rpc/coordinator_client.h"
#include "proto/control.pb.h"

namespace cssp {

struct JobSessionOptions {
  std::string coordinator;
  std::string job;
  std::string token;
  bool evaluator = false;
  int rank = -1;               // -1: the coordinator gives one
  std::string host;
  int pid = 0;
  std::string metrics_address;  // empty: none
};

// Thread-safe.
class JobSession {
 public:
  // Joins and begins the lease; heartbeats go out from now on.
  static absl::StatusOr<std::unique_ptr<JobSession>> Join(
      const JobSessionOptions& options);
  // Ends the lease.
  ~JobSession();

  const control::JoinJobResponse& joined() const { return joined_; }
  const control::JobSpec& spec() const { return joined_.spec(); }
  const std::string& job() const { return options_.job; }
  CoordinatorClient& coordinator() { return *client_; }

  absl::StatusOr<control::DeclareLayoutResponse> Declare(
      const std::vector<ps::BlobSpec>& blobs, int64_t samples_per_clock,
      int64_t start_clock, const PlateauRecord& plateau = PlateauRecord());

  // Sends a report; ids are filled in.
  void Report(control::WorkerReport report);

  // The coordinator wants this worker to finish after the present clock.
  bool stop_requested() const { return stop_.load(); }
  // The evaluator is told that nothing more will come.
  bool job_finished() const { return finished_.load(); }
  // The next checkpoint to export; nullopt after `timeout`.
  std::optional<control::CheckpointInfo> NextCheckpoint(absl::Duration timeout);

  // `on_failure` is called once, on another thread, when this process may go
  // on no longer: fenced, aborted, coordinator lost.  `on_order`: orders.  Set
  // by the trainer; what came before is delivered at once.
  void Watch(std::function<void(absl::Status)> on_failure,
             std::function<void(const control::Order&)> on_order)
      ABSL_LOCKS_EXCLUDED(mu_);
  // No call is in progress or will come after it returns.
  void Unwatch() ABSL_LOCKS_EXCLUDED(mu_);
  // OK while this process may go on.
  absl::Status failure() const ABSL_LOCKS_EXCLUDED(mu_);

  // Reports the end (`failed` empty: trained to the end) and closes the lease.
  void Leave(const std::string& failed);

 private:
  JobSession(JobSessionOptions options,
             std::unique_ptr<CoordinatorClient> client,
             control::JoinJobResponse joined);
  void StartLease();
  void OnDirective(const control::WorkerDirective& directive);
  void OnFailure(absl::Status status) ABSL_LOCKS_EXCLUDED(mu_);
  void Beat();

  const JobSessionOptions options_;
  const std::unique_ptr<CoordinatorClient> client_;
  const control::JoinJobResponse joined_;
  std::atomic<bool> stop_{false};
  std::atomic<bool> finished_{false};
  std::atomic<bool> leaving_{false};
  BoundedQueue<control::CheckpointInfo> checkpoints_{64};

  mutable absl::Mutex mu_;
  absl::Status failure_ ABSL_GUARDED_BY(mu_);
  bool calling_ ABSL_GUARDED_BY(mu_) = false;
  std::function<void(absl::Status)> on_failure_ ABSL_GUARDED_BY(mu_);
  std::function<void(const control::Order&)> on_order_ ABSL_GUARDED_BY(mu_);
  std::vector<control::Order> early_orders_ ABSL_GUARDED_BY(mu_);
  bool closing_ ABSL_GUARDED_BY(mu_) = false;

  std::unique_ptr<LeaseStream> lease_;
  Thread heartbeat_;
};

}  // namespace cssp

#endif  // CSSP_WORKER_SYNC_JOB_SESSION_H_
