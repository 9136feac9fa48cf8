#include "worker/sync/order_gate.h"

#include <atomic>

#include "common/base/thread.h"
#include "gtest/gtest.h"

namespace cssp {
namespace {

control::Order OrderOf(uint64_t number, int64_t clock, int staleness) {
  control::Order order;
  order.set_number(number);
  order.set_effective_clock(clock);
  order.set_staleness(staleness);
  return order;
}

TEST(OrderGateTest, RefusesAClockThatIsBegun) {
  OrderGate gate;
  ASSERT_TRUE(gate.Begin(3).ok());
  const control::OrderAnswer refused = gate.Propose(OrderOf(1, 3, 0));
  EXPECT_FALSE(refused.accepted());
  EXPECT_EQ(refused.opened_clock(), 3);
  EXPECT_EQ(refused.number(), 1u);
  EXPECT_TRUE(gate.Propose(OrderOf(2, 4, 0)).accepted());
}

TEST(OrderGateTest, HoldsTheClockUntilTheCommit) {
  OrderGate gate;
  ASSERT_TRUE(gate.Begin(0).ok());
  ASSERT_TRUE(gate.Propose(OrderOf(1, 2, 5)).accepted());
  ASSERT_TRUE(gate.Begin(1)->empty());  // before it: not held
  std::atomic<bool> begun{false};
  std::vector<control::Order> orders;
  Thread training("training", [&] {
    auto given = gate.Begin(2);
    begun = true;
    if (given.ok()) orders = *std::move(given);
  });
  EXPECT_FALSE(begun);
  gate.Commit(OrderOf(1, 2, 5));
  training.Join();
  ASSERT_EQ(orders.size(), 1u);
  EXPECT_EQ(orders[0].staleness(), 5);
  EXPECT_TRUE(gate.Begin(3)->empty());  // once
}

TEST(OrderGateTest, ALaterProposalOrAWithdrawalFreesTheEarlier) {
  OrderGate gate;
  ASSERT_TRUE(gate.Propose(OrderOf(1, 1, 0)).accepted());
  ASSERT_TRUE(gate.Propose(OrderOf(2, 3, 0)).accepted());
  EXPECT_TRUE(gate.Begin(2).ok());  // would hang, were 1 still pending
  gate.Withdraw(2);
  EXPECT_TRUE(gate.Begin(3)->empty());
}

TEST(OrderGateTest, CommitsToldAgainCountOnce) {
  OrderGate gate;
  gate.Commit(OrderOf(1, 5, 1));
  gate.Commit(OrderOf(2, 6, 2));
  gate.Commit(OrderOf(1, 5, 1));
  const auto orders = gate.Begin(0);
  ASSERT_TRUE(orders.ok());
  ASSERT_EQ(orders->size(), 2u);
  EXPECT_EQ((*orders)[1].number(), 2u);
}

TEST(OrderGateTest, AFailureEndsTheWait) {
  OrderGate gate;
  ASSERT_TRUE(gate.Propose(OrderOf(1, 0, 0)).accepted());
  absl::Status status;
  Thread training("training", [&] { status = gate.Begin(0).status(); });
  gate.Fail(absl::CancelledError("over"));
  training.Join();
  EXPECT_TRUE(absl::IsCancelled(status));
}

TEST(OrderGateTest, RewindGoesBackAndOn) {
  OrderGate gate;
  ASSERT_TRUE(gate.Begin(9).ok());
  ASSERT_TRUE(gate.Propose(OrderOf(1, 10, 0)).accepted());
  gate.Fail(absl::AbortedError("the job goes back"));
  EXPECT_FALSE(gate.Begin(4).ok());
  gate.Rewind(4);
  EXPECT_TRUE(gate.Begin(4).ok());
  gate.Commit(OrderOf(1, 10, 0));  // what was proposed is still decided
  EXPECT_EQ(gate.Begin(10)->size(), 1u);
  gate.Rewind(4);
  EXPECT_TRUE(gate.Propose(OrderOf(2, 5, 0)).accepted());
}

}  // namespace
}  // namespace cssp
