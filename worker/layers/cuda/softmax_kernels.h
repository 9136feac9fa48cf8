// Softmax and its gradient over (outer, classes, inner).
#ifndef CSSP_WORKER_LAYERS_CUDA_SOFTMAX_KERNELS_H_
#define CSSP_WORKER_LAYERS_CUDA_SOFTMAX_KERNELS_H_

#include <cstdint>

#include "worker/net/layer.h"

namespace cssp::cuda {

struct SoftmaxShape {
  int64_t outer = 0, classes = 0, inner = 0;
};

// x may be y.
absl::Status Softmax(Stream& stream, const SoftmaxShape& shape, const float* x,
                     float* y);
// dx = or += y * (dy - sum over classes of dy * y).  dx may be dy.
absl::Status SoftmaxGradient(Stream& stream, const SoftmaxShape& shape,
                             const float* y, const float* dy,
                             const GradientTensor& dx);

}  // namespace cssp::cuda

#endif  // CSSP_WORKER_LAYERS_CUDA_SOFTMAX_KERNELS_H_
