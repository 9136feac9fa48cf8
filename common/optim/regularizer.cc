#include "common/base/logging.h"
#include "common/base/status_macros.h"
#include "common/optim/rules.h"
#include "common/optim/simd.h"
#include "common/optim/update_rule.h"

namespace cssp {
namespace {

CSSP_SIMD_CLONES void Scale(float scale, float* g, int64_t n) {
  CSSP_SIMD_LOOP
  for (int64_t i = 0; i < n; ++i) g[i] = g[i] * scale;
}

CSSP_SIMD_CLONES void ScaleAndDecayL2(float scale, float decay, const float* w,
                                      float* g, int64_t n) {
  CSSP_SIMD_LOOP
  for (int64_t i = 0; i < n; ++i) g[i] = g[i] * scale + decay * w[i];
}

CSSP_SIMD_CLONES void ScaleAndDecayL1(float scale, float decay, const float* w,
                                      float* g, int64_t n) {
  CSSP_SIMD_LOOP
  for (int64_t i = 0; i < n; ++i) {
    const float sign = static_cast<float>((w[i] > 0) - (w[i] < 0));
    g[i] = g[i] * scale + decay * sign;
  }
}

}  // namespace

absl::StatusOr<Regularizer> Regularizer::Create(
    const caffe::SolverParameter& solver) {
  const std::string& type = solver.regularization_type();
  if (type != "L2" && type != "L1")
    return absl::InvalidArgumentError(absl::StrCat(
        "solver: unknown regularization_type '", type, "' (known: L1, L2)"));
  RETURN_IF_ERROR(
      CheckRange("weight_decay", solver.weight_decay(), -1e6f, 1e6f));
  Regularizer regularizer;
  regularizer.weight_decay_ = solver.weight_decay();
  regularizer.l1_ = type == "L1";
  return regularizer;
}

void Regularizer::Apply(float scale, const BlobMultipliers& blob,
                        absl::Span<const float> weights,
                        absl::Span<float> gradient) const {
  CHECK_EQ(weights.size(), gradient.size()) << "decay of unequal spans";
  const float decay = weight_decay_ * blob.decay_mult;
  const int64_t n = gradient.size();
  if (decay == 0) {  // as in Caffe: a weight of inf stays out of it
    if (scale != 1) Scale(scale, gradient.data(), n);
  } else if (l1_) {
    ScaleAndDecayL1(scale, decay, weights.data(), gradient.data(), n);
  } else {
    ScaleAndDecayL2(scale, decay, weights.data(), gradient.data(), n);
  }
}

}  // namespace cssp
