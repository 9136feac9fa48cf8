// Candidates of detectors: sorted by score, and less those that overlap a better
// one, by one block.  For .cu files.
#ifndef CSSP_WORKER_LAYERS_CUDA_CANDIDATES_CUH_
#define CSSP_WORKER_LAYERS_CUDA_CANDIDATES_CUH_

#include <cstdint>

#include "worker/layers/boxes.h"

namespace cssp::cuda {

// As ScoredIndex (boxes.h), in one number: a smaller key is a better candidate,
// of equal scores the first.  No two candidates of a list have the same key, so
// a sorted list does not depend on the order it was written in.
//
// REQUIRES: score is not nan.
__device__ inline uint64_t ScoreKey(float score, int32_t index) {
  uint32_t bits = __float_as_uint(score == 0 ? 0.0f : score);  // -0 is 0
  // Negative floats descend as numbers, so all bits turn; others get on top.
  bits = bits >> 31 ? ~bits : bits | 0x80000000u;
  return uint64_t{~bits} << 32 | static_cast<uint32_t>(index);
}
__device__ inline int32_t KeyIndex(uint64_t key) {
  return static_cast<int32_t>(key);
}
// Smaller: the higher score.
__device__ inline uint32_t KeyScore(uint64_t key) {
  return static_cast<uint32_t>(key >> 32);
}

// Ascending, by a network (bitonic, each merge beginning with a reflection, so
// that any n does: missing keys behind the end would never move).
// REQUIRES: every thread of the block calls it, with the same arguments; what it
// sorts needs no barrier before or after.
__device__ inline void BlockSort(uint64_t* keys, int64_t n) {
  for (int64_t width = 2; width / 2 < n; width *= 2) {
    for (int64_t span = width; span > 1; span /= 2) {
      const int64_t half = span / 2;
      __syncthreads();
      for (int64_t i = threadIdx.x;; i += blockDim.x) {
        const int64_t low = i / half * span + i % half;
        if (low >= n) break;
        const int64_t high =
            span == width ? i / half * span + span - 1 - i % half : low + half;
        if (high >= n) continue;
        const uint64_t a = keys[low], b = keys[high];
        if (b >= a) continue;
        keys[low] = b;
        keys[high] = a;
      }
    }
  }
  __syncthreads();
}

struct Suppression {
  float most_overlap = 0;  // with a better one
  float eta = 1;           // shrinks that with every one kept, down to 0.5
  float least_area = 0;    // smaller boxes go, too
};

// Leaves of n sorted candidates those that are kept, in their order, at the
// front, and gives their number.  box_of(key): the candidate's box.
// REQUIRES: as BlockSort, behind which it may be called at once.
template <class BoxOf>
__device__ int64_t BlockSuppress(uint64_t* keys, int64_t n, Suppression how,
                                 BoxOf box_of) {
  int64_t kept = 0;
  for (int64_t i = 0; i < n; ++i) {
    const uint64_t key = keys[i];
    const Box box = box_of(key);
    bool goes = box.area() < how.least_area;
    for (int64_t k = threadIdx.x; k < kept && !goes; k += blockDim.x)
      goes = !(Overlap(box, box_of(keys[k])) <= how.most_overlap);
    if (__syncthreads_or(goes)) continue;
    if (threadIdx.x == 0) keys[kept] = key;  // kept <= i: all have read it
    ++kept;
    if (how.eta < 1 && how.most_overlap > 0.5f) how.most_overlap *= how.eta;
    __syncthreads();
  }
  return kept;
}

}  // namespace cssp::cuda

#endif  // CSSP_WORKER_LAYERS_CUDA_CANDIDATES_CUH_
