#include "worker/layers/accuracy_layer.h"

#include "common/base/status_macros.h"

namespace cssp {

absl::Status AccuracyLayer::SetUp(absl::Span<const Shape> bottom) {
  ASSIGN_OR_RETURN(const LabelAxis axis, AxisOf(bottom[0]));
  if (top_k() < 1 || top_k() > axis.classes) {
    return absl::InvalidArgumentError(
        absl::StrCat("accuracy_param.top_k must be between 1 and the number of "
                     "classes, ",
                     axis.classes, "; got ", top_k()));
  }
  return absl::OkStatus();
}

absl::StatusOr<LabelAxis> AccuracyLayer::AxisOf(const Shape& scores) const {
  return LabelAxis::Of(scores, layer_param().accuracy_param().axis());
}

std::optional<int> AccuracyLayer::ignore_label() const {
  const caffe::AccuracyParameter& p = layer_param().accuracy_param();
  return p.has_ignore_label() ? std::optional<int>(p.ignore_label())
                              : std::nullopt;
}

absl::StatusOr<std::vector<Shape>> AccuracyLayer::InferShapes(
    absl::Span<const Shape> bottom) const {
  ASSIGN_OR_RETURN(const LabelAxis axis, AxisOf(bottom[0]));
  RETURN_IF_ERROR(axis.CheckLabels(bottom[0], bottom[1]));
  std::vector<Shape> tops{Shape()};
  if (layer_param().top_size() > 1) tops.push_back(Shape({axis.classes}));
  return tops;
}

LayerTraits AccuracyLayer::Traits() const {
  LayerTraits traits;
  traits.backward_reads_bottom = 0;
  traits.backward_reads_top = 0;
  traits.has_backward = false;
  return traits;
}

}  // namespace cssp
