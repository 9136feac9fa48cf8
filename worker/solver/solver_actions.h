// What the person at the keyboard asks of a running solver.
#ifndef CSSP_WORKER_SOLVER_SOLVER_ACTIONS_H_
#define CSSP_WORKER_SOLVER_SOLVER_ACTIONS_H_

#include <map>
#include <memory>
#include <string>

#include "absl/status/statusor.h"

namespace cssp {

// kAbort: at once and without the last snapshot; Solve and Step are Cancelled.
// kLeave: a worker of a job asks to be let go, in order; else as kStop.
enum class SolverAction { kNone, kStop, kSnapshot, kAbort, kLeave };

// Polled once an iteration and once a test batch.
class SolverActions {
 public:
  virtual ~SolverActions() = default;
  // The next request, kNone when there is none left.
  virtual SolverAction Poll() = 0;
};

// "none", "stop" or "snapshot"; InvalidArgument names `option`.
absl::StatusOr<SolverAction> ParseSolverAction(const std::string& option,
                                               const std::string& text);

// Thread-confined: the training thread.  SIGINT and SIGHUP are blocked in the
// whole process and fetched by Poll, so no handler and no global is needed.
// To be made before any other thread starts (threads inherit the mask).  As in
// Caffe, a second Ctrl-C does not kill: SIGTERM and SIGQUIT do.
class SignalActions final : public SolverActions {
 public:
  SignalActions(SolverAction on_sigint, SolverAction on_sighup);
  // A worker of a job: SIGTERM and SIGUSR1 (this host will be taken away) are
  // kLeave; a second one of them has its default effect, the process ends.
  static std::unique_ptr<SignalActions> ForWorker();
  SolverAction Poll() override;

 private:
  explicit SignalActions(std::map<int, SolverAction> effects);

  const std::map<int, SolverAction> effects_;
};

}  // namespace cssp

#endif  // CSSP_WORKER_SOLVER_SOLVER_ACTIONS_H_
