#include "server/shard/order_book.h"

#include "gtest/gtest.h"

namespace cssp {
namespace {

control::Order Staleness(uint64_t number, int64_t clock, int s) {
  control::Order order;
  order.set_number(number);
  order.set_effective_clock(clock);
  order.set_staleness(s);
  return order;
}

control::Order Members(uint64_t number, int64_t clock, std::vector<int> ranks) {
  control::Order order;
  order.set_number(number);
  order.set_effective_clock(clock);
  for (int rank : ranks) order.mutable_membership()->add_ranks(rank);
  return order;
}

TEST(OrderBookTest, AnOrderBeyondWhatIsOpenHoldsFromItsClock) {
  OrderBook book(2, 1, 4);
  EXPECT_TRUE(book.Propose(Members(1, 10, {0}), 9)->accepted());
  EXPECT_TRUE(book.MayClose(9));
  EXPECT_FALSE(book.MayClose(10));  // undecided
  EXPECT_TRUE(book.IsMember(1, 12));
  EXPECT_TRUE(book.Commit(Members(1, 10, {0}), 50)->accepted());
  EXPECT_TRUE(book.MayClose(10));
  EXPECT_TRUE(book.IsMember(1, 9));
  EXPECT_FALSE(book.IsMember(1, 10));
  // Repeated: accepted, nothing changes.
  EXPECT_TRUE(book.Commit(Members(1, 10, {0}), 99)->accepted());
}

TEST(OrderBookTest, AnOpenClockRefuses) {
  OrderBook book(2, 1, 4);
  const auto answer = book.Propose(Members(1, 10, {0}), 10);
  EXPECT_FALSE(answer->accepted());
  EXPECT_EQ(answer->opened_clock(), 10);
  EXPECT_FALSE(book.Commit(Members(1, 10, {0}), 10)->accepted());
  EXPECT_TRUE(book.MayClose(10));
  // The same number again with a later clock replaces the proposal.
  EXPECT_TRUE(book.Propose(Members(1, 11, {0}), 10)->accepted());
  EXPECT_TRUE(book.Propose(Members(1, 15, {0}), 12)->accepted());
  EXPECT_TRUE(book.MayClose(11));
}

TEST(OrderBookTest, ATighterBoundHoldsWhileUndecided) {
  OrderBook book(2, 3, 4);
  EXPECT_TRUE(book.Propose(Staleness(1, 10, 1), 5)->accepted());
  EXPECT_EQ(book.Staleness(9), 3);
  EXPECT_EQ(book.Staleness(10), 1);
  EXPECT_TRUE(book.Propose(Staleness(2, 10, 4), 5)->accepted());
  EXPECT_EQ(book.Staleness(10), 3);
  EXPECT_TRUE(book.Commit(Staleness(2, 10, 4), 5)->accepted());
  EXPECT_EQ(book.Staleness(10), 4);
  book.Prune(200);
  EXPECT_EQ(book.Staleness(200), 4);
}

TEST(OrderBookTest, RefusesNonsense) {
  OrderBook book(2, 3, 4);
  EXPECT_FALSE(book.Propose(Staleness(1, 10, 5), 0).ok());
  EXPECT_FALSE(book.Propose(Staleness(1, 10, -1), 0).ok());
  EXPECT_FALSE(book.Propose(Staleness(0, 10, 1), 0).ok());
  EXPECT_FALSE(book.Propose(Members(1, 10, {2}), 0).ok());
  EXPECT_FALSE(book.Propose(Members(1, 10, {}), 0).ok());
  control::Order nothing;
  nothing.set_number(1);
  EXPECT_FALSE(book.Propose(nothing, 0).ok());
}

TEST(OrderBookTest, CheckpointsAreKnownFromTheProposalOn) {
  OrderBook book(1, 0, 0);
  control::Order order;
  order.set_number(1);
  order.set_effective_clock(5);
  order.mutable_checkpoint()->set_durable(true);
  EXPECT_TRUE(book.Propose(order, 3)->accepted());
  EXPECT_TRUE(book.CheckpointAt(5).has_value());
  EXPECT_TRUE(book.Commit(order, 3)->accepted());
  EXPECT_TRUE(book.CheckpointAt(5)->durable());
  EXPECT_FALSE(book.CheckpointAt(6).has_value());
  book.Prune(6);
  EXPECT_FALSE(book.CheckpointAt(5).has_value());
}

}  // namespace
}  // namespace cssp
