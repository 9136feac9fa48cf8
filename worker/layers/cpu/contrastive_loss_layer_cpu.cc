#include <algorithm>
#include <cmath>
#include <vector>

#include "worker/layers/contrastive_loss_layer.h"
#include "worker/layers/cpu/cpu_layers.h"
#include "worker/layers/cpu/kernels.h"

namespace cssp::cpu {
namespace {

// Keeps the squared distances from Forward to Backward.
// Thread-confined: the training thread.
class ContrastiveLossLayerCpu final : public ContrastiveLossLayer {
 public:
  using ContrastiveLossLayer::ContrastiveLossLayer;

  absl::Status Bind(absl::Span<const TensorDesc> bottom,
                    absl::Span<const TensorDesc> top) override {
    pairs_ = bottom[0].shape.dim(0);
    size_ = bottom[0].shape.count_from(1);
    square_.assign(pairs_, 0.0);
    slope_.assign(pairs_, 0.0f);
    return absl::OkStatus();
  }

  absl::Status Forward(StepContext& step, const ForwardArgs& args) override {
    const float* a = args.bottom[0].data();
    const float* b = args.bottom[1].data();
    double sum = 0;
    for (int64_t n = 0; n < pairs_; ++n) {
      square_[n] = 0;
      for (int64_t i = n * size_; i < (n + 1) * size_; ++i) {
        const double d = double{a[i]} - b[i];
        square_[n] += d * d;
      }
      sum += Alike(args.bottom[2], n) ? square_[n] : Apart(square_[n]);
    }
    args.top[0].data()[0] = static_cast<float>(sum / pairs_ / 2);
    return absl::OkStatus();
  }

  absl::Status Backward(StepContext& step, const BackwardArgs& args) override {
    const float weight =
        args.top_gradient[0].data()[0] / static_cast<float>(pairs_);
    for (int64_t n = 0; n < pairs_; ++n) {
      slope_[n] = weight * (Alike(args.bottom[2], n) ? 1 : Slope(square_[n]));
    }
    const float* a = args.bottom[0].data();
    const float* b = args.bottom[1].data();
    const float* slope = slope_.data();
    const int64_t size = size_;
    for (int side = 0; side < 2; ++side) {
      const GradientTensor& gradient = args.bottom_gradient[side];
      const float sign = side == 0 ? 1.0f : -1.0f;
      Store(gradient.mode, gradient.tensor.data(), pairs_ * size,
            [=](int64_t i) { return sign * slope[i / size] * (a[i] - b[i]); });
    }
    return absl::OkStatus();
  }

 private:
  static bool Alike(const ConstTensor& labels, int64_t pair) {
    return static_cast<int>(labels.data()[pair]) != 0;
  }
  double Apart(double square) const {
    if (legacy()) return std::max(margin() - square, 0.0);
    const double gap = std::max(margin() - std::sqrt(square), 0.0);
    return gap * gap;
  }
  // Of an unlike pair, along a - b.
  float Slope(double square) const {
    if (legacy()) return margin() - square > 0 ? -1.0f : 0.0f;
    const double distance = std::sqrt(square);
    const double gap = margin() - distance;
    return gap > 0 ? static_cast<float>(-gap / (distance + 1e-4)) : 0.0f;
  }

  int64_t pairs_ = 0, size_ = 0;
  std::vector<double> square_;
  std::vector<float> slope_;
};

}  // namespace

absl::Status RegisterContrastiveLoss(LayerRegistry& registry) {
  return registry.Register("ContrastiveLoss", DeviceType::kCpu,
                           MakeLayer<ContrastiveLossLayerCpu>);
}

}  // namespace cssp::cpu
