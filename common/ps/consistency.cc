#include "common/ps/consistency.h"

#include <algorithm>
#include <cmath>

namespace cssp::ps {
namespace {

constexpr int kMaxAheadOfAsync = 32;
// Room for orders that raise the staleness of a running job.
constexpr int kLeastMaxAhead = 4;

}  // namespace

Bounds BoundsOf(const control::JobSpec& spec) {
  const bool async = spec.staleness() < 0;
  Bounds bounds;
  bounds.max_ahead = spec.max_ahead();
  if (bounds.max_ahead <= 0) {
    bounds.max_ahead = async ? kMaxAheadOfAsync
                             : std::max(spec.staleness(), kLeastMaxAhead);
  }
  bounds.staleness = async ? bounds.max_ahead : spec.staleness();
  return bounds;
}

control::StalenessLr StalenessLrOf(const control::JobSpec& spec) {
  if (spec.staleness_lr() != control::STALENESS_LR_DEFAULT) {
    return spec.staleness_lr();
  }
  const bool stale_means =
      spec.ssp_update() == control::PER_CLOCK && spec.staleness() > 0;
  return stale_means ? control::STALENESS_LR_INV : control::STALENESS_LR_NONE;
}

float StalenessFactor(control::StalenessLr kind, int64_t age) {
  const float clocks = static_cast<float>(std::max<int64_t>(1, age));
  switch (kind) {
    case control::STALENESS_LR_INV:
      return 1 / clocks;
    case control::STALENESS_LR_SQRT:
      return 1 / std::sqrt(clocks);
    default:
      return 1;
  }
}

}  // namespace cssp::ps
