#include "server/service/shard_host.h"

#include <algorithm>
#include <atomic>
#include <deque>
#include <functional>
#include <iterator>
#include <memory>
#include <optional>
#include <utility>

#include "absl/memory/memory.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "common/base/bounded_queue.h"
#include "common/base/logging.h"
#include "common/base/status_macros.h"
#include "common/base/thread.h"
#include "server/service/checkpoint_writer.h"
#include "server/service/data_plane.h"
#include "server/service/job_shard.h"
#include "server/service/metrics.h"

namespace cssp {
namespace {

constexpr size_t kMaxCommands = 1024;
// Commands taken between two polls, so that a burst of ticks does not starve
// the data plane.
constexpr int kCommandsPerTurn = 64;
constexpr absl::Duration kMetricsEvery = absl::Milliseconds(200);
constexpr absl::Duration kFarewell = absl::Milliseconds(200);

absl::Status Stopped() {
  return absl::UnavailableError("this server is shutting down");
}

// Thread-safe; see the interface.  `plane_` and the jobs in it are the shard
// thread's alone.
class ThreadedShardHost final : public ShardHost {
 public:
  explicit ThreadedShardHost(ShardHostOptions options)
      : options_(std::move(options)),
        commands_(kMaxCommands),
        writer_(
            {.store = options_.store,
             .metrics = options_.metrics,
             .report = options_.on_checkpoint,
             .release = [this](CutTask task) { Release(std::move(task)); }}) {}
  ~ThreadedShardHost() override { Stop(); }

  absl::Status Begin() {
    DataPlane::Options plane;
    plane.host = options_.data_host;
    plane.port = options_.data_port;
    plane.transport = options_.transport;
    plane.make_transport = options_.make_transport;
    if (!plane.make_transport) plane.make_transport = MakeUcxTransport;
    plane.metrics = options_.metrics;
    plane.time = &TimeSource::Real();
    plane.on_cut = [this](JobShard& job, const RetainedCut& cut) {
      OnCut(job, cut);
    };
    // The transport belongs to the thread that makes it.
    absl::Notification ready;
    absl::Status status;
    thread_ = Thread("shard", [this, &ready, &status, plane]() mutable {
      absl::StatusOr<std::unique_ptr<DataPlane>> made =
          DataPlane::Create(std::move(plane));
      status = made.status();
      if (status.ok()) {
        plane_ = *std::move(made);
        data_address_ = plane_->address();
        transport_.store(&plane_->transport());
      }
      const bool run = status.ok();
      ready.Notify();
      if (run) Run();
    });
    ready.WaitForNotification();
    if (status.ok()) writer_.Start();
    return status;
  }

  std::string data_address() const override { return data_address_; }

  absl::StatusOr<control::OpenShardResponse> Open(
      const control::OpenShardRequest& request) override {
    // Built (and restored from disk) here, handed to the shard thread whole.
    JobSender* sender = nullptr;
    RETURN_IF_ERROR(Do([&] {
      sender = &plane_->sender();
      return absl::OkStatus();
    }));
    ASSIGN_OR_RETURN(std::unique_ptr<JobShard> job,
                     JobShard::Create(
                         request, options_.store,
                         {.store = options_.store_directory,
                          .logs = options_.log_directory}, *sender));
    control::OpenShardResponse response;
    response.set_bytes(job->bytes());
    RETURN_IF_ERROR(Do([&] { return plane_->AddJob(std::move(job)); }));
    return response;
  }

  absl::Status Close(const std::string& job_id) override {
    return Do([&] { return plane_->RemoveJob(job_id); });
  }

  absl::StatusOr<control::TickAck> Tick(const control::Tick& tick) override {
    return Answered<control::TickAck>(
        tick.job_id(), [&](JobShard& job, auto done) {
          if (!job.TokenMatches(tick.token()))
            return done(absl::UnauthenticatedError(
                absl::StrCat("job ", tick.job_id(), ": wrong token")));
          job.Tick(tick, std::move(done));
        });
  }

  absl::StatusOr<control::OrderAnswer> ProposeOrder(
      const control::ProposeOrderRequest& request) override {
    return Answered<control::OrderAnswer>(
        request.job_id(), [&](JobShard& job, auto done) {
          job.ProposeOrder(request, std::move(done));
        });
  }

