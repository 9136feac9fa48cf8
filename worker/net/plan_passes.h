// The passes that make an ExecutionPlan, in the order in which they run.
#ifndef CSSP_WORKER_NET_PLAN_PASSES_H_
#define CSSP_WORKER_NET_PLAN_PASSES_H_

#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "worker/net/execution_plan.h"

namespace cssp {

// Infers shapes, negotiates formats along the net and makes the steps.
absl::Status BuildSteps(NetGraph& graph, absl::Span<const Shape> input_shapes,
                        const PlanOptions& options, ExecutionPlan& plan);

// A tensor has a gradient where its consumer's backward writes one, or where
// it is a loss; a step runs backward when a wanted gradient depends on it.
void FindGradients(const NetGraph& graph, const PlanOptions& options,
                   ExecutionPlan& plan);

// In place means in place only where it is safe: a layer that would overwrite
// data which another step or its own backward still reads gets memory of its
// own instead, and the gradients are right (in BVLC they are silently wrong).
void ShareStorage(const NetGraph& graph, ExecutionPlan& plan);

// The first writer of a clock writes, the others add: in backward that is the
// last user in the net, in forward (statistics) the first.
void SetGradientModes(const NetGraph& graph, const PlanOptions& options,
                      ExecutionPlan& plan);

// Makes the layers' primitives: descriptors are final.
absl::Status BindLayers(NetGraph& graph, ExecutionPlan& plan);

// Offsets, 64-byte aligned.  With `reuse`, storages whose uses do not overlap
// in time may overlap in memory.  Returns the arena's size.
size_t Place(bool reuse, std::vector<PlanStorage>& storages);

}  // namespace cssp

#endif  // CSSP_WORKER_NET_PLAN_PASSES_H_
