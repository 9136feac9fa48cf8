// What a job's spec says about staleness, in numbers that shards and workers
// use alike.
#ifndef CSSP_COMMON_PS_CONSISTENCY_H_
#define CSSP_COMMON_PS_CONSISTENCY_H_

#include <cstdint>

#include "proto/control.pb.h"

namespace cssp::ps {

inline constexpr int kAsync = -1;  // JobSpec.staleness: no bound but max_ahead

struct Bounds {
  int staleness = 0;  // the bound that reads are held against at the start
  int max_ahead = 0;  // the highest that it may ever become
};
// max_ahead 0 stands for 32 without a bound, else for the staleness, at least 4.
Bounds BoundsOf(const control::JobSpec& spec);

// Never STALENESS_LR_DEFAULT.  PER_PUSH has none by default: its age says how
// far the slowest worker is behind, not how old this gradient is.
control::StalenessLr StalenessLrOf(const control::JobSpec& spec);
// The rate's factor for a gradient computed on values `age` clocks old.
float StalenessFactor(control::StalenessLr kind, int64_t age);

}  // namespace cssp::ps

#endif  // CSSP_COMMON_PS_CONSISTENCY_H_
