#include "tests/sim/cluster/event_queue.h"

#include <utility>

namespace cssp {

uint64_t SimRandom::Next() {
  uint64_t z = (state_ += 0x9e3779b97f4a7c15ull);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
  return z ^ (z >> 31);
}

void EventQueue::After(double delay, std::function<void()> event) {
  events_.push({now_ + delay, ++made_, std::move(event)});
}

bool EventQueue::Step() {
  if (events_.empty()) return false;
  // The element is about to be popped, so it may be gutted.
  Event& top = const_cast<Event&>(events_.top());
  now_ = top.time;
  std::function<void()> run = std::move(top.run);
  events_.pop();
  run();
  return true;
}

void SimNetwork::Send(const std::function<void()>& deliver, double latency) {
  if (random_.Chance(faults_.drop)) return;
  queue_.After(latency + Delay(), deliver);
  if (random_.Chance(faults_.duplicate)) {
    queue_.After(latency + Delay(), deliver);
  }
}

void SimNetwork::SendReliably(const std::function<void()>& deliver) {
  queue_.After(Delay(), deliver);
}

}  // namespace cssp
