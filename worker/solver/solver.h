// The training loop, with BVLC's order of things and its log lines.
#ifndef CSSP_WORKER_SOLVER_SOLVER_H_
#define CSSP_WORKER_SOLVER_SOLVER_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/base/time_source.h"
#include "common/device/device.h"
#include "common/optim/learning_rate_policy.h"
#include "proto/caffe.pb.h"
#include "worker/net/layer_registry.h"
#include "worker/data/record_dealer.h"
#include "worker/net/net.h"
#include "worker/solver/local_sync.h"
#include "worker/solver/memory_report.h"
#include "worker/solver/snapshot.h"
#include "worker/solver/solver_actions.h"
#include "worker/solver/solver_nets.h"
#include "worker/solver/training_log.h"
#include "worker/sync/parameter_sync.h"

namespace cssp {

// What a program has to say in every clock, on the training thread; either may
// be empty.  A status other than OK ends training.
struct SolverCallback {
  std::function<absl::Status()> on_start;            // after a test, if any
  std::function<absl::Status()> on_gradients_ready;  // before the update
};

struct SolverOptions {
  std::string source_name;       // the solver's path, for messages
  // One of the workers of a job: logs, tests and snapshots are the
  // evaluator's.  Off: Caffe in one process.
  bool remote = false;
  int rank = 0;
  int workers = 1;
  uint64_t seed = 1;
  bool keep_blobs = false;
  bool sync_layers = false;      // see NetOptions
  bool global_batch = false;     // batch sizes are divided by `workers`
  bool balance = false;          // deals may change the batch
  SolverActions* actions = nullptr;  // borrowed, may be null
  TimeSource* time = nullptr;        // borrowed; null: the machine's
};

// Thread-confined: the training thread.  Borrows registry and device.
//
// Invariants: (1) iter() counts updates of the weights.  (2) The loop can be
// set to any clock: data and randomness are functions of it.
class Solver {
 public:
  // `param`: nets may be paths or inlined.  With options.remote the caller
  // attaches a ParameterSync before Step or Solve; else the solver owns one.
  static absl::StatusOr<std::unique_ptr<Solver>> Create(
      caffe::SolverParameter param, const LayerRegistry& registry,
      Device& device, const SolverOptions& options);
  ~Solver();

  // Borrowed; once, before the first step.
  void AttachSync(ParameterSync& sync);

  void AddCallback(SolverCallback callback);

  // Trains until max_iter; snapshots and last test as Caffe does them.
  absl::Status Solve();
  // `iterations` more.
  absl::Status Step(int64_t iterations);
  // Updates the weights by the gradients that the net holds, and counts it.
  absl::Status ApplyUpdate();
  // From the next clock on, in place of the solver's base_lr.
  absl::Status SetBaseRate(float base_lr);
  // All test nets, with their log lines.
  absl::Status TestAll();
  absl::StatusOr<SnapshotFiles> Snapshot();
  // From a .solverstate.
  absl::Status Restore(const std::string& path);
  // From comma-separated .caffemodel files.
  absl::Status LoadWeights(const std::string& files);

  int64_t iter() const { return iter_; }
  // What the device holds for training.
  MemoryReport memory() const;
  // A request (signal, cancelled job) ended training before max_iter.
  bool stopped_early() const { return stop_; }
  // Records per clock of this worker, as the net is built.
  int64_t samples_per_clock() const;
  int64_t batch_size() const { return batch_size_; }
  // Who takes which records, in place of all workers alike from the start on.
  void SetDeals(DealSchedule deals) { deals_ = std::move(deals); }
  const caffe::SolverParameter& param() const { return param_; }
  Net& net() { return *nets_.train; }
  const std::vector<std::unique_ptr<Net>>& test_nets() const {
    return nets_.tests;
  }
  // Null when remote.
  LocalSync* local() { return local_.get(); }
  float rate() const {
    return local_ ? local_->Rate(iter_) : policy_.Rate(iter_);
  }

 private:
  Solver(caffe::SolverParameter param, SolverOptions options,
         LearningRatePolicy policy);
  absl::Status CreateNets(const LayerRegistry& registry, Device& device,
                          const NetSources& sources);
  absl::Status Call(std::function<absl::Status()> SolverCallback::*callback);
  absl::Status OneClock();
  absl::Status TakeMemberships();
  absl::Status FollowDeal(ClockSummary* summary);
  absl::Status ForwardBackward(ClockSummary* summary);
  StepState StateOf(int64_t clock, int pass) const;
  absl::Status Test(int number);
  void Display(const ClockSummary& summary);
  void LogSchedule();
  absl::Status AfterClock();
  absl::Status FinishSolve();
  bool TestDue() const;
  // Polls requests during a test: true when it is to stop.
  bool TestInterrupted(absl::Status* status);
  bool Every(int interval) const {
    return interval > 0 && iter_ % interval == 0;
  }

  caffe::SolverParameter param_;
  const SolverOptions options_;
  LearningRatePolicy policy_;
  std::vector<SolverCallback> callbacks_;
  TimeSource& time_;
  NetSet nets_;
  std::unique_ptr<LocalSync> local_;
  ParameterSync* sync_ = nullptr;
  int64_t batch_size_ = 1;             // as the net is built
  int64_t dealt_batch_ = 1;            // as the net is planned
  std::optional<DealSchedule> deals_;  // null: LocalSync's single process
  bool leaving_ = false;
  std::string device_name_;

  int64_t iter_ = 0;
  int64_t first_iter_ = 0;       // of this Step: the smoothing window's origin
  bool stop_ = false;
  bool reported_nan_ = false;
  LossSmoother smoother_;
  absl::Time display_time_;      // of the last display line
  int64_t display_iter_ = 0;
  double data_waited_ = 0;       // seconds in all, at the last clock's end
  double display_waited_ = 0;    // the same, at the last display line
};

}  // namespace cssp

#endif  // CSSP_WORKER_SOLVER_SOLVER_H_
