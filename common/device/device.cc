#include "common/device/device.h"

#include <utility>

#include "absl/strings/str_cat.h"

namespace cssp {

const char* DeviceTypeName(DeviceType type) {
  return type == DeviceType::kCpu ? "CPU" : "CUDA";
}

absl::StatusOr<MathMode> ParseMathMode(const std::string& name) {
  if (name == "fp32") return MathMode::kFp32;
  if (name == "tf32") return MathMode::kTf32;
  if (name == "bf16") return MathMode::kBf16;
  return absl::InvalidArgumentError(absl::StrCat(
      "the math mode must be fp32, tf32 or bf16, not '", name, "'"));
}

Buffer& Buffer::operator=(Buffer&& other) noexcept {
  if (this == &other) return *this;
  if (data_ != nullptr) device_->Free(data_, bytes_, kind_);
  device_ = std::exchange(other.device_, nullptr);
  data_ = std::exchange(other.data_, nullptr);
  bytes_ = std::exchange(other.bytes_, 0);
  kind_ = other.kind_;
  return *this;
}

Buffer::~Buffer() {
  if (data_ != nullptr) device_->Free(data_, bytes_, kind_);
}

}  // namespace cssp
