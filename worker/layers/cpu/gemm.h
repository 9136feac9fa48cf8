// Products of dense row-major matrices, through oneDNN.
#ifndef CSSP_WORKER_LAYERS_CPU_GEMM_H_
#define CSSP_WORKER_LAYERS_CPU_GEMM_H_

#include <cstdint>

#include "absl/status/status.h"
#include "worker/net/layer.h"

namespace cssp::cpu {

// C(m,n) = op(A) op(B) + beta * C, where op(A) is (m,k) and op(B) is (k,n).
absl::Status Gemm(bool transpose_a, bool transpose_b, int64_t m, int64_t n,
                  int64_t k, const float* a, const float* b, float beta,
                  float* c);

// A gradient that a product obeys; REQUIRES: not kNone.
inline float Beta(GradientMode mode) {
  return mode == GradientMode::kAdd ? 1 : 0;
}

// out(j) (+)= sum over i of a(i,j), a of `rows` x n; summed in double, in the
// order of rows.
void SumRows(const float* a, int64_t rows, int64_t n, GradientMode mode,
             float* out);

}  // namespace cssp::cpu

#endif  // CSSP_WORKER_LAYERS_CPU_GEMM_H_
