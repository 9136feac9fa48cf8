#include "worker/layers/boxes.h"

#include "absl/strings/str_cat.h"

namespace cssp {

absl::StatusOr<BoxGeometry> BoxGeometry::Of(absl::Span<const Shape> bottom,
                                            int64_t classes,
                                            bool share_location) {
  const Shape& prior = bottom[2];
  if (prior.num_axes() < 3 || prior.dim(0) != 1 || prior.dim(1) != 2 ||
      prior.count_from(2) < 4 || prior.count_from(2) % 4 != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("bottom 2 must be priors (1 x 2 x 4 * their number), got ",
                     prior.ToString()));
  }
  BoxGeometry g;
  g.priors = prior.count_from(2) / 4;
  g.classes = classes;
  g.loc_classes = share_location ? 1 : classes;
  for (int i = 0; i < 2; ++i) {
    const int64_t wanted = g.priors * (i == 0 ? g.loc_classes * 4 : g.classes);
    if (bottom[i].num_axes() < 2 || bottom[i].count_from(1) != wanted ||
        bottom[i].dim(0) != bottom[0].dim(0)) {
      return absl::InvalidArgumentError(absl::StrCat(
          "bottom ", i, " must have ", wanted, " numbers an item for the ",
          g.priors, " priors of bottom 2 and ", classes, " classes, got ",
          bottom[i].ToString()));
    }
  }
  g.items = bottom[0].dim(0);
  return g;
}

}  // namespace cssp
