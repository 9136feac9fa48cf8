// The indices of the greatest elements.
#ifndef CSSP_WORKER_LAYERS_ARGMAX_LAYER_H_
#define CSSP_WORKER_LAYERS_ARGMAX_LAYER_H_

#include <vector>

#include "worker/net/layer.h"

namespace cssp {

// With `axis`: top = bottom with that axis reduced to top_k entries, indices or
// (out_max_val) values.  Without: over each item flattened, top is
// (N, 1, top_k) of indices, or (N, 2, top_k) of indices and values.
// Greatest first; of equals the later index first, as in Caffe.
//
// Thread-confined: the training thread.
class ArgMaxLayer : public Layer {
 public:
  using Layer::Layer;

  absl::Status SetUp(absl::Span<const Shape> bottom) override {
    return InferShapes(bottom).status();
  }
  absl::StatusOr<std::vector<Shape>> InferShapes(
      absl::Span<const Shape> bottom) const override;
  LayerTraits Traits() const override;
  bool propagates_to(int bottom) const override { return false; }

 protected:
  const caffe::ArgMaxParameter& options() const {
    return layer_param().argmax_param();
  }
};

}  // namespace cssp

#endif  // CSSP_WORKER_LAYERS_ARGMAX_LAYER_H_
