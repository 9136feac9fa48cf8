// The user's side of a tensor: fp32, Caffe's layout, data and gradient (diff).
#ifndef CSSP_WORKER_NET_BLOB_H_
#define CSSP_WORKER_NET_BLOB_H_

#include <string>
#include <vector>

#include "absl/types/span.h"
#include "common/tensor/tensor.h"

namespace cssp {

// Thread-confined: the training thread.  Kernels never see a Blob; the plan
// resolves layout and device coherence at its borders.  With keep_blobs off an
// activation's view may be a copy made when it is asked for.
class Blob {
 public:
  virtual ~Blob() = default;
  virtual const std::string& name() const = 0;
  virtual const Shape& shape() const = 0;
  // Host views in Caffe's layout, coherent at the call, valid until the next
  // Forward, Backward or Reshape.  Writing is honoured by the next step that
  // reads the blob (inputs; pinned blobs).
  virtual absl::Span<const float> data() = 0;
  virtual absl::Span<float> mutable_data() = 0;
  // Empty where no gradient flows.
  virtual absl::Span<const float> diff() = 0;
  virtual absl::Span<float> mutable_diff() = 0;
  // Takes effect at Net::Reshape; refused for blobs that are no inputs.
  virtual absl::Status Reshape(const Shape& shape) = 0;
};

}  // namespace cssp

#endif  // CSSP_WORKER_NET_BLOB_H_
