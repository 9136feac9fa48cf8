#include <cstring>
#include <vector>

#include "worker/layers/cpu/cpu_layers.h"
#include "worker/layers/cpu/kernels.h"
#include "worker/layers/filter_layer.h"

namespace cssp::cpu {
namespace {

// Keeps the selected items' indices from Forward to Backward.
// Thread-confined: the training thread.
class FilterLayerCpu final : public FilterLayer {
 public:
  using FilterLayer::FilterLayer;

  absl::Status Bind(absl::Span<const TensorDesc> bottom,
                    absl::Span<const TensorDesc> top) override {
    kept_.reserve(bottom.back().shape.dim(0));
    return FilterLayer::Bind(bottom, top);
  }

  absl::Status Forward(StepContext& step, const ForwardArgs& args) override {
    const ConstTensor& selector = args.bottom.back();
    kept_.clear();
    for (int64_t n = 0; n < selector.count(); ++n) {
      if (selector.data()[n] != 0) kept_.push_back(n);
    }
    SetKept(static_cast<int64_t>(kept_.size()));
    for (size_t i = 0; i < args.top.size(); ++i) {
      const int64_t size = args.bottom[i].shape().count_from(1);
      const float* from = args.bottom[i].data();
      float* to = args.top[i].data();
      for (int64_t n : kept_) {
        std::memcpy(to, from + n * size, size * sizeof(float));
        to += size;
      }
    }
    return absl::OkStatus();
  }

  absl::Status Backward(StepContext& step, const BackwardArgs& args) override {
    for (size_t i = 0; i < args.top_gradient.size(); ++i) {
      const GradientTensor& gradient = args.bottom_gradient[i];
      if (gradient.mode == GradientMode::kNone) continue;
      if (gradient.mode == GradientMode::kWrite) {
        std::memset(gradient.tensor.data(), 0,
                    gradient.tensor.count() * sizeof(float));
      }
      const float* from = args.top_gradient[i].data();
      if (from == nullptr) continue;  // nobody uses this top
      const int64_t size = gradient.tensor.shape().count_from(1);
      for (int64_t n : kept_) {
        AddOnto(gradient.tensor.data() + n * size, from, size);
        from += size;
      }
    }
    return absl::OkStatus();
  }

 private:
  std::vector<int64_t> kept_;
};

}  // namespace

absl::Status RegisterFilter(LayerRegistry& registry) {
  return registry.Register("Filter", DeviceType::kCpu,
                           MakeLayer<FilterLayerCpu>);
}

}  // namespace cssp::cpu
