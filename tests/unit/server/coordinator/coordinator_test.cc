#include "server/coordinator/coordinator.h"

#include "fake_cluster.h"

namespace cssp {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;

using CoordinatorTest = Cluster;

TEST_F(CoordinatorTest, SubmitGivesIdTokenAndSeed) {
  Submit(Spec(2));
  EXPECT_EQ(job, "test-net-1");
  EXPECT_THAT(token, SizeIs(64));
  const control::JobStatus status = Describe();
  EXPECT_EQ(status.state(), control::JOB_PENDING);
  EXPECT_GT(status.spec().seed(), 0);
  EXPECT_FALSE(status.spec().solver().has_net_param());
  const std::string first = token;
  Submit(Spec(2));
  EXPECT_EQ(job, "test-net-2");
  EXPECT_NE(token, first);
}

TEST_F(CoordinatorTest, TheSameRequestIsTheSameJob) {
  Submit(Spec(1, "request_id: 'abc'"));
  const std::string first = job;
  Submit(Spec(1, "request_id: 'abc'"));
  EXPECT_EQ(job, first);
  EXPECT_EQ(coordinator->ListJobs().jobs_size(), 1);
}

TEST_F(CoordinatorTest, TheSolversSeedIsKept) {
  control::JobSpec spec = Spec(1);
  spec.mutable_solver()->set_random_seed(17);
  Submit(spec);
  EXPECT_EQ(Describe().spec().seed(), 17);
}

TEST_F(CoordinatorTest, UnknownJobIsOneLine) {
  const absl::Status status = coordinator->DescribeJob("nosuch-7").status();
  EXPECT_TRUE(absl::IsNotFound(status));
  EXPECT_THAT(std::string(status.message()), HasSubstr("nosuch-7"));
}

TEST_F(CoordinatorTest, JoiningNeedsTheToken) {
  Submit(Spec(2));
  const std::string right = token;
  token = std::string(64, '0');
  EXPECT_EQ(Join(0).status().code(), absl::StatusCode::kUnauthenticated);
  token = right;
  EXPECT_EQ(Join(-1)->rank(), 0);
  EXPECT_EQ(Join(-1)->rank(), 1);
  EXPECT_TRUE(absl::IsFailedPrecondition(Join(-1).status()));
  EXPECT_TRUE(absl::IsInvalidArgument(Join(2).status()));
  EXPECT_EQ(Join(-1, control::ROLE_EVALUATOR)->rank(), -1);
}

TEST_F(CoordinatorTest, JoiningAgainWithTheSameRequestGivesTheSameRank) {
  Submit(Spec(2));
  control::JoinJobRequest request;
  request.set_job_id(job);
  request.set_token(token);
  request.set_rank(-1);
  request.set_request_id("r");
  const auto first = coordinator->JoinJob(request);
  const auto again = coordinator->JoinJob(request);
  ASSERT_TRUE(first.ok() && again.ok());
  EXPECT_EQ(first->rank(), again->rank());
  EXPECT_EQ(first->incarnation(), again->incarnation());
}

TEST_F(CoordinatorTest, ANewIncarnationFencesTheOld) {
  Submit(Spec(1));
  ASSERT_TRUE(Join(0).ok());
  Lease(0);
  const control::WorkerReport old = ReportOf(0);
  ASSERT_TRUE(Join(0).ok());
  EXPECT_TRUE(absl::IsPermissionDenied(coordinator->Report(old)));
  EXPECT_THAT(Directives(0), SizeIs(1));
  coordinator->LeaseEnded(leases[0]);  // the fenced stream's end harms nobody
  EXPECT_EQ(State(), control::JOB_PENDING);
}

TEST_F(CoordinatorTest, TheFirstLayoutPlacesAndOpens) {
  Run(Spec(2));
  for (int i = 0; i < kServers; ++i) {
    ASSERT_THAT(shards[i]->opened, SizeIs(1));
    const control::OpenShardRequest& open = shards[i]->opened[0];
    EXPECT_EQ(open.server_index(), i);
    EXPECT_EQ(open.token(), token);
    EXPECT_EQ(open.shard_map().servers_size(), kServers);
    EXPECT_EQ(open.shard_map().servers(1).data_address(), "127.0.0.1:8001");
    // Both servers have something to do.
    for (int server = 0; server < kServers; ++server)
      EXPECT_THAT(open.shard_map().chunk_server(), testing::Contains(server));
  }
  EXPECT_FALSE(shards[0]->opened[0].spec().solver().has_net_param());
}

TEST_F(CoordinatorTest, ADifferentNetNamesTheFirstDifference) {
  Submit(Spec(2));
  ASSERT_TRUE(Join(0).ok());
  ASSERT_TRUE(Join(1).ok());
  ASSERT_TRUE(coordinator->DeclareLayout(Layout(0), absl::Seconds(5)).ok());
  control::DeclareLayoutRequest other = Layout(1);
  other.mutable_blobs(2)->set_count(90001);
  other.mutable_blobs(2)->set_shape(0, 90001);
  const absl::Status status =
      coordinator->DeclareLayout(other, absl::Seconds(5)).status();
  EXPECT_TRUE(absl::IsInvalidArgument(status));
  EXPECT_THAT(std::string(status.message()), HasSubstr("ip/0 (90001"));
  EXPECT_THAT(std::string(status.message()), HasSubstr("worker 1"));
  EXPECT_EQ(State(), control::JOB_FAILED);
  coordinator->Step();
  EXPECT_THAT(shards[0]->closed, ElementsAre(job));
}

TEST_F(CoordinatorTest, BadLayoutsAreRefusedBeforeAnythingOpens) {
  Submit(Spec(1));
  ASSERT_TRUE(Join(0).ok());
  control::DeclareLayoutRequest request = Layout(0);
  request.mutable_blobs(1)->set_key("conv1/0");
  EXPECT_TRUE(absl::IsInvalidArgument(
      coordinator->DeclareLayout(request, absl::Seconds(5)).status()));
  request = Layout(0);
  request.set_incarnation(99);
  EXPECT_TRUE(absl::IsPermissionDenied(
      coordinator->DeclareLayout(request, absl::Seconds(5)).status()));
  EXPECT_THAT(shards[0]->opened, IsEmpty());
}

TEST_F(CoordinatorTest, AServerThatCannotOpenFailsTheJob) {
  shards[1]->open_result = absl::ResourceExhaustedError("no memory");
  Submit(Spec(1));
  ASSERT_TRUE(Join(0).ok());
  const absl::Status status =
      coordinator->DeclareLayout(Layout(0), absl::Seconds(5)).status();
  EXPECT_THAT(std::string(status.message()), HasSubstr("ps-1"));
  EXPECT_EQ(State(), control::JOB_FAILED);
  coordinator->Step();
  EXPECT_THAT(shards[0]->closed, ElementsAre(job));
}

TEST_F(CoordinatorTest, ProgressIsTheMeanOverWorkers) {
  Run(Spec(2));
  Clock(0, 0, 1.0);
  EXPECT_EQ(Describe().clock(), 0);
  Clock(1, 0, 3.0);
  Clock(0, 1, 5.0);
  EXPECT_EQ(Describe().clock(), 1);
  EXPECT_EQ(Describe().max_clock(), 2);
  EXPECT_EQ(Describe().loss(), 2.0);
  int progress = 0;
  for (const control::JobEvent& event : Events())
    if (event.has_progress()) {
      ++progress;
      EXPECT_EQ(event.progress().loss(), 2.0);
      EXPECT_EQ(event.progress().workers(), 2);
      EXPECT_FLOAT_EQ(event.progress().rate(), 0.1f);
    }
  EXPECT_EQ(progress, 1);
}

TEST_F(CoordinatorTest, ReportsOutOfRangeAreDropped) {
  Run(Spec(1));
  Clock(0, 100, 1.0);  // max_iter
  Clock(0, -1, 1.0);
  EXPECT_EQ(Describe().max_clock(), 0);
}

TEST_F(CoordinatorTest, WatchersBeginWhereTheyAsk) {
  Run(Spec(1));
  for (int clock = 0; clock < 10; ++clock) Clock(0, clock, clock);
  std::vector<int64_t> seen;
  for (const control::JobEvent& event : Events(/*from_clock=*/7))
    if (event.has_progress()) seen.push_back(event.progress().clock());
  EXPECT_THAT(seen, ElementsAre(7, 8, 9));
  EXPECT_TRUE(Events()[0].has_status());
}

TEST_F(CoordinatorTest, ALostWorkerIsReplacedByAnOrder) {
  Run(Spec(3));
  shards[0]->opened_clock = 20;
  shards[1]->opened_clock = 24;
  shards[1]->clocks_per_call = 1;
  coordinator->LeaseEnded(leases[1]);
  coordinator->Step();
  EXPECT_EQ(State(), control::JOB_RUNNING);
  for (const auto& shard : shards) {
    EXPECT_THAT(shard->gone, ElementsAre(1));
    ASSERT_THAT(shard->committed, SizeIs(1));
    EXPECT_THAT(shard->committed[0].membership().ranks(), ElementsAre(0, 2));
    EXPECT_GT(shard->committed[0].effective_clock(), 24);
  }
  EXPECT_EQ(shards[0]->committed[0].effective_clock(),
            shards[1]->committed[0].effective_clock());
  EXPECT_GT(shards[1]->refusals, 0);
  EXPECT_EQ(Describe().workers(1).state(), "dead");
  // Clocks come out without it.
  Clock(0, 0, 1.0);
  Clock(2, 0, 2.0);
  EXPECT_EQ(Describe().loss(), 1.5);
}

TEST_F(CoordinatorTest, SilenceForALeaseIsDeath) {
  Run(Spec(2));
  Pass(absl::Seconds(9), /*silent=*/1);
  EXPECT_EQ(Describe().workers(1).state(), "running");
  Pass(absl::Seconds(3), /*silent=*/1);
  EXPECT_EQ(Describe().workers(1).state(), "dead");
  EXPECT_EQ(Describe().workers(0).state(), "running");
  EXPECT_THAT(shards[0]->gone, ElementsAre(1));
}

TEST_F(CoordinatorTest, TheLastWorkersDeathFailsTheJob) {
  Run(Spec(2));
  coordinator->LeaseEnded(leases[0]);
  control::WorkerReport failed = ReportOf(1);
  failed.set_failed("disk\nfull");
  ASSERT_TRUE(coordinator->Report(failed).ok());
  const control::JobStatus status = Describe();
  EXPECT_EQ(status.state(), control::JOB_FAILED);
  EXPECT_THAT(status.message(), HasSubstr("worker 0"));
  coordinator->Step();
  EXPECT_THAT(shards[1]->closed, ElementsAre(job));
}

TEST_F(CoordinatorTest, WhatIsWrongForEveryWorkerFailsTheJob) {
  for (const bool wait : {false, true}) {
    control::JobSpec spec = Spec(2);
    spec.set_wait_for_dead(wait);
    Run(spec);
    control::WorkerReport wrong = ReportOf(1);
    wrong.set_wrong("net: layer 'a' (Python): a.py:3: ValueError:\nno");
    ASSERT_TRUE(coordinator->Report(wrong).ok());
    const control::JobStatus status = Describe();
    EXPECT_EQ(status.state(), control::JOB_FAILED);
    EXPECT_THAT(status.message(),
                AllOf(HasSubstr("): net: layer 'a' (Python): a.py:3"),
                      HasSubstr("worker 1 ("),
                      Not(HasSubstr("\n"))));
    EXPECT_EQ(status.workers(1).state(), "dead");
  }
}

TEST_F(CoordinatorTest, WhoIsWrongAndDoesNotTrainFailsAlone) {
  Run(Spec(2));
  ASSERT_TRUE(Join(-1, control::ROLE_EVALUATOR).ok());
  Lease(kEvaluatorRank);
  control::WorkerReport wrong = ReportOf(kEvaluatorRank);
  wrong.set_wrong("no such module");
  ASSERT_TRUE(coordinator->Report(wrong).ok());
  EXPECT_EQ(State(), control::JOB_RUNNING);
}

TEST_F(CoordinatorTest, DeathBeforeTrainingFailsTheJobWithItsReason) {
  Submit(Spec(2));
  ASSERT_TRUE(Join(0).ok());
  Lease(0);
  control::WorkerReport failed = ReportOf(0);
  failed.set_failed("net.prototxt:3:1: no such layer");
  ASSERT_TRUE(coordinator->Report(failed).ok());
  EXPECT_EQ(State(), control::JOB_FAILED);
  EXPECT_THAT(Describe().message(), HasSubstr("net.prototxt:3:1"));
}

TEST_F(CoordinatorTest, AllDoneAndTheLastCutMakeSuccess) {
  Run(Spec(2));
  ASSERT_TRUE(Join(-1, control::ROLE_EVALUATOR).ok());
  Lease(kEvaluatorRank);
  Done(0);
  Done(1);
  EXPECT_EQ(State(), control::JOB_FINISHING);
  EXPECT_THAT(Directives(kEvaluatorRank), IsEmpty());  // a cut is due
  Part(0, 100);
  Part(1, 100);
  coordinator->Step();
  const auto directives = Directives(kEvaluatorRank);
  ASSERT_THAT(directives, SizeIs(2));
  EXPECT_EQ(directives[0].checkpoint().clock(), 100);
  EXPECT_TRUE(directives[1].job_finished());
  EXPECT_EQ(State(), control::JOB_FINISHING);
  EXPECT_THAT(shards[0]->closed, IsEmpty());  // it still pulls
  Done(kEvaluatorRank);
  EXPECT_EQ(State(), control::JOB_SUCCEEDED);
  coordinator->Step();
  EXPECT_THAT(shards[0]->closed, ElementsAre(job));
  EXPECT_TRUE(absl::IsFailedPrecondition(Join(0).status()));
}

TEST_F(CoordinatorTest, TheEndWaitsForAnEvaluatorThatWasLost) {
  Run(Spec(1));
  ASSERT_TRUE(Join(-1, control::ROLE_EVALUATOR).ok());
  Lease(kEvaluatorRank);
  Pass(absl::Seconds(30), kEvaluatorRank);  // silent: counts as dead
  Done(0);
  Part(0, 100);
  Part(1, 100);
  coordinator->Step();
  Pass(absl::Seconds(60), kEvaluatorRank);
  EXPECT_EQ(State(), control::JOB_FINISHING);
  EXPECT_TRUE(Directives(0).back().job_finished()) << "workers need not wait";
  // It comes again, hears of the end and exports it.
  ASSERT_TRUE(Join(-1, control::ROLE_EVALUATOR).ok());
  Lease(kEvaluatorRank);
  coordinator->Step();
  const auto directives = Directives(kEvaluatorRank);
  ASSERT_GE(directives.size(), 2u);
  EXPECT_EQ(directives[directives.size() - 2].checkpoint().clock(), 100);
  EXPECT_TRUE(directives.back().job_finished());
  Exported(100);
  Done(kEvaluatorRank);
  EXPECT_EQ(State(), control::JOB_SUCCEEDED);
  EXPECT_EQ(Describe().message(), "");
}

TEST_F(CoordinatorTest, TheEndDoesNotWaitForEverForAnEvaluator) {
  Run(Spec(1));
  ASSERT_TRUE(Join(-1, control::ROLE_EVALUATOR).ok());
  Lease(kEvaluatorRank);
  coordinator->LeaseEnded(leases[kEvaluatorRank]);
  Pass(absl::Seconds(300));
  Done(0);
  Part(0, 100);
  Part(1, 100);
  coordinator->Step();
  Pass(absl::Seconds(110));
  EXPECT_EQ(State(), control::JOB_FINISHING);
  Pass(absl::Seconds(20));
  EXPECT_EQ(State(), control::JOB_SUCCEEDED);
  EXPECT_THAT(Describe().message(), HasSubstr("not exported"));
}

TEST_F(CoordinatorTest, AnEvaluatorThatFailedIsNotWaitedFor) {
  Run(Spec(1));
  ASSERT_TRUE(Join(-1, control::ROLE_EVALUATOR).ok());
  Lease(kEvaluatorRank);
  control::WorkerReport failed = ReportOf(kEvaluatorRank);
  failed.set_failed("cannot write out_iter_50.caffemodel");
  ASSERT_TRUE(coordinator->Report(failed).ok());
  Done(0);
  Part(0, 100);
  Part(1, 100);
  coordinator->Step();
  coordinator->Step();
  EXPECT_EQ(State(), control::JOB_SUCCEEDED);
  EXPECT_THAT(Describe().message(), HasSubstr("not exported"));
}

TEST_F(CoordinatorTest, WithoutAnEvaluatorTheJobStillEnds) {
  Run(Spec(1));
  Done(0);
  Part(0, 100);
  Part(1, 100);
  coordinator->Step();
  coordinator->Step();
  EXPECT_EQ(State(), control::JOB_SUCCEEDED);
  EXPECT_TRUE(leases[0].directives->size() == 0 ||
              Directives(0).back().job_finished());
}

TEST_F(CoordinatorTest, AMissingLastCutDoesNotHoldTheJobForEver) {
  Run(Spec(1));
  Done(0);
  Pass(absl::Seconds(100));
  EXPECT_EQ(State(), control::JOB_FINISHING);
  Pass(absl::Seconds(30));
  EXPECT_EQ(State(), control::JOB_SUCCEEDED);
}

TEST_F(CoordinatorTest, CancelStopsWorkersAfterTheirClock) {
  Run(Spec(2));
  ASSERT_TRUE(coordinator->CancelJob(job).ok());
  EXPECT_EQ(State(), control::JOB_RUNNING);
  EXPECT_TRUE(Directives(0).at(0).stop());
  Done(0);
  Done(1);
  EXPECT_EQ(State(), control::JOB_CANCELLED);
  ASSERT_TRUE(coordinator->CancelJob(job).ok());
}

TEST_F(CoordinatorTest, CancelDoesNotWaitForTheDeaf) {
  Run(Spec(1));
  ASSERT_TRUE(coordinator->CancelJob(job).ok());
  Pass(absl::Seconds(32));
  EXPECT_EQ(State(), control::JOB_CANCELLED);
  EXPECT_TRUE(Directives(0).back().abort());
}

TEST_F(CoordinatorTest, ALostServerMayComeBackUnderItsName) {
  coordinator->ServerEnded(server);
  EXPECT_EQ(coordinator->ListServers().servers(1).state(), "dead");
  // It may come back under the same name, for new jobs.
  auto again = coordinator->OpenServer(Server(1));
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(again->index, 1);
  EXPECT_TRUE(absl::IsFailedPrecondition(
      coordinator->ReportServer(server, control::ServerReport())));
}

TEST_F(CoordinatorTest, ASilentServerIsLost) {
  Run(Spec(1));
  Pass(absl::Seconds(12), /*silent=*/-200);
  EXPECT_EQ(State(), control::JOB_RUNNING) << "the job waits for it";
  EXPECT_TRUE(Directives(0).back().has_rejoin());
  EXPECT_EQ(coordinator->ListServers().servers(1).state(), "dead");
}

TEST_F(CoordinatorTest, ServerIdsAreUnique) {
  control::ServerInfo twin = Server(1);
  twin.set_control_address("127.0.0.1:7999");
  EXPECT_TRUE(absl::IsAlreadyExists(coordinator->OpenServer(twin).status()));
  EXPECT_TRUE(
      absl::IsAlreadyExists(coordinator->OpenServer(Server(0)).status()));
}

TEST_F(CoordinatorTest, ARestartedCoordinatorRemembers) {
  Run(Spec(1));
  Part(0, 10);
  Part(1, 10);
  coordinator->Step();
  coordinator->Stop();
  StartCoordinator();
  EXPECT_EQ(State(), control::JOB_RUNNING);
  EXPECT_THAT(Describe().workers(), SizeIs(1));
  EXPECT_THAT(Describe().checkpoints(), SizeIs(1));
  const std::string old = job;
  Submit(Spec(1, absl::StrCat("resume_checkpoint: '", old, "/10'")));
  EXPECT_EQ(job, "test-net-2");
  EXPECT_EQ(Describe().start_clock(), 10);
}

}  // namespace
}  // namespace cssp
