// The evaluator of a job: prints Caffe's log lines, tests pulled versions and
// exports checkpoints, without stopping anyone.
#ifndef CSSP_WORKER_SOLVER_EVALUATOR_H_
#define CSSP_WORKER_SOLVER_EVALUATOR_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/device/device.h"
#include "common/optim/learning_rate_policy.h"
#include "proto/control.pb.h"
#include "worker/net/layer_registry.h"
#include "worker/solver/snapshot.h"
#include "worker/solver/solver_actions.h"
#include "worker/solver/solver_nets.h"
#include "worker/solver/training_log.h"
#include "worker/sync/cut_puller.h"
#include "worker/sync/job_session.h"

namespace cssp {

struct EvaluatorOptions {
  const LayerRegistry* layers = nullptr;  // borrowed
  Device* device = nullptr;               // borrowed
  TransportOptions transport;
  // kStop cancels the job, kSnapshot asks for a checkpoint; may be null.
  SolverActions* actions = nullptr;
};

// Thread-confined: the thread that calls Run.  Events are handled in order, so
// a test's lines stand between those of the iterations around it; while a test
// runs, training goes on, and test points whose version is gone by the time
// their turn comes are skipped with a line (never the last).
class Evaluator {
 public:
  // Builds the nets and connects to the servers.
  static absl::StatusOr<std::unique_ptr<Evaluator>> Create(
      JobSession& session, const EvaluatorOptions& options);

  // Until the job has ended, or `Stop`ped it.  OK when it succeeded.
  absl::Status Run();
  // Why the job ended, where it was not success.
  const control::JobStatus& final_status() const { return status_; }

 private:
  Evaluator(JobSession& session, const EvaluatorOptions& options,
            NetSet nets, LearningRatePolicy policy);
  absl::Status Begin();
  // To the servers as they are now, and to the job's events.
  absl::Status Connect();
  void Watch();
  // Through the loss of servers.
  absl::Status PullCut(int64_t clock, int slot, absl::Span<float> slab);
  void Announce();
  absl::Status FollowToEnd();
  absl::Status Follow();
  absl::Status OnEvent(const control::JobEvent& event);
  absl::Status OnProgress(const control::ClockProgress& progress);
  absl::Status TestAll(int64_t clock, bool last);
  absl::Status Export(const control::CheckpointInfo& checkpoint);
  absl::Status ExportWaiting(absl::Duration timeout);
  absl::Status FinishRun();
  absl::Status PullWeights(int64_t clock);
  void ReportTest(int64_t clock, int net, const TestScores& scores);
  void Note(const std::string& text);
  void PollActions();
  void StopJob();
  void AwaitEnd();
  bool Every(int interval, int64_t clock) const {
    return interval > 0 && clock % interval == 0;
  }
  absl::Status Outcome() const;

  JobSession& session_;
  const EvaluatorOptions options_;
  const caffe::SolverParameter solver_;
  NetSet nets_;
  const LearningRatePolicy policy_;
  std::unique_ptr<CutPuller> cuts_;
  std::unique_ptr<JobWatch> watch_;
  int num_history_ = 1;
  int64_t start_clock_ = 0;
  int64_t next_clock_ = 0;       // first clock without progress
  int64_t tested_ = -1;          // last test point done
  int64_t held_ = -1;            // version in the train net's slab
  bool over_ = false;            // training has ended
  bool cancelled_ = false;
  control::JobStatus status_;
  LossSmoother smoother_;
  double display_seconds_ = 0;   // wall time of the last display line
  int64_t display_clock_ = 0;
};

// Joins nothing itself: runs an evaluator on a session of that role and leaves
// it with the reason on an error.
absl::Status RunEvaluator(JobSession& session, const EvaluatorOptions& options);

}  // namespace cssp

#endif  // CSSP_WORKER_SOLVER_EVALUATOR_H_
