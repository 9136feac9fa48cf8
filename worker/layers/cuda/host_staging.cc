#include "worker/layers/cuda/host_staging.h"

#include "common/base/status_macros.h"
#include "common/device/cuda/cuda_device.h"

namespace cssp::cuda {

absl::StatusOr<absl::Span<const Tensor>> HostStaging::Begin(
    StepContext& step, absl::Span<const Tensor> tops) {
  Device& device = CudaStream::Of(step.stream()).device();
  current_ ^= 1;
  Set& set = sets_[current_];
  if (set.copied == nullptr) {
    ASSIGN_OR_RETURN(set.copied, device.NewEvent());
  }
  RETURN_IF_ERROR(set.copied->Synchronize());
  set.memory.resize(tops.size());
  host_.clear();
  for (size_t i = 0; i < tops.size(); ++i) {
    const size_t bytes = tops[i].desc->bytes();
    if (set.memory[i].bytes() != bytes) {
      ASSIGN_OR_RETURN(set.memory[i], device.AllocateHost(bytes));
    }
    host_.push_back({tops[i].desc, set.memory[i].data()});
  }
  return absl::MakeConstSpan(host_);
}

absl::Status HostStaging::End(StepContext& step,
                              absl::Span<const Tensor> tops) {
  Device& device = CudaStream::Of(step.stream()).device();
  Set& set = sets_[current_];
  for (size_t i = 0; i < tops.size(); ++i)
    RETURN_IF_ERROR(device.CopyFromHost(step.stream(), tops[i].raw,
                                        set.memory[i].data(),
                                        set.memory[i].bytes()));
  return step.stream().Record(*set.copied);
}

}  // namespace cssp::cuda
