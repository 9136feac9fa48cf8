// The extent of a tensor, axis by axis.
#ifndef CSSP_COMMON_TENSOR_SHAPE_H_
#define CSSP_COMMON_TENSOR_SHAPE_H_

#include <cstdint>
#include <initializer_list>
#include <string>

#include "absl/container/inlined_vector.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace cssp {

// Value type.  Invariants: every extent >= 0; at most 32 axes; the count fits
// in 63 bits (Create checks all three; the plain constructor CHECKs).
// A shape of no axes is a scalar: count 1.
class Shape {
 public:
  Shape() = default;
  Shape(std::initializer_list<int64_t> dims);
  static absl::StatusOr<Shape> Create(absl::Span<const int64_t> dims);

  int num_axes() const { return static_cast<int>(dims_.size()); }
  absl::Span<const int64_t> dims() const { return dims_; }
  // `axis` may be negative, counting from the end.  REQUIRES: in range.
  int64_t dim(int axis) const;
  void set_dim(int axis, int64_t extent);
  void Append(int64_t extent);

  int64_t count() const { return count(0, num_axes()); }
  // Product of extents of axes [from, to).
  int64_t count(int from, int to) const;
  int64_t count_from(int from) const { return count(from, num_axes()); }

  // The non-negative index of `axis`, or InvalidArgument.
  absl::StatusOr<int> CanonicalAxis(int axis) const;

  // Caffe's legacy 4-D view (num, channels, height, width): axes beyond the
  // shape's own count as 1.  REQUIRES: num_axes() <= 4.
  int64_t LegacyDim(int axis) const;

  // "64 3 32 32 (196608)", as Caffe logs it.
  std::string ToString() const;

  friend bool operator==(const Shape& a, const Shape& b) {
    return a.dims_ == b.dims_;
  }
  friend bool operator!=(const Shape& a, const Shape& b) { return !(a == b); }

 private:
  absl::InlinedVector<int64_t, 6> dims_;
};

}  // namespace cssp

#endif  // CSSP_COMMON_TENSOR_SHAPE_H_
