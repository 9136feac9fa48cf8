#include "common/base/status_macros.h"
#include "worker/layers/cpu/cpu_layers.h"
#include "worker/layers/cpu/strided_kernels.h"
#include "worker/layers/permute_layer.h"

namespace cssp::cpu {
namespace {

// Base: PermuteLayer or ShuffleChannelLayer.
// Thread-confined: the training thread.
template <class Base>
class PermutingLayerCpu final : public Base {
 public:
  using Base::Base;

  absl::Status Bind(absl::Span<const TensorDesc> bottom,
                    absl::Span<const TensorDesc> top) override {
    map_ = this->MapOf(bottom[0].shape);
    return absl::OkStatus();
  }
  absl::Status Forward(StepContext& step, const ForwardArgs& args) override {
    Gather(map_, args.bottom[0].data(), GradientMode::kWrite,
           args.top[0].data());
    return absl::OkStatus();
  }
  // The map names every element once: a scatter writes them all.
  absl::Status Backward(StepContext& step, const BackwardArgs& args) override {
    const GradientTensor& gradient = args.bottom_gradient[0];
    Scatter(map_, args.top_gradient[0].data(), gradient.mode,
            gradient.tensor.data());
    return absl::OkStatus();
  }

 private:
  StridedMap map_;
};

}  // namespace

absl::Status RegisterPermute(LayerRegistry& registry) {
  RETURN_IF_ERROR(registry.Register(
      "Permute", DeviceType::kCpu, MakeLayer<PermutingLayerCpu<PermuteLayer>>));
  return registry.Register("ShuffleChannel", DeviceType::kCpu,
                           MakeLayer<PermutingLayerCpu<ShuffleChannelLayer>>);
}

}  // namespace cssp::cpu
