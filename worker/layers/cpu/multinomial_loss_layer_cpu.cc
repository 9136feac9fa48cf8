#include <algorithm>
#include <cmath>

#include "worker/layers/cpu/cpu_layers.h"
#include "worker/layers/cpu/kernels.h"
#include "worker/layers/multinomial_loss_layer.h"

namespace cssp::cpu {
namespace {

// Thread-confined: the training thread.
class MultinomialLossLayerCpu final : public MultinomialLossLayer {
 public:
  using MultinomialLossLayer::MultinomialLossLayer;

  absl::Status Bind(absl::Span<const TensorDesc> bottom,
                    absl::Span<const TensorDesc> top) override {
    axis_ = AxisOf(bottom[0].shape);
    return absl::OkStatus();
  }

  absl::Status Forward(StepContext& step, const ForwardArgs& args) override {
    const float* p = args.bottom[0].data();
    const float* labels = args.bottom[1].data();
    double sum = 0;
    for (int64_t n = 0; n < axis_.outer; ++n) {
      int64_t label;
      if (!axis_.Names(labels[n], &label)) return axis_.BadLabel(labels[n], n);
      sum -= std::log(double{AtLeast(p[n * axis_.classes + label])});
    }
    args.top[0].data()[0] = static_cast<float>(sum / axis_.outer);
    return absl::OkStatus();
  }

  absl::Status Backward(StepContext& step, const BackwardArgs& args) override {
    const GradientTensor& gradient = args.bottom_gradient[0];
    const float* p = args.bottom[0].data();
    const float* labels = args.bottom[1].data();
    const float weight =
        args.top_gradient[0].data()[0] / static_cast<float>(axis_.outer);
    const int64_t classes = axis_.classes;
    Store(gradient.mode, gradient.tensor.data(), axis_.outer * classes,
          [=](int64_t i) {
            const bool own =
                i % classes == static_cast<int64_t>(labels[i / classes]);
            return own ? -weight / AtLeast(p[i]) : 0.0f;
          });
    return absl::OkStatus();
  }

 private:
  static float AtLeast(float p) { return std::max(p, kLeastProbability); }

  LabelAxis axis_;
};

}  // namespace

absl::Status RegisterMultinomialLoss(LayerRegistry& registry) {
  return registry.Register("MultinomialLogisticLoss", DeviceType::kCpu,
                           MakeLayer<MultinomialLossLayerCpu>);
}

}  // namespace cssp::cpu
