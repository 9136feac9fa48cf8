#include "worker/layers/softmax_loss_layer.h"

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <vector>

#include "common/base/status_macros.h"
#include "worker/layers/cpu/cpu_layers.h"
#include "worker/layers/cpu/kernels.h"
#include "worker/layers/cpu/softmax_kernels.h"

namespace cssp::cpu {
namespace {

// Keeps the probabilities from Forward to Backward.
// Thread-confined: the training thread.
class SoftmaxWithLossLayerCpu final : public SoftmaxWithLossLayer {
 public:
  using SoftmaxWithLossLayer::SoftmaxWithLossLayer;

  absl::Status Bind(absl::Span<const TensorDesc> bottom,
                    absl::Span<const TensorDesc> top) override {
    ASSIGN_OR_RETURN(axis_, AxisOf(bottom[0].shape));
    probability_.assign(bottom[0].shape.count(), 0.0f);
    target_ = TargetOf(axis_);
    return absl::OkStatus();
  }

  absl::Status Forward(StepContext& step, const ForwardArgs& args) override {
    Softmax(axis_, args.bottom[0].data(), probability_.data());
    const float* labels = args.bottom[1].data();
    double loss = 0;
    int64_t valid = 0;
    for (int64_t i = 0; i < axis_.labels(); ++i) {
      if (Ignored(labels[i])) continue;
      int64_t label;
      if (!axis_.Names(labels[i], &label)) return axis_.BadLabel(labels[i], i);
      loss += Cost(Column(i), label);
      ++valid;
    }
    divisor_ = Divisor(axis_, valid);
    args.top[0].data()[0] = static_cast<float>(loss / divisor_);
    if (args.top.size() > 1) {
      Copy(args.top[1].data(), probability_.data(), args.top[1].count());
    }
    return absl::OkStatus();
  }

  absl::Status Backward(StepContext& step, const BackwardArgs& args) override {
    const GradientTensor& gradient = args.bottom_gradient[0];
    if (gradient.mode == GradientMode::kNone) return absl::OkStatus();
    const float* labels = args.bottom[1].data();
    const float weight =
        static_cast<float>(args.top_gradient[0].data()[0] / divisor_);
    const bool add = gradient.mode == GradientMode::kAdd;
    float* dx = gradient.tensor.data();
    const int64_t count = axis_.labels();
#pragma omp parallel for schedule(static) \
    if (count * axis_.classes >= kParallelElements)
    for (int64_t i = 0; i < count; ++i) {
      int64_t label = -1;
      const bool counts = !Ignored(labels[i]) && axis_.Names(labels[i], &label);
      for (int64_t c = 0; c < axis_.classes; ++c) {
        const int64_t at = Column(i) + c * axis_.inner;
        const float value =
            counts ? weight * (probability_[at] - target_.every -
                               (c == label ? target_.own : 0))
                   : 0;
        dx[at] = add ? dx[at] + value : value;
      }
    }
    return absl::OkStatus();
  }

 private:
  bool Ignored(float label) const {
    return ignore_label().has_value() && label > -16777216.0f &&
           label < 16777216.0f && static_cast<int>(label) == *ignore_label();
  }
  double Cost(int64_t column, int64_t label) const {
    const auto log_of = [&](int64_t c) {
      return std::log(
          std::max(probability_[column + c * axis_.inner], FLT_MIN));
    };
    double cost = -double{target_.own} * log_of(label);
    if (target_.every == 0) return cost;
    for (int64_t c = 0; c < axis_.classes; ++c) {
      cost -= double{target_.every} * log_of(c);
    }
    return cost;
  }
  // Where the scores of label `i` begin.
  int64_t Column(int64_t i) const {
    return i / axis_.inner * axis_.classes * axis_.inner + i % axis_.inner;
  }

  LabelAxis axis_;
  std::vector<float> probability_;
  Target target_;
  double divisor_ = 1;
};

}  // namespace

absl::Status RegisterSoftmaxLoss(LayerRegistry& registry) {
  return registry.Register("SoftmaxWithLoss", DeviceType::kCpu,
                           MakeLayer<SoftmaxWithLossLayerCpu>);
}

}  // namespace cssp::cpu
