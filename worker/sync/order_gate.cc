#include "worker/sync/order_gate.h"

#include <utility>

#include "common/base/status_macros.h"

namespace cssp {

control::OrderAnswer OrderGate::Propose(const control::Order& order) {
  absl::MutexLock lock(&mu_);
  control::OrderAnswer answer;
  answer.set_number(order.number());
  answer.set_opened_clock(begun_);
  answer.set_accepted(order.effective_clock() > begun_);
  // What was proposed before is void, whatever becomes of this one.
  pending_.reset();
  if (answer.accepted()) pending_ = order;
  return answer;
}

void OrderGate::Commit(const control::Order& order) {
  absl::MutexLock lock(&mu_);
  if (order.number() > last_) {
    last_ = order.number();
    committed_.push_back(order);
  }
  if (pending_ && pending_->number() <= order.number()) pending_.reset();
}

void OrderGate::Withdraw(uint64_t number) {
  absl::MutexLock lock(&mu_);
  if (pending_ && pending_->number() <= number) pending_.reset();
}

absl::StatusOr<std::vector<control::Order>> OrderGate::Begin(int64_t clock) {
  absl::MutexLock lock(&mu_);
  const auto decided = [&]() ABSL_SHARED_LOCKS_REQUIRED(mu_) {
    return !failure_.ok() || !pending_ || clock < pending_->effective_clock();
  };
  mu_.Await(absl::Condition(&decided));
  RETURN_IF_ERROR(failure_);
  begun_ = clock;
  return std::exchange(committed_, {});
}

void OrderGate::Rewind(int64_t clock) {
  absl::MutexLock lock(&mu_);
  begun_ = clock - 1;
  failure_ = absl::OkStatus();
}

void OrderGate::Fail(const absl::Status& status) {
  absl::MutexLock lock(&mu_);
  if (failure_.ok()) failure_ = status;
}

}  // namespace cssp
