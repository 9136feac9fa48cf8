#include "worker/layers/accuracy_layer.h"

#include <algorithm>
#include <vector>

#include "common/base/status_macros.h"
#include "worker/layers/cpu/cpu_layers.h"

namespace cssp::cpu {
namespace {

// Thread-confined: the training thread.
class AccuracyLayerCpu final : public AccuracyLayer {
 public:
  using AccuracyLayer::AccuracyLayer;

  absl::Status Bind(absl::Span<const TensorDesc> bottom,
                    absl::Span<const TensorDesc> top) override {
    ASSIGN_OR_RETURN(axis_, AxisOf(bottom[0].shape));
    seen_.assign(axis_.classes, 0);
    right_.assign(axis_.classes, 0);
    return absl::OkStatus();
  }

  absl::Status Forward(StepContext& step, const ForwardArgs& args) override {
    const float* labels = args.bottom[1].data();
    std::fill(seen_.begin(), seen_.end(), 0);
    std::fill(right_.begin(), right_.end(), 0);
    const std::optional<int> ignore = ignore_label();
    int64_t count = 0, correct = 0;
    for (int64_t i = 0; i < axis_.labels(); ++i) {
      if (ignore && labels[i] == static_cast<float>(*ignore)) continue;
      int64_t label;
      if (!axis_.Names(labels[i], &label)) return axis_.BadLabel(labels[i], i);
      const bool right = AmongBest(args.bottom[0].data(), i, label);
      ++seen_[label];
      right_[label] += right;
      ++count;
      correct += right;
    }
    args.top[0].data()[0] = Share(correct, count);
    if (args.top.size() > 1) {
      for (int64_t c = 0; c < axis_.classes; ++c) {
        args.top[1].data()[c] = Share(right_[c], seen_[c]);
      }
    }
    return absl::OkStatus();
  }

  absl::Status Backward(StepContext& step, const BackwardArgs& args) override {
    return absl::OkStatus();
  }

 private:
  static float Share(int64_t part, int64_t whole) {
    return whole == 0 ? 0.0f : static_cast<float>(part) / whole;
  }
  // Ties count against the label, as in Caffe.
  bool AmongBest(const float* scores, int64_t i, int64_t label) const {
    const float* column =
        scores + i / axis_.inner * axis_.classes * axis_.inner +
        i % axis_.inner;
    const float own = column[label * axis_.inner];
    int64_t better = -1;  // it is as good as itself
    for (int64_t c = 0; c < axis_.classes; ++c) {
      better += column[c * axis_.inner] >= own;
    }
    // Not even as good as itself: the score is nan.
    return better >= 0 && better < top_k();
  }

  LabelAxis axis_;
  std::vector<int64_t> seen_, right_;
};

}  // namespace

absl::Status RegisterAccuracy(LayerRegistry& registry) {
  return registry.Register("Accuracy", DeviceType::kCpu,
                           MakeLayer<AccuracyLayerCpu>);
}

}  // namespace cssp::cpu
