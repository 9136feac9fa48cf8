// Layers that treat every element alike: y = f(x).
#ifndef CSSP_WORKER_LAYERS_NEURON_LAYER_H_
#define CSSP_WORKER_LAYERS_NEURON_LAYER_H_

#include <vector>

#include "worker/net/layer.h"

namespace cssp {

// What a neuron's derivative is computed from, and whether f(0) = 0: then the
// padding lanes of a blocked tensor stay zero by themselves.
struct NeuronTraits {
  bool reads_bottom = false;
  bool reads_top = false;
  bool keeps_zero = true;
  bool has_backward = true;
  CaffeInPlace in_caffe;
};

// Thread-confined: the training thread.
//
// Works in place where the derivative needs no bottom.  Passes the format of
// its bottom through where the padding lanes stay zero.
class NeuronLayer : public Layer {
 public:
  using Layer::Layer;

  absl::Status SetUp(absl::Span<const Shape> bottom) override {
    return absl::OkStatus();
  }
  absl::StatusOr<std::vector<Shape>> InferShapes(
      absl::Span<const Shape> bottom) const override {
    return std::vector<Shape>{bottom[0]};
  }
  LayerTraits Traits() const override;
  FormatChoice ChooseFormats(absl::Span<const TensorDesc> bottom,
                             absl::Span<const Shape> top) const override;
  bool propagates_to(int bottom) const override {
    return neuron_traits().has_backward;
  }

 protected:
  // After SetUp.
  virtual NeuronTraits neuron_traits() const = 0;
};

}  // namespace cssp

#endif  // CSSP_WORKER_LAYERS_NEURON_LAYER_H_
