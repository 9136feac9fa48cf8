#include "fake_cluster.h"
#include "server/checkpoint/checkpoint_io.h"

namespace cssp {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;

using CoordinatorCheckpointTest = Cluster;

TEST_F(CoordinatorCheckpointTest, ACutIsOneWhenAllPartsAreIn) {
  Run(Spec(2));
  Part(0, 20);
  coordinator->Step();
  EXPECT_THAT(Describe().checkpoints(), IsEmpty());
  EXPECT_TRUE(absl::IsNotFound(
      ReadManifest(*store, absl::StrCat(job, "/20")).status()));
  Part(1, 20);
  coordinator->Step();
  ASSERT_THAT(Describe().checkpoints(), SizeIs(1));
  EXPECT_EQ(Describe().checkpoints(0).checkpoint_id(), job + "/20");
  EXPECT_EQ(Describe().checkpoints(0).bytes(), 2000);
  const auto manifest = ReadManifest(*store, job + "/20");
  ASSERT_TRUE(manifest.ok()) << manifest.status();
  EXPECT_EQ(manifest->blobs_size(), 3);
  EXPECT_EQ(manifest->num_history(), 1);
  ASSERT_EQ(manifest->parts_size(), 2);
  EXPECT_EQ(manifest->parts(1).directory(), "/store/1");
  EXPECT_THAT(manifest->parts(1).chunks(), ElementsAre(1));
  EXPECT_EQ(manifest->records(), 20 * 16);
}

TEST_F(CoordinatorCheckpointTest, OneFailedPartFailsTheCut) {
  Run(Spec(1));
  Part(0, 20);
  Part(1, 20, "disk full");
  coordinator->Step();
  EXPECT_THAT(Describe().checkpoints(), IsEmpty());
  EXPECT_THAT(shards[0]->deleted_cuts, ElementsAre(20));
  bool told = false;
  for (const control::JobEvent& event : Events())
    told = told || (event.note().find("disk full") != std::string::npos);
  EXPECT_TRUE(told);
}

TEST_F(CoordinatorCheckpointTest, TheEndIsExportedThoughItsCutFailed) {
  Run(Spec(1));
  ASSERT_TRUE(Join(-1, control::ROLE_EVALUATOR).ok());
  Lease(kEvaluatorRank);
  Done(0);
  Part(0, 100);
  Part(1, 100, "disk full");
  coordinator->Step();
  const auto directives = Directives(kEvaluatorRank);
  ASSERT_THAT(directives, SizeIs(2));
  EXPECT_EQ(directives[0].checkpoint().clock(), 100);
  EXPECT_TRUE(directives[1].job_finished());
  EXPECT_THAT(Directives(0), IsEmpty())
      << "a server's death would take the job back: workers stay";
  // Another evaluator is told as well.
  ASSERT_TRUE(Join(-1, control::ROLE_EVALUATOR).ok());
  Lease(kEvaluatorRank);
  bool told = false;
  for (const auto& directive : Directives(kEvaluatorRank))
    told = told || directive.checkpoint().clock() == 100;
  EXPECT_TRUE(told);
  Exported(100);
  Done(kEvaluatorRank);
  EXPECT_EQ(State(), control::JOB_SUCCEEDED);
  EXPECT_THAT(Describe().message(), HasSubstr("disk full"));
  EXPECT_THAT(Describe().message(), Not(HasSubstr("not exported")));
}

TEST_F(CoordinatorCheckpointTest, ALostPartEndsItsCutWithANote) {
  Run(Spec(1));
  Part(0, 10);
  Part(0, 20);
  Part(1, 20);
  coordinator->Step();
  bool told = false;
  for (const control::JobEvent& event : Events())
    told = told || (event.note().find("clock 10 failed") != std::string::npos);
  EXPECT_TRUE(told);
  EXPECT_THAT(shards[0]->deleted_cuts, ElementsAre(10));
}

TEST_F(CoordinatorCheckpointTest, OldCheckpointsGo) {
  Run(Spec(1));
  for (const int64_t clock : {10, 20, 30, 40}) {
    Part(0, clock);
    Part(1, clock);
    coordinator->Step();
  }
  std::vector<int64_t> kept;
  const control::JobStatus status = Describe();
  for (const auto& info : status.checkpoints())
    kept.push_back(info.clock());
  EXPECT_THAT(kept, ElementsAre(30, 40));
  EXPECT_THAT(shards[1]->deleted_cuts, ElementsAre(10, 20));
  EXPECT_THAT(*ListManifests(*store, job), SizeIs(2));
}

TEST_F(CoordinatorCheckpointTest, OnDemandOrdersACutBeyondWhatIsOpen) {
  Run(Spec(1));
  shards[0]->opened_clock = shards[1]->opened_clock = 50;
  absl::StatusOr<control::CheckpointInfo> info =
      absl::UnknownError("not called");
  Thread caller("caller", [&] {
    info = coordinator->CheckpointJob(job, absl::Seconds(20));
  });
  // The cut is written once the order is placed.
  Thread shard_threads("shards", [&] {
    for (int64_t clock = 51; clock < 100; ++clock) {
      Part(0, clock);
      Part(1, clock);
    }
    // Parts of clocks without an order make checkpoints as well, so whichever
    // was ordered is among them.
    coordinator->Step();
  });
  caller.Join();
  shard_threads.Join();
  ASSERT_TRUE(info.ok()) << info.status();
  ASSERT_THAT(shards[0]->committed, SizeIs(1));
  EXPECT_TRUE(shards[0]->committed[0].checkpoint().durable());
  EXPECT_EQ(info->clock(), shards[0]->committed[0].effective_clock());
  EXPECT_GT(info->clock(), 50);
}

TEST_F(CoordinatorCheckpointTest, OnlyRunningJobsAreCheckpointed) {
  Submit(Spec(1));
  EXPECT_TRUE(absl::IsFailedPrecondition(
      coordinator->CheckpointJob(job, absl::Seconds(1)).status()));
  EXPECT_TRUE(absl::IsNotFound(
      coordinator->CheckpointJob("nosuch-1", absl::Seconds(1)).status()));
}

TEST_F(CoordinatorCheckpointTest, AJobsEndFreesWhoeverWaits) {
  Run(Spec(1));
  absl::Status status;
  Thread caller("caller", [&] {
    status = coordinator->CheckpointJob(job, absl::Minutes(5)).status();
  });
  ASSERT_TRUE(coordinator->CancelJob(job).ok());
  Done(0);
  EXPECT_EQ(State(), control::JOB_CANCELLED);
  caller.Join();
  EXPECT_FALSE(status.ok()) << status;
}

TEST_F(CoordinatorCheckpointTest, ResumeTakesClockAndSeed) {
  Run(Spec(1));
  const int64_t seed = Describe().spec().seed();
  Part(0, 30);
  Part(1, 30);
  coordinator->Step();
  const std::string checkpoint = job + "/30";
  Submit(Spec(2, absl::StrCat("resume_checkpoint: '", checkpoint, "'")));
  EXPECT_EQ(Describe().spec().seed(), seed);
  const auto joined = Join(0);
  ASSERT_TRUE(joined.ok());
  EXPECT_TRUE(joined->initialised());
  EXPECT_EQ(joined->start_clock(), 30);
  shards[0]->opened.clear();
  const auto declared =
      coordinator->DeclareLayout(Layout(0), absl::Seconds(5));
  ASSERT_TRUE(declared.ok()) << declared.status();
  EXPECT_EQ(declared->start_clock(), 30);
  ASSERT_THAT(shards[0]->opened, SizeIs(1));
  EXPECT_EQ(shards[0]->opened[0].restore_checkpoint(), checkpoint);
  EXPECT_EQ(shards[0]->opened[0].start_clock(), 30);

  EXPECT_TRUE(absl::IsNotFound(
      coordinator->SubmitJob(Spec(1, "resume_checkpoint: 'nosuch-7/12'"))
          .status()));
  EXPECT_TRUE(absl::IsInvalidArgument(
      coordinator->SubmitJob(Spec(1, "resume_checkpoint: 'nosuch'")).status()));
  control::JobSpec past =
      Spec(1, absl::StrCat("resume_checkpoint: '", checkpoint, "'"));
  past.mutable_solver()->set_max_iter(30);
  EXPECT_THAT(std::string(coordinator->SubmitJob(past).status().message()),
              HasSubstr("nothing is left"));
}

TEST_F(CoordinatorCheckpointTest, AnEvaluatorThatComesLateHearsOfCheckpoints) {
  control::JobSpec spec = Spec(1);
  spec.mutable_solver()->set_snapshot(10);
  Run(spec);
  for (const int64_t clock : {5, 10, 20}) {  // 5 is not the solver's
    Part(0, clock);
    Part(1, clock);
    coordinator->Step();
  }
  ASSERT_TRUE(Join(-1, control::ROLE_EVALUATOR).ok());
  Lease(kEvaluatorRank);
  EXPECT_THAT(Directives(kEvaluatorRank), SizeIs(2));
  control::WorkerReport report = ReportOf(kEvaluatorRank);
  report.mutable_exported()->set_clock(10);
  ASSERT_TRUE(coordinator->Report(report).ok());
  // Its next incarnation is not asked for what is there.
  ASSERT_TRUE(Join(-1, control::ROLE_EVALUATOR).ok());
  Lease(kEvaluatorRank);
  // The lease before it hears that it is fenced.
  std::vector<int64_t> asked;
  for (const auto& directive : Directives(kEvaluatorRank))
    if (directive.has_checkpoint())
      asked.push_back(directive.checkpoint().clock());
  EXPECT_THAT(asked, ElementsAre(20));
}

TEST_F(CoordinatorCheckpointTest, LeavingForGoodEndsJobsAndSaysWhy) {
  leaves_for_good = true;
  StartCoordinator();
  Submit(Spec(1));
  coordinator->Drain(absl::Seconds(1));
  EXPECT_EQ(State(), control::JOB_FAILED);
  EXPECT_THAT(Describe().message(), HasSubstr("leaving"));
  EXPECT_TRUE(
      absl::IsFailedPrecondition(coordinator->SubmitJob(Spec(1)).status()));
}

TEST_F(CoordinatorCheckpointTest, JobsWaitForACoordinatorThatLeaves) {
  Run(Spec(1));
  coordinator->Drain(absl::Milliseconds(1));
  EXPECT_EQ(State(), control::JOB_RUNNING);
  bool told = false;
  for (const auto& directive : Directives(0))
    told = told || directive.rejoin().number() == 1u;
  EXPECT_TRUE(told) << "its shard is as good as lost";
  EXPECT_TRUE(
      absl::IsFailedPrecondition(coordinator->SubmitJob(Spec(1)).status()));
}

}  // namespace
}  // namespace cssp
