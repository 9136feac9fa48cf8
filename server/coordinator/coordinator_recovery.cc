// Coordinator: jobs that go on after the loss of a server, or of the
// coordinator itself.
//
// A job is whole while every server of its map is live and holds its shard of
// the present epoch.  Where that is not so (a server died, or a restarted
// coordinator does not know yet) the job is in recovery: declarations wait,
// and Recover runs until it is whole again.  It opens only what is lost where
// a log brings it back (same epoch), else every shard from the last checkpoint
// that can be read (next epoch: messages of the old one are refused).
#include <algorithm>
#include <iterator>
#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/logging.h"
#include "common/base/status_macros.h"
#include "common/ps/layout_proto.h"
#include "server/checkpoint/checkpoint_io.h"
#include "server/coordinator/coordinator.h"
#include "server/coordinator/job_spec.h"

namespace cssp {
namespace {

constexpr absl::Duration kRetry = absl::Milliseconds(200);
constexpr absl::Duration kRetryFailed = absl::Seconds(1);

// Trouble of a server, not of what it was asked to read.
bool Passing(const absl::Status& status) {
  return absl::IsUnavailable(status) || absl::IsDeadlineExceeded(status) ||
         absl::IsResourceExhausted(status) || absl::IsAlreadyExists(status) ||
         absl::IsCancelled(status);
}

std::string RunKey(const std::string& job_id) {
  return absl::StrCat("run/", job_id);
}

std::string Seconds(absl::Duration duration) {
  return absl::StrCat(
      absl::ToInt64Milliseconds(duration) / 1000.0, " s");
}

}  // namespace

// What Recover does without the lock.
struct Coordinator::Reopening {
  control::OpenShardRequest open;
  PlacedModel model;
  std::vector<int> which;  // of the model's servers: to be opened
  std::vector<std::shared_ptr<ShardControl>> close;   // first
  std::vector<std::shared_ptr<ShardControl>> update;  // hold theirs
  bool rollback = false;
  bool replace = false;    // on other servers than before
  int64_t cut = -1;        // the checkpoint; -1: none
  std::string from;        // in words
};

Coordinator::Server* Coordinator::LiveServerLocked(const std::string& id) {
  for (Server& server : servers_)
    if (server.info.id() == id && server.info.state() == "live")
      return &server;
  return nullptr;
}

std::string Coordinator::ResumeHintLocked(const Job& job) const {
  const auto& checkpoints = job.status.checkpoints();
  if (checkpoints.empty()) return "; there is no checkpoint";
  return absl::StrCat("; resume from ",
                      checkpoints.rbegin()->checkpoint_id());
}

void Coordinator::BeginRecoveryLocked(const JobPtr& job,
                                      const std::string& why) {
  if (IsTerminal(job->status.state())) return;
  if (job->spec.tables_size() > 0 &&
      job->spec.durability() != control::LOG)
    return EndLocked(job, control::JOB_FAILED,
                     absl::StrCat(why, ResumeHintLocked(*job)));
  if (!job->recovery.has_value()) {
    job->recovery.emplace();
    job->recovery->since = Now();
    job->opening = Job::Opening::kUnderWay;
  }
  job->recovery->why = why;
  job->recovery->next_try = Now();
  NoteLocked(*job, absl::StrCat(why, "; the job waits for it"));
  if (!job->recovery->told) TellRejoinLocked(*job);
  LaterLocked([this, job] { Recover(job); });
}

void Coordinator::TellRejoinLocked(Job& job) {
  ++job.recoveries;
  StoreRunLocked(job);
  control::WorkerDirective directive;
  directive.mutable_rejoin()->set_number(job.recoveries);
  directive.mutable_rejoin()->set_why(job.recovery->why);
  for (auto& [rank, member] : job.members)
    if (member.directives != nullptr && member.state != Member::State::kDead)
      member.directives->TryPush(directive);
  job.recovery->told = true;
}

void Coordinator::Recover(const JobPtr& job) {
  Reopening plan;
  {
    absl::MutexLock lock(&mu_);
    if (IsTerminal(job->status.state()) || !job->recovery.has_value() ||
        Now() < job->recovery->next_try)
      return;
    job->recovery->next_try = Now() + kRetry;
    if (!PlanLocked(job, &plan)) return;
  }
  for (const auto& shard : plan.close) {
    const absl::Status closed = shard->Close(job->id);
    if (!closed.ok() && !absl::IsNotFound(closed))
      LOG(WARNING) << "job " << job->id << ": closing a shard: " << closed;
  }
  control::UpdateServersRequest update;
  update.set_job_id(job->id);
  *update.mutable_shard_map() = plan.model.map;
  absl::Status opened;
  for (const auto& shard : plan.update)
    if (opened.ok()) opened = shard->UpdateServers(update);
  if (opened.ok()) opened = OpenShards(plan.open, plan.model, plan.which);
  absl::MutexLock lock(&mu_);
  ReopenedLocked(job, std::move(plan), opened);
}

// False: nothing to open now.
bool Coordinator::PlanLocked(const JobPtr& job, Reopening* plan) {
  Recovery& recovery = *job->recovery;
  PlacedModel& model = *job->model;
  bool all_live = true;
  for (size_t i = 0; i < model.server_ids.size(); ++i) {
    const Server* server = LiveServerLocked(model.server_ids[i]);
    if (server == nullptr) {
      all_live = false;
      continue;
    }
    control::ServerEntry* entry = model.map.mutable_servers(i);
    entry->set_data_address(server->info.data_address());
    entry->set_control_address(server->info.control_address());
    model.directories[i] = server->info.store_directory();
    model.shards[i] = server->shard;
    model.registrations[i] = server->registration;
    const auto held = server->held.find(job->id);
    if (held == server->held.end() ||
        held->second != job->status.job_epoch())
      plan->which.push_back(static_cast<int>(i));
    else
      plan->update.push_back(server->shard);
  }
  if (all_live && plan->which.empty()) {
    EndRecoveryLocked(job, "no shard was lost");
    return false;
  }
  if (!all_live && Now() - recovery.since <
                       absl::Milliseconds(options_.recovery.server_wait_ms()))
    return false;
  if (!recovery.told) TellRejoinLocked(*job);
  const bool from_log = all_live && !recovery.log_failed &&
                        job->spec.durability() == control::LOG;
  absl::Status planned;
  if (from_log) {
    plan->model = model;
    plan->open = OpenRequestLocked(*job, model);
    plan->open.clear_members();
    plan->open.set_replay_log(true);
    planned = ChooseCutLocked(*job, plan);
    plan->from = "where its log ends";
  } else if (job->spec.tables_size() > 0) {
    // Its programs cannot be taken back to a checkpoint.
    planned = absl::FailedPreconditionError(absl::StrCat(
        recovery.log_failed ? "its log cannot be read"
        : all_live          ? "it has no log"
                            : "it has not come back",
        ResumeHintLocked(*job)));
  } else {
    planned = PlanRollbackLocked(job, !all_live, plan);
  }
  if (planned.ok()) return true;
  EndLocked(job, control::JOB_FAILED,
            absl::StrCat(recovery.why, ", and ", planned.message()));
  return false;
}

// The newest checkpoint that is not known to be damaged, else what the job
// began from.
absl::Status Coordinator::ChooseCutLocked(const Job& job, Reopening* plan) {
  ASSIGN_OR_RETURN(std::vector<Manifest> manifests,
                   ListManifests(*options_.store, job.id));
  while (!manifests.empty() &&
         (job.recovery->damaged.count(manifests.back().clock()) > 0 ||
          manifests.back().clock() < job.first_clock))
    manifests.pop_back();
  plan->cut = -1;
  plan->from = "the beginning";
  plan->open.set_start_clock(job.first_clock);
  *plan->open.mutable_plateau() = job.first_plateau;
  Manifest manifest;
  if (!manifests.empty()) {
    manifest = std::move(manifests.back());
    plan->cut = manifest.clock();
  } else if (!job.spec.resume_checkpoint().empty()) {
    ASSIGN_OR_RETURN(manifest, ReadManifest(*options_.store,
                                            job.spec.resume_checkpoint()));
  } else {
    return absl::OkStatus();
  }
  const std::string id = CheckpointId(manifest.job_id(), manifest.clock());
  plan->from = absl::StrCat("checkpoint ", id);
  plan->open.set_start_clock(manifest.clock());
  plan->open.set_restore_checkpoint(id);
  plan->open.set_manifest(manifest.SerializeAsString());
  *plan->open.mutable_plateau() = manifest.plateau();
  return absl::OkStatus();
}

absl::Status Coordinator::PlanRollbackLocked(const JobPtr& job, bool replace,
                                             Reopening* plan) {
  plan->rollback = true;
  plan->replace = replace;
  plan->update.clear();
  job->status.set_job_epoch(job->status.job_epoch() + 1);
  plan->model = *job->model;
  if (replace) {
    const uint32_t epoch = job->model->map.map_epoch();
    ASSIGN_OR_RETURN(plan->model, PlaceOnLiveLocked(*job, job->model->layout));
    plan->model.map.set_map_epoch(epoch + 1);
  }
  plan->which.resize(plan->model.shards.size());
  std::iota(plan->which.begin(), plan->which.end(), 0);
  for (Server& server : servers_) {
    if (server.info.state() == "dead" || server.held.erase(job->id) == 0)
      continue;
    plan->close.push_back(server.shard);
  }
  plan->open = OpenRequestLocked(*job, plan->model);
  RETURN_IF_ERROR(ChooseCutLocked(*job, plan));
  // The epoch is used up, whatever becomes of this attempt.
  return StoreLocked(*job, /*sync=*/true);
}

void Coordinator::ReopenedLocked(const JobPtr& job, Reopening plan,
                                 absl::Status opened) {
  if (opened.ok())
    opened = HoldLocked(*job, plan.model, job->status.job_epoch());
  if (IsTerminal(job->status.state()))  // cancelled meanwhile
    return LaterLocked([this, job] { CloseShards(job); });
  if (!opened.ok()) return FailedReopeningLocked(job, plan, opened);
  job->model = std::move(plan.model);
  if (plan.rollback) {
    if (job->plateau) job->plateau->Restore(FromRecord(plan.open.plateau()));
    RolledBackLocked(job, plan.open.start_clock());
  }
  EndRecoveryLocked(job, absl::StrCat("it goes on from ", plan.from));
}

void Coordinator::FailedReopeningLocked(const JobPtr& job,
                                        const Reopening& plan,
                                        const absl::Status& why) {
  Recovery& recovery = *job->recovery;
  // What did open is closed by the next attempt.
  if (plan.rollback)
    HoldLocked(*job, plan.model, /*epoch=*/0).IgnoreError();
  if (Passing(why)) {
    recovery.next_try = Now() + kRetryFailed;
    LOG(WARNING) << "job " << job->id << ": " << why;
    return;
  }
  const bool unreadable_elsewhere = plan.replace && !absl::IsDataLoss(why);
  if (!plan.rollback) {
    recovery.log_failed = true;
    NoteLocked(*job, absl::StrCat(why.message(),
                                  "; back to the last checkpoint"));
  } else if (plan.cut >= 0 && !unreadable_elsewhere) {
    recovery.damaged.insert(plan.cut);
    auto* list = job->status.mutable_checkpoints();
    list->erase(std::remove_if(
                    list->begin(), list->end(),
                    [&](const auto& info) { return info.clock() == plan.cut; }),
                list->end());
    NoteLocked(*job, absl::StrCat(why.message(),
                                  "; the one before it is used"));
  } else {
    return EndLocked(job, control::JOB_FAILED,
                     absl::StrCat(recovery.why, ", and ", why.message(),
                                  ResumeHintLocked(*job)));
  }
  recovery.next_try = Now();
  LaterLocked([this, job] { Recover(job); });
}

// Clocks from `clock` on are trained again.
void Coordinator::RolledBackLocked(const JobPtr& job, int64_t clock) {
  job->status.set_start_clock(clock);
  job->status.set_clock(clock);
  job->cuts.erase(job->cuts.upper_bound(clock), job->cuts.end());
  job->progress.emplace(job->spec.workers(), clock);
  job->last_cut = Now();
  const bool more = clock < job->spec.solver().max_iter();
  for (auto& [rank, member] : job->members) {
    if (rank == kEvaluatorRank) continue;
    member.status.set_clock(clock);
    if (member.state == Member::State::kDead) {
      if (!job->spec.wait_for_dead()) job->progress->Remove(rank);
    } else if (more && member.state == Member::State::kDone &&
               !member.leaves) {
      member.SetState(Member::State::kRunning);
      member.last_seen = Now();
    }
  }
  if (job->status.state() != control::JOB_PENDING)
    RestartDealsLocked(*job, clock);
  if (!more || job->status.state() != control::JOB_FINISHING) return;
  if (job->released)
    return EndLocked(job, control::JOB_FAILED,
                     absl::StrCat(job->recovery->why,
                                  ", after its workers had left",
                                  ResumeHintLocked(*job)));
  SetStateLocked(*job, control::JOB_RUNNING, "");
}

void Coordinator::EndRecoveryLocked(const JobPtr& job,
                                    const std::string& how) {
  if (IsTerminal(job->status.state())) return;
  NoteLocked(*job, absl::StrCat("after ", Seconds(Now() - job->recovery->since),
                                ": ", how));
  const bool reopened = job->recovery->told;
  job->recovery.reset();
  job->opening = Job::Opening::kOpen;
  // Parts that were lost with their server are told again.
  job->finishing_since = Now();
  for (auto& [clock, cut] : job->cuts) cut.begun = Now();
  StoreRunLocked(*job);
  const absl::Status stored = StoreLocked(*job, /*sync=*/true);
  if (!stored.ok()) LOG(ERROR) << "job " << job->id << ": " << stored;
  // Whoever died meanwhile is still waited for by the shards.
  for (const auto& [rank, member] : job->members)
    if (reopened && rank != kEvaluatorRank && !job->spec.wait_for_dead() &&
        member.state == Member::State::kDead)
      LaterLocked([this, job, rank = rank, gone = member.incarnation] {
        WorkerGone(job, rank, gone);
      });
  SettleLocked(job);
}

// ---- Cuts by time -----------------------------------------------------------

void Coordinator::OrderTimedCutsLocked(const JobPtr& job) {
  if (job->status.state() != control::JOB_RUNNING ||
      job->opening != Job::Opening::kOpen || job->cancelling)
    return;
  const double asked = job->spec.checkpoint_seconds();
  const double seconds =
      asked > 0 ? asked : options_.recovery.checkpoint_seconds();
  if (seconds <= 0 || Now() - job->last_cut < absl::Seconds(seconds)) return;
  job->last_cut = Now();
  LaterLocked([this, job] {
    control::Order order;
    order.mutable_checkpoint()->set_durable(true);
    const absl::StatusOr<int64_t> placed = PlaceOrder(job, std::move(order));
    if (!placed.ok()) VLOG(1) << "job " << job->id << ": " << placed.status();
  });
}

// ---- Over the coordinator's own restart ---------------------------------------

void Coordinator::StoreRunLocked(const Job& job) {
  control::RunRecord run;
  for (const auto& [rank, member] : job.members) {
    control::RunRecord::Member* out = run.add_members();
    *out->mutable_status() = member.status;
    out->set_incarnation(member.incarnation);
    out->set_request_id(member.request_id);
    out->set_declared(member.declared);
    out->set_samples_per_clock(member.samples_per_clock);
    out->set_leaves(member.leaves);
    out->set_failed(member.failed);
  }
  if (job.model.has_value()) {
    *run.mutable_shard_map() = job.model->map;
    for (const ps::BlobSpec& blob : job.model->layout.blobs())
      *run.add_blobs() = ps::ToProto(blob);
    for (const std::string& id : job.model->server_ids) run.add_server_ids(id);
    for (const std::string& directory : job.model->directories)
      run.add_directories(directory);
  }
  run.set_orders(job.orders);
  run.set_recoveries(job.recoveries);
  run.set_staleness(job.status.staleness());
  run.set_first_clock(job.first_clock);
  run.set_released(job.released);
  for (const auto& [clock, deal] : job.deals) *run.add_deals() = deal;
  *run.mutable_first_plateau() = job.first_plateau;
  const absl::Status stored = options_.store->Write(
      {{RunKey(job.id), run.SerializeAsString()}}, /*sync=*/true);
  if (!stored.ok()) LOG(ERROR) << "job " << job.id << ": " << stored;
}

absl::Status Coordinator::LoadRunLocked(Job& job) {
  ASSIGN_OR_RETURN(const std::string bytes,
                   options_.store->Get(RunKey(job.id)));
  control::RunRecord run;
  if (!run.ParseFromString(bytes))
    return absl::DataLossError("the record of its run is damaged");
  ASSIGN_OR_RETURN(job.rate, LearningRatePolicy::Create(job.spec.solver()));
  job.first_plateau = run.first_plateau();
  if (job.rate->follows_loss()) {
    ASSIGN_OR_RETURN(job.plateau, PlateauTracker::Create(job.spec.solver()));
    job.plateau->Restore(FromRecord(job.first_plateau));
  }
  for (const control::RunRecord::Member& in : run.members()) {
    Member& member = job.members[in.status().rank()];
    member.status = in.status();
    member.incarnation = in.incarnation();
    member.request_id = in.request_id();
    member.declared = in.declared();
    member.samples_per_clock = in.samples_per_clock();
    member.leaves = in.leaves();
    member.failed = in.failed();
    member.last_clock = Now();
    member.last_seen = member.dead_since = Now();
    member.restored = true;
    job.incarnations[in.status().rank()] = in.incarnation();
    const std::string& state = in.status().state();
    member.state = state == "dead"      ? Member::State::kDead
                   : state == "done"    ? Member::State::kDone
                   : state == "running" ? Member::State::kRunning
                                        : Member::State::kJoining;
  }
  job.recoveries = run.recoveries();
  job.status.set_staleness(run.staleness());
  job.first_clock = run.first_clock();
  job.released = run.released();
  for (const control::Order& deal : run.deals())
    job.deals[deal.effective_clock()] = deal;
  RestoreBalanceLocked(job);
  job.orders = run.orders();
  job.last_cut = Now();
  ASSIGN_OR_RETURN(
      const std::vector<std::string> orders,
      options_.store->List(absl::StrCat("order/", job.id, "/")));
  for (const std::string& key : orders) {
    ASSIGN_OR_RETURN(const std::string text, options_.store->Get(key));
    control::Order order;
    if (!order.ParseFromString(text)) continue;
    job.orders = std::max(job.orders, order.number());
    if (order.kind_case() == control::Order::kStaleness)
      job.status.set_staleness(order.staleness());
  }
  for (const control::CheckpointInfo& info : job.status.checkpoints()) {
    Cut& cut = job.cuts[info.clock()];
    cut.ended = true;
    cut.info = info;
  }
  if (!run.has_shard_map()) return absl::OkStatus();
  PlacedModel model;
  if (job.spec.tables_size() == 0) {
    ASSIGN_OR_RETURN(model.layout,
                     ps::SlabLayout::Create(ps::BlobsFromProto(run.blobs()),
                                            run.shard_map().chunk_bytes()));
  }
  model.map = run.shard_map();
  model.server_ids.assign(run.server_ids().begin(), run.server_ids().end());
  model.directories.assign(run.directories().begin(), run.directories().end());
  model.shards.resize(model.server_ids.size());
  model.registrations.resize(model.server_ids.size());
  job.model = std::move(model);
  job.progress.emplace(job.spec.workers(), job.status.start_clock());
  for (const auto& [rank, member] : job.members)
    if (rank != kEvaluatorRank && (member.state == Member::State::kDone ||
                                   (member.state == Member::State::kDead &&
                                    !job.spec.wait_for_dead())))
      job.progress->Remove(rank);
  job.opening = Job::Opening::kUnderWay;
  job.recovery.emplace();
  job.recovery->why = "the coordinator was restarted";
  job.recovery->since = job.recovery->next_try = Now();
  return absl::OkStatus();
}

}  // namespace cssp
