// Repeats the data along an axis.
#ifndef CSSP_WORKER_LAYERS_TILE_LAYER_H_
#define CSSP_WORKER_LAYERS_TILE_LAYER_H_

#include <vector>

#include "worker/net/layer.h"

namespace cssp {

// top = the bottom, `tiles` times one after the other along `axis`; the
// bottom's gradient is the sum over the copies, first to last.
//
// Thread-confined: the training thread.
class TileLayer : public Layer {
 public:
  using Layer::Layer;

  absl::Status SetUp(absl::Span<const Shape> bottom) override {
    return InferShapes(bottom).status();
  }
  absl::StatusOr<std::vector<Shape>> InferShapes(
      absl::Span<const Shape> bottom) const override;
  LayerTraits Traits() const override;

 protected:
  int64_t tiles() const { return layer_param().tile_param().tiles(); }
  // The bottom as rows of so many elements, each of which is repeated.
  absl::StatusOr<int64_t> RowOf(const Shape& bottom) const;
};

}  // namespace cssp

#endif  // CSSP_WORKER_LAYERS_TILE_LAYER_H_
