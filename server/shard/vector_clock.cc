#include "server/shard/vector_clock.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace cssp {

VectorClock::VectorClock(int workers, int64_t start_clock)
    : lanes_(workers), min_(start_clock) {
  for (Lane& lane : lanes_) lane.done = start_clock;
}

VectorClock::OpenClock& VectorClock::At(Lane& lane, int64_t clock) {
  const size_t index = clock - lane.done;
  if (index >= lane.open.size()) lane.open.resize(index + 1);
  return lane.open[index];
}

void VectorClock::CountPush(int worker, int64_t clock) {
  Lane& lane = lanes_[worker];
  if (clock < lane.done) return;
  ++At(lane, clock).pushes;
  Advance(lane);
}

absl::Status VectorClock::Tick(int worker, int64_t clock, uint32_t pushes,
                               bool finished) {
  if (worker < 0 || worker >= workers()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "tick of rank ", worker, ", the job has ", workers(), " workers"));
  }
  Lane& lane = lanes_[worker];
  if (clock < lane.done) return absl::OkStatus();
  if (!CanCount(worker, clock)) {
    return absl::InvalidArgumentError(
        absl::StrCat("rank ", worker, " ticks clock ", clock, " with only ",
                     lane.done, " clocks complete"));
  }
  OpenClock& open = At(lane, clock);
  open.ticked = true;
  open.expected = std::max(open.expected, pushes);
  if (finished) {
    lane.finished_at =
        std::min(lane.finished_at, pushes > 0 ? clock + 1 : clock);
  }
  Advance(lane);
  return absl::OkStatus();
}

void VectorClock::Advance(Lane& lane) {
  const int64_t before = lane.done;
  while (!lane.open.empty() && lane.open.front().complete()) {
    lane.open.pop_front();
    ++lane.done;
  }
  if (lane.done >= lane.finished_at) {
    lane.done = kClockInfinity;
    lane.open.clear();
  }
  if (lane.done != before) UpdateMin();
}

void VectorClock::Close(int worker, int64_t clock) {
  Lane& lane = lanes_[worker];
  if (clock < lane.done) return;
  At(lane, clock).closed = true;
  Advance(lane);
}

void VectorClock::Commit(int worker, int64_t clock) {
  Lane& lane = lanes_[worker];
  while (lane.done < clock && lane.done != kClockInfinity) {
    if (!lane.open.empty()) lane.open.pop_front();
    ++lane.done;
  }
  Advance(lane);
  UpdateMin();
}

void VectorClock::SetFinished(int worker, int64_t clock) {
  lanes_[worker].finished_at = clock;
  Advance(lanes_[worker]);
}

void VectorClock::Remove(int worker) {
  lanes_[worker].done = kClockInfinity;
  lanes_[worker].open.clear();
  UpdateMin();
}

void VectorClock::Restore(int worker, int64_t clock) {
  lanes_[worker] = Lane();
  lanes_[worker].done = clock;
  UpdateMin();
}

void VectorClock::UpdateMin() {
  int64_t least = kClockInfinity;
  for (const Lane& lane : lanes_) least = std::min(least, lane.done);
  min_ = least;
}

}  // namespace cssp
