// Matrix products of cuBLAS, row-major.
#ifndef CSSP_WORKER_LAYERS_CUDA_GEMM_H_
#define CSSP_WORKER_LAYERS_CUDA_GEMM_H_

#include <cstdint>

#include "absl/status/status.h"
#include "worker/net/layer.h"

namespace cssp::cuda {

struct GemmShape {
  bool transpose_a = false, transpose_b = false;
  int64_t m = 0, n = 0, k = 0;
};

// C(m,n) = op(A)(m,k) op(B)(k,n) + beta * C, all row-major and dense, in the
// device's math mode.
absl::Status Gemm(Stream& stream, const GemmShape& shape, const float* a,
                  const float* b, float beta, float* c);

// What is there counts where a gradient is to be added.
inline float Beta(GradientMode mode) {
  return mode == GradientMode::kAdd ? 1.0f : 0.0f;
}

}  // namespace cssp::cuda

#endif  // CSSP_WORKER_LAYERS_CUDA_GEMM_H_
