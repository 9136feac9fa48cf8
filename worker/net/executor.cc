#include "worker/net/executor.h"

#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "common/base/logging.h"
#include "common/base/status_macros.h"
#include "worker/net/plan_passes.h"
#include "worker/net/reorder.h"
#include "worker/net/replan.h"

namespace cssp {
namespace {

void* At(const Buffer& arena, size_t offset) {
  return static_cast<char*>(arena.data()) + offset;
}

GradientMode ForPass(GradientMode mode, bool later_pass) {
  return mode == GradientMode::kWrite && later_pass ? GradientMode::kAdd : mode;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Executor>> Executor::Create(NetGraph& graph,
                                                           ParamMemory& params,
                                                           Device& device,
                                                           bool sync_layers) {
  auto executor = std::unique_ptr<Executor>(
      new Executor(graph, params, device, sync_layers));
  ASSIGN_OR_RETURN(executor->stream_, device.NewStream());
  executor->owned_.assign(graph.layers.size(), {0, 0});
  for (size_t i = 0; i < graph.params.size(); ++i) {
    auto& [first, count] = executor->owned_[graph.params[i].layer];
    if (count++ == 0) first = static_cast<int>(i);
  }
  if (!device.works_in_host_memory()) {
    ASSIGN_OR_RETURN(
        executor->courier_,
        GradientCourier::Create(device, static_cast<int>(graph.layers.size())));
  }
  return executor;
}

void Executor::Attach(GradientSink* sink, WeightSource* source) {
  // What is under way is for the old sink; a fault shows in the next step.
  AwaitGradients().IgnoreError();
  sink_ = sink;
  source_ = source;
}

absl::Status Executor::BindData() {
  bound_.assign(plan_.steps.size(), BoundStep());
  losses_.clear();
  size_t loss_bytes = 0;
  for (size_t t = 0; t < plan_.tensors.size(); ++t) {
    if (plan_.tensors[t].loss_weight == 0) continue;
    losses_.push_back(static_cast<int>(t));
    loss_bytes += plan_.tensors[t].desc.bytes();
  }
  if (loss_values_.bytes() < loss_bytes) {
    ASSIGN_OR_RETURN(loss_values_, device_.AllocateHost(loss_bytes));
  }
  for (size_t s = 0; s < plan_.steps.size(); ++s) {
    const PlanStep& step = plan_.steps[s];
    BoundStep& bound = bound_[s];
    for (int t : step.bottom)
      bound.bottom.push_back({&plan_.tensors[t].desc, data(t)});
    for (int t : step.top) {
      bound.top.push_back({&plan_.tensors[t].desc, data(t)});
      bound.top_out.push_back({&plan_.tensors[t].desc, data(t)});
    }
    for (const ParamUse& use : step.param) {
      bound.param.push_back({&use.desc, params_.weight(use.param)});
      for (auto& set : bound.forward_gradient)
        set.push_back({{&use.desc, nullptr}, GradientMode::kNone});
      bound.writes_statistics |= use.forward != GradientMode::kNone;
      bound.writes_gradient |= use.backward != GradientMode::kNone;
    }
    BindRuns(step, bound);
  }
  return absl::OkStatus();
}

void Executor::BindRuns(const PlanStep& step, BoundStep& bound) {
  bound.seen_version.assign(step.param.size(), 0);
  std::vector<int> params;
  for (const ParamUse& use : step.param) params.push_back(use.param);
  std::sort(params.begin(), params.end());
  params.erase(std::unique(params.begin(), params.end()), params.end());
  for (int param : params) {
    if (!bound.param_runs.empty() &&
        bound.param_runs.back().first + bound.param_runs.back().second ==
            param) {
      ++bound.param_runs.back().second;
    } else {
      bound.param_runs.push_back({param, 1});
    }
  }
}

absl::Status Executor::BindGradients() {
  if (gradients_bound_) return absl::OkStatus();
  RETURN_IF_ERROR(params_.EnsureGradients());
  ASSIGN_OR_RETURN(Buffer gradients, device_.Allocate(plan_.gradient_bytes));
  gradients_ = std::make_shared<Buffer>(std::move(gradients));
  const auto raw = [this](int t) -> void* {
    const int storage = plan_.tensors[t].gradient_storage;
    if (storage < 0) return nullptr;
    return At(*gradients_, plan_.gradient_storages[storage].offset);
  };
  for (size_t s = 0; s < plan_.steps.size(); ++s) {
    const PlanStep& step = plan_.steps[s];
    BoundStep& bound = bound_[s];
    bound.top_gradient.clear();
    bound.bottom_gradient.clear();
    for (int t : step.top)
      bound.top_gradient.push_back({&plan_.tensors[t].desc, raw(t)});
    for (size_t i = 0; i < step.bottom.size(); ++i) {
      const int t = step.bottom[i];
      const bool wanted = step.bottom_gradient[i];
      bound.bottom_gradient.push_back(
          {{&plan_.tensors[t].desc, wanted ? raw(t) : nullptr},
           wanted ? GradientMode::kWrite : GradientMode::kNone});
    }
    for (int set = 0; set < 4; ++set) {
      bound.forward_gradient[set].clear();
      bound.backward_gradient[set].clear();
      for (const ParamUse& use : step.param) {
        float* slot =
            params_.gradient_mirror(set & 1) + graph_.params[use.param].offset;
        const GradientMode forward = ForPass(use.forward, set & 2);
        const GradientMode backward = ForPass(use.backward, set & 2);
        const auto tensor = [&](GradientMode mode) {
          return Tensor{&use.desc,
                        mode == GradientMode::kNone ? nullptr : slot};
        };
        bound.forward_gradient[set].push_back({tensor(forward), forward});
        bound.backward_gradient[set].push_back({tensor(backward), backward});
      }
    }
  }
  gradients_bound_ = true;
  HoldMemory();
  return SeedGradients();
}

// The gradient of a loss is its weight.  Set once: no kernel overwrites it.
absl::Status Executor::SeedGradients() {
  for (int t : losses_) {
    const PlanTensor& tensor = plan_.tensors[t];
    if (tensor.gradient_storage < 0) continue;
    std::fill_n(loss_values_.floats(), tensor.desc.shape.count(),
                tensor.loss_weight);
    void* to =
        At(*gradients_, plan_.gradient_storages[tensor.gradient_storage].offset);
    RETURN_IF_ERROR(device_.CopyFromHost(*stream_, to, loss_values_.data(),
                                         tensor.desc.bytes()));
    RETURN_IF_ERROR(stream_->Synchronize());
  }
  return absl::OkStatus();
}

absl::Status Executor::Forward(const StepState& state, int first, int last,
                               double* loss) {
  if (state.pass == 0 && first == 0) slot_clock_ = -1;
  if (first > last) return absl::OkStatus();
  const int from = plan_.first_step[first], to = plan_.last_step[last];
  // What the last clock copied out of the slab may be replaced in this one.
  if (source_ != nullptr && state.pass == 0) {
    RETURN_IF_ERROR(AwaitGradients());
    RETURN_IF_ERROR(params_.SettleUploads());
  }
  RETURN_IF_ERROR(RunSteps(state, from, to));
  return loss == nullptr ? absl::OkStatus() : FetchLoss(from, to, loss);
}

absl::Status Executor::Resume(const StepState& state, int first, int last,
                              double* loss) {
  const int to = plan_.last_step[last];
  RETURN_IF_ERROR(RunSteps(state, stopped_step_, to));
  return loss == nullptr ? absl::OkStatus()
                         : FetchLoss(plan_.first_step[first], to, loss);
}

absl::Status Executor::RunSteps(const StepState& state, int from, int to) {
  RETURN_IF_ERROR(params_.BeginUse(*stream_));
  absl::Status ran;
  for (int s = from; s <= to && ran.ok(); ++s) {
    ran = RunForward(state, s);
    if (IsReplanRequest(ran)) stopped_step_ = s;
  }
  RETURN_IF_ERROR(ran);
  return params_.EndUse(*stream_);
}

// The sum of the losses that steps [from, to] make: the one place of a clock
// where the host waits for the device, and so where its faults come to light.
absl::Status Executor::FetchLoss(int from, int to, double* loss) {
  const auto made = [&](int t) {
    const int producer = plan_.tensors[t].producer;
    return producer >= from && producer <= to;
  };
  float* values = loss_values_.floats();
  for (int t : losses_) {
    const TensorDesc& desc = plan_.tensors[t].desc;
    if (made(t))
      RETURN_IF_ERROR(
          device_.CopyToHost(*stream_, values, data(t), desc.bytes()));
    values += desc.shape.count();
  }
  RETURN_IF_ERROR(Synchronize());
  *loss = 0;
  values = loss_values_.floats();
  for (int t : losses_) {
    const int64_t count = plan_.tensors[t].desc.shape.count();
    double sum = 0;
    for (int64_t i = 0; made(t) && i < count; ++i) sum += values[i];
    *loss += plan_.tensors[t].loss_weight * sum;
    values += count;
  }
  return absl::OkStatus();
}

absl::Status Executor::AwaitParams(const StepState& state, int s) {
  BoundStep& bound = bound_[s];
  if (source_ != nullptr && state.pass == 0) {
    for (const auto& [first, count] : bound.param_runs) {
      bool changed = false;
      RETURN_IF_ERROR(
          source_->AwaitWeights(first, count, state.clock, &changed));
      if (changed) params_.Changed(first, count);
    }
  }
  const PlanStep& step = plan_.steps[s];
  bool changed = false;
  for (size_t i = 0; i < step.param.size(); ++i) {
    const uint64_t version = params_.version(step.param[i].param);
    changed = changed || bound.seen_version[i] != version;
    bound.seen_version[i] = version;
  }
  if (!changed) return absl::OkStatus();
  for (const auto& [first, count] : bound.param_runs)
    RETURN_IF_ERROR(params_.Upload(*stream_, first, count));
  graph_.layers[step.layer].layer->ParamsChanged();
  return absl::OkStatus();
}

absl::Status Executor::AwaitSlot(const StepState& state) {
  generation_ = static_cast<int>(state.clock & 1);
  if (sink_ == nullptr || state.pass > 0 || slot_clock_ == state.clock)
    return absl::OkStatus();
  RETURN_IF_ERROR(AwaitGradients());
  RETURN_IF_ERROR(sink_->AwaitGradientSlot(state.clock));
  slot_clock_ = state.clock;
  return absl::OkStatus();
}

absl::Status Executor::RunForward(const StepState& state, int s) {
  const PlanStep& step = plan_.steps[s];
  BoundStep& bound = bound_[s];
  if (step.reorder) {
    Reorder(bound.bottom[0], bound.top_out[0]);
    return absl::OkStatus();
  }
  if (!step.run_forward) return absl::OkStatus();
  if (!step.param.empty()) RETURN_IF_ERROR(AwaitParams(state, s));
  if (bound.writes_statistics) {
    RETURN_IF_ERROR(BindGradients());
    RETURN_IF_ERROR(AwaitSlot(state));
    stale_gradients_[generation_] = true;
  }
  if (step.empty) return Zero(bound.forward_gradient[GradientSet(state)]);
  StepContext context(*stream_,
                      absl::MakeSpan(static_cast<uint8_t*>(scratch_.data()),
                                     step.traits.scratch_bytes),
                      state, step.layer, memory_);
  const absl::Status status = graph_.layers[step.layer].layer->Forward(
      context, {bound.bottom, bound.param, bound.top_out,
                bound.forward_gradient[GradientSet(state)]});
  RETURN_IF_ERROR(Finish(status, step.layer));
  if (!step.traits.data_dependent_shape || step.traits.is_source)
    return absl::OkStatus();
  return Resize(s);
}

absl::Status Executor::Finish(const absl::Status& launched, int layer) {
  if (IsReplanRequest(launched)) return launched;
  if (!launched.ok() || !sync_layers_) return graph_.Annotated(launched, layer);
  return graph_.Annotated(stream_->Synchronize(), layer);
}

absl::Status Executor::Zero(absl::Span<const GradientTensor> gradients) {
  for (const GradientTensor& gradient : gradients) {
    if (gradient.mode != GradientMode::kWrite) continue;
    RETURN_IF_ERROR(device_.Zero(*stream_, gradient.tensor.raw,
                                 gradient.tensor.desc->bytes()));
  }
  return absl::OkStatus();
}

absl::Status Executor::Resize(int s) {
  RETURN_IF_ERROR(Finish(Synchronize(), plan_.steps[s].layer));
  RETURN_IF_ERROR(ResizeTops(graph_, s, plan_));
  if (scratch_.bytes() >= plan_.scratch_bytes) return absl::OkStatus();
  RETURN_IF_ERROR(stream_->Synchronize());
  ASSIGN_OR_RETURN(scratch_, device_.Allocate(plan_.scratch_bytes));
  return absl::OkStatus();
}

absl::Status Executor::Backward(const StepState& state, int last, int first,
                                bool complete) {
  RETURN_IF_ERROR(BindGradients());
  complete = complete && sink_ != nullptr;
  RETURN_IF_ERROR(params_.BeginUse(*stream_));
  for (int l = last; l >= first; --l) {
    for (int s = plan_.last_step[l]; s >= plan_.first_step[l]; --s) {
      if (plan_.steps[s].run_backward) RETURN_IF_ERROR(RunBackward(state, s));
    }
    const auto [param, count] = owned_[l];
    if (complete && count > 0) RETURN_IF_ERROR(HandOver(state, param, count));
  }
  stale_gradients_[state.clock & 1] = !complete;
  return params_.EndUse(*stream_);
}

// Params [first, first + count) are complete, whether or not anything was
// written: statistics, and those without a gradient, too.
absl::Status Executor::HandOver(const StepState& state, int first, int count) {
  RETURN_IF_ERROR(AwaitSlot(state));
  if (courier_ == nullptr) {
    for (int i = first; i < first + count; ++i)
      sink_->GradientReady(i, state.clock);
    return absl::OkStatus();
  }
  const NetParam& last = graph_.params[first + count - 1];
  const int64_t begin = graph_.params[first].offset;
  GradientParcel parcel;
  parcel.host = params_.gradients(generation_).data() + begin;
  parcel.device = params_.gradient_mirror(generation_) + begin;
  parcel.bytes = (last.offset + last.shape.count() - begin) * sizeof(float);
  parcel.first = first;
  parcel.count = count;
  parcel.clock = state.clock;
  parcel.sink = sink_;
  return courier_->Send(*stream_, parcel);
}

absl::Status Executor::AwaitGradients() {
  return courier_ == nullptr ? absl::OkStatus() : courier_->Await();
}

absl::Status Executor::Synchronize() {
  const absl::Status status = stream_->Synchronize();
  if (status.ok() || sync_layers_) return status;
  return absl::Status(
      status.code(),
      absl::StrCat(status.message(),
                   "; --sync_layers tells in which layer it happens"));
}

absl::StatusOr<absl::Span<float>> Executor::Gradients(int generation) {
  RETURN_IF_ERROR(params_.EnsureGradients());
  const absl::Span<float> host = params_.gradients(generation);
  if (courier_ == nullptr) return host;
  RETURN_IF_ERROR(courier_->Await());
  if (stale_gradients_[generation]) {
    RETURN_IF_ERROR(CopyOut(host.data(), params_.gradient_mirror(generation),
                            host.size() * sizeof(float)));
    stale_gradients_[generation] = false;
  }
  return host;
}

absl::Status Executor::CopyOut(void* host, const void* tensor, size_t bytes) {
  RETURN_IF_ERROR(device_.CopyToHost(*stream_, host, tensor, bytes));
  return Synchronize();
}

absl::Status Executor::CopyIn(void* tensor, const void* host, size_t bytes) {
  return device_.CopyFromHost(*stream_, tensor, host, bytes);
}

absl::Status Executor::RunBackward(const StepState& state, int s) {
  const PlanStep& step = plan_.steps[s];
  BoundStep& bound = bound_[s];
  if (step.reorder) {
    Reorder(bound.top_gradient[0], bound.bottom_gradient[0].tensor);
    return absl::OkStatus();
  }
  if (bound.writes_gradient) RETURN_IF_ERROR(AwaitSlot(state));
  if (step.empty) {
    RETURN_IF_ERROR(Zero(bound.bottom_gradient));
    return Zero(bound.backward_gradient[GradientSet(state)]);
  }
  StepContext context(*stream_,
                      absl::MakeSpan(static_cast<uint8_t*>(scratch_.data()),
                                     step.traits.scratch_bytes),
                      state, step.layer, memory_);
  const absl::Status status = graph_.layers[step.layer].layer->Backward(
      context,
      {bound.bottom, bound.param, bound.top, bound.top_gradient,
       bound.bottom_gradient, bound.backward_gradient[GradientSet(state)]});
  return Finish(status, step.layer);
}

float* Executor::data(int tensor) const {
  return static_cast<float*>(
      At(*data_, plan_.storages[plan_.tensors[tensor].storage].offset));
}

absl::StatusOr<float*> Executor::gradient(int tensor) {
  const int storage = plan_.tensors[tensor].gradient_storage;
  if (storage < 0) return nullptr;
  RETURN_IF_ERROR(BindGradients());
  return static_cast<float*>(
      At(*gradients_, plan_.gradient_storages[storage].offset));
}

}  // namespace cssp
