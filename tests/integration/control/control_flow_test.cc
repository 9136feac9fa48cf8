// A job's control flow on real ps-servers: workers that join, declare, tick and
// keep leases, without a data plane.
#include <gmock/gmock.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "common/config/environment.h"
#include "common/rpc/coordinator_client.h"
#include "common/rpc/shard_client.h"

extern char** environ;

namespace cssp {
namespace {

using testing::HasSubstr;

// A ps-server process; killed with the object.
class ServerProcess {
 public:
  ServerProcess(const std::string& folder, int i,
                const std::string& coordinator) {
    const std::string ready = absl::StrCat(folder, "/ready-", i);
    std::vector<std::string> args = {
        EnvironmentVariable("CSSP_TEST_PS_SERVER").value_or("ps-server"),
        absl::StrCat("--set=id=ps-", i),
        absl::StrCat("--set=state_dir=", folder, "/state-", i),
        absl::StrCat("--set=ready_file=", ready),
        "--set=lease.lease_ms=2000",
        "--set=lease.heartbeat_ms=200",
        "--set=recovery.server_wait_ms=500"};
    if (!coordinator.empty())
      args.push_back(absl::StrCat("--set=coordinator=", coordinator));
    std::vector<char*> argv;
    for (std::string& arg : args) argv.push_back(arg.data());
    argv.push_back(nullptr);
    EXPECT_EQ(posix_spawn(&pid_, argv[0], nullptr, nullptr, argv.data(),
                          environ),
              0);
    const absl::Time end = absl::Now() + absl::Seconds(20);
    while (!std::filesystem::exists(ready) && absl::Now() < end)
      absl::SleepFor(absl::Milliseconds(20));
    std::string word;
    std::ifstream in(ready);
    while (in >> word)
      if (absl::StartsWith(word, "control=")) control_ = word.substr(8);
    EXPECT_FALSE(control_.empty());
  }
  ~ServerProcess() { Signal(SIGKILL); }

  // Gives the wait status.
  int Signal(int number) {
    int status = -1;
    if (pid_ <= 0) return status;
    kill(pid_, number);
    waitpid(pid_, &status, 0);
    pid_ = -1;
    return status;
  }
  const std::string& control() const { return control_; }

 private:
  pid_t pid_ = -1;
  std::string control_;
};

class ControlFlow : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = absl::StrCat(testing::TempDir(), "/control_flow_", getpid());
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
    first_ = std::make_unique<ServerProcess>(folder_, 0, "");
    second_ = std::make_unique<ServerProcess>(folder_, 1, first_->control());
    auto created = CoordinatorClient::Create(first_->control());
    ASSERT_TRUE(created.ok());
    client_ = *std::move(created);
    Submit();
  }
  void TearDown() override {
    second_.reset();
    first_.reset();
    std::filesystem::remove_all(folder_);
  }

