#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/optim/rules.h"
#include "common/optim/update_rule.h"

namespace cssp {
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

GradientForm Regularizer::Form(float scale, const BlobMultipliers& blob) const {
  const float decay = weight_decay_ * blob.decay_mult;
  if (decay == 0) {  // as in Caffe: a weight of inf stays out of it
    return {
        scale == 1 ? GradientForm::Kind::kAsItIs : GradientForm::Kind::kScaled,
        scale, 0};
  }
  return {l1_ ? GradientForm::Kind::kL1 : GradientForm::Kind::kL2, scale,
          decay};
}

}  // namespace cssp
