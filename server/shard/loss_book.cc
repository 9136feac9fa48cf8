#include "server/shard/loss_book.h"

namespace cssp {

void LossBook::Add(int rank, int64_t clock, double loss) {
  std::vector<std::optional<double>>& losses = losses_[clock];
  losses.resize(workers_);
  if (!losses[rank].has_value()) losses[rank] = loss;
}

bool LossBook::Has(int rank, int64_t clock) const {
  const auto it = losses_.find(clock);
  return it != losses_.end() && it->second[rank].has_value();
}

std::optional<double> LossBook::Mean(int64_t clock) const {
  const auto it = losses_.find(clock);
  if (it == losses_.end()) return std::nullopt;
  double sum = 0;
  int reports = 0;
  for (const std::optional<double>& loss : it->second) {
    if (!loss.has_value()) continue;
    sum += *loss;
    ++reports;
  }
  return sum / reports;
}

void LossBook::Prune(int64_t clock) {
  losses_.erase(losses_.begin(), losses_.lower_bound(clock));
}

}  // namespace cssp
