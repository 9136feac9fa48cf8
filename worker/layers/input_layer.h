// Input: blobs that the program fills.
#ifndef CSSP_WORKER_LAYERS_INPUT_LAYER_H_
#define CSSP_WORKER_LAYERS_INPUT_LAYER_H_

#include <vector>

#include "worker/layers/source_layer.h"

namespace cssp {

// One shape for all tops, or one each.  Forward does nothing: a top holds what
// was last written into its blob.
//
// Thread-confined: the training thread.
class InputLayer final : public SourceLayer {
 public:
  using SourceLayer::SourceLayer;

  absl::Status SetUp(absl::Span<const Shape> bottom) override;
  absl::StatusOr<std::vector<Shape>> InferShapes(
      absl::Span<const Shape> bottom) const override {
    return shapes_;
  }
  absl::Status Forward(StepContext& step, const ForwardArgs& args) override {
    return absl::OkStatus();
  }

 private:
  std::vector<Shape> shapes_;
};

}  // namespace cssp

#endif  // CSSP_WORKER_LAYERS_INPUT_LAYER_H_
