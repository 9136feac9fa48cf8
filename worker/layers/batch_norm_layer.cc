#include "worker/layers/batch_norm_layer.h"

#include "absl/strings/str_cat.h"

namespace cssp {

bool BatchNormLayer::use_global_stats() const {
  const caffe::BatchNormParameter& p = layer_param().batch_norm_param();
  return p.has_use_global_stats() ? p.use_global_stats()
                                  : phase() == caffe::TEST;
}

absl::Status BatchNormLayer::SetUp(absl::Span<const Shape> bottom) {
  if (bottom[0].num_axes() < 1) {
    return absl::InvalidArgumentError(
        "batch normalisation takes a bottom of one axis at least");
  }
  for (const caffe::ParamSpec& spec : layer_param().param()) {
    if (spec.has_lr_mult() && spec.lr_mult() != 0) {
      return absl::InvalidArgumentError(
          "the parameters of BatchNorm are statistics: param.lr_mult must be "
          "0 or left out");
    }
  }
  const float fraction =
      layer_param().batch_norm_param().moving_average_fraction();
  const int64_t channels = ChannelsOf(bottom[0]);
  for (const int64_t count : {channels, channels, int64_t{1}}) {
    DeclareParam({.shape = Shape({count}),
                  .kind = ParamKind::kStatistic,
                  .moving_average_fraction = fraction});
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<Shape>> BatchNormLayer::InferShapes(
    absl::Span<const Shape> bottom) const {
  const int64_t made_for = param_declarations()[0].shape.dim(0);
  if (bottom[0].num_axes() < 1 || ChannelsOf(bottom[0]) != made_for) {
    return absl::InvalidArgumentError(
        absl::StrCat("the bottom (", bottom[0].ToString(),
                     ") does not have the ", made_for,
                     " channels that the statistics were made for"));
  }
  return std::vector<Shape>{bottom[0]};
}

LayerTraits BatchNormLayer::Traits() const {
  LayerTraits traits;
  traits.backward_reads_bottom = 0;
  traits.backward_reads_top = use_global_stats() ? 0 : 1;
  traits.in_place = true;
  return traits;
}

}  // namespace cssp
