#include "worker/net/plan_passes.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "common/base/logging.h"
#include "common/base/status_macros.h"

namespace cssp {
namespace {

constexpr size_t kArenaAlign = 64;

// Bit i of a trait's mask; inputs beyond the mask share its last bit.
bool Reads(uint32_t mask, size_t i) {
  return (mask >> std::min<size_t>(i, 31) & 1) != 0;
}

bool BackwardReadsBottom(const PlanStep& step, size_t i) {
  return step.run_backward && !step.reorder &&
         Reads(step.traits.backward_reads_bottom, i);
}

bool BackwardReadsTop(const PlanStep& step, size_t i) {
  return step.run_backward && !step.reorder &&
         Reads(step.traits.backward_reads_top, i);
}

// Thread-confined: one ShareStorage call.
class StorageSharer {
 public:
  StorageSharer(const NetGraph& graph, ExecutionPlan& plan)
      : graph_(graph), plan_(plan), steps_(plan.steps.size()),
        by_content_(plan.tensors.size()) {
    for (size_t t = 0; t < plan.tensors.size(); ++t)
      by_content_[plan.tensors[t].content].push_back(t);
  }

  void ShareData() {
    for (int s = 0; s < steps_; ++s) {
      PlanStep& step = plan_.steps[s];
      for (size_t i = 0; i < step.top.size(); ++i) {
        PlanTensor& top = plan_.tensors[step.top[i]];
        if (!step.run_forward || (i == 0 && InPlace(s))) {
          top.storage = plan_.tensors[step.bottom[0]].storage;
        } else {
          top.storage = New(plan_.storages);
        }
        PlanStorage& storage = plan_.storages[top.storage];
        storage.bytes = std::max(storage.bytes, top.desc.bytes());
        Extend(storage, s);
        storage.keep = storage.keep || top.pinned;
        if (BackwardReadsTop(step, i)) Extend(storage, BackwardTime(s));
      }
      for (size_t i = 0; i < step.bottom.size(); ++i) {
        PlanStorage& storage =
            plan_.storages[plan_.tensors[step.bottom[i]].storage];
        Extend(storage, s);
        if (BackwardReadsBottom(step, i)) Extend(storage, BackwardTime(s));
      }
    }
  }

  void ShareGradients() {
    for (int s = steps_; s-- > 0;) {
      PlanStep& step = plan_.steps[s];
      for (int t : step.top) SeedTop(t, s);
      for (size_t i = 0; i < step.bottom.size(); ++i) {
        PlanTensor& bottom = plan_.tensors[step.bottom[i]];
        if (!bottom.has_gradient) continue;
        if (i == 0 && SharesGradient(step)) {
          bottom.gradient_storage =
              plan_.tensors[step.top[0]].gradient_storage;
        } else {
          bottom.gradient_storage = New(plan_.gradient_storages);
        }
        PlanStorage& storage =
            plan_.gradient_storages[bottom.gradient_storage];
        storage.bytes = std::max(storage.bytes, bottom.desc.bytes());
        Extend(storage, BackwardTime(s));
        Extend(storage, BackwardTime(bottom.producer));
        storage.keep = storage.keep || (bottom.pinned && bottom.last_version);
      }
    }
  }

 private:
  int BackwardTime(int step) const { return 2 * steps_ - 1 - step; }

  static int New(std::vector<PlanStorage>& storages) {
    PlanStorage storage;
    storage.first_use = -1;
    storages.push_back(storage);
    return static_cast<int>(storages.size()) - 1;
  }

  static void Extend(PlanStorage& storage, int time) {
    if (storage.first_use < 0) storage.first_use = storage.last_use = time;
    storage.first_use = std::min(storage.first_use, time);
    storage.last_use = std::max(storage.last_use, time);
  }

