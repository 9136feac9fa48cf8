// Batches by measured speed: moves work from slow workers to fast ones.
#ifndef CSSP_SERVER_COORDINATOR_BATCH_POLICY_H_
#define CSSP_SERVER_COORDINATOR_BATCH_POLICY_H_

#include <cstdint>
#include <deque>
#include <map>
#include <vector>

#include "absl/types/span.h"

namespace cssp {

// A worker that records are dealt to.
struct BatchSeat {
  int rank = 0;
  int32_t usual = 1;  // records a pass, as its net is built
  int32_t now = 1;    // by the newest deal
};

// Watches how long each worker computes on a record and, where other batches
// would make clocks shorter, deals by speed: in proportion, their sum exactly
// the sum of the usual batches, each at least 1 and at most kMaxGrowth times
// the usual one.
//
// A worker's speed is the median of the last kWindow clocks' seconds a record,
// so what is slow now and then counts for nothing.  With costs that are in part
// per clock, not per record, the first deal overshoots by little and each
// further one by less: times become equal, which is what is wanted.
//
// Thread-confined: guarded by the coordinator's lock.  Invariants: (1) it
// proposes rarely: of two successive windows, what each suggests must shorten
// the other's clocks by kWorthwhile; each proposal doubles the windows that pass
// before another, up to kMaxPause, until who trains changes.  (2) What it deals
// follows from its last proposal (or Restore) and the seats alone.
class BatchPolicy {
 public:
  static constexpr int kWindow = 8;            // clocks looked back at
  static constexpr double kWorthwhile = 0.08;  // of the clock time
  static constexpr int32_t kMaxGrowth = 4;     // of a worker's memory, roughly
  static constexpr int kMaxPause = 128;        // windows

  // A worker that took `records` a pass spent `seconds` on a clock, waiting
  // left out.
  void Observe(int rank, double records, double seconds);
  // The rank has left, or another worker has it.
  void Forget(int rank);

  // Whether those of `seats` are to be dealt to anew, by what has been observed.
  // REQUIRES: ranks ascend.
  bool Propose(absl::Span<const BatchSeat> seats);
  // Each seat's batch: by the last proposal, a rank that it did not know as the
  // mean of the others; usual batches before the first one.
  std::vector<int32_t> Deal(absl::Span<const BatchSeat> seats) const;
  // As if the batches of `seats` had been proposed: after a restart.
  void Restore(absl::Span<const BatchSeat> seats);

 private:
  using Speeds = std::map<int, double>;  // rank -> records a second
  struct Lane {
    double records = 0;
    std::deque<double> costs;  // seconds a record, newest last
  };
  // Of all seats, where each has been seen for a window with its present batch;
  // else empty.
  Speeds Measure(absl::Span<const BatchSeat> seats) const;

  std::map<int, Lane> lanes_;
  Speeds dealt_by_;
  Speeds last_;       // the last window's
  int pause_ = 0;     // windows yet to pass
  int next_pause_ = 1;
};

// Integer batches in proportion to `speeds`, within 1..kMaxGrowth * usual, whose
// sum is that of the usual ones: of all such, one that is done first.
// REQUIRES: one speed a seat, all > 0; usual > 0.
std::vector<int32_t> BatchesBySpeed(absl::Span<const BatchSeat> seats,
                                    absl::Span<const double> speeds);

}  // namespace cssp

#endif  // CSSP_SERVER_COORDINATOR_BATCH_POLICY_H_
