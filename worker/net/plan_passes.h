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
// own instead.  (Where Caffe, which has no such means, would be wrong, the net
// was refused: CheckInPlace.)
void ShareStorage(const NetGraph& graph, ExecutionPlan& plan);

// The first writer of a clock writes, the others add: in backward that is the
// last user in the net, in forward (statistics) the first.
void SetGradientModes(const NetGraph& graph, const PlanOptions& options,
                      ExecutionPlan& plan);

// Makes the layers' primitives: descriptors are final.
absl::Status BindLayers(NetGraph& graph, const PlanOptions& options,
                        ExecutionPlan& plan);
// One layer's.  Raises plan.scratch_bytes to what it needs.
absl::Status BindStep(NetGraph& graph, int step, ExecutionPlan& plan);

// Offsets, 64-byte aligned.  With `reuse`, storages whose uses do not overlap
// in time may overlap in memory.  Returns the arena's size.
size_t Place(bool reuse, std::vector<PlanStorage>& storages);

// No pass over a new plan: after `step`, of a layer whose shapes depend on
// data, has run forward.  Its tops get their true shapes and the steps behind
// it those that follow; layers that are affected are bound anew.  Memory stays
// where it was placed, for the upper bounds.  Does nothing, and allocates
// nothing, where the shapes are those of the last time.
absl::Status ResizeTops(NetGraph& graph, int step, ExecutionPlan& plan);

}  // namespace cssp

#endif  // CSSP_WORKER_NET_PLAN_PASSES_H_