  absl::Status WorkerGone(const control::WorkerGoneRequest& request) override {
    return Answered<control::WorkerGoneResponse>(
               request.job_id(),
               [&](JobShard& job, auto done) {
                 job.WorkerGone(request, std::move(done));
               })
        .status();
  }

  absl::StatusOr<control::RejoinWorkerResponse> RejoinWorker(
      const control::RejoinWorkerRequest& request) override {
    return Answered<control::RejoinWorkerResponse>(
        request.job_id(), [&](JobShard& job, auto done) {
          job.Rejoin(request, std::move(done));
        });
  }

  absl::Status UpdateServers(
      const control::UpdateServersRequest& request) override {
    return WithJob(request.job_id(), [&](JobShard& job) {
      return plane_->UpdateServers(job, request.shard_map());
    });
  }

  absl::Status CutCommitted(const std::string& job_id,
                            int64_t clock) override {
    return WithJob(job_id, [&](JobShard& job) {
      job.CutCommitted(clock);
      return absl::OkStatus();
    });
  }

  std::vector<control::HeldShard> held() override {
    std::vector<control::HeldShard> held;
    Do([&] {
      for (const auto& [number, job] : plane_->jobs()) {
        control::HeldShard& shard = held.emplace_back();
        shard.set_job_id(job->id());
        shard.set_job_epoch(job->shard().options().job_epoch);
      }
      return absl::OkStatus();
    }).IgnoreError();
    return held;
  }

  absl::StatusOr<control::ShardStatusResponse> Status(
      const std::string& job_id) override {
    control::ShardStatusResponse status;
    RETURN_IF_ERROR(WithJob(job_id, [&](JobShard& job) {
      status = job.shard().Status();
      return absl::OkStatus();
    }));
    return status;
  }

  uint64_t heartbeat() const override { return heartbeat_.load(); }
  int64_t bytes() const override { return bytes_.load(); }
  int jobs() const override { return jobs_.load(); }

  void Stop() override {
    // First the writer: it hands its buffers back to a thread that still runs.
    writer_.Stop();
    stopping_.store(true);
    commands_.Close();
    if (Transport* transport = transport_.load()) transport->Wake();
    thread_.Join();
  }

 private:
  using Command = std::function<void()>;

  // Runs `body` on the shard thread and waits for it.
  template <class Body>
  absl::Status Do(Body body) {
    absl::Status status;
    absl::Notification done;
    const bool taken = commands_.Push([&] {
      status = body();
      done.Notify();
    });
    if (!taken) return Stopped();
    transport_.load()->Wake();
    done.WaitForNotification();
    return status;
  }

  template <class Body>
  absl::Status WithJob(const std::string& id, Body body) {
    return Do([&]() -> absl::Status {
      JobShard* job = plane_->FindJob(id);
      if (job == nullptr) {
        return absl::NotFoundError(
            absl::StrCat("job ", id, " is not open on this server"));
      }
      return body(*job);
    });
  }

  // Hands `take` to the shard thread with what it is to call with the answer,
  // now or when the input is durable, and waits for that.
  template <class Response, class Take>
  absl::StatusOr<Response> Answered(const std::string& id, Take take) {
    struct Answer {
      absl::Notification there;
      absl::StatusOr<Response> result = Stopped();
    };
    auto answer = std::make_shared<Answer>();
    RETURN_IF_ERROR(WithJob(id, [&](JobShard& job) {
      take(job, [answer](absl::StatusOr<Response> result) {
        answer->result = std::move(result);
        answer->there.Notify();
      });
      return absl::OkStatus();
    }));
    answer->there.WaitForNotification();
    return std::move(answer->result);
  }

  // The shard thread.
  void Run() {
    while (!stopping_.load(std::memory_order_relaxed)) {
      heartbeat_.fetch_add(1, std::memory_order_relaxed);
      int events = plane_->Turn();
      for (int i = 0; i < kCommandsPerTurn; ++i) {
        std::optional<Command> command = commands_.TryPop();
        if (!command) break;
        (*command)();
        ++events;
      }
      RetryCuts();
      ReportMetrics();
      if (events == 0) plane_->transport().Wait(plane_->UntilDue());
    }
    Finish();
  }

