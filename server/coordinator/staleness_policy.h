// DSSP: the staleness that the workers' own pace asks for.
#ifndef CSSP_SERVER_COORDINATOR_STALENESS_POLICY_H_
#define CSSP_SERVER_COORDINATOR_STALENESS_POLICY_H_

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <vector>

namespace cssp {

// Predicts when fast and slow workers will finish their next clocks, by playing
// the last kWindow clocks' compute times again under every staleness in range,
// and picks the least one that waits (almost) least.  What no slack can mend,
// one worker that is always slow, it leaves alone: it costs freshness and buys
// nothing.
//
// Thread-confined: guarded by the coordinator's lock.  Invariant: it proposes
// rarely: not before kWindow clocks have passed since the last proposal, only
// when two windows agree, and only for a gain of kWorthwhile.
class StalenessPolicy {
 public:
  static constexpr int kWindow = 24;           // clocks looked back at
  static constexpr double kWorthwhile = 0.05;  // of the clocks/s

  // Within lower..upper; `current` is in force.
  StalenessPolicy(int lower, int upper, int current);

  // A worker spent `seconds` on `clock`, waiting left out.
  void Observe(int rank, int64_t clock, double seconds);
  // The rank has left.
  void Forget(int rank) { lanes_.erase(rank); }
  // What to order now; nullopt: leave it.  A proposal counts as ordered.
  std::optional<int> Propose();

  int current() const { return current_; }
  // By somebody else's order.
  void Set(int staleness) { current_ = staleness; }

 private:
  struct Lane {
    int64_t next = 0;             // clock after the last one observed
    std::deque<double> seconds;   // of the clocks before `next`
  };

  const int lower_;
  const int upper_;
  int current_;
  std::map<int, Lane> lanes_;
  int64_t considered_ = 0;  // last clock considered
  int agreed_ = -1;         // what the last window asked for
};

// Clocks per second in the long run of workers whose compute times repeat:
// seconds[q][c] of worker q in clock c, under staleness s and free
// communication.  REQUIRES: rows of one length, at least one.
double ReplayRate(const std::vector<std::vector<double>>& seconds, int s);

}  // namespace cssp

#endif  // CSSP_SERVER_COORDINATOR_STALENESS_POLICY_H_
