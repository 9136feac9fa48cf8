// Scores of classes along one axis, and a label per item and position.
#ifndef CSSP_WORKER_LAYERS_LABEL_AXIS_H_
#define CSSP_WORKER_LAYERS_LABEL_AXIS_H_

#include <cmath>
#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "common/tensor/shape.h"

namespace cssp {

// score(o, c, i) lies at (o * classes + c) * inner + i, its label at
// o * inner + i.
struct LabelAxis {
  int64_t outer = 0;
  int64_t classes = 0;
  int64_t inner = 0;

  static absl::StatusOr<LabelAxis> Of(const Shape& scores, int axis) {
    auto canonical = scores.CanonicalAxis(axis);
    if (!canonical.ok()) return canonical.status();
    return LabelAxis{scores.count(0, *canonical), scores.dim(*canonical),
                     scores.count_from(*canonical + 1)};
  }

  int64_t labels() const { return outer * inner; }

  absl::Status CheckLabels(const Shape& scores, const Shape& label) const {
    if (label.count() == labels()) return absl::OkStatus();
    return absl::InvalidArgumentError(absl::StrCat(
        "the labels (", label.ToString(), ") must number ", labels(),
        ": one for every item and position of the scores (",
        scores.ToString(), ")"));
  }

  // The class that a label names.  A label is a float in Caffe: it is checked
  // before it indexes anything.
  bool Names(float label, int64_t* index) const {
    if (!(label > -1 && label < static_cast<float>(classes))) return false;
    *index = static_cast<int64_t>(label);
    return true;
  }

  absl::Status BadLabel(float label, int64_t position) const {
    return absl::InvalidArgumentError(absl::StrCat(
        "label ", label, " of item ", position / inner,
        " is no class: there are ", classes,
        " (num_output of the layer below, or ignore_label)"));
  }
};

}  // namespace cssp

#endif  // CSSP_WORKER_LAYERS_LABEL_AXIS_H_
