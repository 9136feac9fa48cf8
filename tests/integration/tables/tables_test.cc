// SSP tables on real ps-servers: the bound, read-my-writes and conservation as
// the programs themselves see them.
#include <signal.h>
#include <sys/stat.h>

#include <cstdlib>
#include <fstream>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "common/base/logging.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/integration/train/cluster.h"
#include "worker/sync/table_session.h"

namespace cssp {
namespace {

using ::testing::HasSubstr;

constexpr int kWorkers = 3;

control::JobSpec Spec(int staleness) {
  control::JobSpec spec;
  spec.set_workers(kWorkers);
  spec.set_staleness(staleness);
  control::TableSpec& small = *spec.add_tables();
  small.set_name("counts");
  small.set_rows(5);
  small.set_width(kWorkers);
  control::TableSpec& wide = *spec.add_tables();
  wide.set_name("wide");
  wide.set_rows(3);
  wide.set_width(20000);
  return spec;
}

// Hears of the end only.
class FatalOnly final : public PsClientEvents {
 public:
  float* OnValuesBegin(const ps::MessageHeader&) override { return nullptr; }
  void OnValuesEnd(const ps::MessageHeader&, float*, bool) override {}
  void OnPushDone(int, int64_t) override {}
  void OnPullRefused(const ps::MessageHeader&) override {}
  void OnReconnect(int) override {}
  void OnFatal(const absl::Status& why) override {
    status = why;
    done.Notify();
  }
  absl::Status status;
  absl::Notification done;
};

class TablesTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto cluster = Cluster::Start(folder_, 2);
    ASSERT_TRUE(cluster.ok()) << cluster.status();
    cluster_ = *std::move(cluster);
  }

  void Submit(const control::JobSpec& spec) {
    control::SubmitJobRequest request;
    *request.mutable_spec() = spec;
    const auto job = cluster_->coordinator().SubmitJob(request);
    ASSERT_TRUE(job.ok()) << job.status();
    job_ = job->job_id();
    token_ = job->token();
    token_file_ = folder_ / "token";
    std::ofstream(token_file_) << token_ << "\n";
  }

  std::unique_ptr<ChildProcess> Worker(int rank, int clocks,
                                       const std::string& mode) {
    std::vector<std::string> args = {cluster_->coordinator().address(), job_,
                                     token_file_, absl::StrCat(rank),
                                     absl::StrCat(clocks)};
    if (!mode.empty()) args.push_back(mode);
    auto worker = ChildProcess::Start(CSSP_TABLE_WORKER, args, {});
    EXPECT_TRUE(worker.ok()) << worker.status();
    return *std::move(worker);
  }

  control::JobStatus Describe() {
    return *cluster_->coordinator().DescribeJob(job_);
  }
  control::JobStatus AwaitEnd() {
    const absl::Time deadline = absl::Now() + absl::Seconds(60);
    control::JobStatus status = Describe();
    while (status.state() != control::JOB_SUCCEEDED &&
           status.state() != control::JOB_FAILED && absl::Now() < deadline) {
      absl::SleepFor(absl::Milliseconds(20));
      status = Describe();
    }
    return status;
  }

  TempFolder folder_;
  std::unique_ptr<Cluster> cluster_;
  std::string job_, token_, token_file_;
};

TEST_F(TablesTest, HelloSspAtSeveralBounds) {
  for (int staleness : {0, 2}) {
    Submit(Spec(staleness));
    std::vector<std::unique_ptr<ChildProcess>> workers;
    for (int rank = 0; rank < kWorkers; ++rank) {
      workers.push_back(Worker(rank, 40, ""));
    }
    for (auto& worker : workers) {
      EXPECT_EQ(worker->Wait(absl::Seconds(60)), 0) << "s " << staleness;
    }
    const control::JobStatus status = AwaitEnd();
    EXPECT_EQ(status.state(), control::JOB_SUCCEEDED) << status.message();
    EXPECT_EQ(status.clock(), 40 + staleness);
  }
}

TEST_F(TablesTest, AKilledProgramDoesNotStopTheOthers) {
  Submit(Spec(1));
  std::vector<std::unique_ptr<ChildProcess>> workers;
  for (int rank = 0; rank < kWorkers; ++rank) {
    workers.push_back(Worker(rank, 40, rank == kWorkers - 1 ? "hang" : ""));
  }
  const absl::Time deadline = absl::Now() + absl::Seconds(60);
  while (Describe().clock() < 20 && absl::Now() < deadline) {
    absl::SleepFor(absl::Milliseconds(20));
  }
  // Nobody runs ahead of the one that hangs by more than the bound.
  EXPECT_LE(Describe().max_clock(), 22);
  kill(workers.back()->pid(), SIGKILL);
  for (int rank = 0; rank < kWorkers - 1; ++rank) {
    EXPECT_EQ(workers[rank]->Wait(absl::Seconds(60)), 0) << rank;
  }
  EXPECT_EQ(AwaitEnd().state(), control::JOB_SUCCEEDED);
}