  void Finish() {
    plane_->CloseLogs();
    while (std::optional<Command> command = commands_.TryPop()) (*command)();
    plane_->Farewell();
    const absl::Time until = TimeSource::Real().Now() + kFarewell;
    while (plane_->Turn() > 0 && TimeSource::Real().Now() < until) {
    }
    waiting_cuts_.clear();
  }

  void OnCut(JobShard& job, const RetainedCut& cut) {
    CutTask task;
    task.job_id = job.id();
    task.job_epoch = job.shard().options().job_epoch;
    task.clock = cut.clock;
    for (const ChunkState& chunk : job.shard().chunks()) {
      task.chunk_ids.push_back(chunk.id);
    }
    task.arrays = cut.chunks;
    task.plateau = cut.plateau;
    task.tables = cut.tables;
    waiting_cuts_.push_back(std::move(task));
    RetryCuts();
  }

  // Of the cuts beyond what the writer takes, a job's newest waits with its
  // memory (so that the last of all is always written); the older ones give
  // theirs up and are reported as failed.
  void RetryCuts() {
    while (!waiting_cuts_.empty() && writer_.TryAdd(waiting_cuts_.front())) {
      waiting_cuts_.pop_front();
    }
    for (auto task = waiting_cuts_.begin(); task != waiting_cuts_.end();
         ++task) {
      const bool superseded = std::any_of(
          std::next(task), waiting_cuts_.end(),
          [&](const CutTask& newer) { return newer.job_id == task->job_id; });
      if (!superseded || !task->error.empty()) continue;
      task->error = "the store does not keep up with the snapshots";
      task->arrays.clear();
      task->tables.reset();
    }
  }

  // The writer's thread: buffers are let go where they belong.
  void Release(CutTask task) {
    auto shared = std::make_shared<CutTask>(std::move(task));
    if (commands_.Push([shared]() mutable {
          shared->arrays.clear();
          shared->tables.reset();
        })) {
      transport_.load()->Wake();
    }
  }

  void ReportMetrics() {
    const absl::Time now = TimeSource::Real().Now();
    if (now < next_report_) return;
    next_report_ = now + kMetricsEvery;
    int64_t bytes = 0, parked = 0, version = 0;
    int64_t least = kClockInfinity;
    ShardHostMetrics* metrics = options_.metrics;
    for (const auto& [number, job] : plane_->jobs()) {
      Shard& shard = job->shard();
      bytes += job->bytes();
      parked += job->parked();
      version = std::max(version, shard.max_version());
      least = std::min(least, shard.min_clock());
      if (metrics != nullptr) job->ReportMetrics(*metrics);
    }
    bytes_.store(bytes);
    jobs_.store(static_cast<int>(plane_->jobs().size()));
    if (metrics == nullptr) return;
    metrics->parked_now->Set(parked);
    metrics->parameter_bytes->Set(bytes);
    metrics->jobs->Set(plane_->jobs().size());
    metrics->max_version->Set(version);
    if (least != kClockInfinity) metrics->min_clock->Set(least);
    const uint64_t turns = heartbeat_.load();
    metrics->turns->Add(turns - reported_turns_);
    reported_turns_ = turns;
  }

  const ShardHostOptions options_;
  BoundedQueue<Command> commands_;
  CheckpointWriter writer_;
  std::string data_address_;
  std::atomic<Transport*> transport_{nullptr};
  std::atomic<bool> stopping_{false};
  std::atomic<uint64_t> heartbeat_{0};
  std::atomic<int64_t> bytes_{0};
  std::atomic<int> jobs_{0};

  // The shard thread's.  Outlives it, because a caller may still be in Wake.
  std::unique_ptr<DataPlane> plane_;
  std::deque<CutTask> waiting_cuts_;
  absl::Time next_report_ = absl::InfinitePast();
  uint64_t reported_turns_ = 0;

  Thread thread_;  // last: joins before the rest goes
};

}  // namespace

absl::StatusOr<std::unique_ptr<ShardHost>> ShardHost::Start(
    ShardHostOptions options) {
  auto host = std::make_unique<ThreadedShardHost>(std::move(options));
  RETURN_IF_ERROR(host->Begin());
  return host;
}

}  // namespace cssp
