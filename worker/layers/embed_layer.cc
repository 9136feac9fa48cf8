#include "worker/layers/embed_layer.h"

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"

namespace cssp {

absl::Status EmbedLayer::SetUp(absl::Span<const Shape> bottom) {
  if (num_output() < 1 || input_dim() < 1) {
    return absl::InvalidArgumentError(
        "embed_param.num_output and embed_param.input_dim must be > 0");
  }
  const int64_t dims[] = {input_dim(), num_output()};
  ASSIGN_OR_RETURN(Shape weight, Shape::Create(dims));
  DeclareParam({.shape = weight, .filler = options().weight_filler()});
  if (bias()) {
    DeclareParam(
        {.shape = Shape({num_output()}), .filler = options().bias_filler()});
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<Shape>> EmbedLayer::InferShapes(
    absl::Span<const Shape> bottom) const {
  std::vector<int64_t> dims(bottom[0].dims().begin(), bottom[0].dims().end());
  dims.push_back(num_output());
  ASSIGN_OR_RETURN(Shape top, Shape::Create(dims));
  return std::vector<Shape>{top};
}

LayerTraits EmbedLayer::Traits() const {
  LayerTraits traits;
  traits.backward_reads_top = 0;
  return traits;
}

absl::Status EmbedLayer::BadInput(float input, int64_t position) const {
  return absl::InvalidArgumentError(
      absl::StrCat("input ", input, " at position ", position,
                   " is no row: embed_param.input_dim is ", input_dim(),
                   ", inputs are whole numbers from 0 on"));
}

}  // namespace cssp
