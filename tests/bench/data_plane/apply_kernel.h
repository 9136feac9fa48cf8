// The update of one chunk that is in cache, on one thread.
#ifndef CSSP_TESTS_BENCH_DATA_PLANE_APPLY_KERNEL_H_
#define CSSP_TESTS_BENCH_DATA_PLANE_APPLY_KERNEL_H_

#include <cstdint>

#include "absl/time/time.h"

namespace cssp::bench {

// Bytes of gradient a second: ChunkUpdate as a shard calls it, SGD with
// momentum and weight decay; and the same arrays under a loop that only loads
// and stores them, which is what the caches allow.
double ApplyRate(int64_t bytes, bool in_place, absl::Duration duration);
double ApplyLimit(int64_t bytes, bool in_place, absl::Duration duration);

}  // namespace cssp::bench

#endif  // CSSP_TESTS_BENCH_DATA_PLANE_APPLY_KERNEL_H_
