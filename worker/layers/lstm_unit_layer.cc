#include "worker/layers/lstm_unit_layer.h"

#include "absl/strings/str_cat.h"

namespace cssp {

absl::StatusOr<std::vector<Shape>> LstmUnitLayer::InferShapes(
    absl::Span<const Shape> bottom) const {
  const Shape& c = bottom[0];
  if (c.num_axes() != 3 || c.dim(0) != 1) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the first bottom is a cell state and must be (1, streams, outputs), "
        "got ",
        c.ToString()));
  }
  const Shape gates({1, c.dim(1), 4 * c.dim(2)}), cont({1, c.dim(1)});
  if (bottom[1] != gates || bottom[2] != cont) {
    return absl::InvalidArgumentError(absl::StrCat(
        "beside a cell state of ", c.ToString(), " the gates must be ",
        gates.ToString(), " and the continuation ", cont.ToString(), ", got ",
        bottom[1].ToString(), " and ", bottom[2].ToString()));
  }
  return std::vector<Shape>{c, c};
}

LayerTraits LstmUnitLayer::Traits() const {
  LayerTraits traits;
  traits.backward_reads_bottom = 0b101;  // the gates are kept, activated
  traits.backward_reads_top = 0b01;
  return traits;
}

}  // namespace cssp
