#include "common/optim/learning_rate_policy.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/optim/plateau.h"

namespace cssp {
namespace {

// One row per policy: which fields it needs, and base_lr's factor.
struct Policy {
  const char* name;
  bool needs_gamma, needs_power, needs_stepsize, needs_max_iter;
  // `step` is the policy's current step, the clock itself where it has none.
  double (*factor)(const caffe::SolverParameter& solver, int64_t clock,
                   int step);
};

double Fixed(const caffe::SolverParameter&, int64_t, int) { return 1; }

double Stepped(const caffe::SolverParameter& solver, int64_t, int step) {
  return std::pow(double{solver.gamma()}, step);
}

double Exponential(const caffe::SolverParameter& solver, int64_t clock, int) {
  return std::pow(double{solver.gamma()}, static_cast<double>(clock));
}

double Inverse(const caffe::SolverParameter& solver, int64_t clock, int) {
  const float base = 1.0f + solver.gamma() * static_cast<float>(clock);
  return std::pow(double{base}, -double{solver.power()});
}

double Polynomial(const caffe::SolverParameter& solver, int64_t clock, int) {
  if (clock >= solver.max_iter()) return 0;
  const float left =
      1.0f - static_cast<float>(clock) / static_cast<float>(solver.max_iter());
  return std::pow(double{left}, double{solver.power()});
}

double Cosine(const caffe::SolverParameter& solver, int64_t clock, int) {
  constexpr double kPi = 3.14159265358979323846;
  if (clock >= solver.max_iter()) clock = solver.max_iter();
  const double turn = kPi * static_cast<double>(clock) / solver.max_iter();
  const double share = (1 + std::cos(turn)) / 2;
  if (solver.base_lr() == 0) return 0;
  const double low = double{solver.min_lr()} / solver.base_lr();
  return low + (1 - low) * share;
}

double Sigmoid(const caffe::SolverParameter& solver, int64_t clock, int) {
  const float x = -solver.gamma() * (static_cast<float>(clock) -
                                     static_cast<float>(solver.stepsize()));
  return 1.0 / (1.0 + std::exp(double{x}));
}

constexpr Policy kPolicies[] = {
    {"cosine", false, false, false, true, Cosine},
    {"exp", true, false, false, false, Exponential},
    {"fixed", false, false, false, false, Fixed},
    {"inv", true, true, false, false, Inverse},
    {"multistep", true, false, false, false, Stepped},
    {"plateau", true, false, false, false, Stepped},
    {"poly", false, true, false, true, Polynomial},
    {"sigmoid", true, false, true, false, Sigmoid},
    {"step", true, false, true, false, Stepped},
};

const Policy* Find(const std::string& name) {
  for (const Policy& policy : kPolicies)
    if (name == policy.name) return &policy;
  return nullptr;
}

absl::Status Missing(const caffe::SolverParameter& solver, const char* what) {
  return absl::InvalidArgumentError(absl::StrCat(
      "solver: lr_policy '", solver.lr_policy(), "' needs ", what));
}

absl::Status UnknownPolicy(const std::string& name) {
  std::string known;
  for (const Policy& policy : kPolicies)
    absl::StrAppend(&known, known.empty() ? "" : ", ", policy.name);
  return absl::InvalidArgumentError(absl::StrCat(
      "solver: unknown lr_policy '", name, "' (known policies: ", known, ")"));
}

absl::Status CheckFloor(const caffe::SolverParameter& solver) {
  if (!solver.has_min_lr()) return absl::OkStatus();
  if (solver.min_lr() >= 0 && solver.min_lr() <= solver.base_lr())
    return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "solver: min_lr is ", solver.min_lr(),
      ": it must lie in [0, base_lr], base_lr being ", solver.base_lr()));
}

absl::Status CheckWarmUp(const caffe::SolverParameter& solver) {
  if (solver.rampup_interval() < 0)
    return absl::InvalidArgumentError(
        "solver: rampup_interval must not be negative");
  if (!std::isfinite(solver.rampup_lr()))
    return absl::InvalidArgumentError("solver: rampup_lr must be finite");
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<LearningRatePolicy> LearningRatePolicy::Create(
    const caffe::SolverParameter& solver) {
  if (!solver.has_base_lr() || !std::isfinite(solver.base_lr()))
    return absl::InvalidArgumentError(
        "solver: base_lr must be set to a finite number");
  if (!solver.has_lr_policy())
    return absl::InvalidArgumentError("solver: lr_policy must be set");
  const Policy* policy = Find(solver.lr_policy());
  if (policy == nullptr) return UnknownPolicy(solver.lr_policy());
  if (policy->needs_gamma && !(solver.has_gamma() && solver.gamma() >= 0))
    return Missing(solver, "gamma >= 0");
  if (policy->needs_power && !solver.has_power())
    return Missing(solver, "power");
  if (policy->needs_stepsize && solver.stepsize() <= 0)
    return Missing(solver, "stepsize > 0");
  if (policy->needs_max_iter && solver.max_iter() <= 0)
    return Missing(solver, "max_iter > 0");
  if (solver.lr_policy() == "plateau")
    RETURN_IF_ERROR(PlateauTracker::Create(solver).status());
  RETURN_IF_ERROR(CheckFloor(solver));
  RETURN_IF_ERROR(CheckWarmUp(solver));

  LearningRatePolicy result;  // only what Rate reads: nets may be inlined
  result.solver_.set_base_lr(solver.base_lr());
  result.solver_.set_lr_policy(solver.lr_policy());
  result.solver_.set_gamma(solver.gamma());
  result.solver_.set_power(solver.power());
  result.solver_.set_stepsize(solver.stepsize());
  result.solver_.set_max_iter(solver.max_iter());
  if (solver.has_min_lr()) result.solver_.set_min_lr(solver.min_lr());
  result.solver_.set_rampup_interval(solver.rampup_interval());
  result.solver_.set_rampup_lr(solver.rampup_lr());
  *result.solver_.mutable_stepvalue() = solver.stepvalue();
  return result;
}

int LearningRatePolicy::CurrentStep(int64_t clock) const {
  if (solver_.lr_policy() == "step")
    return static_cast<int>(clock / solver_.stepsize());
  if (solver_.lr_policy() != "multistep") return 0;
  // Caffe advances by at most one step an iteration, so a value that is not
  // beyond the one before it takes effect one iteration later.
  int step = 0;
  int64_t earliest = 0;
  for (int64_t value : solver_.stepvalue()) {
    const int64_t at = std::max(value, earliest);
    if (clock < at) break;
    earliest = at + 1;
    ++step;
  }
  return step;
}

bool LearningRatePolicy::follows_loss() const {
  return solver_.lr_policy() == "plateau";
}

float LearningRatePolicy::Rate(int64_t clock, int plateau_step) const {
  const Policy* policy = Find(solver_.lr_policy());
  const int step = follows_loss() ? plateau_step : CurrentStep(clock);
  float rate = static_cast<float>(double{solver_.base_lr()} *
                                  policy->factor(solver_, clock, step));
  if (solver_.has_min_lr()) rate = std::max(rate, solver_.min_lr());
  const int64_t interval = solver_.rampup_interval();
  if (clock >= interval) return rate;
  const float share = static_cast<float>(clock) / static_cast<float>(interval);
  return solver_.rampup_lr() + (rate - solver_.rampup_lr()) * share;
}

}  // namespace cssp
