// A job's events in order, for any number of readers at their own pace.
#ifndef CSSP_SERVER_COORDINATOR_EVENT_LOG_H_
#define CSSP_SERVER_COORDINATOR_EVENT_LOG_H_

#include <cstdint>
#include <deque>
#include <utility>
#include <vector>

#include "proto/control.pb.h"

namespace cssp {

// Thread-confined: guarded by the coordinator's lock.  Invariant: at most
// `capacity` events are kept, the newest; a reader that falls behind that skips
// and is told, so a slow reader costs nobody memory or time.
class EventLog {
 public:
  explicit EventLog(size_t capacity = 32768) : capacity_(capacity) {}

  // `clock`: where the job was, for readers that begin later.
  void Append(control::JobEvent event, int64_t clock) {
    events_.push_back({clock, std::move(event)});
    if (events_.size() <= capacity_) return;
    events_.pop_front();
    ++first_;
  }
  // Number of the next event; events before first() are gone.
  uint64_t end() const { return first_ + events_.size(); }
  uint64_t first() const { return first_; }

  // Appends to *out up to `limit` events with clock >= from_clock, beginning
  // at *cursor, which moves.  Gives how many the reader has missed.
  uint64_t Read(int64_t from_clock, size_t limit, uint64_t* cursor,
                std::vector<control::JobEvent>* out) const {
    const uint64_t missed = *cursor < first_ ? first_ - *cursor : 0;
    *cursor += missed;
    for (; *cursor < end() && out->size() < limit; ++*cursor) {
      const Entry& entry = events_[*cursor - first_];
      if (entry.clock >= from_clock) out->push_back(entry.event);
    }
    return missed;
  }

 private:
  struct Entry {
    int64_t clock;
    control::JobEvent event;
  };
  const size_t capacity_;
  std::deque<Entry> events_;
  uint64_t first_ = 0;
};

}  // namespace cssp

#endif  // CSSP_SERVER_COORDINATOR_EVENT_LOG_H_
