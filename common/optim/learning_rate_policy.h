// Caffe's learning rate policies: a pure function of the clock.
#ifndef CSSP_COMMON_OPTIM_LEARNING_RATE_POLICY_H_
#define CSSP_COMMON_OPTIM_LEARNING_RATE_POLICY_H_

#include <cstdint>

#include "absl/status/statusor.h"
#include "proto/caffe.pb.h"

namespace cssp {

// Immutable.  fixed, step, exp, inv, multistep, poly, sigmoid.  multistep is
// computed from the clock (Caffe's persisted current_step gives the same
// values); poly is 0 beyond max_iter where Caffe gives NaN.
class LearningRatePolicy {
 public:
  // InvalidArgument names a missing field or an unknown policy.
  static absl::StatusOr<LearningRatePolicy> Create(
      const caffe::SolverParameter& solver);
  float Rate(int64_t clock) const;
  // multistep/step: what Caffe stores as SolverState.current_step.
  int CurrentStep(int64_t clock) const;

 private:
  caffe::SolverParameter solver_;
};

}  // namespace cssp

#endif  // CSSP_COMMON_OPTIM_LEARNING_RATE_POLICY_H_
