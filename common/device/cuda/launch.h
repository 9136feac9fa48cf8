// Launching kernels.  For .cu files.
#ifndef CSSP_COMMON_DEVICE_CUDA_LAUNCH_H_
#define CSSP_COMMON_DEVICE_CUDA_LAUNCH_H_

#include <cuda_runtime.h>

#include <algorithm>
#include <cstdint>
#include <utility>

#include "absl/status/status.h"
#include "common/device/cuda/cuda_device.h"
#include "common/device/cuda/cuda_status.h"

namespace cssp {

// Threads of a block, for kernels without a reason for another number.
inline constexpr int kThreads = 256;

// Blocks of kThreads that a grid-stride loop over n elements is launched with;
// 0 for none.  A fixed bound: a sum over blocks has the same order on any GPU.
inline int Blocks(int64_t n, int threads = kThreads) {
  constexpr int64_t kMost = 4096;
  return static_cast<int>(std::min((n + threads - 1) / threads, kMost));
}

// The loop of a kernel over n elements, whatever the grid:
//   for (int64_t i = GridFirst(); i < n; i += GridStep()) ...
__device__ inline int64_t GridFirst() {
  return int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
}
__device__ inline int64_t GridStep() { return int64_t{gridDim.x} * blockDim.x; }

struct LaunchShape {
  dim3 blocks;
  dim3 threads;
  size_t shared_bytes = 0;  // dynamic shared memory
};

// Asynchronous.  Reports what the launch itself got wrong, and faults of
// earlier work that have come to light.
template <class... Params, class... Args>
absl::Status LaunchShaped(Stream& stream, void (*kernel)(Params...),
                          const LaunchShape& shape, Args&&... args) {
  cudaLaunchConfig_t config = {};
  config.gridDim = shape.blocks;
  config.blockDim = shape.threads;
  config.dynamicSmemBytes = shape.shared_bytes;
  config.stream = CudaStream::Of(stream).get();
  return FromCuda(
      cudaLaunchKernelEx(&config, kernel, static_cast<Params>(args)...),
      "launching a kernel");
}

// One dimension; nothing is launched for blocks == 0 (no elements).
template <class... Params, class... Args>
absl::Status Launch(Stream& stream, void (*kernel)(Params...), int blocks,
                    int threads, Args&&... args) {
  if (blocks == 0) return absl::OkStatus();
  return LaunchShaped(stream, kernel, {dim3(blocks), dim3(threads), 0},
                      std::forward<Args>(args)...);
}

template <class Body>
__global__ void ForEachKernel(int64_t n, Body body) {
  for (int64_t i = GridFirst(); i < n; i += GridStep()) body(i);
}

// body(i) for i in [0, n), in no order; body is a __device__ lambda that
// captures by value.
template <class Body>
absl::Status ForEach(Stream& stream, int64_t n, Body body) {
  return Launch(stream, ForEachKernel<Body>, Blocks(n), kThreads, n, body);
}

// How cublasGemmEx and its like multiply fp32 matrices in a math mode.
inline cublasComputeType_t GemmComputeType(MathMode math) {
  switch (math) {
    case MathMode::kFp32:
      return CUBLAS_COMPUTE_32F;
    case MathMode::kTf32:
      return CUBLAS_COMPUTE_32F_FAST_TF32;
    case MathMode::kBf16:
      return CUBLAS_COMPUTE_32F_FAST_16BF;
  }
  return CUBLAS_COMPUTE_32F;
}

}  // namespace cssp

#endif  // CSSP_COMMON_DEVICE_CUDA_LAUNCH_H_