  void Submit() {
    control::SubmitJobRequest request;
    control::JobSpec* spec = request.mutable_spec();
    spec->set_name("flow");
    spec->set_workers(2);
    spec->mutable_solver()->mutable_net_param()->set_name("n");
    spec->mutable_solver()->set_base_lr(0.1f);
    spec->mutable_solver()->set_lr_policy("fixed");
    spec->mutable_solver()->set_max_iter(1000);
    auto response = client_->SubmitJob(request);
    ASSERT_TRUE(response.ok()) << response.status();
    job_ = response->job_id();
    token_ = response->token();
  }
  control::JoinJobResponse Join(int rank) {
    control::JoinJobRequest request;
    request.set_job_id(job_);
    request.set_token(token_);
    request.set_rank(rank);
    auto joined = client_->JoinJob(request);
    EXPECT_TRUE(joined.ok()) << joined.status();
    return joined.ok() ? *joined : control::JoinJobResponse();
  }
  std::unique_ptr<LeaseStream> Lease(const control::JoinJobResponse& joined) {
    auto lease = client_->KeepLease(
        [this](const control::WorkerDirective& directive) {
          if (directive.abort() && !aborted_.HasBeenNotified())
            aborted_.Notify();
          if (directive.has_rejoin() && !rejoin_.HasBeenNotified())
            rejoin_.Notify();
        },
        [](absl::Status) {});
    control::WorkerReport report;
    report.set_job_id(job_);
    report.set_rank(joined.rank());
    report.set_incarnation(joined.incarnation());
    report.set_heartbeat(true);
    EXPECT_TRUE(lease->Send(report).ok());
    return lease;
  }
  control::DeclareLayoutResponse Declare(
      const control::JoinJobResponse& joined) {
    control::DeclareLayoutRequest request;
    request.set_job_id(job_);
    request.set_rank(joined.rank());
    request.set_incarnation(joined.incarnation());
    for (int i = 0; i < 4; ++i) {
      control::BlobSpec* blob = request.add_blobs();
      blob->set_key(absl::StrCat("ip", i, "/0"));
      blob->add_shape(20000);
      blob->set_count(20000);
      blob->set_lr_mult(1);
      blob->set_decay_mult(1);
    }
    auto declared = client_->DeclareLayout(request);
    EXPECT_TRUE(declared.ok()) << declared.status();
    return declared.ok() ? *declared : control::DeclareLayoutResponse();
  }
  // Two workers, joined and declared; the job runs.
  std::array<std::unique_ptr<LeaseStream>, 2> StartBoth() {
    const auto worker0 = Join(0), worker1 = Join(1);
    std::array<std::unique_ptr<LeaseStream>, 2> leases = {Lease(worker0),
                                                          Lease(worker1)};
    Declare(worker0);
    Declare(worker1);
    Await(control::JOB_RUNNING, {leases[0].get(), leases[1].get()});
    return leases;
  }
  // Heartbeats until the job is in `state`, at most 15 s.
  control::JobStatus Await(control::JobState state,
                           std::vector<LeaseStream*> beating) {
    const absl::Time end = absl::Now() + absl::Seconds(15);
    control::JobStatus status;
    do {
      for (LeaseStream* lease : beating) {
        control::WorkerReport beat;
        beat.set_heartbeat(true);
        lease->Send(beat).IgnoreError();
      }
      status = client_->DescribeJob(job_).value_or(control::JobStatus());
      if (status.state() == state) return status;
      absl::SleepFor(absl::Milliseconds(50));
    } while (absl::Now() < end);
    ADD_FAILURE() << "the job is " << status.ShortDebugString();
    return status;
  }

  std::string folder_, job_, token_;
  std::unique_ptr<ServerProcess> first_, second_;
  std::unique_ptr<CoordinatorClient> client_;
  absl::Notification aborted_, rejoin_;
};

TEST_F(ControlFlow, WorkersTickRealShards) {
  const auto worker0 = Join(0), worker1 = Join(1);
  auto lease0 = Lease(worker0), lease1 = Lease(worker1);
  const auto layout = Declare(worker0);
  EXPECT_EQ(Declare(worker1).shard_map().SerializeAsString(),
            layout.shard_map().SerializeAsString());
  ASSERT_EQ(layout.shard_map().servers_size(), 2);
  Await(control::JOB_RUNNING, {});
  for (const control::ServerEntry& server : layout.shard_map().servers()) {
    auto shard = ShardClient::Create(server.control_address());
    ASSERT_TRUE(shard.ok());
    ASSERT_TRUE((*shard)->ShardStatus(job_).ok());
    control::Tick tick;
    tick.set_job_id(job_);
    tick.set_token("wrong");
    tick.set_incarnation(worker0.incarnation());
    absl::Notification broken;
    absl::Status why;
    auto ticks = (*shard)->Ticks([&](absl::Status status) {
      why = status;
      broken.Notify();
    });
    ASSERT_TRUE(ticks->Send(tick).ok());
    ASSERT_TRUE(broken.WaitForNotificationWithTimeout(absl::Seconds(10)));
    EXPECT_EQ(why.code(), absl::StatusCode::kUnauthenticated) << why;
    tick.set_token(token_);
    auto good = (*shard)->Ticks(nullptr);
    ASSERT_TRUE(good->Send(tick).ok());
    EXPECT_TRUE(good->Close(absl::Seconds(10)).ok());
    EXPECT_EQ(good->acknowledged(), 1);
  }
  // Bad order, bad cut: refused by the shard, which lives on.
  auto shard = ShardClient::Create(second_->control());
  control::ProposeOrderRequest order;
  order.set_job_id(job_);
  EXPECT_FALSE((*shard)->ProposeOrder(order).ok());
  EXPECT_FALSE((*shard)->DeleteCut("../x", 1).ok());
  EXPECT_TRUE(absl::IsNotFound((*shard)->ShardStatus("nosuch-1").status()));
}

