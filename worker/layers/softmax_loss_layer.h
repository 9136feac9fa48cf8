// The multinomial logistic loss of a softmax.
#ifndef CSSP_WORKER_LAYERS_SOFTMAX_LOSS_LAYER_H_
#define CSSP_WORKER_LAYERS_SOFTMAX_LOSS_LAYER_H_

#include <optional>
#include <vector>

#include "worker/layers/label_axis.h"
#include "worker/layers/loss_normalizer.h"
#include "worker/net/layer.h"

namespace cssp {

// bottom: scores, labels.  top: the loss, and optionally the probabilities p.
//   loss = - sum over labels of log(max(p(label), FLT_MIN)) / divisor
//   d loss / d score(c) = (p(c) - [c is the label]) / divisor
// Ignored labels count in neither sum.  The divisor: loss_normalizer.h, with
// VALID (the default) the number of labels not ignored.
// With loss_param.label_smoothing e the target is not the label alone but
//   q(c) = (1 - e) [c is the label] + e / classes:
//   loss = - sum over labels and c of q(c) log(max(p(c), FLT_MIN)) / divisor
//   d loss / d score(c) = (p(c) - q(c)) / divisor
//
// Thread-confined: the training thread.
class SoftmaxWithLossLayer : public Layer {
 public:
  using Layer::Layer;

  absl::Status SetUp(absl::Span<const Shape> bottom) override;
  absl::StatusOr<std::vector<Shape>> InferShapes(
      absl::Span<const Shape> bottom) const override;
  LayerTraits Traits() const override;
  int min_bottoms() const override { return 2; }
  int max_bottoms() const override { return 2; }
  int max_tops() const override { return 2; }
  bool is_loss() const override { return true; }
  bool allow_force_backward(int bottom) const override { return bottom != 1; }
  bool propagates_to(int bottom) const override { return bottom != 1; }

 protected:
  absl::StatusOr<LabelAxis> AxisOf(const Shape& scores) const;
  std::optional<int> ignore_label() const { return ignore_label_; }
  caffe::LossParameter::NormalizationMode normalization() const {
    return normalization_;
  }
  // q of the label itself is own + every, of each other class every.
  struct Target {
    float own = 1;
    float every = 0;
  };
  Target TargetOf(const LabelAxis& axis) const;
  double Divisor(const LabelAxis& axis, int64_t valid) const {
    return LossDivisor(normalization_, axis.outer, axis.inner, valid);
  }

 private:
  std::optional<int> ignore_label_;
  caffe::LossParameter::NormalizationMode normalization_ =
      caffe::LossParameter::VALID;
};

}  // namespace cssp

#endif  // CSSP_WORKER_LAYERS_SOFTMAX_LOSS_LAYER_H_
