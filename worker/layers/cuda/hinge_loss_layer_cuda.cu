#include "common/base/status_macros.h"
#include "worker/layers/cuda/cuda_layer.h"
#include "worker/layers/cuda/cuda_layers.h"
#include "worker/layers/cuda/kernels.h"
#include "worker/layers/cuda/labels.cuh"
#include "worker/layers/cuda/reduce.cuh"
#include "worker/layers/hinge_loss_layer.h"

namespace cssp::cuda {
namespace {

__device__ float Hinge(float score, bool own) {
  return fmaxf(0.0f, own ? 1 - score : 1 + score);
}

// Thread-confined: the training thread.
class HingeLossLayerCuda final : public CudaLayer<HingeLossLayer> {
 public:
  using CudaLayer::CudaLayer;

  absl::Status Bind(absl::Span<const TensorDesc> bottom,
                    absl::Span<const TensorDesc> top) override {
    axis_ = AxisOf(bottom[0].shape);
    plan_ = SumPlan(1, bottom[0].shape.count());
    set_scratch_bytes(plan_.scratch_bytes());
    return absl::OkStatus();
  }

  absl::Status Forward(StepContext& step, const ForwardArgs& args) override {
    const float* x = args.bottom[0].data();
    const Labels labels{args.bottom[1].data(), axis_.classes, 1};
    float* loss = args.top[0].data();
    const bool square = squared();
    const double items = axis_.outer;
    return SumSegments<double>(
        step.stream(), plan_, step.scratch().data(),
        [=] __device__(int64_t, int64_t i) {
          const int64_t label = labels.Class(i / labels.classes);
          if (label == kNoClass) return double{NAN};
          const double h = Hinge(x[i], i % labels.classes == label);
          return square ? h * h : h;
        },
        [=] __device__(int64_t, double sum) {
          *loss = static_cast<float>(sum / items);
        });
  }

  absl::Status Backward(StepContext& step, const BackwardArgs& args) override {
    const GradientTensor& gradient = args.bottom_gradient[0];
    const float* x = args.bottom[0].data();
    const Labels labels{args.bottom[1].data(), axis_.classes, 1};
    const float* loss_weight = args.top_gradient[0].data();
    const bool square = squared();
    const float items = static_cast<float>(axis_.outer);
    return Store(step.stream(), gradient.mode, gradient.tensor.data(),
                 gradient.tensor.count(), [=] __device__(int64_t i) {
                   const int64_t label = labels.Class(i / labels.classes);
                   if (label == kNoClass) return 0.0f;
                   const bool own = i % labels.classes == label;
                   const float h = Hinge(x[i], own);
                   const float slope = square ? 2 * h : h > 0 ? 1.0f : 0.0f;
                   const float weight = *loss_weight / items;
                   return (own ? -weight : weight) * slope;
                 });
  }

 private:
  LabelAxis axis_;
  SumPlan plan_;
};

}  // namespace

absl::Status RegisterHingeLoss(LayerRegistry& registry) {
  return registry.Register("HingeLoss", DeviceType::kCuda,
                           MakeCudaLayer<HingeLossLayerCuda>);
}

}  // namespace cssp::cuda
