#include "server/shard/cut_keeper.h"

#include "gtest/gtest.h"

namespace cssp {
namespace {

caffe::SolverParameter Schedule() {
  caffe::SolverParameter solver;
  solver.set_max_iter(1050);
  solver.set_test_interval(100);
  solver.add_test_iter(10);
  solver.set_snapshot(300);
  return solver;
}

TEST(CutKeeperTest, KnowsCaffesTestAndSnapshotPoints) {
  OrderBook orders(1, 0, 0);
  CutKeeper cuts(Schedule(), 0, 1);
  EXPECT_TRUE(cuts.KindAt(0, orders).test);
  EXPECT_FALSE(cuts.KindAt(0, orders).durable);
  EXPECT_TRUE(cuts.KindAt(300, orders).durable);
  EXPECT_TRUE(cuts.KindAt(1050, orders).durable);  // after training
  EXPECT_TRUE(cuts.KindAt(1050, orders).test);     // the last is kept
  EXPECT_FALSE(cuts.KindAt(150, orders).any());
  caffe::SolverParameter quiet = Schedule();
  quiet.set_test_initialization(false);
  quiet.set_snapshot_after_train(false);
  CutKeeper other(quiet, 300, 1);
  EXPECT_FALSE(other.KindAt(0, orders).any());
  EXPECT_FALSE(other.KindAt(300, orders).durable);  // it was resumed from there
  EXPECT_TRUE(other.KindAt(300, orders).test);
  EXPECT_FALSE(other.KindAt(1050, orders).durable);
}

TEST(CutKeeperTest, KeepsTheNewestTwoOfEachKind) {
  BufferPool pool(16);
  CutKeeper cuts(Schedule(), 0, 2);
  const CutKind test = {.test = true};
  const CutKind both = {.test = true, .durable = true};
  EXPECT_EQ(cuts.Add(100, both, 0, {pool.Take(), pool.Take()}), nullptr);
  EXPECT_NE(cuts.Add(100, both, 1, {pool.Take(), pool.Take()}), nullptr);
  for (int64_t clock : {200, 300, 400}) {
    cuts.Add(clock, test, 1, {pool.Take()});
    EXPECT_NE(cuts.Add(clock, test, 0, {pool.Take()}), nullptr);
  }
  EXPECT_NE(cuts.Find(100, 0, 1), nullptr);  // the newest durable one
  EXPECT_EQ(cuts.Find(200, 0, 0), nullptr);  // gone
  EXPECT_NE(cuts.Find(300, 1, 0), nullptr);
  EXPECT_EQ(cuts.Find(300, 1, 1), nullptr);  // no history in a test cut
  EXPECT_NE(cuts.Find(400, 0, 0), nullptr);
  EXPECT_EQ(cuts.size(), 3);
}

}  // namespace
}  // namespace cssp
