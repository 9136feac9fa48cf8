// Spatial pyramid pooling: maps of any size become vectors of one length.
#ifndef CSSP_WORKER_LAYERS_SPP_LAYER_H_
#define CSSP_WORKER_LAYERS_SPP_LAYER_H_

#include <vector>

#include "worker/net/layer.h"

namespace cssp {

// Level l of the pyramid pools each map into 2^l x 2^l bins as Pooling does
// (worker/layers/pooling_layer.h), with along each axis
//   kernel = stride = ceil(in / bins),  pad = (kernel * bins - in + 1) / 2.
// The top is (items, channels * bins of all levels): level after level, each
// channel by channel.  A pyramid of height 1 gives (items, channels, 1, 1).
// STOCHASTIC takes u of top element i from draw i of the step's site.  Caffe's
// layout.
//
// Thread-confined: the training thread.
class SppLayer : public Layer {
 public:
  using Layer::Layer;

  absl::Status SetUp(absl::Span<const Shape> bottom) override;
  absl::StatusOr<std::vector<Shape>> InferShapes(
      absl::Span<const Shape> bottom) const override;
  LayerTraits Traits() const override;

 protected:
  // Index 0: height, 1: width.
  struct Level {
    int64_t bins;  // along one axis
    int64_t kernel[2];
    int64_t pad[2];
    int64_t offset;  // of the level in an item of the top
  };
  std::vector<Level> LevelsFor(const Shape& bottom) const;

  bool is_max() const;
  bool is_stochastic() const;
  bool draws() const { return is_stochastic() && phase() == caffe::TRAIN; }

 private:
  int height() const {
    return static_cast<int>(layer_param().spp_param().pyramid_height());
  }
};

}  // namespace cssp

#endif  // CSSP_WORKER_LAYERS_SPP_LAYER_H_
