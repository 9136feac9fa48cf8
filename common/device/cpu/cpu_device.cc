// The processor as a device: memory is host memory, launches run at once.
#include <omp.h>
#include <sched.h>
#include <sys/mman.h>

#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/device/device.h"

namespace cssp {
namespace {

constexpr size_t kAlign = 64;  // a cache line, and AVX-512's vector
// Big arrays lie on big pages: weights that are read once an iteration would
// else miss the translation buffer on every page (an update runs at 0.57 of its
// time).
constexpr size_t kHugePage = size_t{2} << 20;
constexpr size_t kHugeFrom = 2 * kHugePage;

int AllowedCores() {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof(set), &set) != 0) return 1;
  const int cores = CPU_COUNT(&set);
  return cores > 0 ? cores : 1;
}

// Thread-confined: the launching thread.
class CpuStream final : public Stream {
 public:
  absl::Status Synchronize() override { return absl::OkStatus(); }
};

// Thread-safe: immutable after construction.
class CpuDevice final : public Device {
 public:
  explicit CpuDevice(int threads) : threads_(threads) {}

  DeviceType type() const override { return DeviceType::kCpu; }
  int threads() const override { return threads_; }
  std::string name() const override {
    return absl::StrCat("CPU (", threads_,
                        threads_ == 1 ? " thread)" : " threads)");
  }

  absl::StatusOr<Buffer> Allocate(size_t bytes) override {
    if (bytes == 0) return Buffer();
    const size_t align = bytes >= kHugeFrom ? kHugePage : kAlign;
    if (bytes > SIZE_MAX - align) return OutOfMemory(bytes);
    const size_t rounded = (bytes + align - 1) / align * align;
    void* data = std::aligned_alloc(align, rounded);
    if (data == nullptr) return OutOfMemory(bytes);
    // A wish: where the kernel has no such pages, others do.
    if (align == kHugePage) madvise(data, rounded, MADV_HUGEPAGE);
    std::memset(data, 0, rounded);
    return Buffer(this, data, bytes);
  }

  absl::StatusOr<std::unique_ptr<Stream>> NewStream() override {
    omp_set_num_threads(threads_);
    return std::make_unique<CpuStream>();
  }

  absl::Status CopyToHost(Stream& stream, void* host, const void* device,
                          size_t bytes) override {
    return Copy(stream, host, device, bytes);
  }
  absl::Status CopyFromHost(Stream& stream, void* device, const void* host,
                            size_t bytes) override {
    return Copy(stream, device, host, bytes);
  }
  absl::Status Copy(Stream&, void* to, const void* from,
                    size_t bytes) override {
    if (bytes > 0) std::memmove(to, from, bytes);
    return absl::OkStatus();
  }
  absl::Status Zero(Stream&, void* data, size_t bytes) override {
    if (bytes > 0) std::memset(data, 0, bytes);
    return absl::OkStatus();
  }

 private:
  static absl::Status OutOfMemory(size_t bytes) {
    return absl::ResourceExhaustedError(
        absl::StrCat("no memory for ", bytes, " bytes on the CPU"));
  }
  void Free(void* data, size_t, MemoryKind) override { std::free(data); }

  const int threads_;
};

}  // namespace

std::unique_ptr<Device> MakeCpuDevice(int threads) {
  return std::make_unique<CpuDevice>(threads > 0 ? threads : AllowedCores());
}

}  // namespace cssp
