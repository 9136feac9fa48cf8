#include <algorithm>
#include <cmath>
#include <vector>

#include "worker/layers/cpu/cpu_layers.h"
#include "worker/layers/cpu/kernels.h"
#include "worker/layers/mvn_layer.h"

namespace cssp::cpu {
namespace {

// Keeps 1 / s of every group from Forward to Backward.
// Thread-confined: the training thread.
class MvnLayerCpu final : public MvnLayer {
 public:
  using MvnLayer::MvnLayer;

  absl::Status Bind(absl::Span<const TensorDesc> bottom,
                    absl::Span<const TensorDesc> top) override {
    const Shape& shape = bottom[0].shape;
    inverse_.assign(GroupsOf(shape), 1.0f);
    size_ = shape.count() / std::max<int64_t>(GroupsOf(shape), 1);
    return absl::OkStatus();
  }

  absl::Status Forward(StepContext& step, const ForwardArgs& args) override {
    const bool scale = normalize_variance();
    ForEachGroup([&](int64_t g) {
      const float* x = args.bottom[0].data() + g * size_;
      float* y = args.top[0].data() + g * size_;
      const double mean = Mean([=](int64_t i) { return x[i]; });
      if (scale) {
        const double variance = Mean([=](int64_t i) {
          const double d = x[i] - mean;
          return d * d;
        });
        inverse_[g] = static_cast<float>(1 / (std::sqrt(variance) + eps()));
      }
      for (int64_t i = 0; i < size_; ++i) {
        y[i] = static_cast<float>((x[i] - mean) * inverse_[g]);
      }
    });
    return absl::OkStatus();
  }

  absl::Status Backward(StepContext& step, const BackwardArgs& args) override {
    const GradientTensor& gradient = args.bottom_gradient[0];
    if (gradient.mode == GradientMode::kNone) return absl::OkStatus();
    const bool add = gradient.mode == GradientMode::kAdd;
    const bool scale = normalize_variance();
    ForEachGroup([&](int64_t g) {
      const float* dy = args.top_gradient[0].data() + g * size_;
      const float* y = scale ? args.top[0].data() + g * size_ : dy;
      float* dx = gradient.tensor.data() + g * size_;
      const double mean = Mean([=](int64_t i) { return dy[i]; });
      const double along =
          scale ? Mean([=](int64_t i) { return double{dy[i]} * y[i]; }) : 0;
      for (int64_t i = 0; i < size_; ++i) {
        const float v =
            static_cast<float>((dy[i] - mean - along * y[i]) * inverse_[g]);
        dx[i] = add ? dx[i] + v : v;
      }
    });
    return absl::OkStatus();
  }

 private:
  template <class Body>
  void ForEachGroup(Body body) const {
    const int64_t groups = static_cast<int64_t>(inverse_.size());
#pragma omp parallel for schedule(static) if (groups * size_ >= \
                                              kParallelElements)
    for (int64_t g = 0; g < groups; ++g) body(g);
  }
  template <class Value>
  double Mean(Value value) const {
    double sum = 0;
    for (int64_t i = 0; i < size_; ++i) sum += value(i);
    return sum / std::max<int64_t>(size_, 1);
  }

  std::vector<float> inverse_;
  int64_t size_ = 0;
};

}  // namespace

absl::Status RegisterMvn(LayerRegistry& registry) {
  return registry.Register("MVN", DeviceType::kCpu, MakeLayer<MvnLayerCpu>);
}

}  // namespace cssp::cpu
