#include "common/base/status_macros.h"
#include "worker/layers/cuda/cuda_layer.h"
#include "worker/layers/cuda/cuda_layers.h"
#include "worker/layers/cuda/kernels.h"
#include "worker/layers/cuda/reduce.cuh"
#include "worker/layers/sigmoid_loss_layer.h"

namespace cssp::cuda {
namespace {

// A target counts as its integer part, as in Caffe.
struct IgnoredTarget {
  bool set;
  int value;
  __device__ bool operator()(float target) const {
    return set && fabsf(target) < 16777216.0f &&
           static_cast<int>(target) == value;
  }
};

// Keeps the divisor from Forward to Backward.
// Thread-confined: the training thread.
class SigmoidCrossEntropyLossLayerCuda final
    : public CudaLayer<SigmoidCrossEntropyLossLayer> {
 public:
  using CudaLayer::CudaLayer;

  absl::Status Bind(absl::Span<const TensorDesc> bottom,
                    absl::Span<const TensorDesc> top) override {
    items_ = bottom[0].shape.dim(0);
    positions_ = bottom[0].shape.count_from(1);
    plan_ = SumPlan(1, items_ * positions_);
    set_scratch_bytes(plan_.scratch_bytes());
    return Allocate(sizeof(double), &divisor_);
  }

  absl::Status Forward(StepContext& step, const ForwardArgs& args) override {
    const float* x = args.bottom[0].data();
    const float* t = args.bottom[1].data();
    const IgnoredTarget ignored = Ignored();
    double* divisor = static_cast<double*>(divisor_.data());
    float* loss = args.top[0].data();
    const auto mode = normalization();
    const int64_t items = items_, positions = positions_;
    return SumSegments<SumPair>(
        step.stream(), plan_, step.scratch().data(),
        [=] __device__(int64_t, int64_t i) {
          if (ignored(t[i])) return SumPair{0, 0};
          // log(1 + e^x) - t x, without overflow.
          const double v = x[i];
          return SumPair{fmax(v, 0.0) - t[i] * v + log1p(exp(-fabs(v))), 1};
        },
        [=] __device__(int64_t, SumPair sum) {
          *divisor =
              LossDivisor(mode, items, positions, static_cast<int64_t>(sum.b));
          *loss = static_cast<float>(sum.a / *divisor);
        });
  }

  absl::Status Backward(StepContext& step, const BackwardArgs& args) override {
    const GradientTensor& gradient = args.bottom_gradient[0];
    const float* x = args.bottom[0].data();
    const float* t = args.bottom[1].data();
    const IgnoredTarget ignored = Ignored();
    const double* divisor = static_cast<const double*>(divisor_.data());
    const float* loss_weight = args.top_gradient[0].data();
    return Store(step.stream(), gradient.mode, gradient.tensor.data(),
                 gradient.tensor.count(), [=] __device__(int64_t i) {
                   if (ignored(t[i])) return 0.0f;
                   const float p = 0.5f * tanhf(0.5f * x[i]) + 0.5f;
                   return static_cast<float>(*loss_weight / *divisor) *
                          (p - t[i]);
                 });
  }

 private:
  IgnoredTarget Ignored() const {
    return {ignore_label().has_value(), ignore_label().value_or(0)};
  }

  int64_t items_ = 0, positions_ = 0;
  SumPlan plan_;
  Buffer divisor_;  // one double
};

}  // namespace

absl::Status RegisterSigmoidLoss(LayerRegistry& registry) {
  return registry.Register("SigmoidCrossEntropyLoss", DeviceType::kCuda,
                           MakeCudaLayer<SigmoidCrossEntropyLossLayerCuda>);
}

}  // namespace cssp::cuda