// Sum conservation: a program is stopped and goes on, or is killed with -9, at
// a random moment.  In the end every row holds of each worker what its servers
// acknowledged; of the killed one at most the clock under way beside.
TEST_F(TablesTest, SumsAreWhatWasAcknowledged) {
  constexpr int kClocks = 60;
  const char* more = std::getenv("CSSP_TABLE_INJECTIONS");
  const int injections = more != nullptr ? std::atoi(more) : 2;
  for (int seed = 0; seed < 2 * injections; ++seed) {
    SCOPED_TRACE(absl::StrCat("seed ", seed));
    std::mt19937 random(seed);
    const bool killed = seed % 2 == 1;
    control::JobSpec spec = Spec(static_cast<int>(random() % 3));
    spec.mutable_tables(0)->set_sparse_rows(random() % 2 * 5);
    Submit(spec);
    const int victim = kWorkers - 1;
    std::vector<std::unique_ptr<ChildProcess>> workers;
    std::vector<std::string> told;
    for (int rank = 0; rank < kWorkers; ++rank) {
      told.push_back(folder_ / absl::StrCat("held-", seed, "-", rank));
      workers.push_back(Worker(rank, kClocks, "flush=" + told.back()));
    }
    // Once all have joined: who was never there is still waited for.
    const int64_t at = random() % (kClocks * 3 / 4);
    const absl::Time deadline = absl::Now() + absl::Seconds(60);
    const auto due = [&] {
      const control::JobStatus status = Describe();
      return status.state() != control::JOB_PENDING && status.clock() >= at;
    };
    while (!due() && absl::Now() < deadline) {
      absl::SleepFor(absl::Milliseconds(1));
    }
    const pid_t pid = workers[victim]->pid();
    kill(pid, killed ? SIGKILL : SIGSTOP);
    if (!killed) {
      absl::SleepFor(absl::Milliseconds(300 + random() % 700));
      kill(pid, SIGCONT);
    }
    for (int rank = 0; rank < kWorkers; ++rank) {
      if (killed && rank == victim) continue;
      ASSERT_EQ(workers[rank]->Wait(absl::Seconds(60)), 0) << rank;
    }
    EXPECT_EQ(AwaitEnd().state(), control::JOB_SUCCEEDED);
    // Row 0 once all clocks are in, as the first program read it.
    std::vector<int64_t> sums(kWorkers);
    std::ifstream line(told[0] + ".sums");
    for (int64_t& sum : sums) line >> sum;
    for (int q = 0; q < kWorkers; ++q) {
      int64_t held = 0;
      std::ifstream(told[q]) >> held;
      EXPECT_GE(sums[q], held) << q;
      EXPECT_LE(sums[q], killed && q == victim ? held + 1 : held) << q;
      EXPECT_TRUE(held == kClocks || (killed && q == victim)) << q;
    }
  }
}

TEST_F(TablesTest, TellsWhatIsWrong) {
  Submit(Spec(0));
  TableSessionOptions options;
  options.coordinator = cluster_->coordinator().address();
  options.job = job_;
  options.token = "wrong";
  EXPECT_THAT(TableSession::Join(options).status().ToString(),
              HasSubstr("wrong token"));
  options.token = token_;
  auto joined = TableSession::Join(options);
  ASSERT_TRUE(joined.ok()) << joined.status();
  TableSession& tables = **joined;
  EXPECT_EQ(*tables.FindTable("wide"), 1);
  EXPECT_THAT(tables.FindTable("x").status().ToString(),
              HasSubstr("the job has counts, wide"));
  std::vector<float> row(kWorkers);
  EXPECT_THAT(tables.Get(0, 5, absl::MakeSpan(row)).ToString(),
              HasSubstr("row 5 of table 0 does not exist"));
  EXPECT_THAT(tables.Inc(1, 0, row).ToString(),
              HasSubstr("rows of 20000 floats, not 3"));
  EXPECT_THAT(cluster_->coordinator()
                  .CheckpointJob(job_, absl::Seconds(5))
                  .status()
                  .ToString(),
              HasSubstr("only a running job can be checkpointed"));
  control::SubmitJobRequest request;
  *request.mutable_spec() = Spec(0);
  request.mutable_spec()->set_wait_for_dead(true);
  EXPECT_THAT(cluster_->coordinator().SubmitJob(request).status().ToString(),
              HasSubstr("a job of tables cannot wait for the dead"));
  request.mutable_spec()->set_wait_for_dead(false);
  request.mutable_spec()->mutable_tables(1)->set_name("counts");
  EXPECT_THAT(cluster_->coordinator().SubmitJob(request).status().ToString(),
              HasSubstr("table 'counts': occurs twice"));
  request.mutable_spec()->mutable_tables(1)->set_name("huge");
  request.mutable_spec()->mutable_tables(1)->set_sparse_rows(4);
  EXPECT_THAT(cluster_->coordinator().SubmitJob(request).status().ToString(),
              HasSubstr("table 'huge': sparse_rows: 4 is not in"));
  request.mutable_spec()->mutable_tables(1)->clear_sparse_rows();
  request.mutable_spec()->mutable_tables(1)->set_width(1 << 20);
  EXPECT_THAT(cluster_->coordinator().SubmitJob(request).status().ToString(),
              HasSubstr("table 'huge': width: 1048576 is not in"));
}

