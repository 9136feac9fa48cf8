#include "worker/layers/hdf5_output_layer.h"

#include <algorithm>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"

namespace cssp {
namespace {

constexpr const char* kDatasets[] = {"data", "label"};
constexpr size_t kCaffeAxes = 4;

}  // namespace

absl::Status Hdf5OutputLayer::SetUp(absl::Span<const Shape> bottom) {
  const std::string& path = layer_param().hdf5_output_param().file_name();
  if (path.empty())
    return absl::InvalidArgumentError(
        "hdf5_output_param: file_name must name a file");
  ASSIGN_OR_RETURN(file_, Hdf5RowWriter::Create(path));
  return absl::OkStatus();
}

absl::StatusOr<std::vector<Shape>> Hdf5OutputLayer::InferShapes(
    absl::Span<const Shape> bottom) const {
  for (const Shape& shape : bottom) {
    if (shape.num_axes() == 0 || shape.count() == 0)
      return absl::InvalidArgumentError("a bottom has no items to write");
  }
  if (bottom[0].dim(0) != bottom[1].dim(0))
    return absl::InvalidArgumentError(
        absl::StrCat("bottoms of ", bottom[0].dim(0), " and ", bottom[1].dim(0),
                     " items do not go together"));
  return std::vector<Shape>();
}

LayerTraits Hdf5OutputLayer::Traits() const {
  LayerTraits traits;
  traits.backward_reads_bottom = 0;
  traits.backward_reads_top = 0;
  traits.has_backward = false;
  traits.capturable = false;
  return traits;
}

absl::Status Hdf5OutputLayer::Forward(StepContext& step,
                                      const ForwardArgs& args) {
  for (size_t i = 0; i < args.bottom.size(); ++i) {
    const ConstTensor& bottom = args.bottom[i];
    host_.resize(static_cast<size_t>(bottom.count()));
    RETURN_IF_ERROR(device_.CopyToHost(step.stream(), host_.data(),
                                       bottom.data(),
                                       host_.size() * sizeof(float)));
    RETURN_IF_ERROR(step.stream().Synchronize());
    const absl::Span<const int64_t> dims = bottom.desc->shape.dims();
    std::vector<int64_t> extents(dims.begin(), dims.end());
    extents.resize(std::max(extents.size(), kCaffeAxes), 1);
    RETURN_IF_ERROR(file_->Append(kDatasets[i], extents, host_));
  }
  return absl::OkStatus();
}

}  // namespace cssp
