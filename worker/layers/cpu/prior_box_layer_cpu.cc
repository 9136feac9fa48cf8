#include <vector>

#include "worker/layers/cpu/cpu_layers.h"
#include "worker/layers/cpu/kernels.h"
#include "worker/layers/prior_box_layer.h"

namespace cssp::cpu {
namespace {

// Thread-confined: the training thread.
class PriorBoxLayerCpu final : public PriorBoxLayer {
 public:
  using PriorBoxLayer::PriorBoxLayer;

  absl::Status Bind(absl::Span<const TensorDesc> bottom,
                    absl::Span<const TensorDesc> top) override {
    priors_ = Priors({bottom[0].shape, bottom[1].shape});
    return absl::OkStatus();
  }
  absl::Status Forward(StepContext& step, const ForwardArgs& args) override {
    Copy(args.top[0].data(), priors_.data(), args.top[0].count());
    return absl::OkStatus();
  }
  absl::Status Backward(StepContext& step, const BackwardArgs& args) override {
    return absl::OkStatus();
  }

 private:
  std::vector<float> priors_;
};

}  // namespace

absl::Status RegisterPriorBox(LayerRegistry& registry) {
  return registry.Register("PriorBox", DeviceType::kCpu,
                           MakeLayer<PriorBoxLayerCpu>);
}

}  // namespace cssp::cpu
