#include "worker/layers/dropout_layer.h"

namespace cssp {

absl::Status DropoutLayer::SetUp(absl::Span<const Shape> bottom) {
  ratio_ = layer_param().dropout_param().dropout_ratio();
  if (!(ratio_ > 0 && ratio_ < 1)) {
    return absl::InvalidArgumentError(
        "dropout_param.dropout_ratio must be between 0 and 1, both excluded");
  }
  return absl::OkStatus();
}

LayerTraits DropoutLayer::Traits() const {
  LayerTraits traits;
  traits.backward_reads_bottom = 0;
  traits.backward_reads_top = 0;
  traits.in_place = true;
  traits.in_caffe.keeps_signs = true;
  return traits;
}

}  // namespace cssp
