#include "worker/layers/inner_product_layer.h"

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"

namespace cssp {

absl::Status InnerProductLayer::SetUp(absl::Span<const Shape> bottom) {
  const caffe::InnerProductParameter& p = layer_param().inner_product_param();
  num_output_ = p.num_output();
  bias_ = p.bias_term();
  transpose_ = p.transpose();
  if (num_output_ < 1) {
    return absl::InvalidArgumentError(
        "inner_product_param.num_output must be > 0");
  }
  ASSIGN_OR_RETURN(const int axis, bottom[0].CanonicalAxis(p.axis()));
  inputs_ = bottom[0].count_from(axis);
  if (inputs_ < 1) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the bottom has no elements from axis ", axis, " on: ",
        bottom[0].ToString()));
  }
  const int64_t dims[] = {transpose_ ? inputs_ : num_output_,
                          transpose_ ? num_output_ : inputs_};
  ASSIGN_OR_RETURN(Shape weight, Shape::Create(dims));
  DeclareParam({.shape = weight, .filler = p.weight_filler()});
  if (bias_) {
    DeclareParam({.shape = Shape({num_output_}), .filler = p.bias_filler()});
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<Shape>> InnerProductLayer::InferShapes(
    absl::Span<const Shape> bottom) const {
  ASSIGN_OR_RETURN(const int axis,
                   bottom[0].CanonicalAxis(
                       layer_param().inner_product_param().axis()));
  if (bottom[0].count_from(axis) != inputs_) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the bottom has ", bottom[0].count_from(axis), " elements an item (",
        bottom[0].ToString(), "), the weights were made for ", inputs_));
  }
  std::vector<int64_t> dims(bottom[0].dims().begin(),
                            bottom[0].dims().begin() + axis);
  dims.push_back(num_output_);
  ASSIGN_OR_RETURN(Shape top, Shape::Create(dims));
  return std::vector<Shape>{top};
}

LayerTraits InnerProductLayer::Traits() const {
  LayerTraits traits;
  traits.backward_reads_top = 0;
  return traits;
}

}  // namespace cssp
