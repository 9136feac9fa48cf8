// A net: layers, the blobs between them, the parameters, and the plan that
// runs them on one device.
#ifndef CSSP_WORKER_NET_NET_H_
#define CSSP_WORKER_NET_NET_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/device/device.h"
#include "proto/caffe.pb.h"
#include "worker/net/blob.h"
#include "worker/net/gradient_sink.h"
#include "worker/net/layer_registry.h"

namespace cssp {

struct ExecutionPlan;

// One parameter blob as its owner declares it (a sharer refers to its owner).
struct NetParam {
  std::string key;      // "conv1/0", or the ParamSpec name where it has one
  int layer = 0;        // owner's layer
  int index = 0;        // among the owner layer's parameters
  Shape shape;
  float lr_mult = 1;
  float decay_mult = 1;
  ParamKind kind = ParamKind::kGradient;
  float moving_average_fraction = 0;
  int64_t offset = 0;   // floats from the slab's start, 16-float aligned
};

struct NetOptions {
  caffe::NetState state;             // phase, level, stages
  // Every blob keeps its own memory in Caffe's layout (pycaffe, debugging);
  // off: the plan may alias, reformat and reuse.
  bool keep_blobs = true;
  std::string source_name;           // the prototxt's path, for messages
  std::string root_folder;           // for relative data paths
  uint64_t seed = 1;                 // fillers
  // Waits for the device after every layer: slow, but a fault of the device is
  // reported with the layer that it happened in.
  bool sync_layers = false;
  // Caffe's debug_info lines in every pass; also on where the prototxt asks.
  bool debug_info = false;
  // Caffe's INFO lines at creation ("Creating Layer conv1", "Top shape: ...").
  bool log_creation = true;
  // One gradient slab instead of two generations: half the memory where nobody
  // sends what the last clock wrote while the next runs.
  bool one_gradient_generation = false;
  // Test nets read the train net's weights: parameters are bound by layer name
  // and index to this net's slab, which lives as long as either net.  Layers
  // that the other net lacks have parameters of their own, at offsets behind
  // that slab and outside weights().
  class Net* share_weights_with = nullptr;
};

// Hears of each layer's pass, on the training thread.  A status other than OK
// ends the pass.
class LayerObserver {
 public:
  virtual ~LayerObserver() = default;
  virtual absl::Status BeforeLayer(int layer, bool backward) = 0;
  virtual absl::Status AfterLayer(int layer, bool backward) = 0;
};

// Thread-confined: the training thread.  Borrows registry and device.
//
// Invariants: (1) layers are those of the filtered, upgraded, split-inserted
// NetParameter, in order.  (2) params() is ordered by completion of backward;
// all weights lie in one slab, all gradients in one slab of two generations,
// fp32, Caffe layout.  (3) Forward and Backward allocate nothing unless a
// bottom changed shape.
class Net {
 public:
  static absl::StatusOr<std::unique_ptr<Net>> Create(
      const caffe::NetParameter& raw, const LayerRegistry& registry,
      Device& device, const NetOptions& options);
  ~Net();

  // One pass.  `loss` (may be null) receives the weighted sum of losses.
  // With `pass` > 0 gradients add onto the clock's earlier passes.  Backward
  // alone tells the sink nothing; FailedPrecondition where there was no Forward
  // since the plan changed, or in a TEST net without keep_blobs.
  absl::Status Forward(const StepState& state, double* loss);
  absl::Status Backward(const StepState& state);
  // `last_pass`: gradients complete, the sink is told as they do.
  absl::Status ForwardBackward(const StepState& state, bool last_pass,
                               double* loss);

  // Layers first..last of the net, forward or (last down to first) backward:
  // Python's start= and end=, timing layer by layer.
  absl::Status ForwardFromTo(const StepState& state, int first, int last,
                             double* loss);
  absl::Status BackwardFromTo(const StepState& state, int last, int first);

  // Until the sink has heard of every gradient of the last complete Backward.
  // To be called before the clock ends; at once on the CPU.
  absl::Status AwaitGradients();
  // Until the device has done everything launched: for timing.
  absl::Status Synchronize();

  // Attach once; null detaches.  Borrowed.
  void AttachSync(GradientSink* sink, WeightSource* source);

  // Null: nobody.  Borrowed.
  void Observe(LayerObserver* observer);

  // Input nets: gives the named input blob a new shape and replans.
  absl::Status Reshape();

  // Sources of data take `records` a pass from the next Forward on, for which
  // the net is planned anew.  InvalidArgument names the layer that cannot; the
  // net is of no more use then.
  absl::Status SetBatch(int64_t records);

  const std::string& name() const;
  caffe::Phase phase() const;
  absl::Span<const std::string> layer_names() const;
  const Layer& layer(int i) const;
  Layer& mutable_layer(int i);
  int num_layers() const;

  // Blobs by name; null when there is none.  The blob's host view is coherent
  // when it is taken (see Blob).  Without keep_blobs the first call for a blob
  // that is neither input, data layer's top nor output pins it and has the net
  // planned anew: it shows values from the next Forward on.
  Blob* blob(absl::string_view name);
  absl::Span<const std::string> blob_names() const;
  // Net outputs: tops nobody consumes, in alphabetical order.
  absl::Span<const std::string> output_names() const;
  // loss_weight of a blob, 0 where it is none; `index` in the blob.
  float output_loss_weight(absl::string_view blob) const;
  absl::Span<const std::string> input_names() const;

  absl::Span<const NetParam> params() const;
  // Slab index of parameter `index` of layer `layer` (its owner's if shared).
  int param_of(int layer, int index) const;
  int num_layer_params(int layer) const;
  // Whole slabs, in floats, in host memory (pinned, with a mirror on the device
  // where kernels work elsewhere).  Valid for the net's life.  A call waits
  // until no copy reads the weights, and until the gradients are coherent; who
  // keeps the spans hears of gradients through the sink, and writes weights in
  // AwaitWeights or between clocks.
  absl::Span<float> weights();
  absl::Span<float> gradients(int generation);
  // Values and last gradient of one parameter, wherever they lie.
  absl::Span<float> param_data(int param);
  absl::Span<float> param_diff(int param);
  // Zeros in both generations.
  absl::Status ClearGradient(int param);
  // To be called after writing weights from outside.
  void WeightsChanged();
  // Reads from now on the parameters that `other` has by layer name and index;
  // the rest stays its own.  `other`'s slab lives as long as either net.
  // InvalidArgument: a shape mismatch, nothing has changed.
  absl::Status ShareWeights(Net& other);
  // Keeps what blobs and parameters now show readable while it is held, though
  // the net be planned anew, or gone.  The device must outlive it.
  std::shared_ptr<const void> memory() const;

  // By layer name, BVLC's rules: sources without target are ignored with a log
  // line, targets without source keep their values, a count or shape mismatch
  // is InvalidArgument naming the layer, nothing half done.
  absl::Status LoadWeights(const caffe::NetParameter& trained);
  void set_debug_info(bool on);
  // The plan in use, for tests and diagnosis.  Valid until the next replan.
  const ExecutionPlan& plan() const;
  // The gradient generation that the last Backward wrote.
  int last_generation() const;

  // The net with its blobs, as a .caffemodel holds it.
  caffe::NetParameter ToProto(bool with_gradients) const;

  struct Impl;  // net_impl.h

 private:
  explicit Net(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace cssp

#endif  // CSSP_WORKER_NET_NET_H_
