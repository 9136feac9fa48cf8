#include "worker/layers/reduction_layer.h"

#include "common/base/status_macros.h"

namespace cssp {

absl::StatusOr<std::vector<Shape>> ReductionLayer::InferShapes(
    absl::Span<const Shape> bottom) const {
  ASSIGN_OR_RETURN(const int axis, bottom[0].CanonicalAxis(options().axis()));
  Shape top;
  for (int a = 0; a < axis; ++a) top.Append(bottom[0].dim(a));
  return std::vector<Shape>{top};
}

LayerTraits ReductionLayer::Traits() const {
  const auto operation = options().operation();
  LayerTraits traits;
  traits.backward_reads_bottom =
      operation == caffe::ReductionParameter::ASUM ||
              operation == caffe::ReductionParameter::SUMSQ
          ? 1
          : 0;
  traits.backward_reads_top = 0;
  return traits;
}

}  // namespace cssp
