// One GPU, its streams and events: what the cuda/ folders see beyond device.h.
#ifndef CSSP_COMMON_DEVICE_CUDA_CUDA_DEVICE_H_
#define CSSP_COMMON_DEVICE_CUDA_CUDA_DEVICE_H_

#include <cublas_v2.h>
#include <cuda_runtime_api.h>
#include <cudnn.h>

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "common/device/device.h"

namespace cssp {

class CudaDevice;

// GPUs of this machine.  NotFound: none, no driver, or one too old.
absl::StatusOr<int> CountCudaDevices();

// Thread-safe.  Without timing: cheap to record and to wait for.
class CudaEvent final : public Event {
 public:
  explicit CudaEvent(cudaEvent_t event) : event_(event) {}
  ~CudaEvent() override;
  absl::Status Synchronize() override;
  cudaEvent_t get() const { return event_; }

 private:
  const cudaEvent_t event_;
};

// Thread-confined: the thread that launches.  Does not order itself with the
// legacy default stream.  Owns the libraries' handles, bound to this stream and
// made when they are first asked for (a plan's warm-up, not a step).
class CudaStream final : public Stream {
 public:
  // REQUIRES: a stream of a CudaDevice.
  static CudaStream& Of(Stream& stream) {
    return static_cast<CudaStream&>(stream);
  }
  CudaStream(CudaDevice& device, cudaStream_t stream)
      : device_(device), stream_(stream) {}
  ~CudaStream() override;

  absl::Status Synchronize() override;
  absl::Status Record(Event& event) override;
  absl::Status Wait(Event& event) override;
  absl::Status RunOnHost(void (*function)(void*), void* argument) override;

  cudaStream_t get() const { return stream_; }
  CudaDevice& device() const { return device_; }
  // In the device's math mode; pointers to scalars are host memory.
  absl::StatusOr<cublasHandle_t> cublas();
  absl::StatusOr<cudnnHandle_t> cudnn();

 private:
  CudaDevice& device_;
  const cudaStream_t stream_;
  cublasHandle_t cublas_ = nullptr;
  cudnnHandle_t cudnn_ = nullptr;
  Buffer cublas_workspace_;
};

// Thread-safe (monitor), but for streams, which belong to the thread that
// launches.  Every call makes this GPU the calling thread's current one.
class CudaDevice final : public Device {
 public:
  static absl::StatusOr<std::unique_ptr<CudaDevice>> Create(
      int ordinal, const CudaOptions& options);
  // REQUIRES: device.type() == DeviceType::kCuda.
  static CudaDevice& Of(Device& device) {
    return static_cast<CudaDevice&>(device);
  }
  ~CudaDevice() override;

  int ordinal() const { return ordinal_; }
  const CudaOptions& options() const { return options_; }
  int multiprocessors() const { return multiprocessors_; }
  // For questions while a layer binds (algorithms, workspace sizes); what it
  // launches would run on a stream nobody waits for.
  absl::StatusOr<cudnnHandle_t> planning_cudnn() ABSL_LOCKS_EXCLUDED(mu_);

  // The current device of the calling thread.
  absl::Status MakeCurrent() const;

  DeviceType type() const override { return DeviceType::kCuda; }
  std::string name() const override { return name_; }
  bool works_in_host_memory() const override { return false; }
  absl::StatusOr<Buffer> Allocate(size_t bytes) override;
  absl::StatusOr<Buffer> AllocateHost(size_t bytes) override;
  absl::StatusOr<std::unique_ptr<Stream>> NewStream() override;
  absl::StatusOr<std::unique_ptr<Event>> NewEvent() override;
  absl::Status CopyToHost(Stream& stream, void* host, const void* device,
                          size_t bytes) override;
  absl::Status CopyFromHost(Stream& stream, void* device, const void* host,
                            size_t bytes) override;
  absl::Status Copy(Stream& stream, void* to, const void* from,
                    size_t bytes) override;
  absl::Status Zero(Stream& stream, void* data, size_t bytes) override;

 private:
  CudaDevice(int ordinal, const CudaOptions& options, std::string name,
             int multiprocessors)
      : ordinal_(ordinal),
        options_(options),
        name_(std::move(name)),
        multiprocessors_(multiprocessors) {}
  void Free(void* data, size_t bytes, MemoryKind kind) override;

  const int ordinal_;
  const CudaOptions options_;
  const std::string name_;
  const int multiprocessors_;
  absl::Mutex mu_;
  cudnnHandle_t planning_cudnn_ ABSL_GUARDED_BY(mu_) = nullptr;
};

}  // namespace cssp

#endif  // CSSP_COMMON_DEVICE_CUDA_CUDA_DEVICE_H_
