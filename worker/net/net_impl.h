// Net's inside, shared by net.cc and net_weights.cc alone.
#ifndef CSSP_WORKER_NET_NET_IMPL_H_
#define CSSP_WORKER_NET_NET_IMPL_H_

#include <memory>
#include <string>
#include <vector>

#include "worker/net/execution_plan.h"
#include "worker/net/executor.h"
#include "worker/net/net.h"
#include "worker/net/net_graph.h"
#include "worker/net/param_memory.h"

namespace cssp {

// A view of a blob's last version.  It is pinned when the net hands it out, so
// it has memory of its own in Caffe's layout.  Where kernels work elsewhere the
// views show a mirror in host memory: filled when it is asked for, and copied
// back before the next step where it may have been written.
//
// Thread-confined: the training thread.  Borrows the net.
class NetBlob final : public Blob {
 public:
  NetBlob(Net::Impl& net, int index) : net_(net), index_(index) {}
  const std::string& name() const override;
  const Shape& shape() const override;
  absl::Span<const float> data() override { return View(kData, false); }
  absl::Span<float> mutable_data() override { return View(kData, true); }
  absl::Span<const float> diff() override { return View(kDiff, false); }
  absl::Span<float> mutable_diff() override { return View(kDiff, true); }
  absl::Status Reshape(const Shape& shape) override;

  // Copies to the device what may have been written since.
  absl::Status Flush();
  // Adds what views now show, where it is not the executor's.
  void Hold(std::vector<std::shared_ptr<const void>>& memory) const {
    for (const Mirror& mirror : mirrors_) memory.push_back(mirror.memory);
  }

 private:
  enum Side { kData, kDiff };
  struct Mirror {
    std::shared_ptr<Buffer> memory;
    bool written = false;
  };
  // Empty where there is nothing, and where an error was logged.
  absl::Span<float> View(Side side, bool write);
  absl::StatusOr<absl::Span<float>> TryView(Side side, bool write);
  // Where kernels have it; null: nowhere.
  absl::StatusOr<float*> Memory(Side side);

  Net::Impl& net_;
  const int index_;
  Mirror mirrors_[2];
};

struct Net::Impl {
  Impl(const NetOptions& options, Device& device)
      : options(options), device(device) {}

  absl::Status Init(const caffe::NetParameter& raw,
                    const LayerRegistry& registry);
  // Plans anew where shapes or pins changed since the last plan.
  absl::Status EnsurePlan();
  absl::StatusOr<ExecutionPlan> NewPlan(int run_layers);
  // Runs layers; plans anew in between where a layer asks for it.
  absl::Status Run(const StepState& state, int first, int last, double* loss);
  // Source layers first..last whose next batch has another shape than the last.
  absl::Status CheckSources(const StepState& state, int first, int last);
  int num_layers() const { return static_cast<int>(graph.layers.size()); }
  absl::Status CheckRange(int first, int last) const;
  absl::Status Forward(const StepState& state, int first, int last,
                       double* loss);
  absl::Status Backward(const StepState& state, int last, int first,
                        bool complete);
  // Views written since the last step.
  absl::Status FlushViews();

  NetOptions options;
  Device& device;
  NetGraph graph;
  std::unique_ptr<ParamMemory> params;
  std::unique_ptr<Executor> executor;
  std::vector<std::string> layer_names, blob_names;
  std::vector<std::unique_ptr<NetBlob>> views;  // per blob
  std::vector<NetBlob*> written;                // to be flushed
  std::vector<Shape> input_shapes;    // per blob; no axes: as inferred
  std::vector<bool> pinned;           // per blob
  std::vector<int> changing_sources;  // layers
  bool stale = true;                  // the plan
  bool ran_forward = false;           // with this plan
  // The plan was made for what a pass's data had come to: not for upper bounds.
  bool made_while_running = false;
  bool has_bounds = false;            // some layer's InferShapes gives bounds
  LayerObserver* observer = nullptr;
};

// Values that the prototxt itself carries (LayerParameter.blobs).
absl::Status LoadLayerBlobs(Net::Impl& net);

}  // namespace cssp

#endif  // CSSP_WORKER_NET_NET_IMPL_H_
