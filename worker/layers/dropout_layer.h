// Dropout with inverted scaling.
#ifndef CSSP_WORKER_LAYERS_DROPOUT_LAYER_H_
#define CSSP_WORKER_LAYERS_DROPOUT_LAYER_H_

#include <vector>

#include "worker/net/layer.h"

namespace cssp {

// TRAIN: top = keep * bottom / (1 - dropout_ratio), where keep is 0 with
// probability dropout_ratio, else 1.  Element i in Caffe's order takes draw i
// of the step's site (worker/net/philox.h), whatever the format and the device.
// TEST: top = bottom.
//
// Thread-confined: the training thread.
class DropoutLayer : public Layer {
 public:
  using Layer::Layer;

  absl::Status SetUp(absl::Span<const Shape> bottom) override;
  absl::StatusOr<std::vector<Shape>> InferShapes(
      absl::Span<const Shape> bottom) const override {
    return std::vector<Shape>{bottom[0]};
  }
  LayerTraits Traits() const override;
  FormatChoice ChooseFormats(absl::Span<const TensorDesc> bottom,
                             absl::Span<const Shape> top) const override {
    return {{bottom[0].format}, {bottom[0].format}};
  }

 protected:
  float ratio() const { return ratio_; }
  bool active() const { return phase() == caffe::TRAIN; }

 private:
  float ratio_ = 0;
};

}  // namespace cssp

#endif  // CSSP_WORKER_LAYERS_DROPOUT_LAYER_H_
