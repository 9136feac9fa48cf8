#include "worker/solver/solver_actions.h"

#include <pthread.h>
#include <signal.h>
#include <time.h>

#include <utility>

#include "absl/memory/memory.h"
#include "absl/strings/str_cat.h"

namespace cssp {
namespace {

sigset_t SetOf(const std::map<int, SolverAction>& effects) {
  sigset_t set;
  sigemptyset(&set);
  for (const auto& [number, effect] : effects) sigaddset(&set, number);
  return set;
}

}  // namespace

absl::StatusOr<SolverAction> ParseSolverAction(const std::string& option,
                                               const std::string& text) {
  if (text == "none") return SolverAction::kNone;
  if (text == "stop") return SolverAction::kStop;
  if (text == "snapshot") return SolverAction::kSnapshot;
  return absl::InvalidArgumentError(
      absl::StrCat("--", option, " must be none, stop or snapshot, not '",
                   text, "'"));
}

SignalActions::SignalActions(SolverAction on_sigint, SolverAction on_sighup)
    : SignalActions({{SIGINT, on_sigint}, {SIGHUP, on_sighup}}) {}

std::unique_ptr<SignalActions> SignalActions::ForWorker() {
  return absl::WrapUnique(new SignalActions(
      {{SIGTERM, SolverAction::kLeave}, {SIGUSR1, SolverAction::kLeave}}));
}

SignalActions::SignalActions(std::map<int, SolverAction> effects)
    : effects_(std::move(effects)) {
  const sigset_t set = SetOf(effects_);
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
}

SolverAction SignalActions::Poll() {
  const sigset_t set = SetOf(effects_);
  const timespec now{};
  const int number = sigtimedwait(&set, nullptr, &now);
  const auto effect = effects_.find(number);
  if (effect == effects_.end()) return SolverAction::kNone;
  // Whoever cannot wait for the end of a clock asks twice.
  if (effect->second == SolverAction::kLeave)
    pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
  return effect->second;
}

}  // namespace cssp
