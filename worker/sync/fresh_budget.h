// How long a reader whose bound is met waits for the fresh version.
#ifndef CSSP_WORKER_SYNC_FRESH_BUDGET_H_
#define CSSP_WORKER_SYNC_FRESH_BUDGET_H_

#include <algorithm>

#include "absl/time/time.h"

namespace cssp {

// A token bucket.  Each clock adds `share` of a clock's usual duration; what is
// not spent is kept, up to four clocks' worth.  So jitter, which hits now and
// then, is waited out, while a straggler in every clock costs no more than the
// share.  Thread-confined: the training thread.
class FreshBudget {
 public:
  explicit FreshBudget(double share) : share_(share) {}

  void BeginClock(absl::Duration usual) {
    const absl::Duration more = usual * share_;
    left_ = std::min(more * kKeptClocks, left_ + more);
  }
  void Spend(absl::Duration waited) { left_ -= waited; }
  // Not positive: do not wait.
  absl::Duration left() const { return left_; }

 private:
  static constexpr int kKeptClocks = 4;

  const double share_;
  absl::Duration left_;
};

}  // namespace cssp

#endif  // CSSP_WORKER_SYNC_FRESH_BUDGET_H_
