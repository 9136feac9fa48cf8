#include <cstring>

#include "worker/layers/cpu/cpu_layers.h"
#include "worker/layers/cpu/strided_kernels.h"
#include "worker/layers/crop_layer.h"

namespace cssp::cpu {
namespace {

// Thread-confined: the training thread.
class CropLayerCpu final : public CropLayer {
 public:
  using CropLayer::CropLayer;

  absl::Status Bind(absl::Span<const TensorDesc> bottom,
                    absl::Span<const TensorDesc> top) override {
    map_ = MapOf(bottom[0].shape, top[0].shape);
    return absl::OkStatus();
  }

  absl::Status Forward(StepContext& step, const ForwardArgs& args) override {
    Gather(map_, args.bottom[0].data(), GradientMode::kWrite,
           args.top[0].data());
    return absl::OkStatus();
  }

  absl::Status Backward(StepContext& step, const BackwardArgs& args) override {
    const GradientTensor& gradient = args.bottom_gradient[0];
    if (gradient.mode == GradientMode::kWrite) {
      std::memset(gradient.tensor.data(), 0,
                  gradient.tensor.count() * sizeof(float));
    }
    Scatter(map_, args.top_gradient[0].data(), gradient.mode,
            gradient.tensor.data());
    return absl::OkStatus();
  }

 private:
  StridedMap map_;
};

}  // namespace

absl::Status RegisterCrop(LayerRegistry& registry) {
  return registry.Register("Crop", DeviceType::kCpu, MakeLayer<CropLayerCpu>);
}

}  // namespace cssp::cpu
