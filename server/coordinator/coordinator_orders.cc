// Coordinator: orders (membership, checkpoints), and cuts on their way to
// becoming checkpoints.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/logging.h"
#include "common/base/status_macros.h"
#include "common/optim/update_rule.h"
#include "common/ps/layout_proto.h"
#include "server/checkpoint/checkpoint_io.h"
#include "server/coordinator/coordinator.h"
#include "server/coordinator/job_spec.h"

namespace cssp {
namespace {

constexpr int kMaxProposals = 32;

// Asks all shards; the latest clock that one of them has opened already, or -1
// when all agree.
absl::StatusOr<int64_t> Propose(
    const std::vector<std::shared_ptr<ShardControl>>& shards,
    const control::ProposeOrderRequest& request) {
  int64_t opened = -1;
  for (const auto& shard : shards) {
    ASSIGN_OR_RETURN(const control::OrderAnswer answer,
                     shard->ProposeOrder(request));
    if (!answer.accepted())
      opened = std::max({opened, answer.opened_clock(), int64_t{0}});
  }
  return opened;
}

}  // namespace

absl::Status Coordinator::TakesOrdersLocked(const Job& job) const {
  if (job.recovery.has_value())
    return absl::UnavailableError(absl::StrCat(
        "job ", job.id, " is recovering: ", job.recovery->why));
  if (IsTerminal(job.status.state()) || !job.model.has_value())
    return absl::FailedPreconditionError(
        absl::StrCat("job ", job.id, " is ", StateName(job.status.state())));
  return absl::OkStatus();
}

absl::StatusOr<int64_t> Coordinator::PlaceOrder(const JobPtr& job,
                                                control::Order order,
                                                const MembershipChange& change,
                                                int64_t margin) {
  absl::MutexLock serial(&job->order_mu);
  std::vector<std::shared_ptr<ShardControl>> shards;
  control::ProposeOrderRequest request;
  request.set_job_id(job->id);
  int64_t clock = 0;
  {
    absl::MutexLock lock(&mu_);
    RETURN_IF_ERROR(TakesOrdersLocked(*job));
    request.set_job_epoch(job->status.job_epoch());
    shards = job->model->shards;
    clock = std::max(job->status.max_clock(), job->status.start_clock()) + 1 +
            margin;
    // Memberships follow one another: a newcomer's may lie ahead.
    if (order.has_membership() && !job->deals.empty())
      clock = std::max(clock, job->deals.rbegin()->first + 1);
  }
  for (int attempt = 0; attempt < kMaxProposals; ++attempt) {
    {
      absl::MutexLock lock(&mu_);
      order.set_number(++job->orders);
      if (order.has_membership()) {
        ASSIGN_OR_RETURN(*order.mutable_membership(),
                         ChangedMembersLocked(*job, change));
        order.mutable_membership()->set_first_record(
            RecordsBeforeLocked(*job, clock));
      }
    }
    order.set_effective_clock(clock);
    *request.mutable_order() = order;
    request.set_commit(false);
    absl::StatusOr<int64_t> opened = Propose(shards, request);
    if (opened.ok() && *opened < 0) opened = AskWorkers(job, order);
    if (opened.ok() && *opened < 0) {
      request.set_commit(true);
      opened = Propose(shards, request);
    }
    if (opened.ok() && *opened < 0) {
      const absl::Status taken = TakenOrder(job, request, change);
      if (taken.ok()) return clock;
      opened = taken;
    }
    if (!opened.ok()) {
      WithdrawOrder(job, shards, request);
      return opened.status();
    }
    // The job moves while we ask: leave more room every time.
    clock = std::max(clock, *opened) + 1 + attempt;
  }
  WithdrawOrder(job, shards, request);
  return absl::AbortedError(absl::StrCat(
      "job ", job->id, " runs too fast: no clock for the order was accepted"));
}

// Every shard has committed the order.
absl::Status Coordinator::TakenOrder(
    const JobPtr& job, const control::ProposeOrderRequest& request,
    const MembershipChange& change) {
  const control::Order& order = request.order();
  absl::MutexLock lock(&mu_);
  // They have been closed since.
  if (job->status.job_epoch() != request.job_epoch())
    return absl::UnavailableError(
        absl::StrCat("job ", job->id, " went back to a checkpoint"));
  const absl::Status stored = options_.store->Write(
      {{absl::StrFormat("order/%s/%012d", job->id, order.number()),
        order.SerializeAsString()}},
      /*sync=*/false);
  // It holds all the same.
  if (!stored.ok()) LOG(ERROR) << "job " << job->id << ": " << stored;
  control::WorkerDirective directive;
  *directive.mutable_order() = order;
  TellWorkersLocked(*job, directive);
  PlacedLocked(*job, order, change);
  return absl::OkStatus();
}

absl::StatusOr<int64_t> Coordinator::PlaceMembers(
    const JobPtr& job, const MembershipChange& change, int64_t margin) {
  control::Order order;
  order.mutable_membership();
  return PlaceOrder(job, std::move(order), change, margin);
}

void Coordinator::WorkerGone(const JobPtr& job, int rank,
                             uint32_t incarnation) {
  control::WorkerGoneRequest gone;
  std::vector<std::shared_ptr<ShardControl>> shards;
  {
    absl::MutexLock lock(&mu_);
    // A recovery in progress opens the shards without it.
    if (IsTerminal(job->status.state()) || !job->model.has_value() ||
        job->recovery.has_value())
      return;
    shards = job->model->shards;
  }
  gone.set_job_id(job->id);
  gone.set_rank(rank);
  gone.set_incarnation(incarnation);
  for (const auto& shard : shards) {
    const absl::Status told = shard->WorkerGone(gone);
    // An unreachable server loses its own lease soon, and the job with it.
    if (!told.ok()) LOG(WARNING) << "job " << job->id << ": " << told;
  }
  const absl::StatusOr<int64_t> clock = PlaceMembers(job);
  absl::MutexLock lock(&mu_);
  if (clock.ok())
    NoteLocked(*job, absl::StrCat("from clock ", *clock, " on, worker ", rank,
                                  " is no contributor"));
  else if (absl::IsUnavailable(clock.status()))
    // Somebody else is silent: again when that is judged.
    job->members_changed = true;
  else if (!IsTerminal(job->status.state()))
    LOG(WARNING) << "job " << job->id << ": membership: " << clock.status();
}

absl::StatusOr<control::CheckpointInfo> Coordinator::CheckpointJob(
    const std::string& id, absl::Duration wait) {
  JobPtr job;
  int64_t last = 0;
  {
    absl::MutexLock lock(&mu_);
    ASSIGN_OR_RETURN(job, FindLocked(id));
    last = job->spec.solver().max_iter();
    const control::JobState state = job->status.state();
    if (state != control::JOB_RUNNING && state != control::JOB_FINISHING)
      return absl::FailedPreconditionError(
          absl::StrCat("job ", id, " is ", StateName(state),
                       ": only a running job can be checkpointed"));
  }
  control::Order order;
  order.mutable_checkpoint()->set_durable(true);
  ASSIGN_OR_RETURN(const int64_t placed, PlaceOrder(job, std::move(order)));
  // Beyond the end there is no clock to cut at but the last.
  const int64_t clock = std::min(placed, last);

  absl::MutexLock lock(&mu_);
  job->asked.insert(clock);
  const uint32_t epoch = job->status.job_epoch();
  if (const auto now = job->cuts.find(clock);
      now != job->cuts.end() && now->second.ended && now->second.result.ok())
    SendCheckpointLocked(*job, now->second.info);
  const auto ended = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    const auto cut = job->cuts.find(clock);
    return stopping_ || IsTerminal(job->status.state()) ||
           job->status.job_epoch() != epoch ||
           (cut != job->cuts.end() && cut->second.ended);
  };
  if (!mu_.AwaitWithTimeout(absl::Condition(&ended), wait))
    return absl::DeadlineExceededError(
        absl::StrCat("job ", id, ": the cut at clock ", clock,
                     " was not durable within ", absl::FormatDuration(wait)));
  const auto cut = job->cuts.find(clock);
  if (cut == job->cuts.end() || !cut->second.ended)
    return absl::FailedPreconditionError(absl::StrCat(
        "job ", id, IsTerminal(job->status.state()) ? " ended" : " went back",
        " before the cut at clock ", clock));
  if (!cut->second.result.ok()) return cut->second.result;
  return cut->second.info;
}

