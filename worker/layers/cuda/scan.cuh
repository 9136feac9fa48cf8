// Sums of everything before: where the parts of a list begin.  For .cu files.
#ifndef CSSP_WORKER_LAYERS_CUDA_SCAN_CUH_
#define CSSP_WORKER_LAYERS_CUDA_SCAN_CUH_

#include <cstdint>

#include "common/device/cuda/launch.h"

namespace cssp::cuda {

// One block: lists are short (items, classes), not tensors.
template <class Count, class Place>
__global__ void __launch_bounds__(kThreads)
    ScanKernel(int64_t n, Count count, Place place, int64_t* total) {
  __shared__ int64_t before[kThreads + 1];
  const int64_t each = (n + kThreads - 1) / kThreads;
  const int64_t begin = threadIdx.x * each;
  const int64_t end = begin + each < n ? begin + each : n;
  int64_t own = 0;
  for (int64_t i = begin; i < end; ++i) own += count(i);
  before[threadIdx.x + 1] = own;
  __syncthreads();
  if (threadIdx.x == 0) {
    before[0] = 0;
    for (int t = 0; t < kThreads; ++t) before[t + 1] += before[t];
    *total = before[kThreads];
  }
  __syncthreads();
  int64_t at = before[threadIdx.x];
  for (int64_t i = begin; i < end; ++i) {
    const int64_t more = count(i);
    place(i, at);
    at += more;
  }
}

// place(i, count(0) + ... + count(i - 1)) for i in [0, n); *total, in device
// memory, becomes the sum of all.  Both are __device__ lambdas that capture by
// value; `place` may overwrite what count(i) reads.
template <class Count, class Place>
absl::Status Scan(Stream& stream, int64_t n, int64_t* total, Count count,
                  Place place) {
  return Launch(stream, ScanKernel<Count, Place>, 1, kThreads, n, count, place,
                total);
}

}  // namespace cssp::cuda

#endif  // CSSP_WORKER_LAYERS_CUDA_SCAN_CUH_
