#include "worker/net/execution_plan.h"

#include "common/base/status_macros.h"
#include "worker/net/plan_passes.h"

namespace cssp {

absl::StatusOr<ExecutionPlan> BuildPlan(NetGraph& graph,
                                        absl::Span<const Shape> input_shapes,
                                        const PlanOptions& options) {
  ExecutionPlan plan;
  RETURN_IF_ERROR(BuildSteps(graph, input_shapes, options, plan));
  FindGradients(graph, options, plan);
  ShareStorage(graph, plan);
  SetGradientModes(graph, options, plan);
  RETURN_IF_ERROR(BindLayers(graph, options, plan));
  plan.data_bytes = Place(options.reuse_memory, plan.storages);
  plan.gradient_bytes = Place(options.reuse_memory, plan.gradient_storages);
  return plan;
}

}  // namespace cssp
