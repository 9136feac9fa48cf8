// Axes in another order: Permute, and ShuffleNet's shuffle of channels.
#ifndef CSSP_WORKER_LAYERS_PERMUTE_LAYER_H_
#define CSSP_WORKER_LAYERS_PERMUTE_LAYER_H_

#include <vector>

#include "worker/layers/strided_map.h"
#include "worker/net/layer.h"

namespace cssp {

// Axis a of the top is axis order[a] of the bottom; axes that permute_param
// does not name follow in their order.  A view where nothing moves.
//
// Thread-confined: the training thread.
class PermuteLayer : public Layer {
 public:
  using Layer::Layer;

  absl::Status SetUp(absl::Span<const Shape> bottom) override;
  absl::StatusOr<std::vector<Shape>> InferShapes(
      absl::Span<const Shape> bottom) const override;
  LayerTraits Traits() const override;

 protected:
  // Where the top's elements lie in the bottom.
  StridedMap MapOf(const Shape& bottom) const {
    return StridedMap::Permute(bottom, order_);
  }

 private:
  std::vector<int> order_;  // of every axis
};

// The channels seen as group x C / group and transposed: channel
// j * group + i of the top is channel i * C / group + j of the bottom.
//
// Thread-confined: the training thread.
class ShuffleChannelLayer : public Layer {
 public:
  using Layer::Layer;

  absl::Status SetUp(absl::Span<const Shape> bottom) override {
    return InferShapes(bottom).status();
  }
  absl::StatusOr<std::vector<Shape>> InferShapes(
      absl::Span<const Shape> bottom) const override;
  LayerTraits Traits() const override;

 protected:
  StridedMap MapOf(const Shape& bottom) const;

 private:
  int64_t group() const {
    return layer_param().shuffle_channel_param().group();
  }
};

}  // namespace cssp

#endif  // CSSP_WORKER_LAYERS_PERMUTE_LAYER_H_
