// Pinned memory in which a source makes its tops before they go to the GPU.
#ifndef CSSP_WORKER_LAYERS_CUDA_HOST_STAGING_H_
#define CSSP_WORKER_LAYERS_CUDA_HOST_STAGING_H_

#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/device/device.h"
#include "worker/net/layer.h"

namespace cssp::cuda {

// Thread-confined: the training thread.
//
//   ASSIGN_OR_RETURN(absl::Span<const Tensor> host, staging.Begin(step, tops));
//   ... write host[i] ...
//   return staging.End(step, tops);
//
// Two sets of buffers take turns: while one is being copied the other is
// filled.  They are allocated by the first steps and when tops change shape.
class HostStaging {
 public:
  // Host memory shaped like `tops`; waits for the copies out of it that were
  // begun two steps ago.
  absl::StatusOr<absl::Span<const Tensor>> Begin(StepContext& step,
                                                 absl::Span<const Tensor> tops);
  // Copies what was written to `tops`, in order with the step's kernels.
  absl::Status End(StepContext& step, absl::Span<const Tensor> tops);

 private:
  struct Set {
    std::vector<Buffer> memory;  // one a top
    std::unique_ptr<Event> copied;
  };
  Set sets_[2];
  int current_ = 0;
  std::vector<Tensor> host_;
};

// A source that writes host memory, on a GPU.
//
// Thread-confined: the training thread.
template <class L>
class StagedSource final : public L {
 public:
  using L::L;

  absl::Status Forward(StepContext& step, const ForwardArgs& args) override {
    const absl::StatusOr<absl::Span<const Tensor>> host =
        staging_.Begin(step, args.top);
    if (!host.ok()) return host.status();
    const absl::Status made =
        L::Forward(step, {args.bottom, args.param, *host, args.param_gradient});
    return made.ok() ? staging_.End(step, args.top) : made;
  }

 private:
  HostStaging staging_;
};

}  // namespace cssp::cuda

#endif  // CSSP_WORKER_LAYERS_CUDA_HOST_STAGING_H_
