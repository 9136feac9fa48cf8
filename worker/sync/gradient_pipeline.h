// From "this parameter's gradient is complete" to "this chunk may go".
#ifndef CSSP_WORKER_SYNC_GRADIENT_PIPELINE_H_
#define CSSP_WORKER_SYNC_GRADIENT_PIPELINE_H_

#include <array>
#include <cstdint>
#include <functional>
#include <vector>

#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/ps/slab_layout.h"

namespace cssp {

// Thread-safe (monitor): the training thread signals and waits, the comm thread
// reports acknowledgements.  Ready may come from the net's courier instead;
// then the net keeps it apart from the training thread's calls
// (gradient_sink.h).
//
// Invariants: (1) a chunk leaves once a clock, when its last parameter is
// complete.  (2) A gradient generation (clock % 2) is written again only after
// every push of its earlier clock was acknowledged and its memory given back:
// until then a reconnect may have to send it again.
class GradientPipeline {
 public:
  // `send` is called by Ready and Flush, on their thread and without the lock,
  // once per chunk and clock.
  GradientPipeline(const ps::SlabLayout& layout,
                   std::function<void(int chunk, int64_t clock)> send);

  // ---- training thread ----
  // Until the pushes of clock - 2 are done.  Gives the time waited.
  absl::StatusOr<absl::Duration> AwaitSlot(int64_t clock)
      ABSL_LOCKS_EXCLUDED(mu_);
  void Ready(int param, int64_t clock) ABSL_LOCKS_EXCLUDED(mu_);
  // Sends chunks whose parameters were not all signalled (none, if the net
  // signals every parameter).
  void Flush(int64_t clock) ABSL_LOCKS_EXCLUDED(mu_);
  // Something else goes out that Done(chunk, clock) will report.
  void CountSend(int64_t clock) ABSL_LOCKS_EXCLUDED(mu_);
  // Until every push is done.
  absl::Status AwaitAll(absl::Duration timeout) ABSL_LOCKS_EXCLUDED(mu_);

  // ---- comm thread ----
  void Done(int chunk, int64_t clock) ABSL_LOCKS_EXCLUDED(mu_);
  void Fail(absl::Status status) ABSL_LOCKS_EXCLUDED(mu_);

 private:
  void BeginClock(int64_t clock);
  void SendChunk(int chunk, int64_t clock) ABSL_LOCKS_EXCLUDED(mu_);

  const ps::SlabLayout& layout_;
  const std::function<void(int, int64_t)> send_;
  std::vector<int> params_of_;  // parameters per chunk
  std::vector<int> missing_;    // training thread: not yet signalled
  int64_t clock_ = -1;          // training thread: of `missing_`

  absl::Mutex mu_;
  std::array<int, 2> outstanding_ ABSL_GUARDED_BY(mu_) = {0, 0};
  absl::Status failure_ ABSL_GUARDED_BY(mu_);
};

}  // namespace cssp

#endif  // CSSP_WORKER_SYNC_GRADIENT_PIPELINE_H_
