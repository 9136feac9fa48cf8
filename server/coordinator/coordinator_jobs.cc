// Coordinator: submission, states and storage of jobs.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "common/base/logging.h"
#include "common/base/status_macros.h"
#include "common/ps/consistency.h"
#include "server/checkpoint/checkpoint_io.h"
#include "server/coordinator/coordinator.h"
#include "server/coordinator/job_spec.h"

namespace cssp {
namespace {

constexpr absl::string_view kJobPrefix = "job/";

std::string JobKey(const std::string& id) {
  return absl::StrCat(kJobPrefix, id);
}

// "examples/mnist/lenet_solver.prototxt" -> "lenet_solver".
std::string Stem(absl::string_view path) {
  path = path.substr(path.rfind('/') + 1);
  return std::string(path.substr(0, path.find('.')));
}

std::string DefaultName(const control::JobSpec& spec) {
  if (!spec.name().empty()) return spec.name();
  if (spec.tables_size() > 0) return "tables";
  const caffe::SolverParameter& solver = spec.solver();
  const std::string& net = solver.has_net_param()
                               ? solver.net_param().name()
                               : solver.train_net_param().name();
  if (!net.empty()) return net;
  return Stem(spec.solver_path());
}

}  // namespace

absl::Status Coordinator::LoadJobs() {
  ASSIGN_OR_RETURN(const std::vector<std::string> keys,
                   options_.store->List(kJobPrefix));
  for (const std::string& key : keys) {
    const absl::StatusOr<std::string> bytes = options_.store->Get(key);
    control::JobRecord record;
    if (!bytes.ok() || !record.ParseFromString(*bytes) ||
        record.status().job_id().empty()) {
      LOG(WARNING) << "record " << key << " is damaged and left out";
      continue;
    }
    auto job = std::make_shared<Job>();
    job->id = record.status().job_id();
    job->number = record.number();
    job->token = record.token();
    job->spec = record.status().spec();
    job->status = record.status();
    job->status.mutable_spec()->Clear();
    if (!IsTerminal(job->status.state())) {
      const absl::Status loaded = LoadRunLocked(*job);
      if (!loaded.ok()) {
        job->status.set_state(control::JOB_FAILED);
        job->status.set_message(absl::StrCat(
            "the coordinator was restarted: ", loaded.message()));
        job->status.set_finished_unix(options_.unix_seconds());
        RETURN_IF_ERROR(StoreLocked(*job, /*sync=*/false));
      }
    }
    next_job_ = std::max(next_job_, job->number + 1);
    jobs_by_id_[job->id] = job;
    jobs_[job->number] = std::move(job);
  }
  return options_.store->Sync();
}

absl::StatusOr<Coordinator::JobPtr> Coordinator::FindLocked(
    const std::string& id) const {
  const auto it = jobs_by_id_.find(id);
  if (it != jobs_by_id_.end()) return it->second;
  return absl::NotFoundError(
      absl::StrCat("no job '", id.substr(0, 64), "'; psctl list shows them"));
}

absl::Status Coordinator::StoreLocked(const Job& job, bool sync) {
  control::JobRecord record;
  *record.mutable_status() = job.status;
  *record.mutable_status()->mutable_spec() = job.spec;
  record.set_token(job.token);
  record.set_number(job.number);
  return options_.store->Write({{JobKey(job.id), record.SerializeAsString()}},
                               sync);
}

absl::Status Coordinator::ResumeLocked(Job& job) {
  const std::string& id = job.spec.resume_checkpoint();
  if (id.empty()) return absl::OkStatus();
  ASSIGN_OR_RETURN(const Manifest manifest,
                   ReadManifest(*options_.store, id));
  if (manifest.clock() >= job.spec.solver().max_iter())
    return absl::InvalidArgumentError(absl::StrCat(
        "checkpoint ", id, " is at clock ", manifest.clock(),
        ", and max_iter is ", job.spec.solver().max_iter(),
        ": nothing is left to train"));
  control::JobSpec before;
  if (!before.ParseFromString(manifest.spec()))
    return absl::DataLossError(
        absl::StrCat("checkpoint ", id, ": its job's spec is unreadable"));
  RETURN_IF_ERROR(CheckSameTables(job.spec, before));
  // The same permutation of the data goes on, unless a seed is asked for.
  if (job.spec.seed() == 0 && job.spec.solver().random_seed() < 0)
    job.spec.set_seed(before.seed());
  job.status.set_start_clock(manifest.clock());
  job.status.set_clock(manifest.clock());
  return absl::OkStatus();
}

absl::StatusOr<control::SubmitJobResponse> Coordinator::SubmitJob(
    const control::JobSpec& spec) {
  RETURN_IF_ERROR(ValidateJobSpec(spec));
  absl::MutexLock lock(&mu_);
  if (!spec.request_id().empty())
    for (const auto& [number, job] : jobs_)
      if (job->spec.request_id() == spec.request_id()) {
        control::SubmitJobResponse response;
        response.set_job_id(job->id);
        response.set_token(job->token);
        return response;
      }
  if (draining_)
    return absl::FailedPreconditionError(
        "the coordinator is draining and takes no jobs");
  ForgetOldJobsLocked();
  if (static_cast<int>(jobs_.size()) >= options_.max_jobs)
    return absl::FailedPreconditionError(absl::StrCat(
        options_.max_jobs, " jobs have not ended; cancel some first"));

  auto job = std::make_shared<Job>();
  job->number = next_job_++;
  job->spec = NormalisedSpec(spec);
  job->id = MakeJobId(DefaultName(spec), job->number);
  job->token = MakeToken();
  job->status.set_job_id(job->id);
  job->status.set_state(control::JOB_PENDING);
  job->status.set_job_epoch(1);
  job->status.set_staleness(ps::BoundsOf(spec).staleness);
  job->status.set_submitted_unix(options_.unix_seconds());
  RETURN_IF_ERROR(ResumeLocked(*job));
  if (spec.solver().random_seed() >= 0)
    job->spec.set_seed(spec.solver().random_seed());
  else if (job->spec.seed() == 0)
    job->spec.set_seed(DrawSeed());
  ASSIGN_OR_RETURN(job->rate, LearningRatePolicy::Create(job->spec.solver()));
  if (job->rate->follows_loss()) {
    ASSIGN_OR_RETURN(job->plateau, PlateauTracker::Create(job->spec.solver()));
  }
  job->first_clock = job->status.start_clock();
  RETURN_IF_ERROR(Annotate(StoreLocked(*job, /*sync=*/true), "storing the job"));
  StoreRunLocked(*job);
  jobs_[job->number] = job;
  jobs_by_id_[job->id] = job;
  LOG(INFO) << "job " << job->id << " submitted, workers " << spec.workers()
            << " staleness " << spec.staleness() << " seed "
            << job->spec.seed();
  control::SubmitJobResponse response;
  response.set_job_id(job->id);
  response.set_token(job->token);
  return response;
}

void Coordinator::ForgetOldJobsLocked() {
  for (auto it = jobs_.begin();
       it != jobs_.end() &&
       static_cast<int>(jobs_.size()) >= options_.max_jobs;) {
    if (!IsTerminal(it->second->status.state())) {
      ++it;
      continue;
    }
    // Its checkpoints stay: they are named by their own id.
    const absl::Status deleted =
        options_.store->DeletePrefix(JobKey(it->second->id));
    options_.store->DeletePrefix(absl::StrCat("run/", it->second->id))
        .IgnoreError();
    options_.store->DeletePrefix(absl::StrCat("order/", it->second->id, "/"))
        .IgnoreError();
    if (!deleted.ok())
      LOG(WARNING) << "job " << it->second->id << ": " << deleted;
    jobs_by_id_.erase(it->second->id);
    it = jobs_.erase(it);
  }
}

control::JobStatus Coordinator::SummaryLocked(const Job& job) const {
  control::JobStatus summary = job.status;
  *summary.mutable_spec() = WithoutNets(job.spec);
  for (const auto& [rank, member] : job.members)
    if (rank != kEvaluatorRank) *summary.add_workers() = member.status;
  return summary;
}

void Coordinator::AppendLocked(Job& job, control::JobEvent event) {
  job.events.Append(std::move(event), job.status.max_clock());
}

void Coordinator::NoteLocked(Job& job, const std::string& text) {
  LOG(INFO) << "job " << job.id << ": " << text;
  control::JobEvent event;
  event.set_note(text);
  AppendLocked(job, std::move(event));
}

void Coordinator::SetStateLocked(Job& job, control::JobState state,
                                 const std::string& message) {
  job.status.set_state(state);
  if (!message.empty()) job.status.set_message(message);
  if (state == control::JOB_RUNNING)
    job.status.set_started_unix(options_.unix_seconds());
  if (IsTerminal(state)) job.status.set_finished_unix(options_.unix_seconds());
  LOG(INFO) << "job " << job.id << " is " << StateName(state)
            << (message.empty() ? "" : ": ") << message;
  const absl::Status stored = StoreLocked(job, IsTerminal(state));
  if (!stored.ok()) LOG(ERROR) << "job " << job.id << ": " << stored;
  control::JobEvent event;
  *event.mutable_status() = SummaryLocked(job);
  AppendLocked(job, std::move(event));
}

void Coordinator::EndLocked(const JobPtr& job, control::JobState state,
                            const std::string& message) {
  if (IsTerminal(job->status.state())) return;
  job->recovery.reset();
  for (auto& [clock, cut] : job->cuts)
    if (!cut.ended && !cut.committing) {
      cut.ended = true;
      cut.result = absl::FailedPreconditionError(
          absl::StrCat("the job is ", StateName(state)));
    }
  SetStateLocked(*job, state, message);
  control::WorkerDirective last;
  if (state == control::JOB_SUCCEEDED) last.set_job_finished(true);
  else last.set_abort(true);
  for (auto& [rank, member] : job->members) {
    if (member.directives == nullptr) continue;
    if (member.state != Member::State::kDead)
      member.directives->TryPush(last);
    member.directives->Close();
  }
  if (options_.metrics != nullptr) options_.metrics->ForgetJob(job->id);
  LaterLocked([this, job] { CloseShards(job); });
}

void Coordinator::CloseShards(const JobPtr& job) {
  std::vector<std::shared_ptr<ShardControl>> shards;
  {
    absl::MutexLock lock(&mu_);
    if (!job->model.has_value()) return;
    for (size_t i = 0; i < job->model->shards.size(); ++i) {
      const auto server = std::find_if(
          servers_.begin(), servers_.end(), [&](const Server& s) {
            return s.info.id() == job->model->server_ids[i];
          });
      // A dead one would only be waited for.
      if (server == servers_.end() || server->info.state() == "dead") continue;
      server->held.erase(job->id);
      if (server->shard != nullptr) shards.push_back(server->shard);
    }
  }
  for (const auto& shard : shards) {
    const absl::Status closed = shard->Close(job->id);
    if (!closed.ok() && !absl::IsNotFound(closed))
      LOG(WARNING) << "job " << job->id << ": closing a shard: " << closed;
  }
}

bool Coordinator::AwaitsCutLocked(const Job& job) const {
  for (const auto& [clock, cut] : job.cuts)
    if (!cut.ended) return true;
  const int64_t last = job.spec.solver().max_iter();
  return IsSnapshot(job.spec, last) && job.cuts.count(last) == 0;
}

// True until it is done.  One that was lost without a word may come again, for
// what is not exported yet: it is waited for as recovery.evaluator_wait_ms says.
bool Coordinator::AwaitsEvaluatorLocked(Job& job) {
  const auto found = job.members.find(kEvaluatorRank);
  if (found == job.members.end()) return false;
  const Member& evaluator = found->second;
  if (evaluator.live()) {
    if (!job.evaluator_told && evaluator.directives != nullptr) {
      control::WorkerDirective finished;
      finished.set_job_finished(true);
      job.evaluator_told = evaluator.directives->TryPush(finished);
    }
    return true;
  }
  const absl::Duration wait =
      absl::Milliseconds(options_.recovery.evaluator_wait_ms());
  if (evaluator.state != Member::State::kDead || evaluator.failed ||
      Now() - std::max(evaluator.dead_since, job.finishing_since) >= wait)
    return false;
  if (!job.evaluator_missed)
    NoteLocked(job, absl::StrCat("trained; the end waits for the evaluator to "
                                 "come again, at most ",
                                 absl::FormatDuration(wait)));
  job.evaluator_missed = true;
  return true;
}

// What a job that has been trained to its end lacks, in words.
std::string Coordinator::LackLocked(const Job& job) const {
  const int64_t last = job.spec.solver().max_iter();
  const auto& exports = job.status.exports();
  std::string lack;
  if (const absl::Status cut = LastCutLocked(job); !cut.ok())
    lack = absl::StrCat(", but the last checkpoint failed: ", cut.message());
  if (IsSnapshot(job.spec, last) && job.members.count(kEvaluatorRank) > 0 &&
      std::none_of(exports.begin(), exports.end(),
                   [last](const auto& files) { return files.clock() == last; }))
    absl::StrAppend(&lack, ", but its end was not exported");
  return lack.empty() ? "" : absl::StrCat("trained", lack);
}

void Coordinator::SettleLocked(const JobPtr& job) {
  if (job->recovery.has_value() && !job->cancelling) return;
  if (job->status.state() == control::JOB_RUNNING) {
    int live = 0, done = 0;
    for (const auto& [rank, member] : job->members) {
      if (rank == kEvaluatorRank) continue;
      // One that is waited for may come back.
      live += member.live() || (job->spec.wait_for_dead() &&
                                !job->cancelling &&
                                member.state == Member::State::kDead);
      done += member.state == Member::State::kDone && !member.leaves;
    }
    if (job->cancelling &&
        (live == 0 || Now() - job->cancel_since > options_.stop_wait))
      return EndLocked(job, control::JOB_CANCELLED, "");
    if (live > 0) return;
    if (done == 0)
      return EndLocked(job, control::JOB_FAILED,
                       job->first_failure.empty() ? "no worker is left"
                                                  : job->first_failure);
    job->finishing_since = Now();
    SetStateLocked(*job, control::JOB_FINISHING, "");
  }
  if (job->status.state() != control::JOB_FINISHING || AwaitsCutLocked(*job))
    return;
  if (!job->released && LastCutLocked(*job).ok()) {
    // What they have trained is safe: nothing can call them back.
    job->released = true;
    StoreRunLocked(*job);
    control::WorkerDirective finished;
    finished.set_job_finished(true);
    for (auto& [rank, member] : job->members)
      if (rank != kEvaluatorRank && member.directives != nullptr)
        member.directives->TryPush(finished);
  }
  if (AwaitsEvaluatorLocked(*job)) return;
  EndLocked(job, control::JOB_SUCCEEDED, LackLocked(*job));
}

}  // namespace cssp
