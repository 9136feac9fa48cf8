// A coordinator with servers that only remember what they are told.
#ifndef CSSP_TESTS_UNIT_SERVER_COORDINATOR_FAKE_CLUSTER_H_
#define CSSP_TESTS_UNIT_SERVER_COORDINATOR_FAKE_CLUSTER_H_

#include <gmock/gmock.h>
#include <google/protobuf/text_format.h>

#include <algorithm>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "common/base/thread.h"
#include "common/base/time_source.h"
#include "server/coordinator/coordinator.h"

namespace cssp {

// Thread-compatible for these tests: Open runs on the coordinator's threads,
// one call a fake.
class FakeShard final : public ShardControl {
 public:
  absl::StatusOr<control::OpenShardResponse> Open(
      const control::OpenShardRequest& request) override {
    if (!open_result.ok()) return open_result;
    opened.push_back(request);
    if (while_opening) std::exchange(while_opening, nullptr)();
    return control::OpenShardResponse();
  }
  absl::Status Close(const std::string& job) override {
    closed.push_back(job);
    return absl::OkStatus();
  }
  absl::StatusOr<control::OrderAnswer> ProposeOrder(
      const control::ProposeOrderRequest& request) override {
    control::OrderAnswer answer;
    asked.push_back(request);
    if (request.withdraw()) {
      withdrawn.push_back(request.order().number());
      return answer;
    }
    if (while_asked) std::exchange(while_asked, nullptr)();
    if (answers_in > absl::ZeroDuration()) absl::SleepFor(answers_in);
    const int64_t clock = request.order().effective_clock();
    // An accepted proposal is reserved until its commit.
    const bool reserved =
        request.commit() && !proposed.empty() &&
        proposed.back().number() == request.order().number();
    answer.set_accepted(reserved || clock > opened_clock);
    answer.set_opened_clock(opened_clock);
    if (answer.accepted())
      (request.commit() ? committed : proposed).push_back(request.order());
    else
      ++refusals;
    opened_clock += clocks_per_call;
    return answer;
  }
  absl::Status WorkerGone(const control::WorkerGoneRequest& request) override {
    gone.push_back(request.rank());
    return absl::OkStatus();
  }
  absl::StatusOr<control::RejoinWorkerResponse> RejoinWorker(
      const control::RejoinWorkerRequest& request) override {
    rejoined.push_back(request);
    control::RejoinWorkerResponse response;
    response.set_next_clock(next_clock);
    response.set_initialised(true);
    return response;
  }
  absl::Status UpdateServers(
      const control::UpdateServersRequest& request) override {
    updated.push_back(request);
    return absl::OkStatus();
  }
  absl::Status CutCommitted(const std::string&, int64_t clock) override {
    committed_cuts.push_back(clock);
    return absl::OkStatus();
  }
  absl::StatusOr<control::ShardStatusResponse> Status(
      const std::string&) override {
    return control::ShardStatusResponse();
  }
  absl::Status DeleteCut(const std::string&, int64_t clock) override {
    deleted_cuts.push_back(clock);
    return absl::OkStatus();
  }
  void Abandon() override { ++abandoned; }

  absl::Status open_result;
  std::function<void()> while_opening, while_asked;  // once
  int64_t opened_clock = 0;
  int64_t clocks_per_call = 0;  // training goes on while we ask
  absl::Duration answers_in;
  int refusals = 0;
  int abandoned = 0;
  std::vector<control::OpenShardRequest> opened;
  std::vector<std::string> closed;
  std::vector<control::ProposeOrderRequest> asked;
  std::vector<control::Order> proposed, committed;
  std::vector<uint64_t> withdrawn;
  std::vector<int> gone;
  std::vector<int64_t> deleted_cuts, committed_cuts;
  int64_t next_clock = 0;  // what a worker that rejoins lacks here
  std::vector<control::RejoinWorkerRequest> rejoined;
  std::vector<control::UpdateServersRequest> updated;
};

inline control::JobSpec Spec(int workers, const std::string& more = "") {
  control::JobSpec spec;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(
      absl::StrCat("name: 'Test Net' workers: ", workers,
                   " solver { net_param { name: 'n' } "
                   "base_lr: 0.1 lr_policy: 'fixed' max_iter: 100 } ",
                   more),
      &spec));
  return spec;
}

class Cluster : public testing::Test {
 protected:
  static constexpr int kServers = 2;
  static constexpr uint64_t kMark = ~uint64_t{0};

  bool leaves_for_good = false;

