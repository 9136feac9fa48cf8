// Decodes predicted boxes and keeps the best ones of each class (SSD).
#ifndef CSSP_WORKER_LAYERS_DETECTION_OUTPUT_LAYER_H_
#define CSSP_WORKER_LAYERS_DETECTION_OUTPUT_LAYER_H_

#include <vector>

#include "worker/layers/boxes.h"
#include "worker/net/layer.h"

namespace cssp {

// bottom: loc, conf, priors (see BoxGeometry).  top: 1 x 1 x K x 7, a row a
// detection: item, class, score, xmin, ymin, xmax, ymax; by item, by class,
// best first.  Without any detection: a row an item, -1 after the item.
//
// For every item and every class but background_label_id: boxes that score
// above confidence_threshold, the best nms_param.top_k of them, greedily less
// those that overlap a better one by more than nms_threshold (which shrinks by
// eta with every box kept, down to 0.5).  Of an item's the best keep_top_k.
//
// K depends on the data: InferShapes gives the most there can be.  No backward.
// save_output_param and visualize are Unimplemented.
//
// Thread-confined: the training thread.
class DetectionOutputLayer : public Layer {
 public:
  using Layer::Layer;

  absl::Status SetUp(absl::Span<const Shape> bottom) override;
  absl::StatusOr<std::vector<Shape>> InferShapes(
      absl::Span<const Shape> bottom) const override;
  LayerTraits Traits() const override;
  absl::Span<const Shape> ForwardShapes() override { return shapes_; }
  int min_bottoms() const override { return 3; }
  int max_bottoms() const override { return 3; }
  bool allow_force_backward(int bottom) const override { return false; }
  bool propagates_to(int bottom) const override { return false; }

 protected:
  struct Detection {
    float score = 0;
    int32_t label = 0;
    int32_t prior = 0;
  };

  absl::StatusOr<BoxGeometry> GeometryOf(absl::Span<const Shape> bottom) const {
    return BoxGeometry::Of(bottom, options().num_classes(),
                           options().share_location());
  }
  BoxCodec codec() const {
    return {options().code_type(), options().variance_encoded_in_target()};
  }
  // A class, or none of them.
  int64_t background() const { return options().background_label_id(); }
  float confidence_threshold() const;
  float nms_threshold() const { return options().nms_param().nms_threshold(); }
  float eta() const { return options().nms_param().eta(); }
  // Candidates of a class, and detections of an item, at most.
  int64_t max_candidates(const BoxGeometry& g) const;
  int64_t max_detections(const BoxGeometry& g) const;
  // For Forward, and at first for Bind.
  void SetRows(int64_t rows) { shapes_.assign(1, Shape({1, 1, rows, 7})); }

 private:
  const caffe::DetectionOutputParameter& options() const {
    return layer_param().detection_output_param();
  }

  std::vector<Shape> shapes_;
};

}  // namespace cssp

#endif  // CSSP_WORKER_LAYERS_DETECTION_OUTPUT_LAYER_H_
