// Division by the L2 norm, times a learnt scale (ParseNet, SSD's conv4_3).
#ifndef CSSP_WORKER_LAYERS_NORMALIZE_LAYER_H_
#define CSSP_WORKER_LAYERS_NORMALIZE_LAYER_H_

#include <vector>

#include "worker/net/layer.h"

namespace cssp {

// norm = sqrt(sum of x^2 + eps), over each item (across_spatial) or over the
// channels at each position of each item;
//   top = scale * x / norm
//   d scale = sum of dy * x / norm
//   dx = (g - x * <g, x> / norm^2) / norm,  g = scale * dy, <,> as the norm.
// The parameter: scale, one (channel_shared: a scalar) or one a channel, filled
// by norm_param.scale_filler, by default with 1.
//
// Thread-confined: the training thread.
class NormalizeLayer : public Layer {
 public:
  using Layer::Layer;

  absl::Status SetUp(absl::Span<const Shape> bottom) override;
  absl::StatusOr<std::vector<Shape>> InferShapes(
      absl::Span<const Shape> bottom) const override;
  LayerTraits Traits() const override;

 protected:
  bool across_spatial() const { return options().across_spatial(); }
  bool channel_shared() const { return options().channel_shared(); }
  float eps() const { return options().eps(); }

 private:
  const caffe::NormalizeParameter& options() const {
    return layer_param().norm_param();
  }
};

}  // namespace cssp

#endif  // CSSP_WORKER_LAYERS_NORMALIZE_LAYER_H_
