#include "worker/layers/sigmoid_loss_layer.h"

#include <algorithm>
#include <cmath>

#include "worker/layers/cpu/cpu_layers.h"
#include "worker/layers/cpu/kernels.h"

namespace cssp::cpu {
namespace {

// Thread-confined: the training thread.
class SigmoidCrossEntropyLossLayerCpu final
    : public SigmoidCrossEntropyLossLayer {
 public:
  using SigmoidCrossEntropyLossLayer::SigmoidCrossEntropyLossLayer;

  absl::Status Forward(StepContext& step, const ForwardArgs& args) override {
    const float* x = args.bottom[0].data();
    const float* t = args.bottom[1].data();
    double loss = 0;
    int64_t valid = 0;
    for (int64_t i = 0; i < args.bottom[0].count(); ++i) {
      if (Ignored(t[i])) continue;
      // log(1 + e^x) - t x, without overflow.
      const double v = x[i];
      loss += std::max(v, 0.0) - t[i] * v + std::log1p(std::exp(-std::fabs(v)));
      ++valid;
    }
    divisor_ = Divisor(args.bottom[0].shape(), valid);
    args.top[0].data()[0] = static_cast<float>(loss / divisor_);
    return absl::OkStatus();
  }

  absl::Status Backward(StepContext& step, const BackwardArgs& args) override {
    const GradientTensor& gradient = args.bottom_gradient[0];
    const float* x = args.bottom[0].data();
    const float* t = args.bottom[1].data();
    const float weight =
        static_cast<float>(args.top_gradient[0].data()[0] / divisor_);
    Store(gradient.mode, gradient.tensor.data(), gradient.tensor.count(),
          [=, this](int64_t i) {
            if (Ignored(t[i])) return 0.0f;
            const float p = 0.5f * std::tanh(0.5f * x[i]) + 0.5f;
            return weight * (p - t[i]);
          });
    return absl::OkStatus();
  }

 private:
  // A target counts as its integer part, as in Caffe.
  bool Ignored(float target) const {
    return ignore_label().has_value() && std::fabs(target) < 16777216.0f &&
           static_cast<int>(target) == *ignore_label();
  }

  double divisor_ = 1;
};

}  // namespace

absl::Status RegisterSigmoidLoss(LayerRegistry& registry) {
  return registry.Register("SigmoidCrossEntropyLoss", DeviceType::kCpu,
                           MakeLayer<SigmoidCrossEntropyLossLayerCpu>);
}

}  // namespace cssp::cpu
