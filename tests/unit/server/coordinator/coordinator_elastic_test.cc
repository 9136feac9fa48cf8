// Orders reach workers; staleness, membership and stalls while a job runs.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/match.h"
#include "tests/unit/server/coordinator/fake_cluster.h"

namespace cssp {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class Elastic : public Cluster {
 protected:
  std::vector<control::Order> OrdersHeard(int rank) {
    std::vector<control::Order> orders;
    for (const control::WorkerDirective& directive : Directives(rank))
      if (directive.has_order()) orders.push_back(directive.order());
    return orders;
  }
  bool Noted(const std::string& text) {
    for (const control::JobEvent& event : Events())
      if (absl::StrContains(event.note(), text)) return true;
    return false;
  }
  void Leaving(int rank) {
    control::WorkerReport report = ReportOf(rank);
    report.set_leaving(true);
    ASSERT_TRUE(coordinator->Report(report).ok());
    coordinator->Step();
  }
  // Everybody trains clocks first..last - 1 at `costs` seconds a record, and
  // takes what the newest order says.
  void Balanced(int64_t first, int64_t last, const std::vector<double>& costs) {
    for (int64_t clock = first; clock < last; ++clock) {
      for (int rank = 0; rank < static_cast<int>(costs.size()); ++rank) {
        control::WorkerReport report = ReportOf(rank);
        report.mutable_clock()->set_clock(clock);
        report.mutable_clock()->set_samples(BatchAt(clock, rank));
        report.mutable_clock()->set_clock_seconds(5 +
                                                  BatchAt(clock, rank) *
                                                      costs[rank]);
        report.mutable_clock()->set_wait_seconds(5);
        coordinator->Report(report).IgnoreError();  // some have left
      }
      coordinator->Step();
    }
  }
  int BatchAt(int64_t clock, int rank) {
    int batch = 8;
    for (const control::Order& order : shards[0]->committed) {
      if (order.effective_clock() > clock) continue;
      const control::MembershipOrder& deal = order.membership();
      for (int i = 0; i < deal.ranks_size(); ++i)
        if (deal.ranks(i) == rank) batch = deal.batch(i);
    }
    return batch;
  }
  control::JobSpec BalancedSpec(int workers, const std::string& more = "") {
    control::JobSpec spec = Spec(workers, absl::StrCat("balance: true ", more));
    spec.mutable_solver()->set_max_iter(10000);
    return spec;
  }
  void TimedClock(int rank, int64_t clock, double seconds) {
    control::WorkerReport report = ReportOf(rank);
    report.mutable_clock()->set_clock(clock);
    report.mutable_clock()->set_clock_seconds(seconds);
    ASSERT_TRUE(coordinator->Report(report).ok());
  }
};

TEST_F(Elastic, AnOrderTakesAClockThatNoWorkerHasBegun) {
  Run(Spec(2));
  {
    absl::MutexLock lock(&mu);
    begun[1] = 6;  // not reported yet
  }
  const auto placed = coordinator->SetStaleness(job, 2);
  ASSERT_TRUE(placed.ok()) << placed.status();
  EXPECT_GE(placed->effective_clock(), 7);
  for (int i = 0; i < kServers; ++i) {
    ASSERT_EQ(shards[i]->committed.size(), 1u);
    EXPECT_EQ(shards[i]->committed[0].effective_clock(),
              placed->effective_clock());
  }
  for (int rank : {0, 1}) {
    const auto orders = OrdersHeard(rank);
    ASSERT_EQ(orders.size(), 1u);
    EXPECT_EQ(orders[0].staleness(), 2);
  }
  EXPECT_EQ(Describe().staleness(), 2);
  EXPECT_TRUE(Noted("staleness 2 from clock"));
}

TEST_F(Elastic, ASilentWorkerGetsTheOrderWithdrawn) {
  Run(Spec(2));
  {
    absl::MutexLock lock(&mu);
    mute.insert(1);
  }
  const auto placed = coordinator->SetStaleness(job, 1);
  EXPECT_TRUE(absl::IsUnavailable(placed.status())) << placed.status();
  EXPECT_THAT(shards[0]->committed, IsEmpty());
  EXPECT_EQ(shards[0]->withdrawn.size(), 1u);
  bool told = false;
  for (const auto& directive : Directives(0)) told |= directive.withdraw() > 0;
  EXPECT_TRUE(told);
}

TEST_F(Elastic, ADeathIsOrderedOnceTheSilentAreJudged) {
  Run(Spec(3));
  {
    absl::MutexLock lock(&mu);
    mute.insert(2);
  }
  coordinator->LeaseEnded(leases[1]);
  coordinator->Step();  // worker 2 does not answer
  EXPECT_THAT(shards[0]->committed, IsEmpty());
  for (int i = 0; i < 2; ++i) {
    time.Advance(absl::Seconds(6));
    ASSERT_TRUE(coordinator->Report(ReportOf(0)).ok());
    control::ServerReport beat;
    beat.set_heartbeat(true);
    ASSERT_TRUE(coordinator->ReportServer(server, beat).ok());
  }
  coordinator->Step();
  ASSERT_FALSE(shards[0]->committed.empty());
  EXPECT_THAT(shards[0]->committed.back().membership().ranks(), ElementsAre(0));
}

TEST_F(Elastic, MembershipOrdersCarryWhoTakesWhichRecords) {
  Run(Spec(3));
  for (int64_t clock = 0; clock < 4; ++clock)
    for (int rank = 0; rank < 3; ++rank) Clock(rank, clock, 1);
  Leaving(1);
  ASSERT_EQ(shards[0]->committed.size(), 1u);
  const control::Order order = shards[0]->committed[0];
  EXPECT_THAT(order.membership().ranks(), ElementsAre(0, 2));
  EXPECT_THAT(order.membership().batch(), ElementsAre(8, 8));
  EXPECT_EQ(order.membership().first_record(), order.effective_clock() * 24);
  EXPECT_EQ(OrdersHeard(1).size(), 1u);  // it is told, too: it stops there
  Done(1);
  coordinator->Step();
  EXPECT_EQ(State(), control::JOB_RUNNING);
  EXPECT_THAT(shards[0]->gone, IsEmpty());  // nobody has died
}

TEST_F(Elastic, TheLastWorkerIsNotLetGo) {
  Run(Spec(2));
  Leaving(1);
  Done(1);
  Leaving(0);
  EXPECT_EQ(shards[0]->committed.size(), 1u);
  EXPECT_TRUE(Noted("its last worker is not let go"));
  // Those who left early do not make a success of it.
  coordinator->LeaseEnded(leases[0]);
  coordinator->Step();
  EXPECT_EQ(State(), control::JOB_FAILED);
}

TEST_F(Elastic, ANewcomerTrainsFromAnOrderedClockOn) {
  Run(Spec(2, "max_workers: 3"));
  EXPECT_FALSE(Join(-1).ok());  // nobody has asked for more
  ASSERT_TRUE(coordinator->ScaleJob(job, 3).ok());
  EXPECT_EQ(Describe().wanted_workers(), 3);
  const auto joined = Join(-1);
  ASSERT_TRUE(joined.ok()) << joined.status();
  EXPECT_EQ(joined->rank(), 2);
  Lease(2);
  for (int rank : {0, 1}) Clock(rank, 0, 1);
  const auto declared = coordinator->DeclareLayout(Layout(2), absl::Seconds(5));
  ASSERT_TRUE(declared.ok()) << declared.status();
  ASSERT_EQ(shards[1]->committed.size(), 1u);
  const control::Order order = shards[1]->committed[0];
  EXPECT_EQ(declared->start_clock(), order.effective_clock());
  EXPECT_THAT(order.membership().ranks(), ElementsAre(0, 1, 2));
  EXPECT_EQ(order.membership().first_record(), order.effective_clock() * 16);
  EXPECT_EQ(declared->orders_size(), 2);  // the first deal, and this one
  EXPECT_FALSE(Join(-1).ok());            // now it has all it wants
}

// Whatever comes at once, each order keeps what the one before it brought.
TEST_F(Elastic, ChangesAtOnceDoNotUndoEachOther) {
  Run(Spec(3, "max_workers: 5"));
  ASSERT_TRUE(coordinator->ScaleJob(job, 5).ok());
  for (int rank : {3, 4}) {
    ASSERT_TRUE(Join(-1).ok());
    Lease(rank);
  }
  shards[0]->answers_in = absl::Milliseconds(20);
  {
    std::vector<Thread> newcomers;
    for (int rank : {3, 4})
      newcomers.emplace_back("newcomer", [&, rank] {
        EXPECT_TRUE(
            coordinator->DeclareLayout(Layout(rank), absl::Seconds(5)).ok());
      });
    newcomers.emplace_back("drain", [&] {
      EXPECT_TRUE(coordinator->DrainWorker(job, 1).ok());
    });
  }
  ASSERT_EQ(shards[0]->committed.size(), 3u);
  EXPECT_THAT(shards[0]->committed.back().membership().ranks(),
              ElementsAre(0, 2, 3, 4));
  for (int rank : {3, 4}) EXPECT_EQ(Describe().workers(rank).state(), "running");
}

// Each of two that leave at once may believe that the other one stays.
TEST_F(Elastic, TheLastTwoAreNotLetGoAtOnce) {
  Run(Spec(2));
  shards[0]->answers_in = absl::Milliseconds(20);
  int let_go[2] = {};
  {
    std::vector<Thread> leaving;
    for (int rank : {0, 1})
      leaving.emplace_back("leaves", [&, rank] {
        let_go[rank] = coordinator->DrainWorker(job, rank).ok();
      });
  }
  EXPECT_EQ(let_go[0] + let_go[1], 1);
  EXPECT_EQ(shards[0]->committed.size(), 1u);
}

TEST_F(Elastic, AWorkerTakesTheRankOfADeadOne) {
  Run(Spec(2));
  coordinator->LeaseEnded(leases[1]);
  coordinator->Step();
  const auto joined = Join(-1);
  ASSERT_TRUE(joined.ok()) << joined.status();
  EXPECT_EQ(joined->rank(), 1);
  EXPECT_EQ(joined->incarnation(), 2u);
  Lease(1);
  ASSERT_TRUE(coordinator->DeclareLayout(Layout(1), absl::Seconds(5)).ok());
  EXPECT_THAT(shards[0]->committed.back().membership().ranks(),
              ElementsAre(0, 1));
}

TEST_F(Elastic, ScalingDownLetsTheNewestGo) {
  Run(Spec(3));
  ASSERT_TRUE(coordinator->ScaleJob(job, 1).ok());
  EXPECT_THAT(shards[0]->committed.back().membership().ranks(), ElementsAre(0));
  EXPECT_FALSE(coordinator->ScaleJob(job, 4).ok());  // beyond max_workers
}

TEST_F(Elastic, DrainedWorkersAreNamed) {
  Run(Spec(2));
  const auto placed = coordinator->DrainWorker(job, 0);
  ASSERT_TRUE(placed.ok()) << placed.status();
  EXPECT_THAT(shards[0]->committed.back().membership().ranks(), ElementsAre(1));
  EXPECT_FALSE(coordinator->DrainWorker(job, 7).ok());
}

TEST_F(Elastic, DsspOrdersTheSlackThatTheWorkersAskFor) {
  control::JobSpec spec = Spec(4, "dssp { lower: 0 upper: 4 }");
  spec.mutable_solver()->set_max_iter(1000);
  Run(spec);
  for (int64_t clock = 0; clock < 100; ++clock) {
    for (int rank = 0; rank < 4; ++rank)
      TimedClock(rank, clock, clock % 4 == rank ? 4 : 1);
    coordinator->Step();
  }
  ASSERT_EQ(shards[0]->committed.size(), 1u);  // once
  EXPECT_EQ(shards[0]->committed[0].staleness(), 2);
  EXPECT_EQ(Describe().staleness(), 2);
  EXPECT_TRUE(Noted("chosen from the workers' clock times"));
}

TEST_F(Elastic, BatchesFollowTheWorkersSpeed) {
  Run(BalancedSpec(3));
  Balanced(0, 100, {1, 1, 2});
  ASSERT_EQ(shards[0]->committed.size(), 1u);  // once
  const control::Order order = shards[0]->committed[0];
  EXPECT_THAT(order.membership().ranks(), ElementsAre(0, 1, 2));
  EXPECT_THAT(order.membership().batch(), ElementsAre(10, 10, 4));
  EXPECT_EQ(order.membership().first_record(), order.effective_clock() * 24);
  EXPECT_EQ(Describe().workers(2).batch(), 4);
  EXPECT_TRUE(Noted("workers 0, 1, 2 take 10, 10, 4 records a pass"));
}

TEST_F(Elastic, WithoutBalanceBatchesStay) {
  control::JobSpec spec = BalancedSpec(3);
  spec.clear_balance();
  Run(spec);
  Balanced(0, 100, {1, 1, 2});
  EXPECT_THAT(shards[0]->committed, IsEmpty());
}

TEST_F(Elastic, WhoeverComesAndGoesBatchesAreDealtAnew) {
  Run(BalancedSpec(3, "max_workers: 4"));
  Balanced(0, 60, {1, 1, 2});
  ASSERT_EQ(shards[0]->committed.size(), 1u);
  ASSERT_TRUE(coordinator->ScaleJob(job, 4).ok());
  ASSERT_TRUE(Join(-1).ok());
  Lease(3);
  ASSERT_TRUE(coordinator->DeclareLayout(Layout(3), absl::Seconds(5)).ok());
  ASSERT_EQ(shards[0]->committed.size(), 2u);
  // 32 records at speeds 1, 1, 1/2 and their mean.
  EXPECT_THAT(shards[0]->committed[1].membership().batch(),
              ElementsAre(10, 10, 4, 8));
  Leaving(0);
  ASSERT_EQ(shards[0]->committed.size(), 3u);
  EXPECT_THAT(shards[0]->committed[2].membership().ranks(),
              ElementsAre(1, 2, 3));
  EXPECT_THAT(shards[0]->committed[2].membership().batch(),
              ElementsAre(11, 5, 8));
  Done(0);
  coordinator->LeaseEnded(leases[2]);
  coordinator->Step();
  EXPECT_THAT(shards[0]->committed.back().membership().ranks(),
              ElementsAre(1, 3));
  int64_t records = 0, since = 0, pass = 24;
  for (const control::Order& order : shards[0]->committed) {
    records += (order.effective_clock() - since) * pass;
    EXPECT_EQ(order.membership().first_record(), records);
    since = order.effective_clock();
    pass = 0;
    for (const int32_t batch : order.membership().batch()) pass += batch;
    EXPECT_EQ(pass, 8 * order.membership().ranks_size());
  }
}

TEST_F(Elastic, BatchesOutliveTheCoordinator) {
  Run(BalancedSpec(3));
  Balanced(0, 60, {1, 1, 2});
  ASSERT_EQ(shards[0]->committed.size(), 1u);
  coordinator->Stop();
  StartCoordinator();
  for (int rank : {0, 1, 2}) Lease(rank);
  coordinator->Step();
  EXPECT_EQ(Describe().workers(2).batch(), 4);
  // There is no checkpoint: all begin again, with the batches that they had.
  for (int rank : {0, 1, 2}) {
    const auto declared =
        coordinator->DeclareLayout(Layout(rank), absl::Seconds(5));
    ASSERT_TRUE(declared.ok()) << declared.status();
    EXPECT_EQ(declared->start_clock(), 0);
    ASSERT_EQ(declared->orders_size(), 1);
    EXPECT_THAT(declared->orders(0).membership().batch(),
                ElementsAre(10, 10, 4));
  }
  Leaving(0);
  EXPECT_THAT(shards[0]->committed.back().membership().batch(),
              ElementsAre(12, 4));
}

TEST_F(Elastic, AWorkerThatIsWaitedForKeepsItsSeat) {
  Run(BalancedSpec(3, "wait_for_dead: true"));
  Balanced(0, 60, {1, 1, 2});
  ASSERT_EQ(shards[0]->committed.size(), 1u);
  coordinator->LeaseEnded(leases[1]);
  coordinator->Step();
  Leaving(0);
  EXPECT_THAT(shards[0]->committed.back().membership().ranks(),
              ElementsAre(1, 2));
  ASSERT_TRUE(Join(1).ok());
  Lease(1);
  const auto declared = coordinator->DeclareLayout(Layout(1), absl::Seconds(5));
  ASSERT_TRUE(declared.ok()) << declared.status();
  EXPECT_EQ(declared->orders_size(), 3);  // every deal so far
  EXPECT_GT(Describe().workers(1).batch(), 8);
}

TEST_F(Elastic, AStallNamesWhoHoldsWhomBack) {
  Run(Spec(3));
  for (int rank : {0, 1, 2}) TimedClock(rank, 0, 0.1);
  for (int rank : {0, 1}) TimedClock(rank, 1, 0.1);
  Pass(absl::Seconds(5));
  EXPECT_FALSE(Noted("holds back"));
  Pass(absl::Seconds(7));
  EXPECT_TRUE(Noted("worker 2 (host pid 102) at clock 1 holds back workers "
                    "0, 1 for 1"));
  std::vector<std::string> lines;
  for (const auto& directive : Directives(0))
    if (!directive.stalled_by().empty())
      lines.push_back(directive.stalled_by());
  EXPECT_EQ(lines.size(), 1u);  // not every second
  for (const auto& directive : Directives(2))
    EXPECT_TRUE(directive.stalled_by().empty());
}

TEST_F(Elastic, SlackIsNoStall) {
  Run(Spec(2, "staleness: 2"));
  for (int64_t clock = 0; clock < 2; ++clock) TimedClock(0, clock, 0.1);
  Pass(absl::Seconds(30));
  EXPECT_FALSE(Noted("holds back"));  // worker 0 computes its third clock
}

}  // namespace
}  // namespace cssp
