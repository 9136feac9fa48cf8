#include "server/coordinator/progress.h"

#include <algorithm>
#include <utility>

namespace cssp {

using control::ClockProgress;
using control::ClockReport;

Progress::Progress(int workers, int64_t start_clock) : first_(start_clock) {
  for (int rank = 0; rank < workers; ++rank) next_[rank] = start_clock;
}

std::vector<ClockProgress> Progress::Add(int rank, const ClockReport& report) {
  const auto next = next_.find(rank);
  if (next == next_.end() || report.clock() < first_) return {};
  Open& open = open_[report.clock()];
  if (!open.ranks.insert(rank).second) return {};
  next->second = std::max(next->second, report.clock() + 1);

  AddWeighted(report, &open);
  ClockProgress& sum = open.sum;
  sum.set_clock(report.clock());
  sum.set_loss(sum.loss() + report.loss());
  sum.set_samples(sum.samples() + report.samples());
  if (report.clock_seconds() > 0)
    sum.set_wait_share(sum.wait_share() + std::min(1.0, report.wait_seconds() /
                                                  report.clock_seconds()));
  sum.set_max_staleness(std::max(sum.max_staleness(), report.staleness()));
  for (int i = 0; i < report.outputs_size(); ++i) {
    if (i >= sum.outputs_size()) {
      *sum.add_outputs() = report.outputs(i);
      continue;
    }
    control::OutputValue* output = sum.mutable_outputs(i);
    output->set_value(output->value() + report.outputs(i).value());
  }
  return Flush();
}

void Progress::AddWeighted(const ClockReport& report, Open* open) {
  if (open->ranks.size() == 1) open->first_samples = report.samples();
  open->equal &= report.samples() == open->first_samples;
  const size_t values = 1 + static_cast<size_t>(report.outputs_size());
  if (open->weighted.size() < values) open->weighted.resize(values);
  open->weighted[0] += report.samples() * report.loss();
  for (size_t i = 1; i < values; ++i)
    open->weighted[i] +=
        report.samples() *
        double{report.outputs(static_cast<int>(i) - 1).value()};
}

std::vector<ClockProgress> Progress::Remove(int rank) {
  next_.erase(rank);
  return Flush();
}

bool Progress::Complete(int64_t clock) const {
  for (const auto& [rank, next] : next_)
    if (next <= clock) return false;
  return true;
}

std::vector<ClockProgress> Progress::Flush() {
  std::vector<ClockProgress> out;
  while (!open_.empty() && (Complete(open_.begin()->first) ||
                            open_.size() > kMaxOpen)) {
    out.push_back(Mean(open_.begin()->second));
    first_ = open_.begin()->first + 1;
    open_.erase(open_.begin());
  }
  return out;
}

ClockProgress Progress::Mean(const Open& open) {
  ClockProgress mean = open.sum;
  const int workers = static_cast<int>(open.ranks.size());
  mean.set_workers(workers);
  mean.set_wait_share(mean.wait_share() / workers);
  if (open.equal || !(mean.samples() > 0)) {
    mean.set_loss(mean.loss() / workers);
    for (control::OutputValue& output : *mean.mutable_outputs())
      output.set_value(output.value() / static_cast<float>(workers));
    return mean;
  }
  mean.set_loss(open.weighted[0] / mean.samples());
  for (int i = 0; i < mean.outputs_size(); ++i)
    mean.mutable_outputs(i)->set_value(static_cast<float>(
        open.weighted[static_cast<size_t>(i) + 1] / mean.samples()));
  return mean;
}

}  // namespace cssp
