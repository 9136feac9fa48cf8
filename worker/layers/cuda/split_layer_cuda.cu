#include "common/base/status_macros.h"
#include "worker/layers/cuda/cuda_layers.h"
#include "worker/layers/cuda/kernels.h"
#include "worker/layers/split_layer.h"

namespace cssp::cuda {
namespace {

// Travels to a kernel by value.
struct Gradients {
  static constexpr int kMost = 64;
  const float* data[kMost];
  int count = 0;
};

// Thread-confined: the training thread.
class SplitLayerCuda final : public SplitLayer {
 public:
  using SplitLayer::SplitLayer;

  absl::Status Forward(StepContext& step, const ForwardArgs& args) override {
    const float* x = args.bottom[0].data();
    for (const Tensor& top : args.top) {
      if (top.raw == nullptr || top.raw == args.bottom[0].raw) continue;
      RETURN_IF_ERROR(Fill(step.stream(), top.data(), top.count(),
                           [=] __device__(int64_t i) { return x[i]; }));
    }
    return absl::OkStatus();
  }

  // The tops' gradients in their order, as many at a time as a launch takes.
  absl::Status Backward(StepContext& step, const BackwardArgs& args) override {
    const GradientTensor& gradient = args.bottom_gradient[0];
    if (gradient.mode == GradientMode::kNone) return absl::OkStatus();
    bool add = gradient.mode == GradientMode::kAdd;
    Gradients tops;
    for (const ConstTensor& top : args.top_gradient) {
      if (top.raw == nullptr) continue;
      if (tops.count == Gradients::kMost) {
        RETURN_IF_ERROR(Sum(step, tops, add, gradient.tensor));
        add = true;
        tops.count = 0;
      }
      tops.data[tops.count++] = top.data();
    }
    return Sum(step, tops, add, gradient.tensor);
  }

  // Public only since device lambdas may not stand in private functions.
  static absl::Status Sum(StepContext& step, const Gradients& tops, bool add,
                          const Tensor& out) {
    float* dx = out.data();
    return ForEach(step.stream(), out.count(), [=] __device__(int64_t i) {
      float sum = add ? dx[i] : 0.0f;
      for (int t = 0; t < tops.count; ++t) sum += tops.data[t][i];
      dx[i] = sum;
    });
  }
};

}  // namespace

absl::Status RegisterSplit(LayerRegistry& registry) {
  return registry.Register("Split", DeviceType::kCuda,
                           MakeLayer<SplitLayerCuda>);
}

}  // namespace cssp::cuda
