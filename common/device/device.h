// A device computes and holds memory: the processor's cores, or one GPU.
#ifndef CSSP_COMMON_DEVICE_DEVICE_H_
#define CSSP_COMMON_DEVICE_DEVICE_H_

#include <cstddef>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace cssp {

enum class DeviceType { kCpu, kCuda };

const char* DeviceTypeName(DeviceType type);

class Device;

// Owns device memory of one device; movable, freed when it goes.  64-byte
// aligned (256 on a GPU), zeroed on allocation.
class Buffer {
 public:
  Buffer() = default;
  Buffer(Device* device, void* data, size_t bytes)
      : device_(device), data_(data), bytes_(bytes) {}
  Buffer(Buffer&& other) noexcept { *this = std::move(other); }
  Buffer& operator=(Buffer&& other) noexcept;
  ~Buffer();

  void* data() const { return data_; }
  float* floats() const { return static_cast<float*>(data_); }
  size_t bytes() const { return bytes_; }

 private:
  Device* device_ = nullptr;
  void* data_ = nullptr;
  size_t bytes_ = 0;
};

// An order of execution: launches on one stream run one after the other.  On
// the CPU a launch has run when it returns.
class Stream {
 public:
  virtual ~Stream() = default;
  // Waits for everything launched.  Reports faults of earlier launches.
  virtual absl::Status Synchronize() = 0;
  // The native stream (cudaStream_t), null on the CPU.
  virtual void* native() const { return nullptr; }
};

// Thread-safe, but for streams, which belong to the thread that launches.
class Device {
 public:
  virtual ~Device() = default;

  virtual DeviceType type() const = 0;
  // "CPU (2 threads)", "NVIDIA H200 (device 0)".
  virtual std::string name() const = 0;
  // Compute threads of the processor; 1 on a GPU.
  virtual int threads() const { return 1; }
  virtual absl::StatusOr<Buffer> Allocate(size_t bytes) = 0;
  virtual absl::StatusOr<std::unique_ptr<Stream>> NewStream() = 0;

  // Asynchronous on `stream`; host memory should be pinned on a GPU.
  virtual absl::Status CopyToHost(Stream& stream, void* host,
                                  const void* device, size_t bytes) = 0;
  virtual absl::Status CopyFromHost(Stream& stream, void* device,
                                    const void* host, size_t bytes) = 0;
  virtual absl::Status Copy(Stream& stream, void* to, const void* from,
                            size_t bytes) = 0;
  virtual absl::Status Zero(Stream& stream, void* data, size_t bytes) = 0;

 private:
  friend class Buffer;
  virtual void Free(void* data, size_t bytes) = 0;
};

// The processor, with `threads` compute threads (0: all that affinity allows).
// NewStream gives the calling thread that many OpenMP threads, so kernels that
// it launches obey; a device of its own suits each launching thread.
std::unique_ptr<Device> MakeCpuDevice(int threads);

// One GPU.  Unimplemented where no CUDA is built in (no_cuda.cc), NotFound
// where the machine has no such device.
absl::StatusOr<std::unique_ptr<Device>> MakeCudaDevice(int ordinal);

}  // namespace cssp

#endif  // CSSP_COMMON_DEVICE_DEVICE_H_