void Coordinator::OnShardCheckpoint(const std::string& server_id,
                                    const control::ShardCheckpoint& part) {
  absl::MutexLock lock(&mu_);
  const absl::StatusOr<JobPtr> found = FindLocked(part.job_id());
  if (!found.ok() || !(*found)->model.has_value()) return;
  const JobPtr job = *found;
  const std::vector<std::string>& ids = job->model->server_ids;
  const auto server = std::find(ids.begin(), ids.end(), server_id);
  if (server == ids.end()) return;
  // A late part of a run that was given up.
  if (part.job_epoch() != 0 && part.job_epoch() != job->status.job_epoch())
    return;
  job->last_cut = Now();
  const bool known = job->cuts.count(part.clock()) > 0;
  // Told again by a server that came back; that cut's time has passed.
  if (!known && !job->status.checkpoints().empty() &&
      part.clock() <= job->status.checkpoints().rbegin()->clock())
    return;
  Cut& cut = job->cuts[part.clock()];
  if (!known) cut.begun = Now();
  if (cut.ended || cut.committing) return;
  cut.parts[static_cast<int>(server - ids.begin())] = part;
  if (!part.error().empty())
    return EndCutLocked(job, part.clock(),
                        absl::InternalError(absl::StrCat(
                            "ps-server ", server_id, ": ",
                            part.error().substr(0, 1024))));
  if (cut.parts.size() < ids.size()) return;
  cut.committing = true;
  LaterLocked([this, job, clock = part.clock()] { CommitCut(job, clock); });
}

