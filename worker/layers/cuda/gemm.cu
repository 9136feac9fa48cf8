#include <algorithm>

#include "common/base/status_macros.h"
#include "common/device/cuda/cuda_device.h"
#include "common/device/cuda/cuda_status.h"
#include "common/device/cuda/launch.h"
#include "worker/layers/cuda/gemm.h"

namespace cssp::cuda {

// cuBLAS is column-major: it sees every matrix transposed, and
// C' = op(B)' op(A)'.
absl::Status Gemm(Stream& stream, const GemmShape& s, const float* a,
                  const float* b, float beta, float* c) {
  if (s.m < 1 || s.n < 1) return absl::OkStatus();
  ASSIGN_OR_RETURN(const cublasHandle_t handle,
                   CudaStream::Of(stream).cublas());
  const float alpha = 1;
  const int64_t ldb = s.transpose_b ? s.k : s.n;
  const int64_t lda = s.transpose_a ? s.m : s.k;
  RETURN_IF_CUBLAS_ERROR(cublasGemmEx_64(
      handle, s.transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N,
      s.transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N, s.n, s.m, s.k, &alpha, b,
      CUDA_R_32F, std::max<int64_t>(ldb, 1), a, CUDA_R_32F,
      std::max<int64_t>(lda, 1), &beta, c, CUDA_R_32F, s.n,
      GemmComputeType(CudaStream::Of(stream).device().options().math),
      CUBLAS_GEMM_DEFAULT));
  return absl::OkStatus();
}

}  // namespace cssp::cuda
