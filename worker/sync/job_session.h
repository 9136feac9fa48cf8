// A process's membership in a job: it joins, keeps its lease, reports, and
// hears the coordinator's directives.  It outlives the coordinator's restarts:
// a lease that breaks is opened again, and what matters is reported again.
#ifndef CSSP_WORKER_SYNC_JOB_SESSION_H_
#define CSSP_WORKER_SYNC_JOB_SESSION_H_

#include <atomic>
#include <deque>
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
#include "worker/sync/order_gate.h"

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
  // How long a coordinator that cannot be reached is waited for.
  absl::Duration coordinator_wait = absl::ZeroDuration();
};

// Thread-safe.
class JobSession {
 public:
  // Joins and begins the lease; heartbeats go out from now on.
  static absl::StatusOr<std::unique_ptr<JobSession>> Join(
      const JobSessionOptions& options);
  // Ends the lease.
  ~JobSession();

  // Of the training thread, as JoinAgain is.
  const control::JoinJobResponse& joined() const { return joined_; }
  // Counted as dead while it was not (failure() is FailedPrecondition): comes
  // back under its rank as a new incarnation, where the job waits for that, or
  // as the evaluator.
  absl::Status JoinAgain() ABSL_LOCKS_EXCLUDED(mu_);
  const control::JobSpec& spec() const { return joined_.spec(); }
  const std::string& job() const { return options_.job; }
  CoordinatorClient& coordinator() { return *client_; }

  absl::StatusOr<control::DeclareLayoutResponse> Declare(
      const std::vector<ps::BlobSpec>& blobs, int64_t samples_per_clock,
      int64_t start_clock, const PlateauRecord& plateau = PlateauRecord())
      ABSL_LOCKS_EXCLUDED(mu_);
  // Of the shards, by the last Declare.
  uint32_t job_epoch() const { return job_epoch_.load(); }
  // The shards were opened anew since the last Declare.
  bool must_rejoin() const ABSL_LOCKS_EXCLUDED(mu_);

  // Sends a report; ids are filled in.
  void Report(control::WorkerReport report) ABSL_LOCKS_EXCLUDED(mu_);

  // The coordinator wants this worker to finish after the present clock.
  bool stop_requested() const { return stop_.load(); }
  // The evaluator is told that nothing more will come.
  bool job_finished() const { return finished_.load(); }
  // The next checkpoint to export; nullopt after `timeout`.
  std::optional<control::CheckpointInfo> NextCheckpoint(absl::Duration timeout);

  // `on_failure` is called on another thread when this process may go on no
  // longer (fenced, aborted, coordinator lost), and when it must declare anew
  // (must_rejoin).  Set by the trainer; what came before is delivered at once.
  void Watch(std::function<void(absl::Status)> on_failure)
      ABSL_LOCKS_EXCLUDED(mu_);
  // No call is in progress or will come after it returns.
  void Unwatch() ABSL_LOCKS_EXCLUDED(mu_);
  // Where the trainer meets orders: it begins every clock there.
  OrderGate& gate() { return gate_; }
  // OK while this process may go on.
  absl::Status failure() const ABSL_LOCKS_EXCLUDED(mu_);

  // Trained to the end: says so and waits until nothing can call this worker
  // back.  Aborted: it must declare anew and go on (if need be it has joined
  // again).
  absl::Status AwaitRelease() ABSL_LOCKS_EXCLUDED(mu_);
  // Reports the end (OK: trained to the end) and closes the lease.  A worker
  // that trained and then failed by InvalidArgument, where the net, its data or
  // a layer's code is wrong, takes the job along: no other would fare better.
  void Leave(const absl::Status& why) ABSL_LOCKS_EXCLUDED(mu_);

 private:
  JobSession(JobSessionOptions options,
             std::unique_ptr<CoordinatorClient> client,
             control::JoinJobResponse joined);
  std::shared_ptr<LeaseStream> Current() const ABSL_LOCKS_EXCLUDED(mu_);
  void OpenLease() ABSL_LOCKS_EXCLUDED(mu_);
  void LeaseEnded(const absl::Status& status) ABSL_LOCKS_EXCLUDED(mu_);
  void Reopen() ABSL_LOCKS_EXCLUDED(mu_);
  void Interrupt(absl::Status status) ABSL_LOCKS_EXCLUDED(mu_);
  void OnDirective(const control::WorkerDirective& directive);
  void OnFailure(absl::Status status) ABSL_LOCKS_EXCLUDED(mu_);
  void Beat();

  const JobSessionOptions options_;
  const std::unique_ptr<CoordinatorClient> client_;
  control::JoinJobResponse joined_;
  const int rank_;
  std::atomic<uint32_t> incarnation_;
  std::atomic<uint32_t> job_epoch_;
  std::atomic<bool> stop_{false};
  std::atomic<bool> finished_{false};
  std::atomic<bool> leaving_{false};
  BoundedQueue<control::CheckpointInfo> checkpoints_{64};
  OrderGate gate_;

  mutable absl::Mutex mu_;
  absl::Status failure_ ABSL_GUARDED_BY(mu_);
  int calling_ ABSL_GUARDED_BY(mu_) = 0;
  std::function<void(absl::Status)> on_failure_ ABSL_GUARDED_BY(mu_);
  bool closing_ ABSL_GUARDED_BY(mu_) = false;
  uint64_t rejoin_ ABSL_GUARDED_BY(mu_) = 0;    // last directive
  uint64_t declared_ ABSL_GUARDED_BY(mu_) = 0;  // last that was answered
  std::string rejoin_why_ ABSL_GUARDED_BY(mu_);
  // Tests, exports and the end: told again on a new lease.
  std::deque<control::WorkerReport> kept_ ABSL_GUARDED_BY(mu_);
  std::shared_ptr<LeaseStream> lease_ ABSL_GUARDED_BY(mu_);
  bool lease_ended_ ABSL_GUARDED_BY(mu_) = false;
  absl::Status lease_status_ ABSL_GUARDED_BY(mu_);

  // The heartbeat's thread.
  absl::Time lost_since_ = absl::InfiniteFuture();
  int reopened_ = 0;
  Thread heartbeat_;
};

}  // namespace cssp

#endif  // CSSP_WORKER_SYNC_JOB_SESSION_H_
