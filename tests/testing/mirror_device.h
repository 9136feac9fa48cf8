// The processor playing a device with memory of its own: what a net does for a
// GPU (uploads, mirrors, the courier) runs in tests without one.
#ifndef CSSP_TESTS_TESTING_MIRROR_DEVICE_H_
#define CSSP_TESTS_TESTING_MIRROR_DEVICE_H_

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>

#include "absl/synchronization/mutex.h"
#include "common/device/device.h"

namespace cssp::testing {

// Thread-safe.  Launches and copies run at once; events can be held back, so
// that who waits for one has to.  Layers are the CPU's.
class MirrorDevice final : public Device {
 public:
  DeviceType type() const override { return DeviceType::kCpu; }
  std::string name() const override { return "mirror"; }
  bool works_in_host_memory() const override { return false; }
  absl::StatusOr<Buffer> Allocate(size_t bytes) override {
    return New(bytes, MemoryKind::kDevice);
  }
  absl::StatusOr<Buffer> AllocateHost(size_t bytes) override {
    return New(bytes, MemoryKind::kHost);
  }
  absl::StatusOr<std::unique_ptr<Stream>> NewStream() override {
    return std::make_unique<MirrorStream>(*this);
  }
  absl::StatusOr<std::unique_ptr<Event>> NewEvent() override {
    return std::make_unique<MirrorEvent>(*this);
  }
  absl::Status CopyToHost(Stream&, void* host, const void* device,
                          size_t bytes) override {
    to_host += bytes;
    return Move(host, device, bytes);
  }
  absl::Status CopyFromHost(Stream&, void* device, const void* host,
                            size_t bytes) override {
    from_host += bytes;
    return Move(device, host, bytes);
  }
  absl::Status Copy(Stream&, void* to, const void* from,
                    size_t bytes) override {
    return Move(to, from, bytes);
  }
  absl::Status Zero(Stream&, void* data, size_t bytes) override {
    std::memset(data, 0, bytes);
    return absl::OkStatus();
  }

  // While held, Event::Synchronize does not return.
  void HoldEvents(bool held) {
    absl::MutexLock lock(&mu_);
    held_ = held;
  }
  // From now on everything that waits reports it, as after a kernel's fault.
  void Fail(absl::Status fault) {
    absl::MutexLock lock(&mu_);
    fault_ = std::move(fault);
  }

  std::atomic<size_t> to_host{0}, from_host{0};  // bytes copied

 private:
  class MirrorStream final : public Stream {
   public:
    explicit MirrorStream(MirrorDevice& device) : device_(device) {}
    absl::Status Synchronize() override { return device_.Fault(); }

   private:
    MirrorDevice& device_;
  };
  class MirrorEvent final : public Event {
   public:
    explicit MirrorEvent(MirrorDevice& device) : device_(device) {}
    absl::Status Synchronize() override {
      absl::MutexLock lock(&device_.mu_);
      const auto released = [this]() { return !device_.held_; };
      device_.mu_.Await(absl::Condition(&released));
      return device_.fault_;
    }

   private:
    MirrorDevice& device_;
  };

  absl::StatusOr<Buffer> New(size_t bytes, MemoryKind kind) {
    if (bytes == 0) return Buffer();
    void* data = std::aligned_alloc(256, (bytes + 255) / 256 * 256);
    std::memset(data, 0, bytes);
    return Buffer(this, data, bytes, kind);
  }
  static absl::Status Move(void* to, const void* from, size_t bytes) {
    if (bytes > 0) std::memcpy(to, from, bytes);
    return absl::OkStatus();
  }
  absl::Status Fault() {
    absl::MutexLock lock(&mu_);
    return fault_;
  }
  void Free(void* data, size_t, MemoryKind) override { std::free(data); }

  absl::Mutex mu_;
  bool held_ = false;
  absl::Status fault_;
};

}  // namespace cssp::testing

#endif  // CSSP_TESTS_TESTING_MIRROR_DEVICE_H_
