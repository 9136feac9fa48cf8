// A job's evaluator as rank 0's child: killed, it is started again.
#ifndef CSSP_WORKER_CAFFE_EVALUATOR_KEEPER_H_
#define CSSP_WORKER_CAFFE_EVALUATOR_KEEPER_H_

#include <functional>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/base/thread.h"
#include "worker/caffe/child_process.h"

namespace cssp {

// Thread-confined: its owner; a thread of its own watches the child.  One that
// ends with a code of its own has said why, and stays away; one that a signal
// has ended is started again, kMaxStarts times in all.
class EvaluatorKeeper {
 public:
  static constexpr int kMaxStarts = 4;
  // Starts one, which writes a byte to `joined_fd` once it has joined the job
  // (-1: nobody listens).  The first time on the caller's thread, then on the
  // keeper's.
  using Starter = std::function<absl::StatusOr<std::unique_ptr<ChildProcess>>(
      int joined_fd)>;

  // Waits until the first has joined: a short job must not be over before.  One
  // that does not within a minute is the coordinator's business.
  static absl::StatusOr<std::unique_ptr<EvaluatorKeeper>> Create(
      Starter starter);
  // Ends the child.
  ~EvaluatorKeeper();

  // Until the child has ended for good, at most `timeout`: true if it has.
  bool Wait(absl::Duration timeout) ABSL_LOCKS_EXCLUDED(mu_);

 private:
  explicit EvaluatorKeeper(Starter starter) : starter_(std::move(starter)) {}
  absl::Status StartFirst();
  void Keep() ABSL_LOCKS_EXCLUDED(mu_);
  // False: the keeper stops.
  bool AwaitExit() ABSL_LOCKS_EXCLUDED(mu_);

  const Starter starter_;
  absl::Mutex mu_;
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  bool over_ ABSL_GUARDED_BY(mu_) = false;
  std::unique_ptr<ChildProcess> child_;  // the thread's, while it runs
  Thread thread_;
};

}  // namespace cssp

#endif  // CSSP_WORKER_CAFFE_EVALUATOR_KEEPER_H_
