#include "common/device/device.h"

#include <utility>

namespace cssp {

const char* DeviceTypeName(DeviceType type) {
  return type == DeviceType::kCpu ? "CPU" : "CUDA";
}

Buffer& Buffer::operator=(Buffer&& other) noexcept {
  if (this == &other) return *this;
  if (data_ != nullptr) device_->Free(data_, bytes_);
  device_ = std::exchange(other.device_, nullptr);
  data_ = std::exchange(other.data_, nullptr);
  bytes_ = std::exchange(other.bytes_, 0);
  return *this;
}

Buffer::~Buffer() {
  if (data_ != nullptr) device_->Free(data_, bytes_);
}

}  // namespace cssp
