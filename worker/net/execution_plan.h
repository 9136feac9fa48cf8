// A net turned into what an executor runs: steps on tensors that have formats
// and places in memory.
//
// Made by passes (plan_passes.h), each of which fills in one more property:
//   BuildSteps        a step a layer, tensors as values, reorder steps where a
//                     consumer wants another format
//   FindGradients     which tensors have a gradient, and so which steps run
//                     backward
//   ShareStorage      views, split data and in-place layers share memory where
//                     nobody needs what would be overwritten
//   SetGradientModes  write or add, for every parameter gradient
//   Place             offsets in the data arena and in the gradient arena
#ifndef CSSP_WORKER_NET_EXECUTION_PLAN_H_
#define CSSP_WORKER_NET_EXECUTION_PLAN_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "common/tensor/tensor.h"
#include "worker/net/layer.h"
#include "worker/net/net_graph.h"

namespace cssp {

// One value of a blob in one format.  Every tensor has one producing step and
// at most one consuming step.
struct PlanTensor {
  int blob = 0;
  TensorDesc desc;
  // Equal numbers: the same elements, so one piece of memory may hold both.
  int content = 0;
  int producer = -1;     // step
  int consumer = -1;     // step, -1: nobody reads it
  float loss_weight = 0; // != 0: its gradient is that constant
  // The blob's last version: what views of the blob show.
  bool last_version = false;
  bool pinned = false;   // its data must outlive the pass, in kCaffe
  bool has_gradient = false;
  int storage = -1;           // index into ExecutionPlan::storages
  int gradient_storage = -1;  // index into gradient_storages, -1: none
};

// A piece of an arena.  Times: forward step i runs at i, its backward at
// 2 * steps - 1 - i.
struct PlanStorage {
  size_t bytes = 0;
  int first_use = 0, last_use = 0;
  bool keep = false;    // never reused
  bool seeded = false;  // gradient of a loss top: constant
  size_t offset = 0;
};

struct ParamUse {
  int param = 0;        // slab index
  TensorDesc desc;      // as this layer declares it (PERMISSIVE sharing)
  // In pass 0 of a clock; later passes add.  kNone: nothing is written.
  GradientMode forward = GradientMode::kNone;   // statistics
  GradientMode backward = GradientMode::kNone;
};

struct PlanStep {
  int layer = 0;          // whose step, or whose bottom or top is reordered
  bool reorder = false;
  bool run_forward = true;
  bool run_backward = false;
  // No top has an element, by what the data decided (ResizeTops): no kernel
  // runs, and what it would have written is 0.
  bool empty = false;
  std::vector<int> bottom, top;        // tensors
  std::vector<bool> bottom_gradient;   // backward writes it
  std::vector<ParamUse> param;
  LayerTraits traits;
};

// Immutable once built, but for the extents of data-dependent shapes.
struct ExecutionPlan {
  std::vector<PlanTensor> tensors;
  std::vector<PlanStep> steps;
  std::vector<PlanStorage> storages, gradient_storages;
  std::vector<int> blob_tensor;  // per blob: its last version, -1: none
  std::vector<int> first_step, last_step;  // per layer, inclusive
  size_t data_bytes = 0, gradient_bytes = 0, scratch_bytes = 0;
  bool half_resized = false;  // a ResizeTops failed: layers may be unbound
};

struct PlanOptions {
  std::vector<bool> pinned;      // per blob
  bool reuse_memory = false;     // tensors may share memory over time
  bool backward = true;          // plan for backward steps
  // Off: Caffe's layout everywhere, whatever layers would choose (blocked
  // formats and the copies between formats exist in host memory alone).
  bool blocked_formats = true;
  // Not null: layers before `run_layers` have run under that plan.  Their shapes
  // are taken from it, and they are not bound anew.
  const ExecutionPlan* running = nullptr;
  int run_layers = 0;
};

// `shapes[blob]` overrides the shape that an Input layer infers where it has
// axes.  Updates graph.blobs[].shape and binds every layer.
absl::StatusOr<ExecutionPlan> BuildPlan(NetGraph& graph,
                                        absl::Span<const Shape> input_shapes,
                                        const PlanOptions& options);

}  // namespace cssp

#endif  // CSSP_WORKER_NET_EXECUTION_PLAN_H_
