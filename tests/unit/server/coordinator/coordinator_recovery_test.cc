// Jobs that outlive servers, workers and the coordinator.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "server/coordinator/job_spec.h"
#include "tests/unit/server/coordinator/fake_cluster.h"

namespace cssp {
namespace {

using testing::Each;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::SizeIs;

MATCHER(HasRejoin, "") { return arg.has_rejoin(); }

class CoordinatorRecoveryTest : public Cluster {
 protected:
  void Cut(int64_t clock) {
    Part(0, clock);
    Part(1, clock);
    coordinator->Step();
  }
  control::ServerInfo Holding(int i, uint32_t epoch) {
    control::ServerInfo info = Server(i);
    control::HeldShard* held = info.add_held();
    held->set_job_id(job);
    held->set_job_epoch(epoch);
    return info;
  }
  absl::StatusOr<control::DeclareLayoutResponse> Declare(int rank) {
    return coordinator->DeclareLayout(Layout(rank), absl::Seconds(5));
  }
  void LoseServer() {
    coordinator->ServerEnded(server);
    time.Advance(absl::Seconds(1));
    coordinator->Step();
  }
};

TEST_F(CoordinatorRecoveryTest, AServersDeathTakesTheJobToItsLastCheckpoint) {
  Run(Spec(2));
  Cut(10);
  Cut(20);
  Clock(0, 24, 1);
  Clock(1, 24, 1);
  LoseServer();
  EXPECT_EQ(State(), control::JOB_RUNNING);
  for (int rank : {0, 1}) {
    const auto told = Directives(rank);
    ASSERT_THAT(told, SizeIs(1));
    EXPECT_EQ(told[0].rejoin().number(), 1u);
    EXPECT_THAT(told[0].rejoin().why(), HasSubstr("ps-1"));
  }
  EXPECT_THAT(shards[0]->opened, SizeIs(1)) << "nothing without that server";
  // It is back, with nothing, at another address.
  control::ServerInfo moved = Server(1);
  moved.set_data_address("127.0.0.1:8999");
  OpenRemote(moved);
  coordinator->Step();
  EXPECT_THAT(shards[0]->closed, ElementsAre(job));
  for (const auto& shard : shards) {
    const control::OpenShardRequest& open = shard->opened.back();
    EXPECT_EQ(open.job_epoch(), 2u);
    EXPECT_EQ(open.start_clock(), 20);
    EXPECT_EQ(open.restore_checkpoint(), absl::StrCat(job, "/20"));
    EXPECT_EQ(open.shard_map().servers(1).data_address(), "127.0.0.1:8999");
  }
  shards[0]->next_clock = shards[1]->next_clock = 20;
  auto declared = Declare(0);
  ASSERT_TRUE(declared.ok()) << declared.status();
  EXPECT_EQ(declared->start_clock(), 20);
  EXPECT_EQ(declared->job_epoch(), 2u);
  EXPECT_EQ(declared->recoveries(), 1u);
  EXPECT_TRUE(declared->initialised());
  EXPECT_EQ(Describe().clock(), 20);
}

TEST_F(CoordinatorRecoveryTest, WithoutACheckpointTheJobBeginsAnew) {
  Run(Spec(1));
  LoseServer();
  OpenRemote(Server(1));
  coordinator->Step();
  EXPECT_EQ(shards[1]->opened.back().start_clock(), 0);
  EXPECT_EQ(shards[1]->opened.back().job_epoch(), 2u);
  EXPECT_TRUE(shards[1]->opened.back().restore_checkpoint().empty());
}

TEST_F(CoordinatorRecoveryTest, ADamagedCheckpointGivesWayToTheOneBefore) {
  Run(Spec(1));
  Cut(10);
  Cut(20);
  LoseServer();
  shards[1]->open_result = absl::DataLossError("record 'cut/7' is malformed");
  OpenRemote(Server(1));
  coordinator->Step();  // tries 20, then 10, then the beginning: all damaged
  coordinator->Step();
  EXPECT_EQ(State(), control::JOB_FAILED);
  std::vector<int64_t> tried;
  for (size_t i = 1; i < shards[0]->opened.size(); ++i)
    tried.push_back(shards[0]->opened[i].start_clock());
  EXPECT_THAT(tried, ElementsAre(20, 10, 0));
  EXPECT_THAT(Describe().message(), HasSubstr("record 'cut/7' is malformed"));
}

TEST_F(CoordinatorRecoveryTest, AServerThatStaysAwayIsReplaced) {
  Run(Spec(1));
  Cut(10);
  LoseServer();
  Pass(absl::Seconds(70), /*silent=*/-200);
  EXPECT_EQ(State(), control::JOB_RUNNING);
  const control::OpenShardRequest& open = shards[0]->opened.back();
  EXPECT_EQ(open.start_clock(), 10);
  EXPECT_EQ(open.shard_map().servers_size(), 1);
  EXPECT_EQ(open.shard_map().map_epoch(), 2u);
}

TEST_F(CoordinatorRecoveryTest, ACutThatOthersCannotReadFailsWithAHint) {
  Run(Spec(1));
  Cut(10);
  LoseServer();
  shards[0]->open_result = absl::NotFoundError("no checkpoint store in /store/1");
  Pass(absl::Seconds(70), /*silent=*/-200);
  EXPECT_EQ(State(), control::JOB_FAILED);
  EXPECT_THAT(Describe().message(), HasSubstr("/store/1"));
  EXPECT_THAT(Describe().message(), HasSubstr("resume from " + job + "/10"));
}

TEST_F(CoordinatorRecoveryTest, AServerThatStillHoldsItsShardGoesOn) {
  Run(Spec(1));
  LoseServer();  // silent, not dead
  OpenRemote(Holding(1, 1));
  coordinator->Step();
  EXPECT_THAT(shards[1]->opened, SizeIs(1));
  shards[0]->next_clock = 7;
  shards[1]->next_clock = 6;
  auto declared = Declare(0);
  ASSERT_TRUE(declared.ok()) << declared.status();
  EXPECT_EQ(declared->start_clock(), 6) << "the least that a shard lacks";
  EXPECT_EQ(shards[0]->rejoined.back().clock(), 6);
  EXPECT_EQ(declared->job_epoch(), 1u);
}

TEST_F(CoordinatorRecoveryTest, NobodyWaitsForAnAnswerOfTheDead) {
  Run(Spec(1));
  LoseServer();
  EXPECT_EQ(shards[0]->abandoned, 0);
  EXPECT_EQ(shards[1]->abandoned, 1);
}

TEST_F(CoordinatorRecoveryTest, StaleShardsAreClosed) {
  Run(Spec(1));
  LoseServer();
  OpenRemote(Server(1));
  coordinator->Step();  // epoch 2
  coordinator->ServerEnded(server);
  OpenRemote(Holding(1, 1));
  coordinator->Step();
  EXPECT_THAT(shards[1]->closed, ElementsAre(job));
}

TEST_F(CoordinatorRecoveryTest, ALogBringsBackOnlyWhatWasLost) {
  Run(Spec(1, "durability: LOG"));
  Cut(10);
  EXPECT_THAT(shards[0]->committed_cuts, ElementsAre(10));
  LoseServer();
  OpenRemote(Server(1));
  coordinator->Step();
  EXPECT_THAT(shards[0]->opened, SizeIs(1));
  EXPECT_THAT(shards[0]->updated, SizeIs(1));
  const control::OpenShardRequest& open = shards[1]->opened.back();
  EXPECT_TRUE(open.replay_log());
  EXPECT_EQ(open.job_epoch(), 1u);
  EXPECT_EQ(open.start_clock(), 10);
}

TEST_F(CoordinatorRecoveryTest, ALogThatCannotBeReadFallsBackToTheCut) {
  Run(Spec(1, "durability: LOG"));
  Cut(10);
  LoseServer();
  shards[1]->open_result = absl::DataLossError("log 1.log offset 77");
  OpenRemote(Server(1));
  coordinator->Step();
  EXPECT_EQ(shards[0]->opened.back().job_epoch(), 3u) << "10, then 0";
  EXPECT_FALSE(shards[0]->opened[1].replay_log());
  EXPECT_EQ(shards[0]->opened[1].start_clock(), 10);
}

// ---- Tables -----------------------------------------------------------------

control::JobSpec TableSpec(const std::string& more) {
  control::JobSpec spec;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(
      absl::StrCat("workers: 1 tables { name: 't' rows: 9 width: 2 } ", more),
      &spec));
  return spec;
}

class CoordinatorTablesTest : public CoordinatorRecoveryTest {
 protected:
  void RunTables(const std::string& more) {
    Submit(TableSpec(more));
    ASSERT_TRUE(Join(0).ok());
    const auto declared = DeclareTables();
    ASSERT_TRUE(declared.ok()) << declared.status();
    Lease(0);
    ASSERT_EQ(State(), control::JOB_RUNNING);
  }
  absl::StatusOr<control::DeclareLayoutResponse> DeclareTables() {
    control::DeclareLayoutRequest request = Layout(0);
    request.clear_blobs();
    return coordinator->DeclareLayout(request, absl::Seconds(5));
  }
};

TEST_F(CoordinatorTablesTest, ALogBringsThemBack) {
  RunTables("durability: LOG");
  Cut(5);
  EXPECT_THAT(shards[1]->committed_cuts, ElementsAre(5));
  LoseServer();
  EXPECT_EQ(State(), control::JOB_RUNNING);
  EXPECT_TRUE(Directives(0)[0].has_rejoin());
  control::ServerInfo moved = Server(1);
  moved.set_data_address("127.0.0.1:8999");
  OpenRemote(moved);
  coordinator->Step();
  EXPECT_THAT(shards[0]->opened, SizeIs(1));
  const control::OpenShardRequest& open = shards[1]->opened.back();
  EXPECT_TRUE(open.replay_log());
  EXPECT_EQ(open.start_clock(), 5);
  const auto declared = DeclareTables();
  ASSERT_TRUE(declared.ok()) << declared.status();
  EXPECT_EQ(declared->job_epoch(), 1u);
  EXPECT_EQ(declared->shard_map().servers(1).data_address(), "127.0.0.1:8999");
}

TEST_F(CoordinatorTablesTest, ProgramsAreNotTakenBack) {
  RunTables("");
  Cut(5);
  LoseServer();
  EXPECT_EQ(State(), control::JOB_FAILED);
  EXPECT_THAT(Describe().message(), HasSubstr("resume from " + job + "/5"));
}

TEST_F(CoordinatorTablesTest, ALogThatCannotBeReadEndsTheJob) {
  RunTables("durability: LOG");
  Cut(5);
  LoseServer();
  shards[1]->open_result = absl::DataLossError("log 1.log offset 77");
  OpenRemote(Server(1));
  coordinator->Step();
  EXPECT_EQ(State(), control::JOB_FAILED);
  EXPECT_THAT(Describe().message(), HasSubstr("its log cannot be read"));
  EXPECT_THAT(Describe().message(), HasSubstr("resume from " + job + "/5"));
}

TEST_F(CoordinatorTablesTest, AnotherJobGoesOnFromACut) {
  RunTables("");
  Cut(5);
  const std::string from = absl::StrCat("resume_checkpoint: '", job, "/5'");
  EXPECT_THAT(coordinator->SubmitJob(Spec(1, from)).status().ToString(),
              HasSubstr("the checkpoint has 1 tables, the job 0"));
  control::JobSpec wider = TableSpec(from);
  wider.mutable_tables(0)->set_width(3);
  EXPECT_THAT(coordinator->SubmitJob(wider).status().ToString(),
              HasSubstr("'t' of 9x3, in the checkpoint 't' of 9x2"));
  LoseServer();
  OpenRemote(Server(1));
  RunTables(from);
  EXPECT_EQ(shards[0]->opened.back().start_clock(), 5);
  EXPECT_FALSE(shards[0]->opened.back().manifest().empty());
}

TEST_F(CoordinatorRecoveryTest, ADeadWorkerIsWaitedForWhereTheJobSaysSo) {
  Run(Spec(2, "wait_for_dead: true"));
  coordinator->LeaseEnded(leases[1]);
  coordinator->Step();
  EXPECT_EQ(State(), control::JOB_RUNNING);
  EXPECT_TRUE(shards[0]->gone.empty());
  EXPECT_TRUE(absl::IsFailedPrecondition(Join(0).status())) << "it lives";
  ASSERT_TRUE(Join(1).ok());
  EXPECT_EQ(incarnation[1], 2u);
  shards[0]->next_clock = 5;
  shards[1]->next_clock = 4;
  auto declared = Declare(1);
  ASSERT_TRUE(declared.ok()) << declared.status();
  EXPECT_EQ(declared->start_clock(), 4);
  EXPECT_EQ(shards[1]->rejoined.front().clock(), -1);
  EXPECT_EQ(shards[1]->rejoined.back().clock(), 4);
  EXPECT_EQ(shards[1]->rejoined.back().incarnation(), 2u);
}

TEST_F(CoordinatorRecoveryTest, NotForEver) {
  Run(Spec(2, "wait_for_dead: true"));
  coordinator->LeaseEnded(leases[1]);
  leases.erase(1);
  Pass(absl::Minutes(11));
  EXPECT_EQ(State(), control::JOB_FAILED);
  EXPECT_THAT(Describe().message(), HasSubstr("not started again"));
}

TEST_F(CoordinatorRecoveryTest, ARestartedCoordinatorGoesOnWithItsJobs) {
  Run(Spec(2));
  Cut(10);
  coordinator->Stop();
  StartCoordinator(/*with_server=*/false);
  coordinator->Step();
  EXPECT_EQ(State(), control::JOB_RUNNING);
  EXPECT_THAT(shards[0]->opened, SizeIs(1)) << "not before all servers came";
  // Leases go on under the same incarnation.
  Lease(0);
  Lease(1);
  Clock(0, 11, 1);
  OpenRemote(Holding(1, 1));
  coordinator->Step();
  // The shard in the coordinator's own process is lost: back to the cut.
  EXPECT_EQ(shards[0]->opened.back().job_epoch(), 2u);
  EXPECT_EQ(shards[0]->opened.back().start_clock(), 10);
  EXPECT_EQ(Directives(0).back().rejoin().number(), 1u);
}

TEST_F(CoordinatorRecoveryTest, LeasesAreNotJudgedAtOnceAfterARestart) {
  Run(Spec(2));
  coordinator->Stop();
  StartCoordinator();
  coordinator->Step();
  Lease(0);
  Pass(absl::Seconds(20), /*silent=*/1);
  EXPECT_EQ(Describe().workers(1).state(), "running");
  Pass(absl::Seconds(15), /*silent=*/1);
  EXPECT_EQ(Describe().workers(1).state(), "dead");
}

TEST_F(CoordinatorRecoveryTest, DoneWorkersAreKeptUntilNothingCallsThemBack) {
  control::JobSpec spec = Spec(2);
  spec.mutable_solver()->set_snapshot_after_train(true);
  Run(spec);
  Done(0);
  LoseServer();
  EXPECT_TRUE(Directives(0).back().has_rejoin()) << "done, but called back";
  OpenRemote(Server(1));
  coordinator->Step();
  EXPECT_EQ(Describe().workers(0).state(), "running");
  Done(0);
  Done(1);
  EXPECT_EQ(State(), control::JOB_FINISHING);
  EXPECT_THAT(Directives(0), SizeIs(0)) << "the last cut may still call it back";
  Cut(100);
  EXPECT_TRUE(Directives(1).back().job_finished());
}

TEST_F(CoordinatorRecoveryTest, AServerLostWhileShardsOpenIsNotForgotten) {
  Run(Spec(1));
  Cut(10);
  LoseServer();
  OpenRemote(Server(1));
  // Its shard is open when it dies, and is gone when it comes again.
  shards[1]->while_opening = [this] {
    coordinator->ServerEnded(server);
    OpenRemote(Server(1));
  };
  coordinator->Step();
  const size_t opened = shards[1]->opened.size();
  time.Advance(absl::Seconds(2));
  coordinator->Step();
  ASSERT_GT(shards[1]->opened.size(), opened);
  EXPECT_EQ(shards[0]->opened.back().job_epoch(),
            shards[1]->opened.back().job_epoch());
  EXPECT_TRUE(Declare(0).ok()) << "it goes on";
}

TEST_F(CoordinatorRecoveryTest, AnOrderOfTheEpochBeforeIsVoid) {
  Run(Spec(2));
  Cut(10);
  Clock(0, 30, 1);
  Clock(1, 30, 1);
  // While the shards are asked, the job goes back to its checkpoint.
  shards[0]->while_asked = [this] {
    LoseServer();
    OpenRemote(Server(1));
    coordinator->Step();
  };
  EXPECT_TRUE(absl::IsUnavailable(coordinator->DrainWorker(job, 1).status()));
  EXPECT_EQ(shards[0]->asked.back().job_epoch(), 1u)
      << "refused by epoch 2";
  EXPECT_EQ(Describe().job_epoch(), 2u);
  EXPECT_EQ(Describe().clock(), 10);
  EXPECT_THAT(Describe().orders(), SizeIs(0));
}

TEST_F(CoordinatorRecoveryTest, TheLastCutHasItsTimeAfterARestart) {
  time.Advance(absl::Hours(1));
  control::JobSpec spec = Spec(1, "durability: LOG");
  Run(spec);
  ASSERT_TRUE(Join(-1, control::ROLE_EVALUATOR).ok());
  Lease(kEvaluatorRank);
  Done(0);
  EXPECT_EQ(State(), control::JOB_FINISHING);
  coordinator->Stop();
  StartCoordinator(/*with_server=*/false);
  OpenRemote(Holding(1, 1));
  coordinator->Step();
  Lease(kEvaluatorRank);
  Pass(absl::Seconds(100));
  ASSERT_EQ(State(), control::JOB_FINISHING);
  EXPECT_THAT(Directives(kEvaluatorRank), Each(HasRejoin()))
      << "the last cut is still to come";
  Cut(100);
  EXPECT_TRUE(Directives(kEvaluatorRank).back().job_finished());
}

TEST_F(CoordinatorRecoveryTest, CheckpointsByTime) {
  Run(Spec(1, "checkpoint_seconds: 30"));
  Pass(absl::Seconds(29));
  EXPECT_TRUE(shards[0]->committed.empty());
  Pass(absl::Seconds(3));
  ASSERT_THAT(shards[0]->committed, SizeIs(1));
  EXPECT_TRUE(shards[0]->committed[0].checkpoint().durable());
}

TEST_F(CoordinatorRecoveryTest, PartsOfAnOldEpochAreNoPartsOfANewCut) {
  Run(Spec(1));
  LoseServer();
  OpenRemote(Server(1));
  coordinator->Step();
  control::ShardCheckpoint late;
  late.set_job_id(job);
  late.set_clock(10);
  late.set_job_epoch(1);
  late.add_chunks(0);
  coordinator->OnShardCheckpoint("ps-0", late);
  coordinator->OnShardCheckpoint("ps-1", late);
  coordinator->Step();
  EXPECT_THAT(Describe().checkpoints(), SizeIs(0));
}

}  // namespace
}  // namespace cssp
