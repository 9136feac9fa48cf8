#include "worker/layers/argmax_layer.h"

#include <algorithm>
#include <functional>
#include <utility>
#include <vector>

#include "common/base/status_macros.h"
#include "worker/layers/cpu/cpu_layers.h"
#include "worker/layers/label_axis.h"

namespace cssp::cpu {
namespace {

// Thread-confined: the training thread.
class ArgMaxLayerCpu final : public ArgMaxLayer {
 public:
  using ArgMaxLayer::ArgMaxLayer;

  absl::Status Bind(absl::Span<const TensorDesc> bottom,
                    absl::Span<const TensorDesc> top) override {
    const Shape& shape = bottom[0].shape;
    if (options().has_axis()) {
      ASSIGN_OR_RETURN(axis_, LabelAxis::Of(shape, options().axis()));
    } else {
      axis_ = {shape.dim(0), shape.count_from(1), 1};
    }
    order_.resize(axis_.classes);
    return absl::OkStatus();
  }

  absl::Status Forward(StepContext& step, const ForwardArgs& args) override {
    const int64_t k = options().top_k();
    const bool both = options().out_max_val() && !options().has_axis();
    const bool values = options().out_max_val() && options().has_axis();
    float* top = args.top[0].data();
    for (int64_t o = 0; o < axis_.outer; ++o) {
      for (int64_t i = 0; i < axis_.inner; ++i) {
        Sort(args.bottom[0].data() + o * axis_.classes * axis_.inner + i, k);
        for (int64_t j = 0; j < k; ++j) {
          const float index = static_cast<float>(order_[j].second);
          const int64_t row = both ? o * 2 * k : o * k * axis_.inner;
          top[row + j * axis_.inner + i] = values ? order_[j].first : index;
          if (both) top[row + k + j] = order_[j].first;
        }
      }
    }
    return absl::OkStatus();
  }

  absl::Status Backward(StepContext& step, const BackwardArgs& args) override {
    return absl::OkStatus();
  }

 private:
  // The k greatest first.
  void Sort(const float* column, int64_t k) {
    for (int64_t c = 0; c < axis_.classes; ++c) {
      order_[c] = {column[c * axis_.inner], c};
    }
    std::partial_sort(order_.begin(), order_.begin() + k, order_.end(),
                      std::greater<>());
  }

  LabelAxis axis_;
  std::vector<std::pair<float, int64_t>> order_;
};

}  // namespace

absl::Status RegisterArgMax(LayerRegistry& registry) {
  return registry.Register("ArgMax", DeviceType::kCpu,
                           MakeLayer<ArgMaxLayerCpu>);
}

}  // namespace cssp::cpu
