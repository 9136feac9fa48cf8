// CUDA's, cuDNN's and cuBLAS's results as Status.
#ifndef CSSP_COMMON_DEVICE_CUDA_CUDA_STATUS_H_
#define CSSP_COMMON_DEVICE_CUDA_CUDA_STATUS_H_

#include <cublas_v2.h>
#include <cuda_runtime_api.h>
#include <cudnn.h>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace cssp {

// "<what>: <CUDA's sentence> (<cudaErrorName>)".  ResourceExhausted: no memory;
// NotFound: no device, no driver or one too old; Internal: the rest, among
// them the faults of kernels that ran earlier.
absl::Status FromCuda(cudaError_t error, absl::string_view what);

// Unimplemented where the library does not support what was asked for.
absl::Status FromCudnn(cudnnStatus_t status, absl::string_view what);
absl::Status FromCublas(cublasStatus_t status, absl::string_view what);

}  // namespace cssp

// Returns from the calling function unless the call succeeded; the message
// names the call.
#define RETURN_IF_CUDA_ERROR(call) \
  RETURN_IF_ERROR(::cssp::FromCuda((call), #call))
#define RETURN_IF_CUDNN_ERROR(call) \
  RETURN_IF_ERROR(::cssp::FromCudnn((call), #call))
#define RETURN_IF_CUBLAS_ERROR(call) \
  RETURN_IF_ERROR(::cssp::FromCublas((call), #call))

#endif  // CSSP_COMMON_DEVICE_CUDA_CUDA_STATUS_H_
