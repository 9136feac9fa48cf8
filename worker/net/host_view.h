// What a layer whose code runs on the host sees of its tensors, wherever
// kernels work: Python layers, and whoever else writes one in plain C++ for
// every device.
#ifndef CSSP_WORKER_NET_HOST_VIEW_H_
#define CSSP_WORKER_NET_HOST_VIEW_H_

#include <cstddef>
#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/device/device.h"

namespace cssp {

// One call of a layer's Forward or Backward.
struct HostPass {
  Device& device;
  Stream& stream;
  // Keeps the tensors' memory readable; may be null.
  std::shared_ptr<const void> memory;
};

// One tensor, pass by pass.  Where kernels work in host memory it is that
// memory.  Elsewhere it is a copy, made when it is first asked for in a pass;
// what was asked for may have been written, so it goes back at the pass's end:
// as Caffe's own blobs do, and at the same price.  The host waits for the device
// here, which only layers do that cannot do without.
//
// Thread-confined: the training thread.
class HostView {
 public:
  // `tensor`: where kernels work, null for nothing.
  void Begin(const HostPass& pass, void* tensor, size_t bytes);
  // Values as the pass's kernels left them; null where there is nothing.  After
  // End: what the last pass showed, null if it showed nothing.
  absl::StatusOr<float*> Floats();
  // Copies back.  In stream order: the caller waits for the stream before it
  // begins another pass.
  absl::Status End();
  // Forgets the tensor.
  void Clear();
  // Keeps what Floats() gave readable while it is held.
  const std::shared_ptr<const void>& hold() const { return hold_; }

 private:
  bool mirrored() const {
    return device_ != nullptr && !device_->works_in_host_memory();
  }

  Device* device_ = nullptr;
  Stream* stream_ = nullptr;  // null outside a pass
  void* tensor_ = nullptr;
  size_t bytes_ = 0;
  bool fetched_ = false;  // in this pass, or the last one
  std::shared_ptr<Buffer> mirror_;
  std::shared_ptr<const void> hold_;
};

}  // namespace cssp

#endif  // CSSP_WORKER_NET_HOST_VIEW_H_
