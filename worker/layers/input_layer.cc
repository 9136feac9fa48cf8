#include "worker/layers/input_layer.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"

namespace cssp {

absl::Status InputLayer::SetUp(absl::Span<const Shape> bottom) {
  const caffe::InputParameter& param = layer_param().input_param();
  const int given = param.shape_size();
  if (given != 1 && given != num_tops()) {
    return absl::InvalidArgumentError(
        absl::StrCat("input_param: ", given, " shapes for ", num_tops(),
                     " tops: give one, or one each"));
  }
  for (int i = 0; i < num_tops(); ++i) {
    const caffe::BlobShape& shape = param.shape(given == 1 ? 0 : i);
    const std::vector<int64_t> dims(shape.dim().begin(), shape.dim().end());
    ASSIGN_OR_RETURN(Shape top, Shape::Create(dims));
    shapes_.push_back(std::move(top));
  }
  return absl::OkStatus();
}

}  // namespace cssp
