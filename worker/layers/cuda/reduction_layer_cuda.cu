#include <algorithm>

#include "common/base/status_macros.h"
#include "worker/layers/cuda/cuda_layer.h"
#include "worker/layers/cuda/cuda_layers.h"
#include "worker/layers/cuda/kernels.h"
#include "worker/layers/cuda/reduce.cuh"
#include "worker/layers/reduction_layer.h"

namespace cssp::cuda {
namespace {

using caffe::ReductionParameter;

// Thread-confined: the training thread.
class ReductionLayerCuda final : public CudaLayer<ReductionLayer> {
 public:
  using CudaLayer::CudaLayer;

  absl::Status Bind(absl::Span<const TensorDesc> bottom,
                    absl::Span<const TensorDesc> top) override {
    const int64_t outer = top[0].shape.count();
    run_ = bottom[0].shape.count() / std::max<int64_t>(outer, 1);
    factor_ = options().coeff();
    if (options().operation() == ReductionParameter::MEAN) {
      factor_ /= static_cast<float>(std::max<int64_t>(run_, 1));
    }
    plan_ = SumPlan(outer, run_);
    set_scratch_bytes(plan_.scratch_bytes());
    return absl::OkStatus();
  }

  absl::Status Forward(StepContext& step, const ForwardArgs& args) override {
    const float* x = args.bottom[0].data();
    float* y = args.top[0].data();
    const auto operation = options().operation();
    const int64_t run = run_;
    const float factor = factor_;
    return SumSegments<double>(
        step.stream(), plan_, step.scratch().data(),
        [=] __device__(int64_t o, int64_t k) {
          const double v = x[o * run + k];
          return operation == ReductionParameter::ASUM    ? fabs(v)
                 : operation == ReductionParameter::SUMSQ ? v * v
                                                          : v;
        },
        [=] __device__(int64_t o, double sum) {
          y[o] = static_cast<float>(factor * sum);
        });
  }

  absl::Status Backward(StepContext& step, const BackwardArgs& args) override {
    const GradientTensor& gradient = args.bottom_gradient[0];
    const float* dy = args.top_gradient[0].data();
    const float* x = args.bottom[0].data();
    const auto operation = options().operation();
    const int64_t run = run_;
    const float factor = factor_;
    return Store(step.stream(), gradient.mode, gradient.tensor.data(),
                 gradient.tensor.count(), [=] __device__(int64_t i) {
                   float slope = 1;
                   if (operation == ReductionParameter::ASUM) {
                     slope = static_cast<float>((x[i] > 0) - (x[i] < 0));
                   } else if (operation == ReductionParameter::SUMSQ) {
                     slope = 2 * x[i];
                   }
                   return factor * slope * dy[i / run];
                 });
  }

 private:
  int64_t run_ = 0;
  float factor_ = 1;
  SumPlan plan_;
};

}  // namespace

absl::Status RegisterReduction(LayerRegistry& registry) {
  return registry.Register("Reduction", DeviceType::kCuda,
                           MakeCudaLayer<ReductionLayerCuda>);
}

}  // namespace cssp::cuda
