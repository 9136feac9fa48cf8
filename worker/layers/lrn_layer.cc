#include "worker/layers/lrn_layer.h"

#include "absl/strings/str_cat.h"

namespace cssp {

bool LrnLayer::across_channels() const {
  return layer_param().lrn_param().norm_region() ==
         caffe::LRNParameter::ACROSS_CHANNELS;
}

absl::Status LrnLayer::SetUp(absl::Span<const Shape> bottom) {
  if (local_size() % 2 == 0 || local_size() > (1 << 20)) {
    return absl::InvalidArgumentError(
        absl::StrCat("lrn_param.local_size must be odd, got ", local_size()));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<Shape>> LrnLayer::InferShapes(
    absl::Span<const Shape> bottom) const {
  if (bottom[0].num_axes() != 4) {
    return absl::InvalidArgumentError(absl::StrCat(
        "LRN takes a bottom of 4 axes (items, channels, height, width), got ",
        bottom[0].ToString()));
  }
  return std::vector<Shape>{bottom[0]};
}

LayerTraits LrnLayer::Traits() const {
  LayerTraits traits;
  traits.backward_reads_top = 0;
  traits.scratch_bytes = scratch_bytes_;
  return traits;
}

}  // namespace cssp
