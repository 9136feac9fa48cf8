// The windows of a convolution as rows: where a kernel tap meets the input.
#ifndef CSSP_WORKER_LAYERS_CPU_WINDOW_ROWS_H_
#define CSSP_WORKER_LAYERS_CPU_WINDOW_ROWS_H_

#include <algorithm>
#include <cstdint>
#include <vector>

#include "worker/layers/convolution_geometry.h"

namespace cssp::cpu {

// Immutable.
class WindowRows {
 public:
  using Extents = ConvolutionGeometry::Extents;

  WindowRows() = default;
  // At least one axis each.  `in`: the extents that windows slide over; `out`:
  // the numbers of windows.
  WindowRows(const Extents& in, const Extents& out, const Extents& kernel,
             const Extents& stride, const Extents& pad, const Extents& dilation)
      : axes_(static_cast<int>(in.size())),
        in_(in),
        out_(out),
        stride_(stride) {
    taps_ = 1;
    for (const int64_t k : kernel) taps_ *= k;
    reach_.resize(taps_ * axes_);
    for (int64_t tap = 0; tap < taps_; ++tap) {
      int64_t rest = tap;
      for (int axis = axes_ - 1; axis >= 0; --axis) {
        const int64_t k = rest % kernel[axis];
        rest /= kernel[axis];
        reach_[tap * axes_ + axis] =
            ReachOf(axis, k * dilation[axis] - pad[axis]);
      }
    }
  }

  int64_t taps() const { return taps_; }
  // How far apart in the input are neighbours of a row.
  int64_t step() const { return stride_.back(); }

  // Calls body(window, element, n) for every row of windows whose `tap` lies
  // inside the input: n windows side by side, from row-major index `window` on,
  // meet the elements `element`, `element` + step(), ...
  template <class Body>
  void ForEachRow(int64_t tap, Body body) const {
    const Reach* reach = &reach_[tap * axes_];
    int64_t at[ConvolutionGeometry::kMaxSpatialAxes];
    for (int axis = 0; axis < axes_; ++axis) {
      if (reach[axis].begin == reach[axis].end) return;
      at[axis] = reach[axis].begin;
    }
    const int last = axes_ - 1;
    while (true) {
      int64_t window = 0, element = 0;
      for (int axis = 0; axis < axes_; ++axis) {
        window = window * out_[axis] + at[axis];
        element = element * in_[axis] + reach[axis].element +
                  (at[axis] - reach[axis].begin) * stride_[axis];
      }
      body(window, element, reach[last].end - reach[last].begin);
      int axis = last - 1;
      for (; axis >= 0; --axis) {
        if (++at[axis] < reach[axis].end) break;
        at[axis] = reach[axis].begin;
      }
      if (axis < 0) return;
    }
  }

 private:
  // Along one axis: the windows [begin, end) in which a tap lies inside the
  // input, and the element that it meets in the first of them.
  struct Reach {
    int64_t begin, end, element;
  };

  // `shift`: from the window's place in the input to the tap.
  Reach ReachOf(int axis, int64_t shift) const {
    const int64_t stride = stride_[axis];
    const int64_t begin = shift >= 0 ? 0 : (-shift + stride - 1) / stride;
    const int64_t room = in_[axis] - 1 - shift;
    const int64_t end = room < 0 ? 0 : std::min(out_[axis], room / stride + 1);
    return {begin, std::max(begin, end), begin * stride + shift};
  }

  int axes_ = 0;
  int64_t taps_ = 0;
  Extents in_, out_, stride_;
  std::vector<Reach> reach_;  // tap by tap, axis by axis
};

}  // namespace cssp::cpu

#endif  // CSSP_WORKER_LAYERS_CPU_WINDOW_ROWS_H_
