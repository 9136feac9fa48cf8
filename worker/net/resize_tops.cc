// Shapes that data decide: after a Forward, not when the plan is made.
#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/logging.h"
#include "common/base/status_macros.h"
#include "worker/net/plan_passes.h"

namespace cssp {
namespace {

// Thread-confined: one ResizeTops call.
class Resizer {
 public:
  // `all`: as if every shape had changed.
  Resizer(NetGraph& graph, ExecutionPlan& plan, bool all)
      : graph_(graph), plan_(plan), changed_(plan.tensors.size(), all) {}

  absl::Status SetTops(const PlanStep& step, absl::Span<const Shape> shapes) {
    for (size_t i = 0; i < step.top.size(); ++i) {
      RETURN_IF_ERROR(
          graph_.Annotated(SetShape(step.top[i], shapes[i]), step.layer));
    }
    return absl::OkStatus();
  }

  // Passes changed shapes on through step `s`.
  absl::Status Follow(int s) {
    PlanStep& step = plan_.steps[s];
    const bool affected = std::any_of(step.bottom.begin(), step.bottom.end(),
                                      [this](int t) { return changed_[t]; });
    if (!affected) return absl::OkStatus();
    std::vector<Shape> shapes;
    for (int t : step.bottom) shapes.push_back(plan_.tensors[t].desc.shape);
    if (step.reorder) return SetTops(step, shapes);
    const absl::StatusOr<std::vector<Shape>> tops =
        InferTops(graph_.layers[step.layer], shapes);
    RETURN_IF_ERROR(graph_.Annotated(tops.status(), step.layer));
    RETURN_IF_ERROR(SetTops(step, *tops));
    step.empty = !tops->empty() &&
                 std::all_of(tops->begin(), tops->end(), [](const Shape& top) {
                   return top.count() == 0;
                 });
    return step.empty ? absl::OkStatus() : BindStep(graph_, s, plan_);
  }

 private:
  absl::Status SetShape(int t, const Shape& shape) {
    PlanTensor& tensor = plan_.tensors[t];
    if (tensor.desc.shape == shape) return absl::OkStatus();
    tensor.desc.shape = shape;
    changed_[t] = true;
    size_t room = plan_.storages[tensor.storage].bytes;
    if (tensor.gradient_storage >= 0) {
      room = std::min(room,
                      plan_.gradient_storages[tensor.gradient_storage].bytes);
    }
    if (tensor.desc.bytes() > room) {
      return absl::InvalidArgumentError(
          absl::StrCat("blob '", graph_.blobs[tensor.blob].name, "' became ",
                       shape.ToString(),
                       ", more than was planned for when the blobs above "
                       "were largest"));
    }
    if (plan_.blob_tensor[tensor.blob] == t) {
      graph_.blobs[tensor.blob].shape = shape;
    }
    return absl::OkStatus();
  }

  NetGraph& graph_;
  ExecutionPlan& plan_;
  std::vector<bool> changed_;  // per tensor
};

}  // namespace

absl::Status ResizeTops(NetGraph& graph, int s, ExecutionPlan& plan) {
  const PlanStep& step = plan.steps[s];
  const absl::Span<const Shape> shapes =
      graph.layers[step.layer].layer->ForwardShapes();
  CHECK_EQ(shapes.size(), step.top.size()) << graph.layers[step.layer].label();
  bool same = !plan.half_resized;
  for (size_t i = 0; i < shapes.size(); ++i) {
    same = same && plan.tensors[step.top[i]].desc.shape == shapes[i];
  }
  if (same) return absl::OkStatus();
  Resizer resizer(graph, plan, plan.half_resized);
  plan.half_resized = true;
  RETURN_IF_ERROR(resizer.SetTops(step, shapes));
  for (int next = s + 1; next < static_cast<int>(plan.steps.size()); ++next) {
    RETURN_IF_ERROR(resizer.Follow(next));
  }
  plan.half_resized = false;
  return absl::OkStatus();
}

}  // namespace cssp
