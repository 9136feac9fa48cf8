// DummyData: tops made by fillers.
#ifndef CSSP_WORKER_LAYERS_DUMMY_DATA_LAYER_H_
#define CSSP_WORKER_LAYERS_DUMMY_DATA_LAYER_H_

#include <string>
#include <vector>

#include "worker/layers/source_layer.h"

namespace cssp {

// One filler and shape for all tops, or one each; no filler: zeros.  Random
// fillers draw anew in every pass, keyed by seed, rank, clock and pass.
// Constant ones are written in every pass too (Caffe: once), since a plan may
// use a top's memory again.
//
// Thread-confined: the training thread.
class DummyDataLayer : public SourceLayer {
 public:
  using SourceLayer::SourceLayer;

  absl::Status SetUp(absl::Span<const Shape> bottom) override;
  absl::StatusOr<std::vector<Shape>> InferShapes(
      absl::Span<const Shape> bottom) const override;
  absl::Status Forward(StepContext& step, const ForwardArgs& args) override;

 private:
  absl::Status SetUpShapes();
  absl::Status SetUpFillers();

  std::vector<Shape> shapes_;                    // one a top
  std::vector<caffe::FillerParameter> fillers_;  // one a top
  std::vector<std::string> keys_;                // of each top's draws
};

}  // namespace cssp

#endif  // CSSP_WORKER_LAYERS_DUMMY_DATA_LAYER_H_
