#include "common/base/status_macros.h"
#include "worker/layers/cuda/cuda_layer.h"
#include "worker/layers/cuda/cuda_layers.h"
#include "worker/layers/cuda/kernels.h"
#include "worker/layers/cuda/reduce.cuh"
#include "worker/layers/prelu_layer.h"

namespace cssp::cuda {
namespace {

// Thread-confined: the training thread.
class PReluLayerCuda final : public CudaLayer<PReluLayer> {
 public:
  using CudaLayer::CudaLayer;

  // A shared slope is one channel's.
  absl::Status Bind(absl::Span<const TensorDesc> bottom,
                    absl::Span<const TensorDesc> top) override {
    view_ = channel_shared() ? ChannelView{1, 1, bottom[0].shape.count()}
                             : ChannelView::Of(bottom[0].shape, 1);
    set_scratch_bytes(ChannelSumPlan(view_).scratch_bytes());
    return absl::OkStatus();
  }

  absl::Status Forward(StepContext& step, const ForwardArgs& args) override {
    const float* x = args.bottom[0].data();
    const float* slope = args.param[0].data();
    const ChannelView view = view_;
    return Fill(step.stream(), args.top[0].data(), view.count(),
                [=] __device__(int64_t i) {
                  return x[i] > 0 ? x[i] : slope[view.Channel(i)] * x[i];
                });
  }

  absl::Status Backward(StepContext& step, const BackwardArgs& args) override {
    const float* x = args.bottom[0].data();
    const float* dy = args.top_gradient[0].data();
    // The sums first: the bottom's gradient may overwrite the top's.
    if (args.param_gradient[0].mode != GradientMode::kNone) {
      const Slot slot = Slot::Of(args.param_gradient[0]);
      RETURN_IF_ERROR(SumChannels<double>(
          step.stream(), view_, step.scratch().data(),
          [=] __device__(int64_t i, int64_t) {
            return x[i] > 0 ? 0.0 : double{dy[i]} * x[i];
          },
          [=] __device__(int64_t c, double sum) {
            slot.Put(c, static_cast<float>(sum));
          }));
    }
    const float* slope = args.param[0].data();
    const ChannelView view = view_;
    const GradientTensor& gradient = args.bottom_gradient[0];
    return Store(step.stream(), gradient.mode, gradient.tensor.data(),
                 view.count(), [=] __device__(int64_t i) {
                   return x[i] > 0 ? dy[i] : slope[view.Channel(i)] * dy[i];
                 });
  }

 private:
  ChannelView view_;
};

}  // namespace

absl::Status RegisterPRelu(LayerRegistry& registry) {
  return registry.Register("PReLU", DeviceType::kCuda,
                           MakeCudaLayer<PReluLayerCuda>);
}

}  // namespace cssp::cuda
