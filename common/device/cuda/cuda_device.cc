#include "common/device/cuda/cuda_device.h"

#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/logging.h"
#include "common/base/status_macros.h"
#include "common/device/cuda/cuda_status.h"

namespace cssp {
namespace {

// What is done about it, behind what is wrong.
absl::Status NoGpu(int ordinal, const absl::Status& why) {
  return absl::Status(
      why.code(),
      absl::StrCat("GPU ", ordinal, " was asked for, but ", why.message(),
                   ": use solver_mode: CPU, or see nvidia-smi"));
}

absl::Status CheckOrdinal(int ordinal) {
  const absl::StatusOr<int> count = CountCudaDevices();
  if (!count.ok()) return NoGpu(ordinal, count.status());
  if (ordinal >= 0 && ordinal < *count) return absl::OkStatus();
  return NoGpu(ordinal, absl::NotFoundError(absl::StrCat(
                            "this machine has ", *count,
                            *count == 1 ? " GPU" : " GPUs", ", from 0")));
}

}  // namespace

absl::StatusOr<int> CountCudaDevices() {
  int count = 0;
  const cudaError_t error = cudaGetDeviceCount(&count);
  // CUDA's own sentence speaks of versions even where there is no driver.
  if (error == cudaErrorInsufficientDriver)
    return absl::NotFoundError(absl::StrCat(
        "this machine has no NVIDIA driver, or one older than CUDA ",
        CUDART_VERSION / 1000, ".", CUDART_VERSION % 1000 / 10));
  RETURN_IF_ERROR(FromCuda(error, "this machine has no GPU that runs"));
  return count;
}

absl::StatusOr<std::unique_ptr<Device>> MakeCudaDevice(
    int ordinal, const CudaOptions& options) {
  return CudaDevice::Create(ordinal, options);
}

absl::StatusOr<std::unique_ptr<CudaDevice>> CudaDevice::Create(
    int ordinal, const CudaOptions& options) {
  RETURN_IF_ERROR(CheckOrdinal(ordinal));
  cudaDeviceProp properties;
  RETURN_IF_CUDA_ERROR(cudaGetDeviceProperties(&properties, ordinal));
  std::unique_ptr<CudaDevice> device(
      new CudaDevice(ordinal, options,
                     absl::StrCat(properties.name, " (device ", ordinal, ")"),
                     properties.multiProcessorCount));
  // Makes the context: a GPU that another process holds alone shows here.
  RETURN_IF_ERROR(device->MakeCurrent());
  RETURN_IF_CUDA_ERROR(cudaFree(nullptr));
  return device;
}

CudaDevice::~CudaDevice() {
  absl::MutexLock lock(&mu_);
  if (planning_cudnn_ != nullptr) cudnnDestroy(planning_cudnn_);
}

absl::Status CudaDevice::MakeCurrent() const {
  return FromCuda(cudaSetDevice(ordinal_), name_);
}

absl::StatusOr<cudnnHandle_t> CudaDevice::planning_cudnn() {
  RETURN_IF_ERROR(MakeCurrent());
  absl::MutexLock lock(&mu_);
  if (planning_cudnn_ == nullptr)
    RETURN_IF_CUDNN_ERROR(cudnnCreate(&planning_cudnn_));
  return planning_cudnn_;
}

absl::StatusOr<Buffer> CudaDevice::Allocate(size_t bytes) {
  if (bytes == 0) return Buffer();
  RETURN_IF_ERROR(MakeCurrent());
  void* data = nullptr;
  const cudaError_t error = cudaMalloc(&data, bytes);
  if (error != cudaSuccess) {
    cudaGetLastError();  // a failed allocation is no fault of the device
    return FromCuda(error,
                    absl::StrCat("allocating ", bytes, " bytes on ", name_));
  }
  Buffer buffer(this, data, bytes);
  RETURN_IF_CUDA_ERROR(cudaMemset(data, 0, bytes));
  // Our streams do not wait for the default stream's memset.
  RETURN_IF_CUDA_ERROR(cudaStreamSynchronize(cudaStreamLegacy));
  return buffer;
}

absl::StatusOr<Buffer> CudaDevice::AllocateHost(size_t bytes) {
  if (bytes == 0) return Buffer();
  RETURN_IF_ERROR(MakeCurrent());
  void* data = nullptr;
  const cudaError_t error = cudaHostAlloc(&data, bytes, cudaHostAllocPortable);
  if (error != cudaSuccess) {
    cudaGetLastError();
    return FromCuda(error,
                    absl::StrCat("pinning ", bytes, " bytes of host memory"));
  }
  std::memset(data, 0, bytes);
  return Buffer(this, data, bytes, MemoryKind::kHost);
}

// A kernel may still use the memory: cudaFree waits for it.
void CudaDevice::Free(void* data, size_t bytes, MemoryKind kind) {
  const cudaError_t error =
      kind == MemoryKind::kHost ? cudaFreeHost(data) : cudaFree(data);
  // A process that ends, or a GPU at fault: the driver frees everything.
  if (error != cudaSuccess && error != cudaErrorCudartUnloading)
    LOG(WARNING) << FromCuda(error, "freeing memory").message();
}

absl::StatusOr<std::unique_ptr<Stream>> CudaDevice::NewStream() {
  RETURN_IF_ERROR(MakeCurrent());
  cudaStream_t stream = nullptr;
  RETURN_IF_CUDA_ERROR(
      cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  return std::make_unique<CudaStream>(*this, stream);
}

absl::StatusOr<std::unique_ptr<Event>> CudaDevice::NewEvent() {
  RETURN_IF_ERROR(MakeCurrent());
  cudaEvent_t event = nullptr;
  RETURN_IF_CUDA_ERROR(cudaEventCreateWithFlags(
      &event, cudaEventDisableTiming | cudaEventBlockingSync));
  return std::make_unique<CudaEvent>(event);
}

absl::Status CudaDevice::CopyToHost(Stream& stream, void* host,
                                    const void* device, size_t bytes) {
  if (bytes == 0) return absl::OkStatus();
  return FromCuda(cudaMemcpyAsync(host, device, bytes, cudaMemcpyDeviceToHost,
                                  CudaStream::Of(stream).get()),
                  "copying from the device");
}

absl::Status CudaDevice::CopyFromHost(Stream& stream, void* device,
                                      const void* host, size_t bytes) {
  if (bytes == 0) return absl::OkStatus();
  return FromCuda(cudaMemcpyAsync(device, host, bytes, cudaMemcpyHostToDevice,
                                  CudaStream::Of(stream).get()),
                  "copying to the device");
}

absl::Status CudaDevice::Copy(Stream& stream, void* to, const void* from,
                              size_t bytes) {
  if (bytes == 0) return absl::OkStatus();
  return FromCuda(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice,
                                  CudaStream::Of(stream).get()),
                  "copying on the device");
}

absl::Status CudaDevice::Zero(Stream& stream, void* data, size_t bytes) {
  if (bytes == 0) return absl::OkStatus();
  return FromCuda(cudaMemsetAsync(data, 0, bytes, CudaStream::Of(stream).get()),
                  "zeroing device memory");
}

}  // namespace cssp
