// Runs an ExecutionPlan: owns the memory that the plan placed.
#ifndef CSSP_WORKER_NET_EXECUTOR_H_
#define CSSP_WORKER_NET_EXECUTOR_H_

#include <array>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/device/device.h"
#include "worker/net/execution_plan.h"
#include "worker/net/gradient_courier.h"
#include "worker/net/gradient_sink.h"
#include "worker/net/net_graph.h"
#include "worker/net/param_memory.h"

namespace cssp {

// Thread-confined: the training thread.  Borrows graph, params and device.
// Where the device has memory of its own, weights go to it just before the
// first layer that reads them, and gradients leave it, by a stream and a thread
// of their own, as soon as a layer has completed them.
//
// Invariants: (1) every argument that a kernel gets is made when a plan is
// adopted; running a step allocates nothing, unless its data have changed the
// shapes of its tops (ResizeTops).  (2) Gradient memory is allocated
// by the first step that writes a gradient.
class Executor {
 public:
  // `sync_layers`: waits for the device after every layer, so that a fault is
  // reported with the layer it happened in.
  static absl::StatusOr<std::unique_ptr<Executor>> Create(NetGraph& graph,
                                                          ParamMemory& params,
                                                          Device& device,
                                                          bool sync_layers);

  // Allocates the plan's arena and binds every step to it.  Tops of source
  // layers keep their values where their shape is unchanged.
  absl::Status Adopt(ExecutionPlan plan);
  // The same after a Forward that ended with a ReplanRequest: also keeps what
  // the steps up to that one have made.
  absl::Status AdoptRunning(ExecutionPlan plan);
  // Layer whose step asked for the last new plan.
  int stopped_layer() const { return plan_.steps[stopped_step_].layer; }
  const ExecutionPlan& plan() const { return plan_; }

  void Attach(GradientSink* sink, WeightSource* source);

  // Layers [first, last].  `loss`, if not null, receives the weighted sum of
  // the losses among them.
  absl::Status Forward(const StepState& state, int first, int last,
                       double* loss);
  // After AdoptRunning: goes on with the step that stopped.  `loss` counts from
  // layer `first`.
  absl::Status Resume(const StepState& state, int first, int last,
                      double* loss);
  // Layers last, last - 1, ... first.  With `complete` the sink hears of every
  // parameter when its owner, the first in the net to use it, has run (or been
  // passed: parameters without a gradient and statistics too), so always in
  // slab order.
  absl::Status Backward(const StepState& state, int last, int first,
                        bool complete);

  // Until the sink has heard of all that Backward with `complete` has finished.
  // At once where kernels work in host memory.
  absl::Status AwaitGradients();
  // Until the device has done everything it was given.
  absl::Status Synchronize();
  // The host's view of a generation, coherent at the call.
  absl::StatusOr<absl::Span<float>> Gradients(int generation);
  // Between host memory and a tensor, in order with the steps.  The first
  // returns when it has been done, the second may read `host` later.
  absl::Status CopyOut(void* host, const void* tensor, size_t bytes);
  absl::Status CopyIn(void* tensor, const void* host, size_t bytes);

  // Memory of a tensor, where kernels work.
  float* data(int tensor) const;
  // Null where it has none; allocates gradient memory.
  absl::StatusOr<float*> gradient(int tensor);
  // The generation that the last clock wrote.
  int generation() const { return generation_; }
  // Keeps everything that data(), gradient() and the parameters now show
  // readable, for as long as it is held.
  const std::shared_ptr<const void>& memory() const { return memory_; }
  // Zeros, for the host and for kernels.
  absl::Status ClearGradient(int param);

 private:
  using GradientSets = std::array<std::vector<GradientTensor>, 4>;

  // A step's arguments, one element per bottom, top or parameter.
  struct BoundStep {
    std::vector<ConstTensor> bottom, param, top, top_gradient;
    std::vector<Tensor> top_out;
    std::vector<GradientTensor> bottom_gradient;
    GradientSets forward_gradient, backward_gradient;  // by GradientSet
    // Consecutive slab indices, as AwaitWeights takes them.
    std::vector<std::pair<int, int>> param_runs;
    std::vector<uint64_t> seen_version;  // per param
    bool writes_statistics = false;
    bool writes_gradient = false;
  };

  Executor(NetGraph& graph, ParamMemory& params, Device& device,
           bool sync_layers)
      : graph_(graph),
        params_(params),
        device_(device),
        sync_layers_(sync_layers) {}

  static int GradientSet(const StepState& state) {
    return static_cast<int>(state.clock & 1) + (state.pass > 0 ? 2 : 0);
  }
  absl::StatusOr<std::shared_ptr<Buffer>> NewMemory(ExecutionPlan plan,
                                                    ExecutionPlan* old);
  absl::Status KeepRunning(const ExecutionPlan& old, const Buffer& old_data);
  void HoldMemory();
  absl::Status RunSteps(const StepState& state, int from, int to);
  absl::Status KeepSources(const ExecutionPlan& old, const Buffer& old_data);
  absl::Status BindData();
  void BindRuns(const PlanStep& step, BoundStep& bound);
  absl::Status BindGradients();
  absl::Status SeedGradients();
  absl::Status AwaitParams(const StepState& state, int step);
  absl::Status AwaitSlot(const StepState& state);
  absl::Status RunForward(const StepState& state, int step);
  // After a step whose tops' shapes its data have decided.
  absl::Status Resize(int step);
  // Those that are to be written, for a step through which nothing goes.
  absl::Status Zero(absl::Span<const GradientTensor> gradients);
  absl::Status RunBackward(const StepState& state, int step);
  absl::Status FetchLoss(int from, int to, double* loss);
  absl::Status HandOver(const StepState& state, int first, int count);
  // After a step has been launched: its status, under the layer's name.
  absl::Status Finish(const absl::Status& launched, int layer);

  NetGraph& graph_;
  ParamMemory& params_;
  Device& device_;
  const bool sync_layers_;
  std::unique_ptr<Stream> stream_;
  ExecutionPlan plan_;
  std::vector<BoundStep> bound_;
  std::vector<int> losses_;  // tensors
  // Per layer: the slab range of the parameters that it owns.
  std::vector<std::pair<int, int>> owned_;
  std::shared_ptr<Buffer> data_, gradients_;
  Buffer scratch_;
  std::shared_ptr<const void> memory_;
  bool gradients_bound_ = false;
  GradientSink* sink_ = nullptr;
  WeightSource* source_ = nullptr;
  int generation_ = 0;
  int stopped_step_ = 0;          // by the last ReplanRequest
  int64_t slot_clock_ = -1;       // whose gradient slot has been awaited
  Buffer loss_values_;            // host's: all losses, one behind the other
  bool stale_gradients_[2] = {};  // the host's view of a generation
  // Only where the device has memory of its own.
  std::unique_ptr<GradientCourier> courier_;
};

}  // namespace cssp

#endif  // CSSP_WORKER_NET_EXECUTOR_H_