Manifest Coordinator::ManifestLocked(const Job& job, int64_t clock) const {
  const PlacedModel& model = *job.model;
  Manifest manifest;
  manifest.set_job_id(job.id);
  manifest.set_job_name(job.spec.name());
  manifest.set_clock(clock);
  manifest.set_job_epoch(job.status.job_epoch());
  for (const ps::BlobSpec& blob : model.layout.blobs())
    *manifest.add_blobs() = ps::ToCheckpointProto(blob);
  manifest.set_chunk_bytes(static_cast<int32_t>(model.layout.chunk_bytes()));
  const auto rule = UpdateRule::Create(job.spec.solver());
  manifest.set_num_history(rule.ok() ? (*rule)->num_history() : 0);
  if (job.spec.ssp_update() == control::PER_PUSH) {
    manifest.set_worker_histories(job.spec.workers());
  }
  for (const auto& [index, part] : job.cuts.at(clock).parts) {
    Manifest::Part* out = manifest.add_parts();
    out->set_server_id(model.server_ids[index]);
    out->set_directory(model.directories[index]);
    for (const int chunk : part.chunks()) out->add_chunks(chunk);
    out->set_bytes(part.bytes());
    // Of all shards that follow the loss the same.
    if (part.has_plateau()) *manifest.mutable_plateau() = part.plateau();
  }
  manifest.set_spec(job.spec.SerializeAsString());
  manifest.set_unix_seconds(options_.unix_seconds());
  manifest.set_workers(job.spec.workers());
  manifest.set_records(RecordsBeforeLocked(job, clock));
  return manifest;
}

void Coordinator::CommitCut(const JobPtr& job, int64_t clock) {
  Manifest manifest;
  {
    absl::MutexLock lock(&mu_);
    const auto cut = job->cuts.find(clock);
    if (cut == job->cuts.end() || !cut->second.committing) return;
    manifest = ManifestLocked(*job, clock);
  }
  const absl::Status written = WriteManifest(*options_.store, manifest);
  {
    absl::MutexLock lock(&mu_);
    EndCutLocked(job, clock, written);
  }
  if (!written.ok()) return;
  std::vector<std::shared_ptr<ShardControl>> shards;
  {
    absl::MutexLock lock(&mu_);
    if (job->spec.durability() == control::LOG) shards = job->model->shards;
  }
  for (const auto& shard : shards)
    if (shard != nullptr) shard->CutCommitted(job->id, clock).IgnoreError();
  CollectGarbage(job->id);
}

void Coordinator::EndCutLocked(const JobPtr& job, int64_t clock,
                               const absl::Status& result) {
  Cut& cut = job->cuts[clock];
  cut.committing = false;
  cut.ended = true;
  cut.result = result;
  control::CheckpointInfo& info = cut.info;
  info.set_checkpoint_id(CheckpointId(job->id, clock));
  info.set_job_id(job->id);
  info.set_clock(clock);
  int64_t bytes = 0;
  for (const auto& [index, part] : cut.parts) {
    bytes += part.bytes();
    if (part.has_plateau()) *info.mutable_plateau() = part.plateau();
  }
  info.set_bytes(bytes);
  if (result.ok()) {
    info.set_unix_seconds(options_.unix_seconds());
    *job->status.add_checkpoints() = info;
    if (options_.metrics != nullptr)
      options_.metrics->committed_checkpoints->Increment();
    control::JobEvent event;
    *event.mutable_checkpoint() = info;
    AppendLocked(*job, std::move(event));
    StoreLocked(*job, /*sync=*/false).IgnoreError();
  } else {
    NoteLocked(*job, absl::StrCat("checkpoint at clock ", clock,
                                  " failed: ", result.message()));
    if (options_.metrics != nullptr)
      options_.metrics->failed_checkpoints->Increment();
    // What was written of it is of no use.
    LaterLocked([this, job, clock] {
      std::vector<std::shared_ptr<ShardControl>> shards;
      {
        absl::MutexLock lock(&mu_);
        shards = job->model->shards;
      }
      for (const auto& shard : shards)
        if (shard != nullptr) shard->DeleteCut(job->id, clock).IgnoreError();
    });
  }
  if (MayPullLocked(*job, clock, cut)) SendCheckpointLocked(*job, info);
  // Servers write cuts one after the other: what an earlier one lacks now was
  // lost with a connection.
  std::vector<int64_t> lost;
  for (const auto& [earlier, open] : job->cuts)
    if (result.ok() && earlier < clock && !open.ended && !open.committing)
      lost.push_back(earlier);
  for (const int64_t earlier : lost)
    EndCutLocked(job, earlier, absl::AbortedError("a part of it was lost"));
  // Old cuts need no bookkeeping.
  while (job->cuts.size() > 64 && job->cuts.begin()->second.ended)
    job->cuts.erase(job->cuts.begin());
  SettleLocked(job);
}

