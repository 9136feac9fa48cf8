// Where a worker meets the coordinator's orders: no clock is begun while an
// order that takes effect at it is undecided.
#ifndef CSSP_WORKER_SYNC_ORDER_GATE_H_
#define CSSP_WORKER_SYNC_ORDER_GATE_H_

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "proto/control.pb.h"

namespace cssp {

// Thread-safe (monitor): the lease's thread brings orders, the training thread
// begins clocks.  Invariants:
//  1. An order is accepted only for a clock that has not been begun, and then
//     none from that clock on is begun until the order is decided.
//  2. Begin gives every order before the clock at which it takes effect begins,
//     in the order of their numbers, each once.
class OrderGate {
 public:
  // ---- the lease's thread ----
  // Accepted, or the highest clock begun.  Replaces an earlier proposal.
  control::OrderAnswer Propose(const control::Order& order)
      ABSL_LOCKS_EXCLUDED(mu_);
  // One told again is dropped.  An order that was never proposed is taken, too:
  // to whom it matters, it was.
  void Commit(const control::Order& order) ABSL_LOCKS_EXCLUDED(mu_);
  // Proposals up to this number are void.
  void Withdraw(uint64_t number) ABSL_LOCKS_EXCLUDED(mu_);

  // ---- the training thread ----
  // Begins `clock`, once nothing that takes effect at it is undecided; gives
  // the orders committed since the last call.
  absl::StatusOr<std::vector<control::Order>> Begin(int64_t clock)
      ABSL_LOCKS_EXCLUDED(mu_);
  // Goes on at `clock`, which may lie before clocks that were begun (the job
  // went back), and what has failed is over.  A proposal stays: its fate will
  // be told.
  void Rewind(int64_t clock) ABSL_LOCKS_EXCLUDED(mu_);

  // Ends every wait with `status`.
  void Fail(const absl::Status& status) ABSL_LOCKS_EXCLUDED(mu_);

 private:
  mutable absl::Mutex mu_;
  int64_t begun_ ABSL_GUARDED_BY(mu_) = -1;
  std::optional<control::Order> pending_ ABSL_GUARDED_BY(mu_);
  uint64_t last_ ABSL_GUARDED_BY(mu_) = 0;  // highest number committed
  std::vector<control::Order> committed_ ABSL_GUARDED_BY(mu_);  // not yet given
  absl::Status failure_ ABSL_GUARDED_BY(mu_);
};

}  // namespace cssp

#endif  // CSSP_WORKER_SYNC_ORDER_GATE_H_