  // Top 0 of step `s` goes over bottom 0: asked for, able to, and safe.
  bool InPlace(int s) const {
    const PlanStep& step = plan_.steps[s];
    if (step.reorder || step.bottom.empty()) return false;
    const GraphLayer& layer = graph_.layers[step.layer];
    if (layer.bottom[0] != layer.top[0]) return false;
    const PlanTensor& bottom = plan_.tensors[step.bottom[0]];
    const PlanTensor& top = plan_.tensors[step.top[0]];
    if (!step.traits.in_place || bottom.desc.bytes() != top.desc.bytes() ||
        bottom.desc.format != top.desc.format)
      return false;
    for (int t : by_content_[bottom.content]) {
      if (!NeededAfter(t, s)) continue;
      VLOG(1) << layer.label() << " is in place, but '"
              << graph_.blobs[plan_.tensors[t].blob].name
              << "' is still needed: it gets memory of its own";
      return false;
    }
    return true;
  }

  // Something reads tensor `t` (of the same content as the bottom of in-place
  // step `s`) after `s` has run forward.
  bool NeededAfter(int t, int s) const {
    const PlanTensor& tensor = plan_.tensors[t];
    if (tensor.pinned) return true;
    const PlanStep& producer = plan_.steps[tensor.producer];
    if (BackwardReadsTop(producer, Position(producer.top, t))) return true;
    if (tensor.consumer < 0) return false;
    const PlanStep& consumer = plan_.steps[tensor.consumer];
    const size_t at = Position(consumer.bottom, t);
    if (BackwardReadsBottom(consumer, at)) return true;
    if (tensor.consumer == s) return at != 0;
    return tensor.consumer > s && consumer.run_forward;
  }

  static size_t Position(const std::vector<int>& tensors, int t) {
    return std::find(tensors.begin(), tensors.end(), t) - tensors.begin();
  }

  // A gradient that no consumer writes: the loss weight, or the user.
  void SeedTop(int t, int s) {
    PlanTensor& top = plan_.tensors[t];
    if (!top.has_gradient || top.gradient_storage >= 0) return;
    top.gradient_storage = New(plan_.gradient_storages);
    PlanStorage& storage = plan_.gradient_storages[top.gradient_storage];
    storage.bytes = top.desc.bytes();
    storage.keep = storage.seeded = true;
    Extend(storage, BackwardTime(s));
  }

  bool SharesGradient(const PlanStep& step) const {
    if (step.reorder || step.top.empty()) return false;
    const PlanTensor& bottom = plan_.tensors[step.bottom[0]];
    const PlanTensor& top = plan_.tensors[step.top[0]];
    if (!top.has_gradient) return false;
    if (step.traits.is_view) return true;
    if (!step.run_forward || bottom.storage != top.storage) return false;
    return !plan_.gradient_storages[top.gradient_storage].seeded;
  }

