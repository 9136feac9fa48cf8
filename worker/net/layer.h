// A layer: parameters, shapes and traits, and its kernels on one device.
//
// Life of a layer, all on the training thread:
//   1. SetUp         once: reads its LayerParameter, declares its parameters.
//   2. InferShapes   pure; again whenever a bottom changes shape.
//   3. Traits        what the plan must know to place and to order tensors.
//   4. ChooseFormats which memory formats it wants, given what its bottoms are.
//   5. Bind          once per plan: descriptors are final, so primitives are
//                    made and scratch is sized here.  Nothing later allocates.
//   6. Forward, Backward   many times.
// Forward and Backward never allocate, never synchronise with the device, and
// never bring a scalar to the host (but for the counts of ForwardShapes).
#ifndef CSSP_WORKER_NET_LAYER_H_
#define CSSP_WORKER_NET_LAYER_H_

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/device/device.h"
#include "common/tensor/tensor.h"
#include "proto/caffe.pb.h"

namespace cssp {

// Where a gradient output goes: nowhere, over what is there, or onto it
// (iter_size, shared parameters).  A kernel obeys; it never zeroes first.
enum class GradientMode : uint8_t { kNone, kWrite, kAdd };

struct GradientTensor {
  Tensor tensor;
  GradientMode mode = GradientMode::kNone;
};

// kGradient parameters follow the solver's rule.  kStatistic ones (BatchNorm's
// running mean, variance and factor) are not learnt: a TRAIN forward writes the
// batch's value into their gradient slot, and the updater does
//   value = moving_average_fraction * value + mean over contributors.
enum class ParamKind : uint8_t { kGradient, kStatistic };

struct ParamDeclaration {
  Shape shape;
  caffe::FillerParameter filler;
  ParamKind kind = ParamKind::kGradient;
  float moving_average_fraction = 0;  // kStatistic only
  std::vector<float> values;  // that it begins with; empty: the filler's
};

// The state of a step that kernels may read.  Counter-based randomness:
// Philox keyed by seed, counter = (rank, layer, clock, pass, element).
struct StepState {
  caffe::Phase phase = caffe::TRAIN;
  int64_t clock = 0;   // test nets: the batch's index
  int32_t pass = 0;    // 0 .. iter_size-1
  int32_t rank = 0;    // worker rank, 0 when single
  uint64_t seed = 0;
  // Records dealt to this pass start here (see worker/data/record_dealer.h).
  int64_t first_record = 0;
};

class StepContext {
 public:
  StepContext(Stream& stream, absl::Span<uint8_t> scratch,
              const StepState& state, int layer,
              std::shared_ptr<const void> memory = nullptr)
      : stream_(stream),
        scratch_(scratch),
        state_(state),
        layer_(layer),
        memory_(std::move(memory)) {}

  Stream& stream() { return stream_; }
  // As many bytes as Traits().scratch_bytes asked for, 64-byte aligned; holds
  // nothing between calls.
  absl::Span<uint8_t> scratch() { return scratch_; }
  const StepState& state() const { return state_; }
  // Stable index of the layer in the filtered net: part of the Philox counter.
  int layer() const { return layer_; }
  // Keeps the call's tensors readable while it is held, though the net be gone;
  // null outside a net.  The device must outlive it.
  const std::shared_ptr<const void>& memory() const { return memory_; }

 private:
  Stream& stream_;
  absl::Span<uint8_t> scratch_;
  const StepState& state_;
  int layer_;
  std::shared_ptr<const void> memory_;
};

// In-place: bottom[i].raw == top[i].raw.  `param_gradient` in Forward has modes
// other than kNone for kStatistic parameters only, and only in TRAIN.
struct ForwardArgs {
  absl::Span<const ConstTensor> bottom;
  absl::Span<const ConstTensor> param;
  absl::Span<const Tensor> top;
  absl::Span<const GradientTensor> param_gradient;
};

// top_gradient[i].raw is null where nothing below the loss uses top i.
// bottom/top data that Traits does not name may be stale or null.
// In-place: bottom_gradient[0].raw may equal top_gradient[0].raw.
struct BackwardArgs {
  absl::Span<const ConstTensor> bottom;
  absl::Span<const ConstTensor> param;
  absl::Span<const ConstTensor> top;
  absl::Span<const ConstTensor> top_gradient;
  absl::Span<const GradientTensor> bottom_gradient;
  absl::Span<const GradientTensor> param_gradient;
};

// How Caffe's own layer of a type fares where an in-place layer overwrites data
// that Backward reads.  Where a net would get wrong gradients from Caffe, it is
// refused (CheckInPlace); where not, it runs, here with memory of its own if
// need be.  Not set: it fares badly.
struct CaffeInPlace {
  // It keeps copies of what it needs: it may be in place itself although it
  // reads bottom 0, and its top may be overwritten.
  bool keeps_copies = false;
  // Instead of top 0 it reads bottom 0, which is only the same if in place.
  bool reads_bottom_instead = false;
  // Of top 0 it needs only which elements are > 0.
  bool reads_signs_only = false;
  // In place it changes no sign, except where no gradient passes (Dropout).
  bool keeps_signs = false;
};

struct LayerTraits {
  // Bit i: Backward reads the data of bottom / top i.
  uint32_t backward_reads_bottom = ~0u;
  uint32_t backward_reads_top = ~0u;
  // Top 0 may share memory with bottom 0 (data and gradient).
  bool in_place = false;
  CaffeInPlace in_caffe;
  // Top 0 is bottom 0 seen under another shape: the plan aliases both data and
  // gradient, Forward and Backward are never called (Flatten, Reshape).
  bool is_view = false;
  // Every top has bottom 0's values (Split): the plan aliases their data,
  // Forward is never called.  Gradients are each their own.
  bool shares_data = false;
  bool has_backward = true;
  bool is_source = false;         // produces data, has no bottoms
  bool data_dependent_shape = false;  // see ForwardShapes
  bool capturable = true;
  size_t scratch_bytes = 0;       // valid after Bind
};

// What a layer wants its bottoms to be and what its tops will be, in order.
// A gradient has the format of its data.
struct FormatChoice {
  std::vector<Format> bottom;
  std::vector<Format> top;
};

class Layer {
 public:
  Layer(caffe::LayerParameter param, caffe::Phase phase)
      : param_(std::move(param)), phase_(phase) {}
  virtual ~Layer() = default;

