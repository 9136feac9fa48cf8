// Where the elements of a dense tensor lie in another: crops, permutations.
#ifndef CSSP_WORKER_LAYERS_STRIDED_MAP_H_
#define CSSP_WORKER_LAYERS_STRIDED_MAP_H_

#include <cstdint>

#include "absl/types/span.h"
#include "common/device/device_function.h"
#include "common/tensor/shape.h"

namespace cssp {

// Plain values: copied into kernels of any device.  Element i of the dense
// tensor, in Caffe's order, is element Source(i) of the other one.
struct StridedMap {
  static constexpr int kMaxAxes = 32;
  int axes = 0;
  int64_t base = 0;
  int64_t extent[kMaxAxes] = {};  // of the dense tensor
  int64_t stride[kMaxAxes] = {};  // in the other one

  // `dense` from `offset` on within `whole`, axis by axis.
  static StridedMap Crop(const Shape& whole, absl::Span<const int64_t> offset,
                         const Shape& dense) {
    StridedMap map;
    map.axes = whole.num_axes();
    for (int a = 0; a < map.axes; ++a) {
      map.extent[a] = dense.dim(a);
      map.stride[a] = whole.count_from(a + 1);
      map.base += offset[a] * map.stride[a];
    }
    return map;
  }
  // Axis a of the dense tensor is axis order[a] of `from`.
  static StridedMap Permute(const Shape& from, absl::Span<const int> order) {
    StridedMap map;
    map.axes = from.num_axes();
    for (int a = 0; a < map.axes; ++a) {
      map.extent[a] = from.dim(order[a]);
      map.stride[a] = from.count_from(order[a] + 1);
    }
    return map;
  }

  int64_t count() const {
    int64_t n = 1;
    for (int a = 0; a < axes; ++a) n *= extent[a];
    return n;
  }
  CSSP_DEVICE_FUNCTION int64_t Source(int64_t i) const {
    int64_t at = base;
    for (int a = axes - 1; a >= 0; --a) {
      at += i % extent[a] * stride[a];
      i /= extent[a];
    }
    return at;
  }
};

}  // namespace cssp

#endif  // CSSP_WORKER_LAYERS_STRIDED_MAP_H_
