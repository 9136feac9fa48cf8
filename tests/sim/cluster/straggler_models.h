// How long a clock takes whom: the straggler models of straggler_test.cc's
// table.  Unit compute; durations are pure functions of (seed, rank, clock).
#ifndef CSSP_TESTS_SIM_CLUSTER_STRAGGLER_MODELS_H_
#define CSSP_TESTS_SIM_CLUSTER_STRAGGLER_MODELS_H_

#include <cmath>
#include <cstdint>
#include <functional>

#include "tests/sim/cluster/event_queue.h"

namespace cssp {

using SimDuration = std::function<double(int rank, int64_t clock)>;

inline double SimUniform(uint64_t seed, int rank, int64_t clock) {
  SimRandom random(seed + clock * 10007 + rank * 1000003);
  random.Next();
  return random.Uniform();
}

// One worker in turn is four times slower.
inline SimDuration Rotating(int workers) {
  return [workers](int rank, int64_t clock) {
    return clock % workers == rank ? 4.0 : 1.0;
  };
}

// Each clock of each worker is four times slower with a chance of 5 %.
inline SimDuration RandomlySlow(uint64_t seed) {
  return [seed](int rank, int64_t clock) {
    return SimUniform(seed, rank, clock) < 0.05 ? 4.0 : 1.0;
  };
}

// 1 + Exp, of mean 0.5.
inline SimDuration Exponential(uint64_t seed) {
  return [seed](int rank, int64_t clock) {
    return 1 - 0.5 * std::log(1 - SimUniform(seed, rank, clock));
  };
}

// 1 +- 10 %.
inline SimDuration Jitter(uint64_t seed) {
  return [seed](int rank, int64_t clock) {
    return 0.9 + 0.2 * SimUniform(seed, rank, clock);
  };
}

// Worker 0 is always twice as slow.
inline SimDuration OneSlow() {
  return [](int rank, int64_t clock) { return rank == 0 ? 2.0 : 1.0; };
}

}  // namespace cssp

#endif  // CSSP_TESTS_SIM_CLUSTER_STRAGGLER_MODELS_H_
