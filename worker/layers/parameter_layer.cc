#include "worker/layers/parameter_layer.h"

#include "common/base/status_macros.h"

namespace cssp {

absl::Status ParameterLayer::SetUp(absl::Span<const Shape> bottom) {
  const caffe::BlobShape& given = layer_param().parameter_param().shape();
  const std::vector<int64_t> dims(given.dim().begin(), given.dim().end());
  ASSIGN_OR_RETURN(Shape shape, Shape::Create(dims));
  DeclareParam({.shape = shape});
  return absl::OkStatus();
}

LayerTraits ParameterLayer::Traits() const {
  LayerTraits traits;
  traits.backward_reads_bottom = 0;
  traits.backward_reads_top = 0;
  return traits;
}

}  // namespace cssp
