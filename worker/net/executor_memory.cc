// The executor's memory: a new plan's, and what is kept of the old one's.
#include <algorithm>
#include <utility>
#include <vector>

#include "common/base/status_macros.h"
#include "worker/net/executor.h"

namespace cssp {
namespace {

void* At(const Buffer& arena, size_t offset) {
  return static_cast<char*>(arena.data()) + offset;
}

}  // namespace

absl::Status Executor::Adopt(ExecutionPlan plan) {
  ExecutionPlan old;
  ASSIGN_OR_RETURN(const std::shared_ptr<Buffer> old_data,
                   NewMemory(std::move(plan), &old));
  if (old_data != nullptr) RETURN_IF_ERROR(KeepSources(old, *old_data));
  HoldMemory();
  return BindData();
}

absl::Status Executor::AdoptRunning(ExecutionPlan plan) {
  ExecutionPlan old;
  ASSIGN_OR_RETURN(const std::shared_ptr<Buffer> old_data,
                   NewMemory(std::move(plan), &old));
  RETURN_IF_ERROR(KeepRunning(old, *old_data));
  HoldMemory();
  return BindData();
}

// Takes `plan`; gives the memory of the old one, which goes into *old.
absl::StatusOr<std::shared_ptr<Buffer>> Executor::NewMemory(
    ExecutionPlan plan, ExecutionPlan* old) {
  // What the old plan's steps still do must be done before its memory goes.
  RETURN_IF_ERROR(stream_->Synchronize());
  *old = std::exchange(plan_, std::move(plan));
  std::shared_ptr<Buffer> old_data = std::move(data_);
  ASSIGN_OR_RETURN(Buffer data, device_.Allocate(plan_.data_bytes));
  data_ = std::make_shared<Buffer>(std::move(data));
  if (scratch_.bytes() < plan_.scratch_bytes) {
    ASSIGN_OR_RETURN(scratch_, device_.Allocate(plan_.scratch_bytes));
  }
  gradients_ = nullptr;
  gradients_bound_ = false;
  return old_data;
}

// Both plans have the same steps up to the one that stopped, so the storages
// that these began have the same numbers.
absl::Status Executor::KeepRunning(const ExecutionPlan& old,
                                   const Buffer& old_data) {
  for (size_t i = 0; i < old.storages.size(); ++i) {
    const PlanStorage& from = old.storages[i];
    if (from.first_use > stopped_step_ ||
        (!from.keep && from.last_use < stopped_step_))
      continue;
    const PlanStorage& to = plan_.storages[i];
    RETURN_IF_ERROR(device_.Copy(*stream_, At(*data_, to.offset),
                                 At(old_data, from.offset),
                                 std::min(from.bytes, to.bytes)));
  }
  return stream_->Synchronize();
}

void Executor::HoldMemory() {
  using Hold = std::vector<std::shared_ptr<const void>>;
  auto hold = std::make_shared<Hold>(params_.memory());
  hold->push_back(data_);
  hold->push_back(gradients_);
  memory_ = std::move(hold);
}

absl::Status Executor::ClearGradient(int param) {
  RETURN_IF_ERROR(AwaitGradients());
  for (int generation = 0; generation < 2; ++generation) {
    const NetParam& of = graph_.params[param];
    float* const host = params_.gradients(generation).data() + of.offset;
    float* const mirror = params_.gradient_mirror(generation) + of.offset;
    std::fill_n(host, of.shape.count(), 0.f);
    if (mirror == host) continue;
    RETURN_IF_ERROR(
        device_.Zero(*stream_, mirror, of.shape.count() * sizeof(float)));
  }
  return absl::OkStatus();
}

absl::Status Executor::KeepSources(const ExecutionPlan& old,
                                   const Buffer& old_data) {
  if (old.blob_tensor.empty()) return absl::OkStatus();
  for (const GraphLayer& layer : graph_.layers) {
    if (!layer.layer->Traits().is_source) continue;
    for (int blob : layer.top) {
      const PlanTensor& from = old.tensors[old.blob_tensor[blob]];
      const int to = plan_.blob_tensor[blob];
      if (!(from.desc == plan_.tensors[to].desc)) continue;
      RETURN_IF_ERROR(device_.Copy(
          *stream_, data(to), At(old_data, old.storages[from.storage].offset),
          from.desc.bytes()));
    }
  }
  return stream_->Synchronize();
}

}  // namespace cssp
