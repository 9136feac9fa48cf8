#include "worker/layers/view_layers.h"

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"

namespace cssp {
namespace {

std::vector<int64_t> Head(const Shape& shape, int end) {
  return {shape.dims().begin(), shape.dims().begin() + end};
}

void AppendTail(const Shape& shape, int begin, std::vector<int64_t>* dims) {
  dims->insert(dims->end(), shape.dims().begin() + begin, shape.dims().end());
}

// Replaces the one -1 among dims by what makes the count `count`.
absl::Status InferExtent(int64_t count, std::vector<int64_t>* dims) {
  int inferred = -1;
  int64_t rest = 1;
  for (size_t i = 0; i < dims->size(); ++i) {
    const int64_t extent = (*dims)[i];
    if (extent == -1 && inferred < 0) {
      inferred = static_cast<int>(i);
    } else if (extent < 0) {
      return absl::InvalidArgumentError(
          "reshape_param.shape: an extent is >= -1, and -1 may be given once");
    } else if (__builtin_mul_overflow(rest, extent, &rest)) {
      return absl::InvalidArgumentError("reshape_param.shape is too large");
    }
  }
  if (inferred < 0) return absl::OkStatus();
  if (rest == 0 || count % rest != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("reshape_param.shape: ", count,
                     " elements do not divide into parts of ", rest));
  }
  (*dims)[inferred] = count / rest;
  return absl::OkStatus();
}

}  // namespace

LayerTraits ViewLayer::Traits() const {
  LayerTraits traits;
  traits.backward_reads_bottom = 0;
  traits.backward_reads_top = 0;
  traits.is_view = true;
  return traits;
}

absl::Status ViewLayer::Forward(StepContext& step, const ForwardArgs& args) {
  return absl::InternalError("a view has no kernel: the plan aliases it");
}

absl::Status ViewLayer::Backward(StepContext& step, const BackwardArgs& args) {
  return absl::InternalError("a view has no kernel: the plan aliases it");
}

absl::StatusOr<std::vector<Shape>> FlattenLayer::InferShapes(
    absl::Span<const Shape> bottom) const {
  const caffe::FlattenParameter& p = layer_param().flatten_param();
  ASSIGN_OR_RETURN(const int first, bottom[0].CanonicalAxis(p.axis()));
  ASSIGN_OR_RETURN(const int last, bottom[0].CanonicalAxis(p.end_axis()));
  if (last < first) {
    return absl::InvalidArgumentError(
        absl::StrCat("flatten_param.end_axis ", last, " lies before axis ",
                     first));
  }
  std::vector<int64_t> dims = Head(bottom[0], first);
  dims.push_back(bottom[0].count(first, last + 1));
  AppendTail(bottom[0], last + 1, &dims);
  ASSIGN_OR_RETURN(Shape top, Shape::Create(dims));
  return std::vector<Shape>{top};
}

absl::StatusOr<std::vector<Shape>> ReshapeLayer::InferShapes(
    absl::Span<const Shape> bottom) const {
  const caffe::ReshapeParameter& p = layer_param().reshape_param();
  const int axes = bottom[0].num_axes();
  // Here axis -1 means behind the last one.
  const int64_t first =
      p.axis() >= 0 ? int64_t{p.axis()} : int64_t{axes} + p.axis() + 1;
  if (first < 0 || first > axes) {
    return absl::InvalidArgumentError(absl::StrCat(
        "reshape_param.axis ", p.axis(), " is out of range for ", axes,
        " axes"));
  }
  const int64_t end = p.num_axes() < 0 ? axes : first + p.num_axes();
  if (p.num_axes() < -1 || end > axes) {
    return absl::InvalidArgumentError(absl::StrCat(
        "reshape_param.num_axes ", p.num_axes(),
        " reaches beyond the bottom (", bottom[0].ToString(), ")"));
  }
  std::vector<int64_t> dims = Head(bottom[0], static_cast<int>(first));
  for (int i = 0; i < p.shape().dim_size(); ++i) {
    const int64_t extent = p.shape().dim(i);
    if (extent == 0 && first + i >= axes) {
      return absl::InvalidArgumentError(absl::StrCat(
          "reshape_param.shape: dim ", i, " is 0 (copy), but the bottom has ",
          "no axis ", first + i));
    }
    dims.push_back(extent == 0 ? bottom[0].dim(static_cast<int>(first) + i)
                               : extent);
  }
  AppendTail(bottom[0], static_cast<int>(end), &dims);
  RETURN_IF_ERROR(InferExtent(bottom[0].count(), &dims));
  ASSIGN_OR_RETURN(Shape top, Shape::Create(dims));
  if (top.count() != bottom[0].count()) {
    return absl::InvalidArgumentError(
        absl::StrCat("reshape_param.shape gives ", top.ToString(),
                     ", the bottom is ", bottom[0].ToString()));
  }
  return std::vector<Shape>{top};
}

}  // namespace cssp
