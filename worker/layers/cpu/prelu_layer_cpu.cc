#include "worker/layers/prelu_layer.h"

#include <algorithm>
#include <numeric>
#include <vector>

#include "worker/layers/cpu/cpu_layers.h"
#include "worker/layers/cpu/kernels.h"

namespace cssp::cpu {
namespace {

// Thread-confined: the training thread.
class PReluLayerCpu final : public PReluLayer {
 public:
  using PReluLayer::PReluLayer;

  absl::Status Bind(absl::Span<const TensorDesc> bottom,
                    absl::Span<const TensorDesc> top) override {
    view_ = ChannelView::Of(bottom[0], 1);
    slope_.assign(view_.blocks * view_.lanes, 0.0f);
    sums_.assign(slope_.size(), 0.0f);
    return absl::OkStatus();
  }

  absl::Status Forward(StepContext& step, const ForwardArgs& args) override {
    LoadSlopes(args.param[0]);
    const float* x = args.bottom[0].data();
    const float* a = slope_.data();
    MapChannels(view_, GradientMode::kWrite, args.top[0].data(),
                [=](int64_t i, int64_t c) {
                  return x[i] > 0 ? x[i] : a[c] * x[i];
                });
    return absl::OkStatus();
  }

  absl::Status Backward(StepContext& step, const BackwardArgs& args) override {
    const float* x = args.bottom[0].data();
    const float* dy = args.top_gradient[0].data();
    StoreSlopeGradient(x, dy, args.param_gradient[0]);
    LoadSlopes(args.param[0]);
    const float* a = slope_.data();
    const GradientTensor& gradient = args.bottom_gradient[0];
    MapChannels(view_, gradient.mode, gradient.tensor.data(),
                [=](int64_t i, int64_t c) {
                  return x[i] > 0 ? dy[i] : a[c] * dy[i];
                });
    return absl::OkStatus();
  }

 private:
  void LoadSlopes(const ConstTensor& slope) {
    if (channel_shared()) {
      std::fill_n(slope_.begin(), view_.channels, slope.data()[0]);
    } else {
      std::copy_n(slope.data(), view_.channels, slope_.begin());
    }
  }

  void StoreSlopeGradient(const float* x, const float* dy,
                          const GradientTensor& gradient) {
    if (gradient.mode == GradientMode::kNone) return;
    SumChannels(view_, sums_.data(), [=](int64_t i, int64_t) {
      return x[i] > 0 ? 0.0 : double{dy[i]} * x[i];
    });
    if (channel_shared()) {
      sums_[0] =
          std::accumulate(sums_.begin(), sums_.begin() + view_.channels, 0.0f);
    }
    const float* sums = sums_.data();
    Store(gradient.mode, gradient.tensor.data(), gradient.tensor.count(),
          [=](int64_t c) { return sums[c]; });
  }

  ChannelView view_;
  std::vector<float> slope_, sums_;
};

}  // namespace

absl::Status RegisterPRelu(LayerRegistry& registry) {
  return registry.Register("PReLU", DeviceType::kCpu,
                           MakeLayer<PReluLayerCpu>);
}

}  // namespace cssp::cpu
