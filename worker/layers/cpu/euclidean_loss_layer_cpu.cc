#include "worker/layers/euclidean_loss_layer.h"

#include "worker/layers/cpu/cpu_layers.h"
#include "worker/layers/cpu/kernels.h"

namespace cssp::cpu {
namespace {

// Thread-confined: the training thread.
class EuclideanLossLayerCpu final : public EuclideanLossLayer {
 public:
  using EuclideanLossLayer::EuclideanLossLayer;

  absl::Status Forward(StepContext& step, const ForwardArgs& args) override {
    const float* a = args.bottom[0].data();
    const float* b = args.bottom[1].data();
    double sum = 0;
    for (int64_t i = 0; i < args.bottom[0].count(); ++i) {
      const double difference = double{a[i]} - b[i];
      sum += difference * difference;
    }
    args.top[0].data()[0] =
        static_cast<float>(sum / args.bottom[0].shape().dim(0) / 2);
    return absl::OkStatus();
  }

  absl::Status Backward(StepContext& step, const BackwardArgs& args) override {
    const float* a = args.bottom[0].data();
    const float* b = args.bottom[1].data();
    const float weight = args.top_gradient[0].data()[0] /
                         static_cast<float>(args.bottom[0].shape().dim(0));
    for (int side = 0; side < 2; ++side) {
      const GradientTensor& gradient = args.bottom_gradient[side];
      if (gradient.mode == GradientMode::kNone) continue;
      const float sign = side == 0 ? weight : -weight;
      Store(gradient.mode, gradient.tensor.data(), gradient.tensor.count(),
            [=](int64_t i) { return sign * (a[i] - b[i]); });
    }
    return absl::OkStatus();
  }
};

}  // namespace

absl::Status RegisterEuclideanLoss(LayerRegistry& registry) {
  return registry.Register("EuclideanLoss", DeviceType::kCpu,
                           MakeLayer<EuclideanLossLayerCpu>);
}

}  // namespace cssp::cpu