TEST_F(ControlFlow, ASilentWorkerIsDeclaredDead) {
  auto [lease0, lease1] = StartBoth();
  // Only worker 0 beats from now on.
  const absl::Time end = absl::Now() + absl::Seconds(10);
  std::string state;
  while (state != "dead" && absl::Now() < end) {
    const auto status = Await(control::JOB_RUNNING, {lease0.get()});
    if (status.workers_size() == 2) state = status.workers(1).state();
    absl::SleepFor(absl::Milliseconds(50));
  }
  EXPECT_EQ(state, "dead");
  EXPECT_EQ(Await(control::JOB_RUNNING, {lease0.get()}).workers(0).state(),
            "running");
  // The last one leaves: the job has failed, with a reason.
  lease0.reset();
  EXPECT_THAT(Await(control::JOB_FAILED, {}).message(), HasSubstr("worker 1"));
}

TEST_F(ControlFlow, AKilledServersPartMovesToTheOneThatIsLeft) {
  const auto worker0 = Join(0), worker1 = Join(1);
  auto lease0 = Lease(worker0), lease1 = Lease(worker1);
  const auto before = Declare(worker0);
  Declare(worker1);
  Await(control::JOB_RUNNING, {lease0.get(), lease1.get()});
  second_->Signal(SIGKILL);
  // Workers are told to declare anew, and the job goes on.
  const absl::Time end = absl::Now() + absl::Seconds(15);
  while (!rejoin_.HasBeenNotified() && absl::Now() < end) {
    Await(control::JOB_RUNNING, {lease0.get(), lease1.get()});
    absl::SleepFor(absl::Milliseconds(50));
  }
  ASSERT_TRUE(rejoin_.HasBeenNotified());
  EXPECT_FALSE(aborted_.HasBeenNotified());
  const auto after = Declare(worker0);
  EXPECT_EQ(Declare(worker1).shard_map().SerializeAsString(),
            after.shard_map().SerializeAsString());
  EXPECT_GT(after.shard_map().map_epoch(), before.shard_map().map_epoch());
  ASSERT_EQ(after.shard_map().servers_size(), 1);
  EXPECT_EQ(after.shard_map().servers(0).control_address(), first_->control());
  auto shard = ShardClient::Create(first_->control());
  ASSERT_TRUE(shard.ok());
  EXPECT_TRUE((*shard)->ShardStatus(job_).ok());
}

TEST_F(ControlFlow, AFailedJobsShardsAreClosed) {
  {
    const auto leases = StartBoth();
  }
  Await(control::JOB_FAILED, {});
  auto shard = ShardClient::Create(first_->control());
  ASSERT_TRUE(shard.ok());
  const absl::Time end = absl::Now() + absl::Seconds(10);
  while ((*shard)->ShardStatus(job_).ok() && absl::Now() < end)
    absl::SleepFor(absl::Milliseconds(50));
  EXPECT_TRUE(absl::IsNotFound((*shard)->ShardStatus(job_).status()));
  // A server without jobs drains at once.
  const int exit_status = first_->Signal(SIGTERM);
  EXPECT_TRUE(WIFEXITED(exit_status) && WEXITSTATUS(exit_status) == 0);
}

TEST_F(ControlFlow, WrongTokensAndUnknownJobsAreRefused) {
  control::JoinJobRequest request;
  request.set_job_id(job_);
  request.set_token("wrong");
  EXPECT_EQ(client_->JoinJob(request).status().code(),
            absl::StatusCode::kUnauthenticated);
  request.set_job_id("nosuch-1");
  EXPECT_TRUE(absl::IsNotFound(client_->JoinJob(request).status()));
  request.set_host(std::string(2 << 20, 'x'));
  EXPECT_TRUE(absl::IsInvalidArgument(client_->JoinJob(request).status()));
}

}  // namespace
}  // namespace cssp
