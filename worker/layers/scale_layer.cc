#include "worker/layers/scale_layer.h"

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"

namespace cssp {

int ScaleLayer::axis() const {
  return only_bias() ? layer_param().bias_param().axis()
                     : layer_param().scale_param().axis();
}

int ScaleLayer::num_axes() const {
  return only_bias() ? layer_param().bias_param().num_axes()
                     : layer_param().scale_param().num_axes();
}

absl::StatusOr<Shape> ScaleLayer::OperandShape(absl::Span<const Shape> bottom,
                                               int* first) const {
  *first = 0;
  const bool given = bottom.size() > 1;
  if (given ? bottom[1].num_axes() == 0 : num_axes() == 0) return Shape();
  ASSIGN_OR_RETURN(*first, bottom[0].CanonicalAxis(axis()));
  const int axes = given ? bottom[1].num_axes()
                   : num_axes() == -1 ? bottom[0].num_axes() - *first
                                      : num_axes();
  if (axes < 0 || axes > bottom[0].num_axes() - *first) {
    return absl::InvalidArgumentError(
        absl::StrCat(axes, " axes from axis ", *first,
                     " on reach beyond the bottom (", bottom[0].ToString(),
                     "): check axis and num_axes"));
  }
  Shape shape;
  for (int i = 0; i < axes; ++i) shape.Append(bottom[0].dim(*first + i));
  if (given && bottom[1] != shape) {
    return absl::InvalidArgumentError(absl::StrCat(
        "bottom 1 (", bottom[1].ToString(), ") must have the extents of ",
        "bottom 0 from axis ", *first, " on (", shape.ToString(), ")"));
  }
  return shape;
}

absl::Status ScaleLayer::SetUp(absl::Span<const Shape> bottom) {
  int first;
  ASSIGN_OR_RETURN(const Shape shape, OperandShape(bottom, &first));
  const caffe::ScaleParameter& p = layer_param().scale_param();
  const Operand given = {Operand::kBottom, 1};
  int params = 0;
  if (only_bias()) {
    bias_ = bottom.size() > 1 ? given : Operand{Operand::kParam, params++};
    if (bottom.size() == 1) {
      DeclareParam(
          {.shape = shape, .filler = layer_param().bias_param().filler()});
    }
    return absl::OkStatus();
  }
  scale_ = bottom.size() > 1 ? given : Operand{Operand::kParam, params++};
  if (bottom.size() == 1) {
    caffe::FillerParameter filler = p.filler();
    if (!p.has_filler()) filler.set_value(1);  // of the default, constant
    DeclareParam({.shape = shape, .filler = filler});
  }
  if (p.bias_term()) {
    bias_ = {Operand::kParam, params++};
    DeclareParam({.shape = shape, .filler = p.bias_filler()});
  }
  return absl::OkStatus();
}

absl::StatusOr<ScaleLayer::Extents> ScaleLayer::ExtentsOf(
    absl::Span<const Shape> bottom) const {
  int first;
  ASSIGN_OR_RETURN(const Shape shape, OperandShape(bottom, &first));
  return Extents{.outer = bottom[0].count(0, first),
                 .count = shape.count(),
                 .inner = bottom[0].count_from(first + shape.num_axes()),
                 .per_channel = first == 1 && shape.num_axes() == 1};
}

absl::StatusOr<std::vector<Shape>> ScaleLayer::InferShapes(
    absl::Span<const Shape> bottom) const {
  int first;
  ASSIGN_OR_RETURN(const Shape shape, OperandShape(bottom, &first));
  for (const ParamDeclaration& param : param_declarations()) {
    if (param.shape != shape) {
      return absl::InvalidArgumentError(absl::StrCat(
          "the bottom asks for values of ", shape.ToString(),
          ", they were made as ", param.shape.ToString()));
    }
  }
  return std::vector<Shape>{bottom[0]};
}

LayerTraits ScaleLayer::Traits() const {
  LayerTraits traits;
  traits.backward_reads_bottom = scale_.from == Operand::kNone      ? 0
                                 : scale_.from == Operand::kBottom ? 3
                                                                    : 1;
  traits.backward_reads_top = 0;
  traits.in_place = true;
  traits.in_caffe.keeps_copies = true;
  return traits;
}

FormatChoice ScaleLayer::ChooseFormats(absl::Span<const TensorDesc> bottom,
                                       absl::Span<const Shape> top) const {
  std::vector<Shape> shapes;
  for (const TensorDesc& desc : bottom) shapes.push_back(desc.shape);
  const auto extents = ExtentsOf(shapes);
  const Format format = extents.ok() && extents->per_channel
                            ? bottom[0].format
                            : Format::kCaffe;
  FormatChoice choice{{format}, {format}};
  if (bottom.size() > 1) choice.bottom.push_back(Format::kCaffe);
  return choice;
}

}  // namespace cssp
