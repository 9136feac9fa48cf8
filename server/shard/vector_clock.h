// How far each worker of a job has come, as one shard knows it.
#ifndef CSSP_SERVER_SHARD_VECTOR_CLOCK_H_
#define CSSP_SERVER_SHARD_VECTOR_CLOCK_H_

#include <cstdint>
#include <deque>
#include <limits>
#include <vector>

#include "absl/status/status.h"

namespace cssp {

// What a finished or removed worker's clock counts as.
inline constexpr int64_t kClockInfinity = std::numeric_limits<int64_t>::max();

// Thread-confined: the shard.  Invariants:
//  1. done(q) = clocks 0..done-1 of worker q are committed here: their ticks
//     and every push that the ticks cover are in, whatever order the two
//     channels delivered them in (or the clock was closed without q).
//  2. min() = the minimum of done over the workers that still count.
class VectorClock {
 public:
  // Ticks or pushes further than this beyond done(q) are refused: memory.
  static constexpr int64_t kMaxOpenClocks = 1 << 16;

  VectorClock(int workers, int64_t start_clock);

  int workers() const { return static_cast<int>(lanes_.size()); }
  int64_t done(int worker) const { return lanes_[worker].done; }
  int64_t min() const { return min_; }
  // First clock to which `worker` will not contribute (infinity: not known).
  int64_t finished_at(int worker) const { return lanes_[worker].finished_at; }

  bool CanCount(int worker, int64_t clock) const {
    return clock - lanes_[worker].done < kMaxOpenClocks;
  }
  // A push of `clock` is in (the caller counts each identity once).
  // REQUIRES: CanCount.
  void CountPush(int worker, int64_t clock);
  // Closes `clock`, which has `pushes` pushes.  A repeated tick is ignored.
  // `finished`: no clock comes after this one; with no pushes at all, this
  // clock itself is the first that does not come.
  // InvalidArgument: a rank out of range, or a clock beyond kMaxOpenClocks.
  absl::Status Tick(int worker, int64_t clock, uint32_t pushes, bool finished);
  // `clock` goes on without the worker: for it the clock is over, whatever of
  // it still comes.
  void Close(int worker, int64_t clock);
  // Everything before `clock` is in, whatever ticks were lost.
  void Commit(int worker, int64_t clock);
  // Known from before: see finished_at.
  void SetFinished(int worker, int64_t clock);
  // The worker no longer counts; Restore brings it back, due at `clock`.
  void Remove(int worker);
  void Restore(int worker, int64_t clock);

 private:
  struct OpenClock {
    uint32_t pushes = 0;
    uint32_t expected = 0;
    bool ticked = false;
    bool closed = false;  // without this worker
    bool complete() const {
      return closed || (ticked && pushes >= expected);
    }
  };
  struct Lane {
    int64_t done = 0;
    int64_t finished_at = kClockInfinity;
    std::deque<OpenClock> open;  // clocks done, done + 1, ...
  };

  OpenClock& At(Lane& lane, int64_t clock);
  void Advance(Lane& lane);
  void UpdateMin();

  std::vector<Lane> lanes_;
  int64_t min_ = 0;
};

}  // namespace cssp

#endif  // CSSP_SERVER_SHARD_VECTOR_CLOCK_H_
