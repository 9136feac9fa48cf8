#include "worker/layers/prelu_layer.h"

#include "absl/strings/str_cat.h"

namespace cssp {

absl::Status PReluLayer::SetUp(absl::Span<const Shape> bottom) {
  if (bottom[0].num_axes() < 2) {
    return absl::InvalidArgumentError(
        absl::StrCat("PReLU takes a bottom of two axes at least, got ",
                     bottom[0].ToString()));
  }
  const caffe::PReLUParameter& p = layer_param().prelu_param();
  caffe::FillerParameter filler = p.filler();
  if (!p.has_filler()) filler.set_value(0.25f);  // of the default, constant
  DeclareParam(
      {.shape = channel_shared() ? Shape() : Shape({bottom[0].dim(1)}),
       .filler = filler});
  return absl::OkStatus();
}

absl::StatusOr<std::vector<Shape>> PReluLayer::InferShapes(
    absl::Span<const Shape> bottom) const {
  const Shape& slope = param_declarations()[0].shape;
  if (!channel_shared() && slope.dim(0) != bottom[0].dim(1)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the bottom (", bottom[0].ToString(), ") does not have the ",
        slope.dim(0), " channels that the slopes were made for"));
  }
  return std::vector<Shape>{bottom[0]};
}

LayerTraits PReluLayer::Traits() const {
  LayerTraits traits;
  traits.backward_reads_top = 0;
  traits.in_place = true;
  traits.in_caffe.keeps_copies = true;
  return traits;
}

}  // namespace cssp
