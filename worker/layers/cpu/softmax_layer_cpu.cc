#include "worker/layers/softmax_layer.h"

#include "common/base/status_macros.h"
#include "worker/layers/cpu/cpu_layers.h"
#include "worker/layers/cpu/kernels.h"
#include "worker/layers/cpu/softmax_kernels.h"

namespace cssp::cpu {
namespace {

// Thread-confined: the training thread.
class SoftmaxLayerCpu final : public SoftmaxLayer {
 public:
  using SoftmaxLayer::SoftmaxLayer;

  absl::Status Bind(absl::Span<const TensorDesc> bottom,
                    absl::Span<const TensorDesc> top) override {
    ASSIGN_OR_RETURN(axis_, AxisOf(bottom[0].shape));
    return absl::OkStatus();
  }

  absl::Status Forward(StepContext& step, const ForwardArgs& args) override {
    Softmax(axis_, args.bottom[0].data(), args.top[0].data());
    return absl::OkStatus();
  }

  absl::Status Backward(StepContext& step, const BackwardArgs& args) override {
    const GradientTensor& gradient = args.bottom_gradient[0];
    if (gradient.mode != GradientMode::kNone) {
      SoftmaxGradient(axis_, args.top[0].data(), args.top_gradient[0].data(),
                      gradient.mode == GradientMode::kAdd,
                      gradient.tensor.data());
    }
    return absl::OkStatus();
  }

 private:
  LabelAxis axis_;
};

}  // namespace

absl::Status RegisterSoftmax(LayerRegistry& registry) {
  return registry.Register("Softmax", DeviceType::kCpu,
                           MakeLayer<SoftmaxLayerCpu>);
}

}  // namespace cssp::cpu
