#include "worker/layers/reduction_layer.h"

#include <algorithm>
#include <cmath>

#include "worker/layers/cpu/cpu_layers.h"
#include "worker/layers/cpu/kernels.h"

namespace cssp::cpu {
namespace {

using caffe::ReductionParameter;

// Thread-confined: the training thread.
class ReductionLayerCpu final : public ReductionLayer {
 public:
  using ReductionLayer::ReductionLayer;

  absl::Status Bind(absl::Span<const TensorDesc> bottom,
                    absl::Span<const TensorDesc> top) override {
    outer_ = top[0].shape.count();
    run_ = bottom[0].shape.count() / std::max<int64_t>(outer_, 1);
    factor_ = options().coeff();
    if (options().operation() == ReductionParameter::MEAN) {
      factor_ /= static_cast<float>(std::max<int64_t>(run_, 1));
    }
    return absl::OkStatus();
  }

  absl::Status Forward(StepContext& step, const ForwardArgs& args) override {
    const float* x = args.bottom[0].data();
    const auto operation = options().operation();
    const int64_t run = run_;
    const float factor = factor_;
    Fill(args.top[0].data(), outer_, [=](int64_t o) {
      double sum = 0;
      for (int64_t i = o * run; i < (o + 1) * run; ++i) {
        sum += operation == ReductionParameter::ASUM    ? std::fabs(x[i])
               : operation == ReductionParameter::SUMSQ ? double{x[i]} * x[i]
                                                        : x[i];
      }
      return static_cast<float>(factor * sum);
    });
    return absl::OkStatus();
  }

  absl::Status Backward(StepContext& step, const BackwardArgs& args) override {
    const GradientTensor& gradient = args.bottom_gradient[0];
    const float* dy = args.top_gradient[0].data();
    const float* x = args.bottom[0].data();
    const auto operation = options().operation();
    const int64_t run = run_;
    const float factor = factor_;
    Store(gradient.mode, gradient.tensor.data(), outer_ * run_,
          [=](int64_t i) {
            const float slope =
                operation == ReductionParameter::ASUM
                    ? static_cast<float>((x[i] > 0) - (x[i] < 0))
                : operation == ReductionParameter::SUMSQ ? 2 * x[i]
                                                         : 1.0f;
            return factor * slope * dy[i / run];
          });
    return absl::OkStatus();
  }

 private:
  int64_t outer_ = 0, run_ = 0;
  float factor_ = 1;
};

}  // namespace

absl::Status RegisterReduction(LayerRegistry& registry) {
  return registry.Register("Reduction", DeviceType::kCpu,
                           MakeLayer<ReductionLayerCpu>);
}

}  // namespace cssp::cpu
