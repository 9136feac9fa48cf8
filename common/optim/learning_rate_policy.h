// Caffe's learning rate policies and two of ours: functions of the clock.
#ifndef CSSP_COMMON_OPTIM_LEARNING_RATE_POLICY_H_
#define CSSP_COMMON_OPTIM_LEARNING_RATE_POLICY_H_

#include <cstdint>

#include "absl/status/statusor.h"
#include "proto/caffe.pb.h"

namespace cssp {

// Immutable.  fixed, step, exp, inv, multistep, poly, sigmoid, and
//   cosine:  min_lr + (base_lr - min_lr) * (1 + cos(pi * clock / max_iter)) / 2
//   plateau: base_lr * gamma^step, the step being PlateauTracker's.
// multistep is computed from the clock (Caffe's persisted current_step gives
// the same values); poly is 0 beyond max_iter where Caffe gives NaN.  A min_lr
// that is set is the floor of every policy; warm-up rises to the result.
class LearningRatePolicy {
 public:
  // InvalidArgument names a missing field or an unknown policy.
  static absl::StatusOr<LearningRatePolicy> Create(
      const caffe::SolverParameter& solver);
  // Whether the rate depends on the losses (plateau), so that a job's shards,
  // which see none, cannot follow it.
  bool follows_loss() const;
  // `plateau_step`: looked at by plateau alone.
  float Rate(int64_t clock, int plateau_step = 0) const;
  // multistep/step: what Caffe stores as SolverState.current_step.
  int CurrentStep(int64_t clock) const;

 private:
  caffe::SolverParameter solver_;
};

}  // namespace cssp

#endif  // CSSP_COMMON_OPTIM_LEARNING_RATE_POLICY_H_
