// Launches that several CUDA layers share.  For .cu files.
#ifndef CSSP_WORKER_LAYERS_CUDA_KERNELS_H_
#define CSSP_WORKER_LAYERS_CUDA_KERNELS_H_

#include <cstdint>

#include "common/device/cuda/launch.h"
#include "worker/net/layer.h"

namespace cssp::cuda {

// out[i] = value(i), or += where the mode says add; `value` is a __device__
// lambda that captures by value.  It may read out[i], as a layer in place does,
// and no other element of out.
template <class Value>
absl::Status Store(Stream& stream, GradientMode mode, float* out, int64_t n,
                   Value value) {
  switch (mode) {
    case GradientMode::kNone:
      return absl::OkStatus();
    case GradientMode::kWrite:
      return ForEach(stream, n,
                     [=] __device__(int64_t i) mutable { out[i] = value(i); });
    case GradientMode::kAdd:
      return ForEach(stream, n,
                     [=] __device__(int64_t i) mutable { out[i] += value(i); });
  }
  return absl::OkStatus();
}

template <class Value>
absl::Status Fill(Stream& stream, float* out, int64_t n, Value value) {
  return Store(stream, GradientMode::kWrite, out, n, value);
}

}  // namespace cssp::cuda

#endif  // CSSP_WORKER_LAYERS_CUDA_KERNELS_H_
