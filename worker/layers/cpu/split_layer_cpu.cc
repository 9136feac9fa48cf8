#include "worker/layers/split_layer.h"

#include "worker/layers/cpu/cpu_layers.h"
#include "worker/layers/cpu/kernels.h"

namespace cssp::cpu {
namespace {

// Thread-confined: the training thread.
class SplitLayerCpu final : public SplitLayer {
 public:
  using SplitLayer::SplitLayer;

  absl::Status Forward(StepContext& step, const ForwardArgs& args) override {
    for (const Tensor& top : args.top) {
      if (top.raw == nullptr) continue;
      Copy(top.data(), args.bottom[0].data(), top.desc->stored_count());
    }
    return absl::OkStatus();
  }

  absl::Status Backward(StepContext& step, const BackwardArgs& args) override {
    const GradientTensor& gradient = args.bottom_gradient[0];
    if (gradient.mode == GradientMode::kNone) return absl::OkStatus();
    float* dx = gradient.tensor.data();
    const int64_t n = gradient.tensor.desc->stored_count();
    bool started = gradient.mode == GradientMode::kAdd;
    const float* held = nullptr;  // a first gradient that waits for a second
    for (const ConstTensor& top : args.top_gradient) {
      const float* dy = top.data();
      if (dy == nullptr) continue;
      if (started) {
        AddOnto(dx, dy, n);
      } else if (held == nullptr) {
        held = dy;
      } else {
        const float* first = held;
        Fill(dx, n, [=](int64_t i) { return first[i] + dy[i]; });
        started = true;
      }
    }
    if (started) return absl::OkStatus();
    if (held != nullptr) {
      Copy(dx, held, n);
    } else {
      Fill(dx, n, [](int64_t) { return 0.0f; });
    }
    return absl::OkStatus();
  }
};

}  // namespace

absl::Status RegisterSplit(LayerRegistry& registry) {
  return registry.Register("Split", DeviceType::kCpu,
                           MakeLayer<SplitLayerCpu>);
}

}  // namespace cssp::cpu
