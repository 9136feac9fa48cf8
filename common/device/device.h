// A device computes and holds memory: the processor's cores, or one GPU.
#ifndef CSSP_COMMON_DEVICE_DEVICE_H_
#define CSSP_COMMON_DEVICE_DEVICE_H_

#include <cstddef>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace cssp {

enum class DeviceType { kCpu, kCuda };

const char* DeviceTypeName(DeviceType type);

class Device;

// Host memory of a GPU is pinned: copies to and from it run asynchronously.
enum class MemoryKind { kDevice, kHost };

// Owns memory that one device gave; movable, freed when it goes.  64-byte
// aligned (256 on a GPU), zeroed on allocation.
class Buffer {
 public:
  Buffer() = default;
  Buffer(Device* device, void* data, size_t bytes,
         MemoryKind kind = MemoryKind::kDevice)
      : device_(device), data_(data), bytes_(bytes), kind_(kind) {}
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
  MemoryKind kind_ = MemoryKind::kDevice;
};

// A point in a stream's order; recording it again moves it.  The base class
// serves the CPU, where every launch has run when it returns.
class Event {
 public:
  virtual ~Event() = default;
  // Blocks until the point that was recorded last is reached; at once where
  // none was.
  virtual absl::Status Synchronize() { return absl::OkStatus(); }
};

// An order of execution: launches on one stream run one after the other.  On
// the CPU a launch has run when it returns, and the defaults here say so.
class Stream {
 public:
  virtual ~Stream() = default;
  // Waits for everything launched.  Reports faults of earlier launches.
  virtual absl::Status Synchronize() = 0;
  // The event is reached when everything launched so far has run.
  virtual absl::Status Record(Event& event) { return absl::OkStatus(); }
  // Later launches on this stream wait for the event, the caller does not.
  virtual absl::Status Wait(Event& event) { return absl::OkStatus(); }
  // Calls function(argument) once everything launched so far has run, on a
  // thread of the device's; launches behind it wait for its return.  It must be
  // short and launch nothing.  After a fault it is never called.
  virtual absl::Status RunOnHost(void (*function)(void*), void* argument) {
    function(argument);
    return absl::OkStatus();
  }
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
  // Whether kernels work in host memory: then host and device views of the
  // same data are one, and nothing is copied.
  virtual bool works_in_host_memory() const { return true; }
  virtual absl::StatusOr<Buffer> Allocate(size_t bytes) = 0;
  // Memory of the host that this device copies from and to without stopping.
  virtual absl::StatusOr<Buffer> AllocateHost(size_t bytes) {
    return Allocate(bytes);
  }
  virtual absl::StatusOr<std::unique_ptr<Stream>> NewStream() = 0;
  virtual absl::StatusOr<std::unique_ptr<Event>> NewEvent() {
    return std::make_unique<Event>();
  }

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
  virtual void Free(void* data, size_t bytes, MemoryKind kind) = 0;
};

// The processor, with `threads` compute threads (0: all that affinity allows).
// NewStream gives the calling thread that many OpenMP threads, so kernels that
// it launches obey; a device of its own suits each launching thread.
std::unique_ptr<Device> MakeCpuDevice(int threads);

// How a GPU multiplies fp32 matrices: as they are, with factors rounded to
// TF32's 10 bits of mantissa, or to bfloat16's 7.  Sums are fp32 in all three.
enum class MathMode { kFp32, kTf32, kBf16 };

// "fp32", "tf32", "bf16"; InvalidArgument lists them.
absl::StatusOr<MathMode> ParseMathMode(const std::string& name);

struct CudaOptions {
  // Only kernels whose sums have a fixed order: equal inputs, equal bits.
  bool deterministic = false;
  MathMode math = MathMode::kFp32;
};

// One GPU.  Unimplemented where no CUDA is built in (no_cuda.cc), NotFound
// where the machine has no such device or no driver.
absl::StatusOr<std::unique_ptr<Device>> MakeCudaDevice(
    int ordinal, const CudaOptions& options = {});

// The machine's GPUs, a text of "name: value" lines each; errors as above.
absl::StatusOr<std::vector<std::string>> DescribeCudaDevices();

}  // namespace cssp

#endif  // CSSP_COMMON_DEVICE_DEVICE_H_