  Layer(const Layer&) = delete;
  Layer& operator=(const Layer&) = delete;

  // Errors name the field and the remedy ("kernel_size must be > 0"); the net
  // adds the file and the layer's name.
  virtual absl::Status SetUp(absl::Span<const Shape> bottom) = 0;
  virtual absl::StatusOr<std::vector<Shape>> InferShapes(
      absl::Span<const Shape> bottom) const = 0;
  virtual LayerTraits Traits() const = 0;

  // Default: Caffe's layout everywhere.  Layers that treat elements alike pass
  // the format of bottom 0 through.
  virtual FormatChoice ChooseFormats(absl::Span<const TensorDesc> bottom,
                                     absl::Span<const Shape> top) const;
  virtual absl::Status Bind(absl::Span<const TensorDesc> bottom,
                            absl::Span<const TensorDesc> top) {
    return absl::OkStatus();
  }
  // Sources whose tops change shape with the data: what the next Forward will
  // give, so that InferShapes can tell its shape.  Idempotent.
  virtual absl::Status Prepare(const StepState& state) {
    return absl::OkStatus();
  }
  // Sources of data: tops have `records` (extent 0) from the next Forward on.
  // False: their batch is what it is.
  virtual bool SetBatch(int64_t records) { return false; }
  virtual absl::Status Forward(StepContext& step, const ForwardArgs& args) = 0;
  virtual absl::Status Backward(StepContext& step,
                                const BackwardArgs& args) = 0;

  // Of layers with traits.data_dependent_shape that are no sources: InferShapes
  // gives upper bounds and this, when all that Forward launched has run, every
  // top's true shape, of no more elements than its bound.  The executor waits
  // for that, so a kernel may have left a count in host memory.  Top descriptors
  // that Forward gets are those of the last time; Backward and the layers behind
  // get the true ones.
  virtual absl::Span<const Shape> ForwardShapes() { return {}; }

  // Called when the weight slab has changed since the last Forward (a new
  // version, loaded weights): packed copies are stale.
  virtual void ParamsChanged() {}

  // Seconds for which training has stood still for this layer's records, in
  // all; sources only.
  virtual double data_wait_seconds() const { return 0; }

  // Bounds on the number of bottoms and tops; -1: no bound.
  virtual int min_bottoms() const { return 1; }
  virtual int max_bottoms() const { return 1; }
  virtual int min_tops() const { return 1; }
  virtual int max_tops() const { return 1; }
  // A loss layer's first top has loss_weight 1 unless the prototxt says else.
  virtual bool is_loss() const { return false; }
  // Missing tops are added under "(automatic)" names (losses).
  virtual bool auto_top_blobs() const { return is_loss(); }
  // Labels: no gradient flows to bottom i even under force_backward.
  virtual bool allow_force_backward(int bottom) const { return true; }
  // Can gradients reach bottom i at all (Accuracy: none)?
  virtual bool propagates_to(int bottom) const { return true; }

  const caffe::LayerParameter& layer_param() const { return param_; }
  caffe::Phase phase() const { return phase_; }
  const std::string& name() const { return param_.name(); }
  const std::string& type() const { return param_.type(); }
  const std::vector<ParamDeclaration>& param_declarations() const {
    return declarations_;
  }

 protected:
  // For SetUp.
  void DeclareParam(ParamDeclaration declaration) {
    declarations_.push_back(std::move(declaration));
  }

 private:
  const caffe::LayerParameter param_;
  const caffe::Phase phase_;
  std::vector<ParamDeclaration> declarations_;
};

}  // namespace cssp

#endif  // CSSP_WORKER_NET_LAYER_H_
