// Local response normalisation.
#ifndef CSSP_WORKER_LAYERS_LRN_LAYER_H_
#define CSSP_WORKER_LAYERS_LRN_LAYER_H_

#include <vector>

#include "worker/net/layer.h"

namespace cssp {

// top = bottom * (k + alpha / n * sum of squares over the neighbourhood)^-beta.
// ACROSS_CHANNELS: local_size channels at one position; n = local_size.
// WITHIN_CHANNEL: local_size x local_size positions of one channel;
// n = local_size^2, and k is 1 whatever the prototxt says (Caffe ignores it).
// Neighbours outside the bottom count as zero.
//
// Thread-confined: the training thread.
class LrnLayer : public Layer {
 public:
  using Layer::Layer;

  absl::Status SetUp(absl::Span<const Shape> bottom) override;
  absl::StatusOr<std::vector<Shape>> InferShapes(
      absl::Span<const Shape> bottom) const override;
  LayerTraits Traits() const override;

 protected:
  bool across_channels() const;
  int64_t local_size() const { return layer_param().lrn_param().local_size(); }
  float alpha() const { return layer_param().lrn_param().alpha(); }
  float beta() const { return layer_param().lrn_param().beta(); }
  float k() const {
    return across_channels() ? layer_param().lrn_param().k() : 1.0f;
  }
  size_t scratch_bytes_ = 0;  // set by Bind
};

}  // namespace cssp

#endif  // CSSP_WORKER_LAYERS_LRN_LAYER_H_
