// The staleness gate in its blocking form, for workers in one process and for
// tests.  (A shard parks pulls and blocks no thread.)
#ifndef CSSP_SERVER_SHARD_SSP_CONTROLLER_H_
#define CSSP_SERVER_SHARD_SSP_CONTROLLER_H_

#include <cstdint>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace cssp {

// Staleness that never waits.
inline constexpr int64_t kAsync = int64_t{1} << 60;

// Thread-safe (monitor).  Invariant: a read of clock c is admitted only while
// min over workers + staleness >= c.  staleness 0 is BSP; kAsync never waits.
class SspController {
 public:
  SspController(int num_workers, int64_t staleness);

  // `worker` has committed one more clock; never blocks.
  void Tick(int worker) ABSL_LOCKS_EXCLUDED(mu_);
  // `worker` will commit no more: it counts as clock infinity.
  void Finish(int worker) ABSL_LOCKS_EXCLUDED(mu_);
  // Lower or higher from now on.
  void SetStaleness(int64_t staleness) ABSL_LOCKS_EXCLUDED(mu_);
  // Blocks in the read until clock `clock` may read; DeadlineExceeded names
  // the worker that everyone waits for.
  absl::Status AwaitReadable(int64_t clock, absl::Time deadline)
      ABSL_LOCKS_EXCLUDED(mu_);
  int64_t min_clock() const ABSL_LOCKS_EXCLUDED(mu_);

 private:
  void UpdateMinLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  mutable absl::Mutex mu_;
  int64_t staleness_ ABSL_GUARDED_BY(mu_);
  std::vector<int64_t> clocks_ ABSL_GUARDED_BY(mu_);
  int64_t min_clock_ ABSL_GUARDED_BY(mu_) = 0;
};

}  // namespace cssp

#endif  // CSSP_SERVER_SHARD_SSP_CONTROLLER_H_
