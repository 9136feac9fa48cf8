// Streams and events, and the libraries' handles that belong to a stream.
#include "common/base/status_macros.h"
#include "common/device/cuda/cuda_device.h"
#include "common/device/cuda/cuda_status.h"

namespace cssp {
namespace {

// What NVIDIA recommends for Hopper; given to cuBLAS so that it allocates
// nothing itself and its sums do not depend on what else is running.
constexpr size_t kCublasWorkspace = size_t{32} << 20;

cublasMath_t CublasMath(MathMode math) {
  // bf16 is chosen per call, by the compute type (launch.h).
  return math == MathMode::kTf32 ? CUBLAS_TF32_TENSOR_OP_MATH
                                 : CUBLAS_DEFAULT_MATH;
}

}  // namespace

CudaEvent::~CudaEvent() { cudaEventDestroy(event_); }

absl::Status CudaEvent::Synchronize() {
  return FromCuda(cudaEventSynchronize(event_), "waiting for the device");
}

CudaStream::~CudaStream() {
  // Faults have been reported, or nobody wants to hear of them.
  cudaStreamSynchronize(stream_);
  if (cublas_ != nullptr) cublasDestroy(cublas_);
  if (cudnn_ != nullptr) cudnnDestroy(cudnn_);
  cudaStreamDestroy(stream_);
}

absl::Status CudaStream::Synchronize() {
  return FromCuda(cudaStreamSynchronize(stream_), "waiting for the device");
}

absl::Status CudaStream::Record(Event& event) {
  return FromCuda(
      cudaEventRecord(static_cast<CudaEvent&>(event).get(), stream_),
      "recording an event");
}

absl::Status CudaStream::Wait(Event& event) {
  return FromCuda(
      cudaStreamWaitEvent(stream_, static_cast<CudaEvent&>(event).get()),
      "waiting for an event");
}

absl::Status CudaStream::RunOnHost(void (*function)(void*), void* argument) {
  return FromCuda(cudaLaunchHostFunc(stream_, function, argument),
                  "launching a host function");
}

absl::StatusOr<cublasHandle_t> CudaStream::cublas() {
  if (cublas_ != nullptr) return cublas_;
  RETURN_IF_ERROR(device_.MakeCurrent());
  ASSIGN_OR_RETURN(cublas_workspace_, device_.Allocate(kCublasWorkspace));
  cublasHandle_t handle = nullptr;
  RETURN_IF_CUBLAS_ERROR(cublasCreate(&handle));
  cublas_ = handle;
  RETURN_IF_CUBLAS_ERROR(cublasSetStream(handle, stream_));
  RETURN_IF_CUBLAS_ERROR(cublasSetWorkspace(handle, cublas_workspace_.data(),
                                            cublas_workspace_.bytes()));
  RETURN_IF_CUBLAS_ERROR(
      cublasSetMathMode(handle, CublasMath(device_.options().math)));
  RETURN_IF_CUBLAS_ERROR(
      cublasSetAtomicsMode(handle, CUBLAS_ATOMICS_NOT_ALLOWED));
  return cublas_;
}

absl::StatusOr<cudnnHandle_t> CudaStream::cudnn() {
  if (cudnn_ != nullptr) return cudnn_;
  RETURN_IF_ERROR(device_.MakeCurrent());
  cudnnHandle_t handle = nullptr;
  RETURN_IF_CUDNN_ERROR(cudnnCreate(&handle));
  cudnn_ = handle;
  RETURN_IF_CUDNN_ERROR(cudnnSetStream(handle, stream_));
  return cudnn_;
}

}  // namespace cssp
