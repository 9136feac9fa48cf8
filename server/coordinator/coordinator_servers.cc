// Coordinator: the servers, and leaving in order.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/base/logging.h"
#include "common/base/status_macros.h"
#include "server/coordinator/coordinator.h"
#include "server/coordinator/job_spec.h"

namespace cssp {
namespace {

constexpr size_t kMaxServers = 1024;
// For the checkpoints of the jobs on a server that leaves; it waits 20 s.
constexpr absl::Duration kDrainBound = absl::Seconds(15);

std::string ServerName(const control::ServerInfo& info) {
  return absl::StrCat("ps-server ", info.id(), " (", info.control_address(),
                      ")");
}

}  // namespace

absl::Status Coordinator::AddLocalServer(const control::ServerInfo& info,
                                         std::shared_ptr<ShardControl> shard,
                                         ServerLoad load) {
  absl::MutexLock lock(&mu_);
  Server server;
  server.info = info;
  server.info.set_index(static_cast<int32_t>(servers_.size()));
  server.info.set_state("live");
  server.shard = std::move(shard);
  server.load = std::move(load);
  server.local = true;
  servers_.push_back(std::move(server));
  return absl::OkStatus();
}

control::ListServersResponse Coordinator::ListServers() const {
  absl::MutexLock lock(&mu_);
  control::ListServersResponse response;
  for (const Server& server : servers_) {
    control::ServerInfo* info = response.add_servers();
    *info = server.info;
    // The local shard sends no heartbeats: it is asked.
    if (server.load) server.load(info);
  }
  return response;
}

absl::StatusOr<ServerHandle> Coordinator::OpenServer(
    const control::ServerInfo& hello) {
  if (hello.id().empty() || hello.id().size() > 63 ||
      hello.data_address().empty() || hello.data_address().size() > 256 ||
      hello.control_address().size() > 256 ||
      hello.store_directory().size() > 4096)
    return absl::InvalidArgumentError(
        "a server's hello needs its id and data address");
  if (!options_.connect)
    return absl::FailedPreconditionError("no remote servers are taken here");
  ASSIGN_OR_RETURN(std::shared_ptr<ShardControl> shard,
                   options_.connect(hello));
  absl::MutexLock lock(&mu_);
  if (stopping_) return absl::UnavailableError("the coordinator is stopping");
  auto it = std::find_if(servers_.begin(), servers_.end(),
                         [&](const Server& server) {
                           return server.info.id() == hello.id();
                         });
  if (it != servers_.end() && it->local)
    return absl::AlreadyExistsError(
        absl::StrCat("server id '", hello.id(),
                     "' is the coordinator's own; give every server its id"));
  if (it != servers_.end() && it->info.state() != "dead" &&
      it->info.control_address() != hello.control_address() &&
      Now() - it->last_seen <
          absl::Milliseconds(2 * options_.lease.heartbeat_ms()))
    return absl::AlreadyExistsError(
        absl::StrCat("server id '", hello.id(), "' is taken by ",
                     it->info.control_address(), ", which is alive"));
  if (it != servers_.end() && it->info.state() != "dead")
    ServerGoneLocked(*it, "was lost: it has registered anew");
  if (it == servers_.end()) {
    if (servers_.size() >= kMaxServers)
      return absl::FailedPreconditionError("too many servers");
    it = servers_.emplace(servers_.end());
    it->info.set_index(static_cast<int32_t>(servers_.size()) - 1);
  }
  const int index = it->info.index();
  it->info = hello;
  it->info.clear_held();
  it->info.set_index(index);
  it->info.set_state("live");
  it->shard = std::move(shard);
  it->held.clear();
  for (const control::HeldShard& held : hello.held()) HeldLocked(*it, held);
  for (const auto& [number, job] : jobs_)
    if (job->recovery.has_value()) {
      job->recovery->next_try = Now();
      LaterLocked([this, job = job] { Recover(job); });
    }
  it->last_seen = Now();
  it->registration = ++registrations_;
  it->directives = std::make_shared<ServerDirectiveQueue>(64);
  control::ServerDirective registered;
  registered.set_index(index);
  it->directives->TryPush(registered);
  LOG(INFO) << ServerName(it->info) << " registered as server " << index;
  return ServerHandle{index, it->registration, it->directives};
}

// A server that registers brings the shards that it has open: those of a job
// under way are still good, others are closed.
void Coordinator::HeldLocked(Server& server, const control::HeldShard& held) {
  const auto job = jobs_by_id_.find(held.job_id());
  if (job != jobs_by_id_.end() && !IsTerminal(job->second->status.state()) &&
      job->second->status.job_epoch() == held.job_epoch()) {
    server.held[held.job_id()] = held.job_epoch();
    return;
  }
  LaterLocked([shard = server.shard, id = held.job_id()] {
    const absl::Status closed = shard->Close(id);
    if (!closed.ok()) LOG(WARNING) << "closing job " << id << ": " << closed;
  });
}

absl::Status Coordinator::ReportServer(const ServerHandle& handle,
                                       const control::ServerReport& report) {
  std::string id;
  {
    absl::MutexLock lock(&mu_);
    Server& server = servers_[handle.index];
    if (server.registration != handle.registration ||
        server.info.state() == "dead")
      return absl::FailedPreconditionError(
          "this registration has ended; register anew");
    server.last_seen = Now();
    id = server.info.id();
    if (report.has_hello()) {
      server.info.set_bytes(report.hello().bytes());
      server.info.set_jobs(report.hello().jobs());
    }
    if (report.draining() && server.info.state() == "live") {
      server.info.set_state("draining");
      LaterLocked([this, index = handle.index] { ServerDraining(index); });
    }
  }
  if (report.has_checkpoint()) OnShardCheckpoint(id, report.checkpoint());
  return absl::OkStatus();
}

void Coordinator::ServerEnded(const ServerHandle& handle) {
  absl::MutexLock lock(&mu_);
  Server& server = servers_[handle.index];
  if (server.registration != handle.registration || stopping_ ||
      server.info.state() == "dead")
    return;
  ServerGoneLocked(server, server.info.state() == "draining"
                               ? "has left"
                               : "was lost: its connection ended");
}

void Coordinator::ServerGoneLocked(Server& server, const std::string& how) {
  server.info.set_state("dead");
  if (server.directives != nullptr) server.directives->Close();
  // Housekeeping may be asking it something right now.
  if (server.shard != nullptr) server.shard->Abandon();
  const std::string line = absl::StrCat(ServerName(server.info), " ", how);
  LOG(WARNING) << line;
  for (const JobPtr& job : JobsOnLocked(server.info.id()))
    BeginRecoveryLocked(job, line);
}

std::vector<Coordinator::JobPtr> Coordinator::JobsOnLocked(
    const std::string& server_id) const {
  std::vector<JobPtr> found;
  for (const auto& [number, job] : jobs_) {
    if (IsTerminal(job->status.state()) || !job->model.has_value()) continue;
    const std::vector<std::string>& ids = job->model->server_ids;
    if (std::find(ids.begin(), ids.end(), server_id) != ids.end())
      found.push_back(job);
  }
  return found;
}

// ---- Leaving in order -------------------------------------------------------

void Coordinator::EvacuateJob(const JobPtr& job, const std::string& why,
                              bool goes_on, absl::Duration bound) {
  const absl::Time end = absl::Now() + bound;
  bool running;
  {
    absl::MutexLock lock(&mu_);
    running = job->status.state() == control::JOB_RUNNING &&
              !job->recovery.has_value();
    // What is at its end is let end.
    const auto over = [&job]() { return IsTerminal(job->status.state()); };
    if (job->status.state() == control::JOB_FINISHING && goes_on)
      mu_.AwaitWithTimeout(absl::Condition(&over), bound);
  }
  const absl::StatusOr<control::CheckpointInfo> checkpoint =
      running ? CheckpointJob(job->id, end - absl::Now())
              : absl::FailedPreconditionError("the job was not running");
  absl::MutexLock lock(&mu_);
  if (goes_on && (job->spec.tables_size() == 0 ||
                  job->spec.durability() == control::LOG)) {
    if (running && !checkpoint.ok())
      NoteLocked(*job, absl::StrCat(why, "; no checkpoint: ",
                                    checkpoint.status().message()));
    // From here on nothing is trained that would be lost.
    if (!job->recovery.has_value() && job->model.has_value())
      BeginRecoveryLocked(job, why);
    return;
  }
  EndLocked(job, control::JOB_FAILED,
            checkpoint.ok()
                ? absl::StrCat(why, "; resume from ",
                               checkpoint->checkpoint_id())
                : absl::StrCat(why, "; no checkpoint: ",
                               checkpoint.status().message()));
}

void Coordinator::ServerDraining(int index) {
  std::vector<JobPtr> concerned;
  std::string why;
  std::shared_ptr<ServerDirectiveQueue> directives;
  {
    absl::MutexLock lock(&mu_);
    const Server& server = servers_[index];
    why = absl::StrCat(ServerName(server.info), " is leaving");
    directives = server.directives;
    concerned = JobsOnLocked(server.info.id());
  }
  // Checkpoints are committed by Step, which this runs in: a thread of its own
  // waits for them.
  Thread waiter("drain", [this, concerned, why, directives] {
    const absl::Time end = absl::Now() + kDrainBound;
    for (const JobPtr& job : concerned)
      EvacuateJob(job, why, /*goes_on=*/true,
                  std::max(absl::Seconds(1), end - absl::Now()));
    control::ServerDirective shutdown;
    shutdown.set_shutdown(true);
    if (directives != nullptr) directives->TryPush(shutdown);
  });
  absl::MutexLock lock(&mu_);
  drains_.push_back(std::move(waiter));
}

void Coordinator::Drain(absl::Duration bound) {
  std::vector<JobPtr> going;
  {
    absl::MutexLock lock(&mu_);
    draining_ = true;
    for (Server& server : servers_)
      if (server.local) server.info.set_state("draining");
    for (auto& [number, job] : jobs_)
      if (!IsTerminal(job->status.state())) going.push_back(job);
    if (!options_.leaves_for_good) {
      // Jobs without a shard here do not notice; workers wait for us.
      going.clear();
      for (const Server& server : servers_)
        if (server.local) going = JobsOnLocked(server.info.id());
    }
  }
  const absl::Time end = absl::Now() + bound;
  for (const JobPtr& job : going)
    EvacuateJob(job, "the coordinator is leaving", !options_.leaves_for_good,
                std::max(absl::ZeroDuration(), end - absl::Now()));
}

}  // namespace cssp