  void SetUp() override {
    StartCoordinator();
  }
  void StartCoordinator(bool with_server = true) {
    CoordinatorOptions options;
    options.lease.set_lease_ms(10000);
    options.keep_checkpoints = 2;
    options.leaves_for_good = leaves_for_good;
    options.time = &time;
    options.unix_seconds = [this] {
      return absl::ToDoubleSeconds(time.Now() - absl::UnixEpoch());
    };
    options.store = store.get();
    options.connect = [this](const control::ServerInfo& info)
        -> absl::StatusOr<std::shared_ptr<ShardControl>> {
      if (info.id() == "ps-1") return shards[1];
      return std::make_shared<FakeShard>();
    };
    auto created = Coordinator::Create(options);
    ASSERT_TRUE(created.ok()) << created.status();
    coordinator = *std::move(created);
    control::ServerInfo info = Server(0);
    ASSERT_TRUE(coordinator->AddLocalServer(info, shards[0], nullptr).ok());
    if (with_server) OpenRemote(Server(1));
  }
  void OpenRemote(const control::ServerInfo& info) {
    auto remote = coordinator->OpenServer(info);
    ASSERT_TRUE(remote.ok()) << remote.status();
    server = *remote;
  }
  static control::ServerInfo Server(int i) {
    control::ServerInfo info;
    info.set_id(absl::StrCat("ps-", i));
    info.set_control_address(absl::StrCat("127.0.0.1:", 7000 + i));
    info.set_data_address(absl::StrCat("127.0.0.1:", 8000 + i));
    info.set_store_directory(absl::StrCat("/store/", i));
    return info;
  }

