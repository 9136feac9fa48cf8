// The fully connected layer.
#ifndef CSSP_WORKER_LAYERS_INNER_PRODUCT_LAYER_H_
#define CSSP_WORKER_LAYERS_INNER_PRODUCT_LAYER_H_

#include <vector>

#include "worker/net/layer.h"

namespace cssp {

// The axes from `axis` on are one vector x of K elements; the ones before it
// count M items.  top(m) = W x(m) + b, of N = num_output elements.
// Parameters: W (N, K), or (K, N) if `transpose`; b (N) if bias_term.
// Everything in Caffe's layout.
//
// Thread-confined: the training thread.
class InnerProductLayer : public Layer {
 public:
  using Layer::Layer;

  absl::Status SetUp(absl::Span<const Shape> bottom) override;
  absl::StatusOr<std::vector<Shape>> InferShapes(
      absl::Span<const Shape> bottom) const override;
  LayerTraits Traits() const override;

 protected:
  int64_t num_output() const { return num_output_; }
  int64_t inputs() const { return inputs_; }
  bool bias() const { return bias_; }
  bool transpose() const { return transpose_; }

 private:
  int64_t num_output_ = 0;
  int64_t inputs_ = 0;
  bool bias_ = true;
  bool transpose_ = false;
};

}  // namespace cssp

#endif  // CSSP_WORKER_LAYERS_INNER_PRODUCT_LAYER_H_
