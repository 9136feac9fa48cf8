// Swallows blobs nobody else reads, so that they are no outputs of the net.
#ifndef CSSP_WORKER_LAYERS_SILENCE_LAYER_H_
#define CSSP_WORKER_LAYERS_SILENCE_LAYER_H_

#include <vector>

#include "worker/layers/formats.h"
#include "worker/net/layer.h"

namespace cssp {

// No tops, no kernels, no gradient.  The same on every device.
//
// Thread-confined: the training thread.
class SilenceLayer final : public Layer {
 public:
  using Layer::Layer;

  absl::Status SetUp(absl::Span<const Shape> bottom) override {
    return absl::OkStatus();
  }
  absl::StatusOr<std::vector<Shape>> InferShapes(
      absl::Span<const Shape> bottom) const override {
    return std::vector<Shape>();
  }
  LayerTraits Traits() const override {
    LayerTraits traits;
    traits.backward_reads_bottom = 0;
    traits.backward_reads_top = 0;
    traits.has_backward = false;
    return traits;
  }
  FormatChoice ChooseFormats(absl::Span<const TensorDesc> bottom,
                             absl::Span<const Shape> top) const override {
    FormatChoice choice;
    for (const TensorDesc& desc : bottom) choice.bottom.push_back(desc.format);
    return choice;
  }
  absl::Status Forward(StepContext& step, const ForwardArgs& args) override {
    return absl::OkStatus();
  }
  absl::Status Backward(StepContext& step, const BackwardArgs& args) override {
    return absl::OkStatus();
  }
  int max_bottoms() const override { return -1; }
  int min_tops() const override { return 0; }
  int max_tops() const override { return 0; }
  bool propagates_to(int bottom) const override { return false; }
};

}  // namespace cssp

#endif  // CSSP_WORKER_LAYERS_SILENCE_LAYER_H_
