#include "worker/layers/cpu/cpu_layers.h"
#include "worker/layers/cpu/kernels.h"
#include "worker/layers/parameter_layer.h"

namespace cssp::cpu {
namespace {

// Thread-confined: the training thread.
class ParameterLayerCpu final : public ParameterLayer {
 public:
  using ParameterLayer::ParameterLayer;

  absl::Status Forward(StepContext& step, const ForwardArgs& args) override {
    Copy(args.top[0].data(), args.param[0].data(), args.top[0].count());
    return absl::OkStatus();
  }

  absl::Status Backward(StepContext& step, const BackwardArgs& args) override {
    const GradientTensor& gradient = args.param_gradient[0];
    const float* dy = args.top_gradient[0].data();
    Store(gradient.mode, gradient.tensor.data(), args.top_gradient[0].count(),
          [=](int64_t i) { return dy[i]; });
    return absl::OkStatus();
  }
};

}  // namespace

absl::Status RegisterParameter(LayerRegistry& registry) {
  return registry.Register("Parameter", DeviceType::kCpu,
                           MakeLayer<ParameterLayerCpu>);
}

}  // namespace cssp::cpu
