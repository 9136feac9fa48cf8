// One-versus-all hinge loss.
#ifndef CSSP_WORKER_LAYERS_HINGE_LOSS_LAYER_H_
#define CSSP_WORKER_LAYERS_HINGE_LOSS_LAYER_H_

#include <vector>

#include "worker/layers/label_axis.h"
#include "worker/net/layer.h"

namespace cssp {

// bottom: scores (N, ...), labels (N).  With h = max(0, 1 - s * score), s = 1
// for the label's class and -1 for the others:
//   loss = sum h / N (L1) or sum h^2 / N (L2).
//
// Thread-confined: the training thread.
class HingeLossLayer : public Layer {
 public:
  using Layer::Layer;

  absl::Status SetUp(absl::Span<const Shape> bottom) override {
    return InferShapes(bottom).status();
  }
  absl::StatusOr<std::vector<Shape>> InferShapes(
      absl::Span<const Shape> bottom) const override;
  LayerTraits Traits() const override;
  int min_bottoms() const override { return 2; }
  int max_bottoms() const override { return 2; }
  bool is_loss() const override { return true; }
  bool allow_force_backward(int bottom) const override { return bottom != 1; }
  bool propagates_to(int bottom) const override { return bottom != 1; }

 protected:
  bool squared() const {
    return layer_param().hinge_loss_param().norm() ==
           caffe::HingeLossParameter::L2;
  }
  static LabelAxis AxisOf(const Shape& scores) {
    return {scores.dim(0), scores.count_from(1), 1};
  }
};

}  // namespace cssp

#endif  // CSSP_WORKER_LAYERS_HINGE_LOSS_LAYER_H_
