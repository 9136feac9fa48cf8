// Which nets a solver trains and tests, in which state.
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "worker/net/net_passes.h"

namespace cssp {
namespace {

absl::StatusOr<SolverNet> Resolve(const caffe::NetParameter& raw,
                                  std::string source, caffe::Phase phase,
                                  const caffe::NetState& override_state) {
  absl::StatusOr<caffe::NetParameter> upgraded = UpgradeNet(raw);
  if (!upgraded.ok()) return Annotate(upgraded.status(), source);
  caffe::NetState state;
  state.set_phase(phase);
  state.MergeFrom(upgraded->state());
  state.MergeFrom(override_state);
  *upgraded->mutable_state() = state;
  return SolverNet{*std::move(upgraded), std::move(source), 0};
}

absl::Status CheckTestCounts(const caffe::SolverParameter& solver) {
  const int tests = solver.test_iter_size();
  const int nets = solver.test_net_param_size();
  if (solver.has_net_param() ? tests < nets : tests != nets)
    return absl::InvalidArgumentError(
        absl::StrCat("solver: ", nets, " test nets and ", tests,
                     " test_iter: give test_iter once for each test net"));
  if (solver.test_state_size() > 0 && solver.test_state_size() != tests)
    return absl::InvalidArgumentError(absl::StrCat(
        "solver: ", solver.test_state_size(), " test_state and ", tests,
        " test_iter: give test_state not at all or once for each test net"));
  if (tests > 0 && solver.test_interval() <= 0)
    return absl::InvalidArgumentError(
        "solver: test_iter is set, so test_interval must be > 0");
  for (int batches : solver.test_iter())
    if (batches <= 0)
      return absl::InvalidArgumentError("solver: test_iter must be > 0");
  return absl::OkStatus();
}

// Paths are gone once nets are inlined.
absl::Status CheckInlined(const caffe::SolverParameter& solver) {
  if (!solver.has_net() && !solver.has_train_net() &&
      solver.test_net_size() == 0)
    return absl::OkStatus();
  return absl::FailedPreconditionError(
      "solver: net files are named but were not read");
}

}  // namespace

absl::StatusOr<SolverNet> ResolveTrainNet(
    const caffe::SolverParameter& solver) {
  RETURN_IF_ERROR(CheckInlined(solver));
  if (solver.has_net_param() == solver.has_train_net_param())
    return absl::InvalidArgumentError(
        solver.has_net_param()
            ? "solver: two train nets: keep one of net, net_param, train_net, "
              "train_net_param"
            : "solver: no train net: set one of net, net_param, train_net, "
              "train_net_param");
  if (solver.has_train_net_param())
    return Resolve(solver.train_net_param(), "train_net_param", caffe::TRAIN,
                   solver.train_state());
  return Resolve(solver.net_param(), "net_param", caffe::TRAIN,
                 solver.train_state());
}

absl::StatusOr<std::vector<SolverNet>> ResolveTestNets(
    const caffe::SolverParameter& solver) {
  RETURN_IF_ERROR(CheckInlined(solver));
  RETURN_IF_ERROR(CheckTestCounts(solver));
  std::vector<SolverNet> tests;
  for (int i = 0; i < solver.test_iter_size(); ++i) {
    const bool own = i < solver.test_net_param_size();
    const caffe::NetState state =
        i < solver.test_state_size() ? solver.test_state(i) : caffe::NetState();
    ASSIGN_OR_RETURN(
        SolverNet test,
        Resolve(own ? solver.test_net_param(i) : solver.net_param(),
                own ? absl::StrCat("test_net_param #", i) : "net_param",
                caffe::TEST, state));
    test.test_iter = solver.test_iter(i);
    tests.push_back(std::move(test));
  }
  return tests;
}

}  // namespace cssp
