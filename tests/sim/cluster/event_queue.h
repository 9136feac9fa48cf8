// Virtual time and a network that misbehaves by a seed.
#ifndef CSSP_TESTS_SIM_CLUSTER_EVENT_QUEUE_H_
#define CSSP_TESTS_SIM_CLUSTER_EVENT_QUEUE_H_

#include <cstdint>
#include <functional>
#include <queue>
#include <vector>

namespace cssp {

// Small and good enough; the same numbers everywhere (SplitMix64).
class SimRandom {
 public:
  explicit SimRandom(uint64_t seed) : state_(seed) {}
  uint64_t Next();
  // In [0, n).
  int Below(int n) { return static_cast<int>(Next() % n); }
  // In [0, 1).
  double Uniform() { return (Next() >> 11) * 0x1.0p-53; }
  bool Chance(double p) { return Uniform() < p; }

 private:
  uint64_t state_;
};

// Thread-confined.  Events of one instant run in the order of their making.
class EventQueue {
 public:
  double now() const { return now_; }
  void After(double delay, std::function<void()> event);
  // Runs the next event; false when there is none.
  bool Step();

 private:
  struct Event {
    double time;
    uint64_t number;
    std::function<void()> run;
    bool operator<(const Event& other) const {  // the queue gives the largest
      return time != other.time ? time > other.time : number > other.number;
    }
  };
  double now_ = 0;
  uint64_t made_ = 0;
  std::priority_queue<Event> events_;
};

struct NetworkFaults {
  double max_delay = 0;  // uniform in [0, max_delay]: reorders
  double drop = 0;
  double duplicate = 0;
};

// Delivers once, twice or not at all, later.
class SimNetwork {
 public:
  SimNetwork(EventQueue& queue, SimRandom& random, const NetworkFaults& faults)
      : queue_(queue), random_(random), faults_(faults) {}
  void Send(const std::function<void()>& deliver, double latency = 0);
  // Never lost or repeated, but late.
  void SendReliably(const std::function<void()>& deliver);
  double Delay() { return random_.Uniform() * faults_.max_delay; }

 private:
  EventQueue& queue_;
  SimRandom& random_;
  const NetworkFaults faults_;
};

}  // namespace cssp

#endif  // CSSP_TESTS_SIM_CLUSTER_EVENT_QUEUE_H_
