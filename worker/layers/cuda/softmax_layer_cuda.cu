#include "common/base/status_macros.h"
#include "worker/layers/cuda/cuda_layer.h"
#include "worker/layers/cuda/cuda_layers.h"
#include "worker/layers/cuda/softmax_kernels.h"
#include "worker/layers/softmax_layer.h"

namespace cssp::cuda {
namespace {

// Thread-confined: the training thread.
class SoftmaxLayerCuda final : public CudaLayer<SoftmaxLayer> {
 public:
  using CudaLayer::CudaLayer;

  absl::Status Bind(absl::Span<const TensorDesc> bottom,
                    absl::Span<const TensorDesc> top) override {
    ASSIGN_OR_RETURN(const LabelAxis axis, AxisOf(bottom[0].shape));
    shape_ = {axis.outer, axis.classes, axis.inner};
    return absl::OkStatus();
  }

  absl::Status Forward(StepContext& step, const ForwardArgs& args) override {
    return Softmax(step.stream(), shape_, args.bottom[0].data(),
                   args.top[0].data());
  }

  absl::Status Backward(StepContext& step, const BackwardArgs& args) override {
    const GradientTensor& gradient = args.bottom_gradient[0];
    if (gradient.mode == GradientMode::kNone) return absl::OkStatus();
    return SoftmaxGradient(step.stream(), shape_, args.top[0].data(),
                           args.top_gradient[0].data(), gradient);
  }

 private:
  SoftmaxShape shape_;
};

}  // namespace

absl::Status RegisterSoftmax(LayerRegistry& registry) {
  return registry.Register("Softmax", DeviceType::kCuda,
                           MakeCudaLayer<SoftmaxLayerCuda>);
}

}  // namespace cssp::cuda
