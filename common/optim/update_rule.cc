#include "common/optim/update_rule.h"

#include <iterator>

#include "absl/strings/str_cat.h"
#include "common/base/logging.h"
#include "common/base/status_macros.h"
#include "common/optim/rules.h"

namespace cssp {
namespace {

struct RuleEntry {
  const char* type;
  RuleOr (*make)(const caffe::SolverParameter&);
};

constexpr RuleEntry kRules[] = {
    {"AdaDelta", MakeAdaDeltaRule}, {"AdaGrad", MakeAdaGradRule},
    {"Adam", MakeAdamRule},         {"Nesterov", MakeNesterovRule},
    {"RMSProp", MakeRmsPropRule},   {"SGD", MakeSgdRule},
};

}  // namespace

RuleOr UpdateRule::Create(const caffe::SolverParameter& solver) {
  std::string known;
  for (const RuleEntry& rule : kRules) {
    if (solver.type() == rule.type) return rule.make(solver);
    absl::StrAppend(&known, known.empty() ? "" : ", ", rule.type);
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "unknown solver type '", solver.type(), "' (known types: ", known, ")"));
}

absl::Status CheckRange(const char* name, float value, float low, float high) {
  if (value >= low && value < high) return absl::OkStatus();  // NaN fails
  return absl::InvalidArgumentError(absl::StrCat("solver: ", name, " is ",
                                                 value, ": it must lie in [",
                                                 low, ", ", high, ")"));
}

float GeometricSum(float x, int64_t n) {
  double power = 1, sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += power *= x;
  return static_cast<float>(sum);
}

void CheckArrays(const UpdateRule::Arrays& arrays, int num_history) {
  const size_t count = arrays.gradient.size();
  CHECK_EQ(arrays.weights_in.size(), count) << "update of unequal spans";
  CHECK_EQ(arrays.weights_out.size(), count) << "update of unequal spans";
  CHECK_EQ(arrays.history.size(), num_history)
      << "wrong number of history arrays";
}

}  // namespace cssp
