#include "common/base/status_macros.h"
#include "worker/layers/cuda/cuda_layer.h"
#include "worker/layers/cuda/cuda_layers.h"
#include "worker/layers/cuda/kernels.h"
#include "worker/layers/cuda/reduce.cuh"
#include "worker/layers/euclidean_loss_layer.h"

namespace cssp::cuda {
namespace {

// Thread-confined: the training thread.
class EuclideanLossLayerCuda final : public CudaLayer<EuclideanLossLayer> {
 public:
  using CudaLayer::CudaLayer;

  absl::Status Bind(absl::Span<const TensorDesc> bottom,
                    absl::Span<const TensorDesc> top) override {
    items_ = static_cast<float>(bottom[0].shape.dim(0));
    plan_ = SumPlan(1, bottom[0].shape.count());
    set_scratch_bytes(plan_.scratch_bytes());
    return absl::OkStatus();
  }

  absl::Status Forward(StepContext& step, const ForwardArgs& args) override {
    const float* a = args.bottom[0].data();
    const float* b = args.bottom[1].data();
    float* loss = args.top[0].data();
    const double items = items_;
    return SumSegments<double>(
        step.stream(), plan_, step.scratch().data(),
        [=] __device__(int64_t, int64_t i) {
          const double difference = double{a[i]} - b[i];
          return difference * difference;
        },
        [=] __device__(int64_t, double sum) {
          *loss = static_cast<float>(sum / items / 2);
        });
  }

  absl::Status Backward(StepContext& step, const BackwardArgs& args) override {
    const float* a = args.bottom[0].data();
    const float* b = args.bottom[1].data();
    const float* loss_weight = args.top_gradient[0].data();
    for (int side = 0; side < 2; ++side) {
      const GradientTensor& gradient = args.bottom_gradient[side];
      const float divisor = side == 0 ? items_ : -items_;
      RETURN_IF_ERROR(Store(step.stream(), gradient.mode,
                            gradient.tensor.data(), gradient.tensor.count(),
                            [=] __device__(int64_t i) {
                              return *loss_weight / divisor * (a[i] - b[i]);
                            }));
    }
    return absl::OkStatus();
  }

 private:
  float items_ = 1;
  SumPlan plan_;
};

}  // namespace

absl::Status RegisterEuclideanLoss(LayerRegistry& registry) {
  return registry.Register("EuclideanLoss", DeviceType::kCuda,
                           MakeCudaLayer<EuclideanLossLayerCuda>);
}

}  // namespace cssp::cuda
