// A testing aid: stretches this worker's compute time.
#ifndef CSSP_WORKER_SYNC_STRAGGLER_H_
#define CSSP_WORKER_SYNC_STRAGGLER_H_

#include <cstdint>
#include <deque>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace cssp {

// Stretches in proportion to the work that a clock is: its records over those of
// the batch as the net is built.
//
// Thread-confined: the training thread.
class Straggler {
 public:
  // "RANK:FACTOR": that worker is always slow; "rotating:FACTOR": worker r is
  // slow in the clocks c with c % workers == r; "random:FACTOR": a clock of a
  // worker is slow with a chance of 5 %; "exponential:FACTOR": each takes
  // 1 + Exp times as long, of mean FACTOR.  What is drawn is a function of
  // (rank, clock): the same in every run.  With "@MS" behind it the clock's
  // duration is set, not stretched: every worker sleeps MS milliseconds, times
  // what slows it (for a net whose own compute is nothing beside it).
  // Empty text: null, never slow.
  // InvalidArgument for anything else, or a factor below 1.
  static absl::StatusOr<std::unique_ptr<Straggler>> Parse(
      const std::string& text, int workers);

  // What `rank` is to sleep in `clock` on top of its compute time.
  absl::Duration Extra(int rank, int64_t clock, double work = 1) const;
  // Compute time of a clock, waits and injected sleep not counted.
  void Observe(absl::Duration compute, double work = 1);

 private:
  enum class Who { kRank, kRotating, kRandom, kExponential };
  Straggler(Who who, int rank, double factor, absl::Duration base, int workers)
      : who_(who),
        rank_(rank),
        factor_(factor),
        base_(base),
        workers_(workers) {}
  // How many times as long the clock takes.
  double Stretch(int rank, int64_t clock) const;

  const Who who_;
  const int rank_;  // kRank
  const double factor_;
  const absl::Duration base_;  // zero: of the measured compute time
  const int workers_;
  std::deque<absl::Duration> computes_;  // of the last clocks, for work 1
};

}  // namespace cssp

#endif  // CSSP_WORKER_SYNC_STRAGGLER_H_
