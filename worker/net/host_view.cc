#include "worker/net/host_view.h"

#include "common/base/status_macros.h"

namespace cssp {

void HostView::Begin(const HostPass& pass, void* tensor, size_t bytes) {
  device_ = &pass.device;
  stream_ = &pass.stream;
  tensor_ = tensor;
  bytes_ = bytes;
  fetched_ = false;
  if (!mirrored()) hold_ = pass.memory;
}

absl::StatusOr<float*> HostView::Floats() {
  if (!mirrored()) return static_cast<float*>(tensor_);
  if (fetched_) return mirror_->floats();
  if (tensor_ == nullptr || stream_ == nullptr) return nullptr;
  if (mirror_ == nullptr || mirror_->bytes() != bytes_) {
    ASSIGN_OR_RETURN(Buffer host, device_->AllocateHost(bytes_));
    mirror_ = std::make_shared<Buffer>(std::move(host));
    hold_ = mirror_;
  }
  RETURN_IF_ERROR(
      device_->CopyToHost(*stream_, mirror_->data(), tensor_, bytes_));
  RETURN_IF_ERROR(stream_->Synchronize());
  fetched_ = true;
  return mirror_->floats();
}

absl::Status HostView::End() {
  Stream* const stream = std::exchange(stream_, nullptr);
  if (!mirrored() || stream == nullptr || !fetched_) return absl::OkStatus();
  return device_->CopyFromHost(*stream, tensor_, mirror_->data(), bytes_);
}

void HostView::Clear() {
  stream_ = nullptr;
  tensor_ = nullptr;
  fetched_ = false;
}

}  // namespace cssp
