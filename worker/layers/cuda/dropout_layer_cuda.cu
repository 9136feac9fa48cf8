#include "common/base/status_macros.h"
#include "worker/layers/cuda/cuda_layer.h"
#include "worker/layers/cuda/cuda_layers.h"
#include "worker/layers/cuda/kernels.h"
#include "worker/layers/dropout_layer.h"
#include "worker/net/philox.h"

namespace cssp::cuda {
namespace {

// Keeps the draws from Forward to Backward, a byte an element.
// Thread-confined: the training thread.
class DropoutLayerCuda final : public CudaLayer<DropoutLayer> {
 public:
  using CudaLayer::CudaLayer;

  absl::Status Bind(absl::Span<const TensorDesc> bottom,
                    absl::Span<const TensorDesc> top) override {
    count_ = bottom[0].shape.count();
    if (!active()) return absl::OkStatus();
    return Allocate(count_, &keep_);
  }

  absl::Status Forward(StepContext& step, const ForwardArgs& args) override {
    if (active()) RETURN_IF_ERROR(Draw(step));
    return Apply(step, GradientMode::kWrite, args.bottom[0].data(),
                 args.top[0].data());
  }

  absl::Status Backward(StepContext& step, const BackwardArgs& args) override {
    const GradientTensor& gradient = args.bottom_gradient[0];
    return Apply(step, gradient.mode, args.top_gradient[0].data(),
                 gradient.tensor.data());
  }

  // Public only since device lambdas may not stand in private functions.
  absl::Status Draw(StepContext& step) {
    const StepState& state = step.state();
    const DrawSite site{state.seed, state.clock, state.pass, step.layer(),
                        state.rank};
    uint8_t* keep = static_cast<uint8_t*>(keep_.data());
    const int64_t n = count_;
    const float drop = ratio();
    return ForEach(step.stream(), (n + 3) / 4, [=] __device__(int64_t b) {
      const PhiloxBlock draw = DrawBlock(site, static_cast<uint32_t>(b));
      for (int k = 0; k < 4 && 4 * b + k < n; ++k) {
        keep[4 * b + k] = UnitFloat(draw[k]) >= drop;
      }
    });
  }

  absl::Status Apply(StepContext& step, GradientMode mode, const float* from,
                     float* to) {
    // Null in TEST.
    const uint8_t* keep = static_cast<const uint8_t*>(keep_.data());
    if (keep == nullptr && from == to) return absl::OkStatus();
    const float scale = 1 / (1 - ratio());
    return Store(step.stream(), mode, to, count_, [=] __device__(int64_t i) {
      if (keep == nullptr) return from[i];
      return keep[i] ? from[i] * scale : 0.0f;
    });
  }

 private:
  int64_t count_ = 0;
  Buffer keep_;
};

}  // namespace

absl::Status RegisterDropout(LayerRegistry& registry) {
  return registry.Register("Dropout", DeviceType::kCuda,
                           MakeCudaLayer<DropoutLayerCuda>);
}

}  // namespace cssp::cuda
