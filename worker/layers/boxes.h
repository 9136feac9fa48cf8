// Boxes of detectors: overlap, codes relative to a prior, and how the blobs of
// SSD hold them.
#ifndef CSSP_WORKER_LAYERS_BOXES_H_
#define CSSP_WORKER_LAYERS_BOXES_H_

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/device/device_function.h"
#include "common/tensor/shape.h"
#include "proto/caffe.pb.h"

namespace cssp {

// In shares of the image's width and height.  Plain values, for any device.
struct Box {
  float xmin = 0, ymin = 0, xmax = 0, ymax = 0;

  CSSP_DEVICE_FUNCTION float width() const { return xmax - xmin; }
  CSSP_DEVICE_FUNCTION float height() const { return ymax - ymin; }
  CSSP_DEVICE_FUNCTION float x() const { return (xmin + xmax) / 2; }
  CSSP_DEVICE_FUNCTION float y() const { return (ymin + ymax) / 2; }
  // 0 where a side is negative.
  CSSP_DEVICE_FUNCTION float area() const {
    return xmax < xmin || ymax < ymin ? 0 : width() * height();
  }
  CSSP_DEVICE_FUNCTION static Box At(const float* four) {
    return {four[0], four[1], four[2], four[3]};
  }
};

// Intersection over union (Jaccard).
CSSP_DEVICE_FUNCTION inline float Overlap(const Box& a, const Box& b) {
  const float width = std::min(a.xmax, b.xmax) - std::max(a.xmin, b.xmin);
  const float height = std::min(a.ymax, b.ymax) - std::max(a.ymin, b.ymin);
  if (!(width > 0 && height > 0)) return 0;
  const float both = width * height;
  return both / (a.area() + b.area() - both);
}

// A box as four numbers relative to a prior p of width w and height h:
//   CORNER       corners less p's corners
//   CENTER_SIZE  (centre less p's centre) / (w, h), log of the sizes' ratio
//   CORNER_SIZE  corners less p's corners, / (w, h)
// each divided by its variance, unless that is in the target already.
struct BoxCodec {
  caffe::PriorBoxParameter::CodeType type = caffe::PriorBoxParameter::CORNER;
  bool variance_in_target = false;

  CSSP_DEVICE_FUNCTION void Encode(const Box& prior, const float* variance,
                                   const Box& box, float* code) const {
    const float w = prior.width(), h = prior.height();
    if (type == caffe::PriorBoxParameter::CENTER_SIZE) {
      code[0] = (box.x() - prior.x()) / w;
      code[1] = (box.y() - prior.y()) / h;
      code[2] = std::log(box.width() / w);
      code[3] = std::log(box.height() / h);
    } else {
      const bool sized = type == caffe::PriorBoxParameter::CORNER_SIZE;
      const float x = sized ? w : 1, y = sized ? h : 1;
      code[0] = (box.xmin - prior.xmin) / x;
      code[1] = (box.ymin - prior.ymin) / y;
      code[2] = (box.xmax - prior.xmax) / x;
      code[3] = (box.ymax - prior.ymax) / y;
    }
    for (int k = 0; k < 4 && !variance_in_target; ++k) code[k] /= variance[k];
  }

  CSSP_DEVICE_FUNCTION Box Decode(const Box& prior, const float* variance,
                                  const float* code) const {
    float d[4];
    for (int k = 0; k < 4; ++k) {
      d[k] = variance_in_target ? code[k] : code[k] * variance[k];
    }
    const float w = prior.width(), h = prior.height();
    if (type == caffe::PriorBoxParameter::CENTER_SIZE) {
      const float x = d[0] * w + prior.x(), y = d[1] * h + prior.y();
      const float half_w = std::exp(d[2]) * w / 2;
      const float half_h = std::exp(d[3]) * h / 2;
      return {x - half_w, y - half_h, x + half_w, y + half_h};
    }
    const bool sized = type == caffe::PriorBoxParameter::CORNER_SIZE;
    const float sx = sized ? w : 1, sy = sized ? h : 1;
    return {prior.xmin + d[0] * sx, prior.ymin + d[1] * sy,
            prior.xmax + d[2] * sx, prior.ymax + d[3] * sy};
  }
};

// The bottoms of SSD's layers: loc (N x P * L * 4), conf (N x P * C) and the
// priors (1 x 2 x P * 4: boxes, then variances), whatever their trailing axes.
struct BoxGeometry {
  int64_t items = 0;        // N
  int64_t priors = 0;       // P
  int64_t loc_classes = 0;  // L: 1 where locations are shared, else C
  int64_t classes = 0;      // C

  static absl::StatusOr<BoxGeometry> Of(absl::Span<const Shape> bottom,
                                        int64_t classes, bool share_location);

  // Of the location of class `c` (0 where shared) at a prior, in elements.
  CSSP_DEVICE_FUNCTION int64_t Loc(int64_t item, int64_t prior,
                                   int64_t c) const {
    return ((item * priors + prior) * loc_classes + c) * 4;
  }
  CSSP_DEVICE_FUNCTION int64_t Conf(int64_t item, int64_t prior) const {
    return (item * priors + prior) * classes;
  }
  CSSP_DEVICE_FUNCTION const float* Variance(const float* prior_blob,
                                             int64_t prior) const {
    return prior_blob + (priors + prior) * 4;
  }
};

// Smaller boxes are no candidates for mining.
inline constexpr float kLeastMinedArea = 1e-5f;

// A candidate of non-maximum suppression: best first, of equals the first.
struct ScoredIndex {
  float score = 0;
  int32_t index = 0;
  friend bool operator<(const ScoredIndex& a, const ScoredIndex& b) {
    return a.score != b.score ? a.score > b.score : a.index < b.index;
  }
};

}  // namespace cssp

#endif  // CSSP_WORKER_LAYERS_BOXES_H_