// A sparse table takes rows from a wide range until it is full, and says so; a
// table's own staleness is the one that holds; batches are one message.
TEST_F(TablesTest, SparseTablesAndBatches) {
  control::JobSpec spec = Spec(0);
  spec.set_workers(1);
  spec.mutable_tables(0)->set_rows(int64_t{1} << 40);
  spec.mutable_tables(0)->set_sparse_rows(100);
  spec.mutable_tables(1)->set_staleness(3);
  Submit(spec);
  TableSessionOptions options;
  options.coordinator = cluster_->coordinator().address();
  options.job = job_;
  options.token = token_;
  auto joined = TableSession::Join(options);
  ASSERT_TRUE(joined.ok()) << joined.status();
  TableSession& tables = **joined;
  EXPECT_EQ(tables.staleness(0), 0);
  EXPECT_EQ(tables.staleness(1), 3);
  std::vector<int64_t> rows;
  for (int64_t i = 0; i < 200; ++i) rows.push_back(i * 5000000000 + i % 2);
  std::vector<float> ones(rows.size() * kWorkers, 1);
  ASSERT_TRUE(tables.BatchInc(0, rows, ones).ok());
  ASSERT_TRUE(tables.Clock().ok());
  ASSERT_TRUE(tables.Flush().ok());
  ASSERT_TRUE(tables.GetAsync(0, rows).ok());
  std::vector<float> back(ones.size());
  ASSERT_TRUE(tables.BatchGet(0, rows, absl::MakeSpan(back)).ok());
  EXPECT_EQ(back, ones);
  std::vector<float> row(kWorkers);
  ASSERT_TRUE(tables.Get(0, 7, absl::MakeSpan(row)).ok());
  EXPECT_EQ(row, std::vector<float>(kWorkers, 0));
  ASSERT_TRUE(tables.Inc(0, 7, 1, 5).ok());
  ASSERT_TRUE(tables.Clock().ok());
  EXPECT_THAT(tables.Flush().ToString(), HasSubstr("table full"));
}

// A worker that still has an older shard map: refused by name, for good.
TEST_F(TablesTest, AnotherShardMapIsOneClearLine) {
  Submit(Spec(0));
  JobSessionOptions join;
  join.coordinator = cluster_->coordinator().address();
  join.job = job_;
  join.token = token_;
  const auto session = JobSession::Join(join);
  ASSERT_TRUE(session.ok()) << session.status();
  const auto declared = (*session)->Declare({}, 0, 0);
  ASSERT_TRUE(declared.ok()) << declared.status();
  const control::JoinJobResponse& joined = (*session)->joined();
  PsClientOptions options;
  options.job = joined.job_number();
  options.job_epoch = joined.job_epoch();
  options.map_epoch = declared->shard_map().map_epoch() + 1;
  options.rank = joined.rank();
  options.incarnation = joined.incarnation();
  options.token = joined.token();
  const std::string address = declared->shard_map().servers(0).data_address();
  options.servers = {address};
  FatalOnly events;
  PsClient client(options, events);
  ASSERT_TRUE(client.Start().ok());
  ASSERT_TRUE(events.done.WaitForNotificationWithTimeout(absl::Seconds(20)));
  client.Stop();
  EXPECT_THAT(events.status.message(),
              HasSubstr(absl::StrCat("server ", address,
                                     " refused this worker: wrong map epoch")));
  EXPECT_EQ(ExitCodeFor("caffe-worker", events.status), 2);
}

}  // namespace
}  // namespace cssp