  const NetGraph& graph_;
  ExecutionPlan& plan_;
  const int steps_;
  std::vector<std::vector<int>> by_content_;  // tensors
};

bool Overlap(const PlanStorage& a, const PlanStorage& b) {
  if (a.keep || b.keep) return true;
  return a.first_use <= b.last_use && b.first_use <= a.last_use;
}

// The lowest offset at which `storage` fits beside those already placed.
size_t LowestFit(const PlanStorage& storage,
                 const std::vector<const PlanStorage*>& by_offset) {
  size_t offset = 0;
  for (const PlanStorage* other : by_offset) {
    if (!Overlap(storage, *other)) continue;
    if (other->offset >= offset + storage.bytes) break;
    offset = std::max(offset, (other->offset + other->bytes + kArenaAlign - 1) /
                                  kArenaAlign * kArenaAlign);
  }
  return offset;
}

}  // namespace

void FindGradients(const NetGraph& graph, const PlanOptions& options,
                   ExecutionPlan& plan) {
  if (!options.backward) return;
  for (size_t s = plan.steps.size(); s-- > 0;) {
    PlanStep& step = plan.steps[s];
    const GraphLayer& layer = graph.layers[step.layer];
    bool any_top = step.top.empty();
    for (int t : step.top) {
      PlanTensor& top = plan.tensors[t];
      if (top.loss_weight != 0 && layer.needs_backward)
        top.has_gradient = true;
      // Under force_backward the user seeds outputs.
      if (graph.force_backward && top.consumer < 0 && layer.needs_backward)
        top.has_gradient = true;
      any_top = any_top || top.has_gradient;
    }
    if (!any_top || (!step.reorder && !layer.needs_backward)) continue;
    bool any = false;
    for (size_t i = 0; i < step.bottom.size(); ++i) {
      const bool wanted = step.reorder || layer.propagate[i];
      step.bottom_gradient[i] = wanted;
      plan.tensors[step.bottom[i]].has_gradient = wanted;
      any = any || wanted;
    }
    for (size_t i = 0; i < step.param.size(); ++i)
      any = any || layer.param_needed[i];
    step.run_backward = any && !step.traits.is_view;
  }
}

void ShareStorage(const NetGraph& graph, ExecutionPlan& plan) {
  StorageSharer sharer(graph, plan);
  sharer.ShareData();
  sharer.ShareGradients();
}

void SetGradientModes(const NetGraph& graph, const PlanOptions& options,
                      ExecutionPlan& plan) {
  const auto next = [](std::vector<bool>& written, int param) {
    if (written[param]) return GradientMode::kAdd;
    written[param] = true;
    return GradientMode::kWrite;
  };
  std::vector<bool> forward(graph.params.size()), backward(graph.params.size());
  for (PlanStep& step : plan.steps) {
    if (step.reorder || graph.phase != caffe::TRAIN) continue;
    for (ParamUse& use : step.param) {
      if (graph.params[use.param].kind == ParamKind::kStatistic)
        use.forward = next(forward, use.param);
    }
  }
  for (size_t s = plan.steps.size(); s-- > 0;) {
    PlanStep& step = plan.steps[s];
    if (!step.run_backward) continue;
    for (size_t i = 0; i < step.param.size(); ++i) {
      if (graph.layers[step.layer].param_needed[i])
        step.param[i].backward = next(backward, step.param[i].param);
    }
  }
}

absl::Status BindLayers(NetGraph& graph, const PlanOptions& options,
                        ExecutionPlan& plan) {
  for (size_t s = 0; s < plan.steps.size(); ++s) {
    PlanStep& step = plan.steps[s];
    if (step.reorder) continue;
    if (step.layer < options.run_layers) {  // what it keeps for backward stays
      const PlanStep& bound = options.running->steps[s];
      step.traits = bound.traits;
      step.empty = bound.empty;
      plan.scratch_bytes =
          std::max(plan.scratch_bytes, step.traits.scratch_bytes);
      continue;
    }
    RETURN_IF_ERROR(BindStep(graph, static_cast<int>(s), plan));
  }
  return absl::OkStatus();
}

absl::Status BindStep(NetGraph& graph, int s, ExecutionPlan& plan) {
  PlanStep& step = plan.steps[s];
  std::vector<TensorDesc> bottom, top;
  for (int t : step.bottom) bottom.push_back(plan.tensors[t].desc);
  for (int t : step.top) top.push_back(plan.tensors[t].desc);
  Layer& layer = *graph.layers[step.layer].layer;
  RETURN_IF_ERROR(graph.Annotated(layer.Bind(bottom, top), step.layer));
  step.traits.scratch_bytes = layer.Traits().scratch_bytes;
  plan.scratch_bytes = std::max(plan.scratch_bytes, step.traits.scratch_bytes);
  return absl::OkStatus();
}

size_t Place(bool reuse, std::vector<PlanStorage>& storages) {
  std::vector<int> order(storages.size());
  std::iota(order.begin(), order.end(), 0);
  if (reuse) {  // big ones first: small ones fill the gaps
    std::stable_sort(order.begin(), order.end(), [&](int a, int b) {
      return storages[a].bytes > storages[b].bytes;
    });
  }
  size_t total = 0;
  std::vector<const PlanStorage*> by_offset;
  for (int i : order) {
    PlanStorage& storage = storages[i];
    storage.offset = reuse ? LowestFit(storage, by_offset) : total;
    const size_t end = storage.offset + storage.bytes;
    total = std::max(total,
                     (end + kArenaAlign - 1) / kArenaAlign * kArenaAlign);
    const auto above = std::upper_bound(
        by_offset.begin(), by_offset.end(), &storage,
        [](const PlanStorage* a, const PlanStorage* b) {
          return a->offset < b->offset;
        });
    by_offset.insert(above, &storage);
  }
  return total;
}

}  // namespace cssp
