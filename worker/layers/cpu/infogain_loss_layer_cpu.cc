#include <algorithm>
#include <cmath>
#include <vector>

#include "common/base/status_macros.h"
#include "worker/layers/cpu/cpu_layers.h"
#include "worker/layers/cpu/kernels.h"
#include "worker/layers/cpu/softmax_kernels.h"
#include "worker/layers/infogain_loss_layer.h"
#include "worker/layers/root_folder.h"

namespace cssp::cpu {
namespace {

// Keeps the probabilities from Forward to Backward.
// Thread-confined: the training thread.
class InfogainLossLayerCpu final : public InfogainLossLayer {
 public:
  using InfogainLossLayer::InfogainLossLayer;

  absl::Status Bind(absl::Span<const TensorDesc> bottom,
                    absl::Span<const TensorDesc> top) override {
    ASSIGN_OR_RETURN(axis_, AxisOf(bottom[0].shape));
    probability_.assign(bottom[0].shape.count(), 0.0f);
    row_sums_.assign(axis_.classes, 0.0f);
    return absl::OkStatus();
  }

  absl::Status Forward(StepContext& step, const ForwardArgs& args) override {
    Softmax(axis_, args.bottom[0].data(), probability_.data());
    const float* h = Matrix(args.bottom);
    const float* labels = args.bottom[1].data();
    double loss = 0;
    int64_t valid = 0;
    for (int64_t i = 0; i < axis_.labels(); ++i) {
      if (Ignored(labels[i])) continue;
      int64_t label;
      if (!axis_.Names(labels[i], &label)) return axis_.BadLabel(labels[i], i);
      for (int64_t c = 0; c < axis_.classes; ++c) {
        loss -= h[label * axis_.classes + c] *
                std::log(std::max(probability_[At(i, c)], kLeastProbability));
      }
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
    const float* h = Matrix(args.bottom);
    SumRows(h);
    const float* labels = args.bottom[1].data();
    const float weight =
        static_cast<float>(args.top_gradient[0].data()[0] / divisor_);
    const bool add = gradient.mode == GradientMode::kAdd;
    float* dx = gradient.tensor.data();
    for (int64_t i = 0; i < axis_.labels(); ++i) {
      int64_t label = 0;
      const bool counts = !Ignored(labels[i]) && axis_.Names(labels[i], &label);
      for (int64_t c = 0; c < axis_.classes; ++c) {
        const int64_t at = At(i, c);
        const float slope =
            probability_[at] * row_sums_[label] - h[label * axis_.classes + c];
        const float value = counts ? weight * slope : 0;
        dx[at] = add ? dx[at] + value : value;
      }
    }
    return absl::OkStatus();
  }

 private:
  const float* Matrix(absl::Span<const ConstTensor> bottom) const {
    return bottom.size() > 2 ? bottom[2].data() : matrix().data();
  }
  void SumRows(const float* h) {
    for (int64_t l = 0; l < axis_.classes; ++l) {
      double sum = 0;
      for (int64_t c = 0; c < axis_.classes; ++c) {
        sum += h[l * axis_.classes + c];
      }
      row_sums_[l] = static_cast<float>(sum);
    }
  }
  bool Ignored(float label) const {
    return ignore_label().has_value() &&
           label == static_cast<float>(*ignore_label());
  }
  int64_t At(int64_t i, int64_t c) const {
    return (i / axis_.inner * axis_.classes + c) * axis_.inner +
           i % axis_.inner;
  }

  LabelAxis axis_;
  std::vector<float> probability_, row_sums_;
  double divisor_ = 1;
};

}  // namespace

absl::Status RegisterInfogainLoss(LayerRegistry& registry) {
  return registry.Register(
      "InfogainLoss", DeviceType::kCpu,
      [](const caffe::LayerParameter& param, const LayerContext& context) {
        caffe::LayerParameter resolved = param;
        auto* p = resolved.mutable_infogain_loss_param();
        p->set_source(InRootFolder(context.root_folder, p->source()));
        return MakeLayer<InfogainLossLayerCpu>(resolved, context);
      });
}

}  // namespace cssp::cpu
