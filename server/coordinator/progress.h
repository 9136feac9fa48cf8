// Workers' reports of one job, made into one line per clock.
#ifndef CSSP_SERVER_COORDINATOR_PROGRESS_H_
#define CSSP_SERVER_COORDINATOR_PROGRESS_H_

#include <cstdint>
#include <map>
#include <set>
#include <vector>

#include "proto/control.pb.h"

namespace cssp {

// Thread-confined: guarded by the coordinator's lock.  Invariants: clocks come
// out once each, in order; a clock comes out when every rank that is still
// awaited has reported it or a later one; at most kMaxOpen clocks are open (a
// worker that runs further ahead forces the oldest out as it is).
class Progress {
 public:
  static constexpr size_t kMaxOpen = 4096;

  // Ranks 0..workers-1 are awaited from start_clock on.
  Progress(int workers, int64_t start_clock);

  // Clocks that this report completes, oldest first.  A report of a clock that
  // is out already, or a second one of the same rank, is dropped.  loss and
  // outputs are means over the ranks that reported, weighted by their samples.
  std::vector<control::ClockProgress> Add(int rank,
                                          const control::ClockReport& report);
  // The rank is awaited from `clock` on.
  void Await(int rank, int64_t clock) { next_[rank] = clock; }
  // The rank is not awaited any more (done, dead): may complete clocks.
  std::vector<control::ClockProgress> Remove(int rank);

 private:
  struct Open {
    control::ClockProgress sum;
    std::set<int> ranks;
    // Loss and outputs times samples, used where ranks differ in samples: equal
    // weights take the plain mean.
    std::vector<double> weighted;
    double first_samples = 0;
    bool equal = true;
  };
  static void AddWeighted(const control::ClockReport& report, Open* open);
  bool Complete(int64_t clock) const;
  std::vector<control::ClockProgress> Flush();
  static control::ClockProgress Mean(const Open& open);

  std::map<int, int64_t> next_;  // awaited rank -> first clock not reported
  std::map<int64_t, Open> open_;
  int64_t first_;  // clocks before it are out
};

}  // namespace cssp

#endif  // CSSP_SERVER_COORDINATOR_PROGRESS_H_
