#include "common/tensor/shape.h"

#include "absl/strings/str_cat.h"
#include "common/base/logging.h"

namespace cssp {
namespace {

constexpr int kMaxAxes = 32;  // as in Caffe

}  // namespace

Shape::Shape(std::initializer_list<int64_t> dims) : dims_(dims) {
  for (int64_t extent : dims) CHECK_GE(extent, 0) << "negative extent";
}

absl::StatusOr<Shape> Shape::Create(absl::Span<const int64_t> dims) {
  if (dims.size() > kMaxAxes)
    return absl::InvalidArgumentError(absl::StrCat(
        "a shape of ", dims.size(), " axes: at most ", kMaxAxes));
  Shape shape;
  int64_t count = 1;
  for (int64_t extent : dims) {
    if (extent < 0)
      return absl::InvalidArgumentError(
          absl::StrCat("negative extent ", extent, " in a shape"));
    if (__builtin_mul_overflow(count, extent, &count))
      return absl::InvalidArgumentError("a shape's element count overflows");
    shape.dims_.push_back(extent);
  }
  return shape;
}

int64_t Shape::dim(int axis) const {
  if (axis < 0) axis += num_axes();
  CHECK_GE(axis, 0);
  CHECK_LT(axis, num_axes());
  return dims_[axis];
}

void Shape::set_dim(int axis, int64_t extent) {
  if (axis < 0) axis += num_axes();
  CHECK_GE(axis, 0);
  CHECK_LT(axis, num_axes());
  CHECK_GE(extent, 0);
  dims_[axis] = extent;
}

void Shape::Append(int64_t extent) {
  CHECK_GE(extent, 0);
  dims_.push_back(extent);
}

int64_t Shape::count(int from, int to) const {
  CHECK_LE(0, from);
  CHECK_LE(to, num_axes());
  int64_t count = 1;
  for (int axis = from; axis < to; ++axis) count *= dims_[axis];
  return count;
}

absl::StatusOr<int> Shape::CanonicalAxis(int axis) const {
  if (axis < -num_axes() || axis >= num_axes())
    return absl::InvalidArgumentError(absl::StrCat(
        "axis ", axis, " is out of range for a blob of ", num_axes(),
        " axes with shape ", ToString()));
  return axis < 0 ? axis + num_axes() : axis;
}

int64_t Shape::LegacyDim(int axis) const {
  CHECK_LE(num_axes(), 4);
  return axis < num_axes() ? dims_[axis] : 1;
}

std::string Shape::ToString() const {
  std::string text;
  for (int64_t extent : dims_) absl::StrAppend(&text, extent, " ");
  absl::StrAppend(&text, "(", count(), ")");
  return text;
}

}  // namespace cssp
