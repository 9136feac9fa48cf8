// The six rules' constructors, for UpdateRule::Create alone.  Each checks its
// own fields.
#ifndef CSSP_COMMON_OPTIM_RULES_H_
#define CSSP_COMMON_OPTIM_RULES_H_

#include <memory>

#include "absl/status/statusor.h"
#include "common/optim/update_rule.h"
#include "proto/caffe.pb.h"

namespace cssp {

using RuleOr = absl::StatusOr<std::unique_ptr<UpdateRule>>;

RuleOr MakeSgdRule(const caffe::SolverParameter& solver);
RuleOr MakeNesterovRule(const caffe::SolverParameter& solver);
RuleOr MakeAdaGradRule(const caffe::SolverParameter& solver);
RuleOr MakeRmsPropRule(const caffe::SolverParameter& solver);
RuleOr MakeAdaDeltaRule(const caffe::SolverParameter& solver);
RuleOr MakeAdamRule(const caffe::SolverParameter& solver);

// InvalidArgument unless low <= value < high; `name` is the solver's field.
absl::Status CheckRange(const char* name, float value, float low, float high);

// x + x^2 + ... + x^n, whatever x is.
float GeometricSum(float x, int64_t n);

// CHECKs that the arrays of one Apply agree in length: the caller's bug else.
void CheckArrays(const UpdateRule::Arrays& arrays, int num_history);

}  // namespace cssp

#endif  // CSSP_COMMON_OPTIM_RULES_H_
