#include "worker/layers/hinge_loss_layer.h"

#include <algorithm>

#include "worker/layers/cpu/cpu_layers.h"
#include "worker/layers/cpu/kernels.h"

namespace cssp::cpu {
namespace {

// Thread-confined: the training thread.
class HingeLossLayerCpu final : public HingeLossLayer {
 public:
  using HingeLossLayer::HingeLossLayer;

  absl::Status Bind(absl::Span<const TensorDesc> bottom,
                    absl::Span<const TensorDesc> top) override {
    axis_ = AxisOf(bottom[0].shape);
    return absl::OkStatus();
  }

  absl::Status Forward(StepContext& step, const ForwardArgs& args) override {
    const float* x = args.bottom[0].data();
    const float* labels = args.bottom[1].data();
    double sum = 0;
    for (int64_t n = 0; n < axis_.outer; ++n) {
      int64_t label;
      if (!axis_.Names(labels[n], &label)) return axis_.BadLabel(labels[n], n);
      for (int64_t c = 0; c < axis_.classes; ++c) {
        const double h = Hinge(x[n * axis_.classes + c], c == label);
        sum += squared() ? h * h : h;
      }
    }
    args.top[0].data()[0] = static_cast<float>(sum / axis_.outer);
    return absl::OkStatus();
  }

  absl::Status Backward(StepContext& step, const BackwardArgs& args) override {
    const GradientTensor& gradient = args.bottom_gradient[0];
    const float* x = args.bottom[0].data();
    const float* labels = args.bottom[1].data();
    const float weight = args.top_gradient[0].data()[0] /
                         static_cast<float>(axis_.outer);
    const int64_t classes = axis_.classes;
    const bool square = squared();
    Store(gradient.mode, gradient.tensor.data(), axis_.outer * classes,
          [=](int64_t i) {
            const bool own =
                i % classes == static_cast<int64_t>(labels[i / classes]);
            const float h = Hinge(x[i], own);
            const float slope = square ? 2 * h : h > 0 ? 1.0f : 0.0f;
            return (own ? -weight : weight) * slope;
          });
    return absl::OkStatus();
  }

 private:
  static float Hinge(float score, bool own) {
    return std::max(0.0f, own ? 1 - score : 1 + score);
  }

  LabelAxis axis_;
};

}  // namespace

absl::Status RegisterHingeLoss(LayerRegistry& registry) {
  return registry.Register("HingeLoss", DeviceType::kCpu,
                           MakeLayer<HingeLossLayerCpu>);
}

}  // namespace cssp::cpu
