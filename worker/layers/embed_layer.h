// Looks rows of a table up by index: InnerProduct on one-hot inputs.
#ifndef CSSP_WORKER_LAYERS_EMBED_LAYER_H_
#define CSSP_WORKER_LAYERS_EMBED_LAYER_H_

#include <vector>

#include "worker/net/layer.h"

namespace cssp {

// top(i, :) = weight(bottom(i), :) + bias, for every element i of the bottom;
// the top has one axis more, of num_output.
// Parameters: weight (input_dim, num_output), bias (num_output) if bias_term.
// A row's gradient is the sum of the top's at its occurrences, in their order.
// An input that names no row is InvalidArgument.  No gradient for the bottom.
//
// Thread-confined: the training thread.
class EmbedLayer : public Layer {
 public:
  using Layer::Layer;

  absl::Status SetUp(absl::Span<const Shape> bottom) override;
  absl::StatusOr<std::vector<Shape>> InferShapes(
      absl::Span<const Shape> bottom) const override;
  LayerTraits Traits() const override;
  bool allow_force_backward(int bottom) const override { return false; }
  bool propagates_to(int bottom) const override { return false; }

 protected:
  int64_t num_output() const { return options().num_output(); }
  int64_t input_dim() const { return options().input_dim(); }
  bool bias() const { return options().bias_term(); }

  // An index is a float in Caffe: it is checked before it is used.
  bool Names(float input, int64_t* row) const {
    if (!(input >= 0 && input < static_cast<float>(input_dim()))) return false;
    *row = static_cast<int64_t>(input);
    return static_cast<float>(*row) == input;
  }
  absl::Status BadInput(float input, int64_t position) const;

 private:
  const caffe::EmbedParameter& options() const {
    return layer_param().embed_param();
  }
};

}  // namespace cssp

#endif  // CSSP_WORKER_LAYERS_EMBED_LAYER_H_
