#include "worker/layers/eltwise_layer.h"

#include "absl/strings/str_cat.h"
#include "worker/layers/formats.h"

namespace cssp {

absl::Status EltwiseLayer::SetUp(absl::Span<const Shape> bottom) {
  const caffe::EltwiseParameter& p = layer_param().eltwise_param();
  if (p.coeff_size() != 0 &&
      p.coeff_size() != static_cast<int>(bottom.size())) {
    return absl::InvalidArgumentError(
        absl::StrCat("eltwise_param.coeff is given ", p.coeff_size(),
                     " times; give it once per bottom (", bottom.size(),
                     ") or not at all"));
  }
  if (p.coeff_size() != 0 && p.operation() == caffe::EltwiseParameter::PROD) {
    return absl::InvalidArgumentError(
        "eltwise_param.coeff does not go with operation PROD");
  }
  coefficients_.assign(p.coeff().begin(), p.coeff().end());
  coefficients_.resize(bottom.size(), 1.0f);
  return absl::OkStatus();
}

absl::StatusOr<std::vector<Shape>> EltwiseLayer::InferShapes(
    absl::Span<const Shape> bottom) const {
  for (const Shape& shape : bottom) {
    if (shape != bottom[0]) {
      return absl::InvalidArgumentError(
          absl::StrCat("bottoms must be of one shape, got ",
                       bottom[0].ToString(), " and ", shape.ToString()));
    }
  }
  return std::vector<Shape>{bottom[0]};
}

LayerTraits EltwiseLayer::Traits() const {
  const bool product = operation() == caffe::EltwiseParameter::PROD;
  LayerTraits traits;
  traits.backward_reads_bottom = product ? ~0u : 0;
  traits.backward_reads_top = product && !stable_product() ? 1 : 0;
  return traits;
}

FormatChoice EltwiseLayer::ChooseFormats(absl::Span<const TensorDesc> bottom,
                                         absl::Span<const Shape> top) const {
  return Everywhere(FirstBlocked(bottom), bottom.size(), 1);
}

}  // namespace cssp
