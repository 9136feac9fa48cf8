#include "worker/layers/batch_norm_layer.h"

#include <algorithm>

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
  const int specs = std::min(layer_param().param_size(), 3);
  for (int i = 0; i < specs; ++i) {
    const caffe::ParamSpec& spec = layer_param().param(i);
    if (spec.has_lr_mult() && spec.lr_mult() != 0) {
      return absl::InvalidArgumentError(
          "the first three parameters of BatchNorm are statistics: their "
          "param.lr_mult must be 0 or left out");
    }
  }
  const caffe::BatchNormParameter& p = layer_param().batch_norm_param();
  // Statistics that a training net takes as given stay as they are.
  const bool frozen = phase() == caffe::TRAIN && use_global_stats();
  const float fraction = frozen ? 1 : p.moving_average_fraction();
  const int64_t channels = ChannelsOf(bottom[0]);
  for (const int64_t count : {channels, channels, int64_t{1}}) {
    DeclareParam({.shape = Shape({count}),
                  .kind = ParamKind::kStatistic,
                  .moving_average_fraction = fraction});
  }
  if (!fused()) return absl::OkStatus();
  caffe::FillerParameter scale = p.scale_filler();
  if (!p.has_scale_filler()) scale.set_value(1);  // constant
  DeclareParam({.shape = Shape({channels}), .filler = scale});
  DeclareParam({.shape = Shape({channels}), .filler = p.bias_filler()});
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
  traits.backward_reads_bottom = fused() ? 1 : 0;
  traits.backward_reads_top = use_global_stats() || fused() ? 0 : 1;
  traits.in_place = !fused();
  traits.in_caffe.keeps_copies = true;
  return traits;
}

}  // namespace cssp
