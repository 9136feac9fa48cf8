// Mean and variance normalisation, item by item.
#ifndef CSSP_WORKER_LAYERS_MVN_LAYER_H_
#define CSSP_WORKER_LAYERS_MVN_LAYER_H_

#include <vector>

#include "worker/net/layer.h"

namespace cssp {

// Over each channel of each item (across_channels: over each item), with <> the
// mean and s = sqrt(<(x - <x>)^2>) + eps:
//   top = x - <x>, divided by s if normalize_variance;
//   dx = dy - <dy>, or (dy - <dy> - <dy * top> * top) / s.
// Bottoms have at most 4 axes; axis 0 is the item, axis 1 the channel.
//
// Thread-confined: the training thread.
class MvnLayer : public Layer {
 public:
  using Layer::Layer;

  absl::Status SetUp(absl::Span<const Shape> bottom) override {
    return InferShapes(bottom).status();
  }
  absl::StatusOr<std::vector<Shape>> InferShapes(
      absl::Span<const Shape> bottom) const override;
  LayerTraits Traits() const override;

 protected:
  bool normalize_variance() const { return options().normalize_variance(); }
  float eps() const { return options().eps(); }
  // Groups that are normalised each on its own; their elements lie together.
  int64_t GroupsOf(const Shape& bottom) const;

 private:
  const caffe::MVNParameter& options() const {
    return layer_param().mvn_param();
  }
};

}  // namespace cssp

#endif  // CSSP_WORKER_LAYERS_MVN_LAYER_H_
