#include "worker/layers/detection_output_layer.h"

#include <algorithm>
#include <limits>

#include "common/base/status_macros.h"

namespace cssp {

absl::Status DetectionOutputLayer::SetUp(absl::Span<const Shape> bottom) {
  const caffe::DetectionOutputParameter& p = options();
  if (p.num_classes() < 1) {
    return absl::InvalidArgumentError(
        "detection_output_param.num_classes must be > 0");
  }
  if (!(p.nms_param().nms_threshold() >= 0)) {
    return absl::InvalidArgumentError("nms_param.nms_threshold must be >= 0");
  }
  if (!(eta() > 0 && eta() <= 1)) {
    return absl::InvalidArgumentError("nms_param.eta must be in (0, 1]");
  }
  if (!p.save_output_param().output_directory().empty() || p.visualize()) {
    return absl::UnimplementedError(
        "detection_output_param.save_output_param and visualize: write or "
        "draw the top's rows instead");
  }
  return absl::OkStatus();
}

float DetectionOutputLayer::confidence_threshold() const {
  return options().has_confidence_threshold()
             ? options().confidence_threshold()
             : std::numeric_limits<float>::lowest();
}

int64_t DetectionOutputLayer::max_candidates(const BoxGeometry& g) const {
  const caffe::NonMaximumSuppressionParameter& nms = options().nms_param();
  return nms.has_top_k() && nms.top_k() > -1
             ? std::min<int64_t>(g.priors, nms.top_k())
             : g.priors;
}

int64_t DetectionOutputLayer::max_detections(const BoxGeometry& g) const {
  const int64_t background = options().background_label_id();
  const bool has_background = background >= 0 && background < g.classes;
  const int64_t all = (g.classes - has_background) * max_candidates(g);
  return options().keep_top_k() > -1
             ? std::min<int64_t>(all, options().keep_top_k())
             : all;
}

absl::StatusOr<std::vector<Shape>> DetectionOutputLayer::InferShapes(
    absl::Span<const Shape> bottom) const {
  ASSIGN_OR_RETURN(const BoxGeometry g, GeometryOf(bottom));
  const int64_t dims[] = {1, 1,
                          g.items * std::max<int64_t>(max_detections(g), 1), 7};
  ASSIGN_OR_RETURN(Shape top, Shape::Create(dims));
  return std::vector<Shape>{top};
}

LayerTraits DetectionOutputLayer::Traits() const {
  LayerTraits traits;
  traits.backward_reads_bottom = 0;
  traits.backward_reads_top = 0;
  traits.has_backward = false;
  traits.data_dependent_shape = true;
  traits.capturable = false;
  return traits;
}

}  // namespace cssp