  void Submit(const control::JobSpec& spec) {
    auto response = coordinator->SubmitJob(spec);
    ASSERT_TRUE(response.ok()) << response.status();
    job = response->job_id();
    token = response->token();
  }
  absl::StatusOr<control::JoinJobResponse> Join(
      int rank, control::Role role = control::ROLE_WORKER) {
    control::JoinJobRequest request;
    request.set_job_id(job);
    request.set_token(token);
    request.set_role(role);
    request.set_rank(rank);
    request.set_host("host");
    request.set_pid(100 + rank);
    auto joined = coordinator->JoinJob(request);
    if (joined.ok()) incarnation[joined->rank()] = joined->incarnation();
    return joined;
  }
  control::DeclareLayoutRequest Layout(int rank) {
    control::DeclareLayoutRequest request;
    request.set_job_id(job);
    request.set_rank(rank);
    request.set_incarnation(incarnation[rank]);
    request.set_samples_per_clock(8);
    const std::pair<const char*, int64_t> blobs[] = {
        {"conv1/0", 60000}, {"conv1/1", 32}, {"ip/0", 90000}};
    for (const auto& [key, count] : blobs) {
      control::BlobSpec* blob = request.add_blobs();
      blob->set_key(key);
      blob->add_shape(count);
      blob->set_count(count);
      blob->set_lr_mult(1);
      blob->set_decay_mult(1);
    }
    return request;
  }
  control::WorkerReport ReportOf(int rank) {
    control::WorkerReport report;
    report.set_job_id(job);
    report.set_rank(rank);
    report.set_incarnation(incarnation[rank]);
    report.set_heartbeat(true);
    return report;
  }
  // Joined, declared and leased: the job runs.
  void Run(const control::JobSpec& spec) {
    Submit(spec);
    for (int rank = 0; rank < spec.workers(); ++rank) {
      ASSERT_TRUE(Join(rank).ok());
      auto declared =
          coordinator->DeclareLayout(Layout(rank), absl::Seconds(5));
      ASSERT_TRUE(declared.ok()) << declared.status();
      Lease(rank);
    }
    ASSERT_EQ(State(), control::JOB_RUNNING);
  }
  void Lease(int rank) {
    auto lease = coordinator->OpenLease(ReportOf(rank));
    ASSERT_TRUE(lease.ok()) << lease.status();
    leases[rank] = *lease;
    {
      absl::MutexLock lock(&mu);
      current[rank] = lease->directives.get();
      ended.erase(rank);
    }
    answerers.emplace_back("answers", [this, rank, lease = *lease] {
      Answer(rank, *lease.directives);
    });
  }
  // As a worker's lease thread does: accepts orders of clocks that it has not
  // begun, keeps the rest for Directives; what an earlier lease is told at its
  // end is nobody's any more.
  void Answer(int rank, DirectiveQueue& directives) {
    while (auto directive = directives.Pop()) {
      if (!directive->has_propose()) {
        absl::MutexLock lock(&mu);
        if (directive->withdraw() == kMark)
          ++marks[rank];
        else if (current[rank] == &directives)
          heard[rank].push_back(*directive);
        continue;
      }
      control::WorkerReport report = ReportOf(rank);
      control::OrderAnswer& answer = *report.mutable_order_answer();
      answer.set_number(directive->propose().number());
      absl::MutexLock lock(&mu);
      if (mute.count(rank) > 0) continue;
      answer.set_opened_clock(begun[rank]);
      answer.set_accepted(directive->propose().effective_clock() > begun[rank]);
      coordinator->Report(report).IgnoreError();
    }
    absl::MutexLock lock(&mu);
    if (current[rank] == &directives) ended.insert(rank);
  }
  void TearDown() override {
    if (coordinator != nullptr) coordinator->Stop();
    answerers.clear();
  }
  void Clock(int rank, int64_t clock, double loss) {
    control::WorkerReport report = ReportOf(rank);
    report.mutable_clock()->set_clock(clock);
    report.mutable_clock()->set_loss(loss);
    report.mutable_clock()->set_samples(8);
    ASSERT_TRUE(coordinator->Report(report).ok());
  }
  void Done(int rank) {
    control::WorkerReport report = ReportOf(rank);
    report.set_done(true);
    ASSERT_TRUE(coordinator->Report(report).ok());
  }
  void Part(int i, int64_t clock, const std::string& error = "") {
    control::ShardCheckpoint part;
    part.set_job_id(job);
    part.set_clock(clock);
    part.set_bytes(1000);
    part.add_chunks(i);
    part.set_error(error);
    coordinator->OnShardCheckpoint(absl::StrCat("ps-", i), part);
  }
  void Exported(int64_t clock) {
    control::WorkerReport report = ReportOf(kEvaluatorRank);
    report.mutable_exported()->set_clock(clock);
    ASSERT_TRUE(coordinator->Report(report).ok());
  }
  // Keeps everybody's lease but `silent`'s, for `by`.
  void Pass(absl::Duration by, int silent = -100) {
    for (absl::Duration left = by; left > absl::ZeroDuration();
         left -= absl::Seconds(1)) {
      time.Advance(absl::Seconds(1));
      for (auto& [rank, lease] : leases)
        if (rank != silent) coordinator->Report(ReportOf(rank)).IgnoreError();
      control::ServerReport beat;
      beat.set_heartbeat(true);
      if (silent != -200)
        coordinator->ReportServer(server, beat).IgnoreError();
      coordinator->Step();
    }
  }
  control::JobStatus Describe() {
    auto status = coordinator->DescribeJob(job);
    EXPECT_TRUE(status.ok()) << status.status();
    return status.ok() ? *status : control::JobStatus();
  }
  control::JobState State() { return Describe().state(); }
  std::vector<control::JobEvent> Events(int64_t from_clock = 0) {
    WatchCursor cursor{.job_id = job, .from_clock = from_clock};
    std::vector<control::JobEvent> all;
    for (;;) {
      auto events = coordinator->NextEvents(&cursor, absl::ZeroDuration());
      if (!events.ok() || events->empty()) return all;
      all.insert(all.end(), events->begin(), events->end());
    }
  }
  std::vector<control::WorkerDirective> Directives(int rank) {
    absl::MutexLock lock(&mu);
    // Everything that was pushed before the mark has been heard at the mark.
    const int before = marks[rank];
    control::WorkerDirective mark;
    mark.set_withdraw(kMark);
    const bool pushed = leases[rank].directives->TryPush(mark);
    const auto heard_all = [&]() ABSL_SHARED_LOCKS_REQUIRED(mu) {
      return pushed ? marks[rank] > before : ended.count(rank) > 0;
    };
    mu.Await(absl::Condition(&heard_all));
    return std::exchange(heard[rank], {});
  }

  FakeTimeSource time;
  std::unique_ptr<ParamStore> store = MakeMemoryStore();
  std::vector<std::shared_ptr<FakeShard>> shards = {
      std::make_shared<FakeShard>(), std::make_shared<FakeShard>()};
  std::unique_ptr<Coordinator> coordinator;
  ServerHandle server;
  std::string job, token;
  std::map<int, uint32_t> incarnation;
  std::map<int, LeaseHandle> leases;
  absl::Mutex mu;
  std::map<int, std::vector<control::WorkerDirective>> heard;
  std::map<int, int64_t> begun;  // by a worker: it refuses orders up to it
  std::set<int> mute;            // do not answer
  std::map<int, const DirectiveQueue*> current;  // of its newest lease
  std::map<int, int> marks;
  std::set<int> ended;           // the lease is closed and read out
  std::vector<Thread> answerers;
};

}  // namespace cssp

#endif  // CSSP_TESTS_UNIT_SERVER_COORDINATOR_FAKE_CLUSTER_H_