bool Coordinator::MayPullLocked(const Job& job, int64_t clock,
                                const Cut& cut) const {
  return cut.ended &&
         (cut.result.ok() || clock == job.spec.solver().max_iter());
}

absl::Status Coordinator::LastCutLocked(const Job& job) const {
  const auto cut = job.cuts.find(job.spec.solver().max_iter());
  return cut == job.cuts.end() ? absl::OkStatus() : cut->second.result;
}

void Coordinator::ExpireCutsLocked(const JobPtr& job) {
  // Servers that come back tell of their parts again.
  if (job->recovery.has_value()) return;
  std::vector<int64_t> late;
  for (const auto& [clock, cut] : job->cuts)
    if (!cut.ended && !cut.committing &&
        Now() - cut.begun > options_.last_cut_wait)
      late.push_back(clock);
  const int64_t last = job->spec.solver().max_iter();
  if (job->status.state() == control::JOB_FINISHING &&
      IsSnapshot(job->spec, last) && job->cuts.count(last) == 0 &&
      Now() - job->finishing_since > options_.last_cut_wait)
    late.push_back(last);
  for (const int64_t clock : late)
    if (!IsTerminal(job->status.state()))
      EndCutLocked(job, clock,
                   absl::DeadlineExceededError(
                       "not every server has written its part in time"));
}

void Coordinator::SendCheckpointLocked(Job& job,
                                       const control::CheckpointInfo& info) {
  const auto evaluator = job.members.find(kEvaluatorRank);
  if (evaluator == job.members.end() || !evaluator->second.live() ||
      evaluator->second.directives == nullptr)
    return;
  // The solver's snapshots and what people ask for become files; checkpoints
  // for recovery do not.
  if (!IsSnapshot(job.spec, info.clock()) && job.asked.count(info.clock()) == 0)
    return;
  for (const control::ExportedFiles& exported : job.status.exports())
    if (exported.clock() == info.clock()) return;
  control::WorkerDirective directive;
  *directive.mutable_checkpoint() = info;
  evaluator->second.directives->TryPush(directive);
}

void Coordinator::CollectGarbage(const std::string& job_id) {
  const absl::StatusOr<std::vector<Manifest>> manifests =
      ListManifests(*options_.store, job_id);
  if (!manifests.ok()) {
    LOG(WARNING) << "job " << job_id << ": listing checkpoints: "
                 << manifests.status();
    return;
  }
  int keep = options_.keep_checkpoints;
  {
    absl::MutexLock lock(&mu_);
    const absl::StatusOr<JobPtr> job = FindLocked(job_id);
    if (job.ok() && (*job)->spec.keep_checkpoints() > 0)
      keep = (*job)->spec.keep_checkpoints();
  }
  const int surplus = static_cast<int>(manifests->size()) - keep;
  for (int i = 0; i < surplus; ++i) {
    const int64_t clock = (*manifests)[i].clock();
    std::vector<std::shared_ptr<ShardControl>> shards;
    {
      absl::MutexLock lock(&mu_);
      const absl::StatusOr<JobPtr> job = FindLocked(job_id);
      if (job.ok() && (*job)->model.has_value())
        shards = (*job)->model->shards;
      if (job.ok()) {
        auto* list = (*job)->status.mutable_checkpoints();
        list->erase(std::remove_if(list->begin(), list->end(),
                                   [clock](const auto& info) {
                                     return info.clock() == clock;
                                   }),
                    list->end());
      }
    }
    // The manifest goes first.
    const absl::Status deleted =
        DeleteCheckpoint(*options_.store, job_id, clock);
    if (!deleted.ok())
      LOG(WARNING) << "job " << job_id << ": checkpoint " << clock << ": "
                   << deleted;
    for (const auto& shard : shards)
      if (shard != nullptr) shard->DeleteCut(job_id, clock).IgnoreError();
  }
}

}  // namespace cssp
