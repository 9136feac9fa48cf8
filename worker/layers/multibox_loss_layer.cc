#include "worker/layers/multibox_loss_layer.h"

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"

namespace cssp {
namespace {

using caffe::MultiBoxLossParameter;

absl::Status Invalid(absl::string_view message) {
  return absl::InvalidArgumentError(
      absl::StrCat("multibox_loss_param.", message));
}

}  // namespace

absl::Status MultiBoxLossLayer::SetUp(absl::Span<const Shape> bottom) {
  options_ = layer_param().multibox_loss_param();
  normalization_ = LossNormalization(layer_param().loss_param(),
                                     caffe::LossParameter::VALID);
  if (options_.has_do_neg_mining() && !options_.has_mining_type() &&
      !options_.do_neg_mining()) {
    options_.set_mining_type(MultiBoxLossParameter::NONE);
  }
  const bool mines = options_.mining_type() != MultiBoxLossParameter::NONE;
  if (options_.has_do_neg_mining() && options_.do_neg_mining() != mines) {
    return Invalid("do_neg_mining contradicts mining_type: leave it out");
  }
  if (mines && !options_.share_location()) {
    return Invalid("mining_type other than NONE needs share_location: true");
  }
  if (options_.sample_size() < 1 || !(options_.neg_pos_ratio() > 0)) {
    return Invalid("sample_size and neg_pos_ratio must be > 0");
  }
  if (!(options_.overlap_threshold() > 0)) {
    return Invalid("overlap_threshold must be > 0");
  }
  return CheckClasses();
}

absl::Status MultiBoxLossLayer::CheckClasses() const {
  const uint32_t classes = options_.num_classes();
  const uint32_t background = options_.background_label_id();
  if (classes < 1) return Invalid("num_classes must be > 0");
  // The background must be a class where it is a target.
  if (options_.conf_loss_type() == MultiBoxLossParameter::SOFTMAX &&
      background >= classes) {
    return Invalid(absl::StrCat("background_label_id ", background,
                                " is none of the ", classes, " classes"));
  }
  if (options_.map_object_to_agnostic() && background + 1 >= classes) {
    return Invalid(
        "map_object_to_agnostic needs a class behind background_label_id");
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<Shape>> MultiBoxLossLayer::InferShapes(
    absl::Span<const Shape> bottom) const {
  RETURN_IF_ERROR(GeometryOf(bottom).status());
  if (bottom[3].num_axes() < 1 || bottom[3].dim(-1) != 8) {
    return absl::InvalidArgumentError(
        absl::StrCat("bottom 3 must be ground truths, rows of 8 numbers; got ",
                     bottom[3].ToString()));
  }
  return std::vector<Shape>{Shape()};
}

// What Backward needs of the bottoms, Forward has kept.
LayerTraits MultiBoxLossLayer::Traits() const {
  LayerTraits traits;
  traits.backward_reads_bottom = 0;
  traits.backward_reads_top = 0;
  traits.capturable = false;
  return traits;
}

}  // namespace cssp
