#include <algorithm>
#include <vector>

#include "worker/layers/cpu/cpu_layers.h"
#include "worker/layers/cpu/kernels.h"
#include "worker/layers/split_layer.h"

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
    parts_.clear();
    for (const ConstTensor& top : args.top_gradient)
      if (top.data() != nullptr) parts_.push_back(top.data());
    Sum(gradient.mode == GradientMode::kAdd,
        gradient.tensor.desc->stored_count(), gradient.tensor.data());
    return absl::OkStatus();
  }

 private:
  // Memory is read once: stripe by stripe, each staying in the first-level
  // cache while the parts are added in order.
  void Sum(bool add, int64_t n, float* out) const {
    constexpr int64_t kStripe = 2048;
    const int64_t stripes = (n + kStripe - 1) / kStripe;
#pragma omp parallel for schedule(static) if (n >= kParallelElements)
    for (int64_t s = 0; s < stripes; ++s) {
      const int64_t from = s * kStripe, count = std::min(kStripe, n - from);
      float* to = out + from;
      size_t next = 0;
      if (!add) next = Start(from, count, to);
      for (; next < parts_.size(); ++next) {
        const float* part = parts_[next] + from;
        for (int64_t i = 0; i < count; ++i) to[i] += part[i];
      }
    }
  }

  // Writes the sum of the first two parts, or what there is; how many it took.
  size_t Start(int64_t from, int64_t count, float* to) const {
    if (parts_.empty()) {
      std::fill_n(to, count, 0.0f);
    } else if (parts_.size() == 1) {
      std::copy_n(parts_[0] + from, count, to);
    } else {
      const float* a = parts_[0] + from;
      const float* b = parts_[1] + from;
      for (int64_t i = 0; i < count; ++i) to[i] = a[i] + b[i];
      return 2;
    }
    return parts_.size();
  }

  std::vector<const float*> parts_;  // of one backward
};

}  // namespace

absl::Status RegisterSplit(LayerRegistry& registry) {
  return registry.Register("Split", DeviceType::kCpu, MakeLayer<SplitLayerCpu>);
}

}  // namespace cssp::cpu
