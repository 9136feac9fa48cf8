#include "common/optim/plateau.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"

namespace cssp {

PlateauRecord ToRecord(const PlateauState& state) {
  PlateauRecord record;
  record.set_smoothed_loss(state.smoothed_loss);
  record.set_minimum_loss(state.minimum_loss);
  record.set_last_event(state.last_event);
  record.set_step(state.step);
  return record;
}

PlateauState FromRecord(const PlateauRecord& record) {
  PlateauState state;
  if (!record.has_minimum_loss()) return state;
  state.smoothed_loss = record.smoothed_loss();
  state.minimum_loss = record.minimum_loss();
  state.last_event = record.last_event();
  state.step = record.step();
  return state;
}

absl::StatusOr<PlateauTracker> PlateauTracker::Create(
    const caffe::SolverParameter& solver) {
  PlateauTracker tracker;
  for (const int clocks : solver.plateau_winsize()) {
    if (clocks < 1)
      return absl::InvalidArgumentError(absl::StrCat(
          "solver: plateau_winsize is ", clocks, ": it must be at least 1"));
    tracker.winsize_.push_back(clocks);
  }
  if (tracker.winsize_.empty())
    return absl::InvalidArgumentError(
        "solver: lr_policy 'plateau' needs plateau_winsize");
  tracker.average_loss_ = std::max(solver.average_loss(), 1);
  return tracker;
}

int64_t PlateauTracker::Window() const {
  const size_t last = winsize_.size() - 1;
  return winsize_[std::min<size_t>(state_.step, last)];
}

void PlateauTracker::Observe(int64_t clock, float loss) {
  if (std::isfinite(loss)) {
    const auto seen = static_cast<float>(std::min(clock + 1, average_loss_));
    state_.smoothed_loss += (loss - state_.smoothed_loss) / seen;
    if (state_.smoothed_loss < state_.minimum_loss) {
      state_.minimum_loss = state_.smoothed_loss;
      state_.last_event = clock;
    }
  }
  if (clock - state_.last_event < Window()) return;
  ++state_.step;
  state_.last_event = clock;
  state_.minimum_loss = state_.smoothed_loss;
}

}  // namespace cssp
