#include "worker/sync/job_session.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/logging.h"
#include "common/base/status_macros.h"
#include "common/ps/layout_proto.h"

namespace cssp {
namespace {

constexpr absl::Duration kLeaveGrace = absl::Seconds(3);
// Shards may have to read a model from disk before they open.
constexpr absl::Duration kDeclareDeadline = absl::Minutes(5);
constexpr size_t kMaxKept = 64;

control::JoinJobRequest JoinRequest(const JobSessionOptions& options,
                                    int rank) {
  control::JoinJobRequest request;
  request.set_job_id(options.job);
  request.set_token(options.token);
  request.set_role(options.evaluator ? control::ROLE_EVALUATOR
                                     : control::ROLE_WORKER);
  request.set_rank(rank);
  request.set_host(options.host);
  request.set_pid(options.pid);
  request.set_metrics_address(options.metrics_address);
  return request;
}

}  // namespace

absl::StatusOr<std::unique_ptr<JobSession>> JobSession::Join(
    const JobSessionOptions& options) {
  ASSIGN_OR_RETURN(std::unique_ptr<CoordinatorClient> client,
                   CoordinatorClient::Create(options.coordinator));
  ASSIGN_OR_RETURN(control::JoinJobResponse joined,
                   client->JoinJob(JoinRequest(options, options.rank)));
  auto session = std::unique_ptr<JobSession>(
      new JobSession(options, std::move(client), std::move(joined)));
  session->OpenLease();
  JobSession* const self = session.get();
  session->heartbeat_ = Thread("heartbeat", [self] { self->Beat(); });
  return session;
}

JobSession::JobSession(JobSessionOptions options,
                       std::unique_ptr<CoordinatorClient> client,
                       control::JoinJobResponse joined)
    : options_(std::move(options)),
      client_(std::move(client)),
      joined_(std::move(joined)),
      rank_(joined_.rank()),
      incarnation_(joined_.incarnation()),
      job_epoch_(joined_.job_epoch()) {}

absl::Status JobSession::JoinAgain() {
  Current()->Close(absl::ZeroDuration());
  ASSIGN_OR_RETURN(joined_, client_->JoinJob(JoinRequest(options_, rank_)));
  incarnation_ = joined_.incarnation();
  {
    absl::MutexLock lock(&mu_);
    failure_ = absl::OkStatus();
    lease_ended_ = false;
    kept_.clear();
  }
  OpenLease();
  return absl::OkStatus();
}

JobSession::~JobSession() {
  {
    absl::MutexLock lock(&mu_);
    closing_ = true;
  }
  leaving_ = true;
  heartbeat_.Join();
  std::shared_ptr<LeaseStream> lease;
  {
    absl::MutexLock lock(&mu_);
    lease.swap(lease_);
  }
  if (lease != nullptr) lease->Close(absl::ZeroDuration());
}

void JobSession::OpenLease() {
  std::shared_ptr<LeaseStream> lease = client_->KeepLease(
      [this](const control::WorkerDirective& d) { OnDirective(d); },
      [this](absl::Status status) { LeaseEnded(status); });
  control::WorkerReport first;
  first.set_heartbeat(true);
  std::deque<control::WorkerReport> kept;
  {
    absl::MutexLock lock(&mu_);
    lease_.swap(lease);
    kept = kept_;
  }
  Report(std::move(first));
  // Not by Report, which would keep them twice.
  for (control::WorkerReport& report : kept) {
    report.set_incarnation(incarnation_);
    Current()->Send(std::move(report)).IgnoreError();
  }
}

std::shared_ptr<LeaseStream> JobSession::Current() const {
  absl::MutexLock lock(&mu_);
  return lease_;
}

void JobSession::LeaseEnded(const absl::Status& status) {
  if (leaving_) return;
  absl::MutexLock lock(&mu_);
  lease_ended_ = true;
  lease_status_ = status;
}

// The lease has ended: for good, or because the coordinator is away.
void JobSession::Reopen() {
  absl::Status why;
  {
    absl::MutexLock lock(&mu_);
    if (!failure_.ok()) return;
    why = lease_status_;
  }
  if (absl::IsFailedPrecondition(why) || absl::IsPermissionDenied(why) ||
      absl::IsNotFound(why) || absl::IsInvalidArgument(why))
    return OnFailure(why);
  const absl::Time now = absl::Now();
  lost_since_ = std::min(lost_since_, now);
  if (now - lost_since_ >= options_.coordinator_wait)
    return OnFailure(absl::UnavailableError(absl::StrCat(
        "lost the coordinator at ", options_.coordinator, ": ",
        why.ok() ? "it ended the lease" : why.message())));
  const absl::Duration pause = RetryPolicy().Backoff(reopened_++);
  {
    absl::MutexLock lock(&mu_);
    if (mu_.AwaitWithTimeout(absl::Condition(&closing_), pause)) return;
    lease_ended_ = false;
  }
  OpenLease();
}

void JobSession::Beat() {
  const absl::Duration interval =
      absl::Seconds(std::clamp(joined_.lease_seconds() / 4, 0.05, 1.0));
  absl::MutexLock lock(&mu_);
  for (;;) {
    const auto wanted = [this]() ABSL_SHARED_LOCKS_REQUIRED(mu_) {
      return closing_ || (lease_ended_ && failure_.ok());
    };
    const bool quiet =
        !mu_.AwaitWithTimeout(absl::Condition(&wanted), interval);
    if (closing_) return;
    mu_.Unlock();
    if (quiet) {
      // Alive for a whole beat: a later loss counts anew.
      lost_since_ = absl::InfiniteFuture();
      reopened_ = 0;
      control::WorkerReport report;
      report.set_heartbeat(true);
      Report(std::move(report));
    } else {
      Reopen();
    }
    mu_.Lock();
  }
}

absl::StatusOr<control::DeclareLayoutResponse> JobSession::Declare(
    const std::vector<ps::BlobSpec>& blobs, int64_t samples_per_clock,
    int64_t start_clock, const PlateauRecord& plateau) {
  control::DeclareLayoutRequest request;
  request.set_job_id(options_.job);
  request.set_rank(rank_);
  request.set_incarnation(incarnation_);
  for (const ps::BlobSpec& blob : blobs)
    *request.add_blobs() = ps::ToProto(blob);
  request.set_samples_per_clock(samples_per_clock);
  request.set_start_clock(start_clock);
  *request.mutable_plateau() = plateau;
  ASSIGN_OR_RETURN(control::DeclareLayoutResponse declared,
                   client_->DeclareLayout(request, kDeclareDeadline));
  job_epoch_ = declared.job_epoch();
  absl::MutexLock lock(&mu_);
  declared_ = std::max(declared_, declared.recoveries());
  return declared;
}

bool JobSession::must_rejoin() const {
  absl::MutexLock lock(&mu_);
  return rejoin_ > declared_;
}

void JobSession::Report(control::WorkerReport report) {
  report.set_job_id(options_.job);
  report.set_rank(rank_);
  report.set_incarnation(incarnation_);
  std::shared_ptr<LeaseStream> lease;
  {
    absl::MutexLock lock(&mu_);
    lease = lease_;
    if (report.has_test() || report.has_exported() || report.done())
      kept_.push_back(report);
    if (kept_.size() > kMaxKept) kept_.pop_front();
  }
  if (lease == nullptr) return;
  const absl::Status sent = lease->Send(std::move(report));
  // A broken lease is reported once, by its end; a full queue means that the
  // coordinator is slow, and the next report stands for this one.
  if (!sent.ok()) VLOG(1) << "report not sent: " << sent.message();
}

void JobSession::OnDirective(const control::WorkerDirective& directive) {
  using Body = control::WorkerDirective;
  switch (directive.body_case()) {
    case Body::kStop:
      stop_ = true;
      break;
    case Body::kAbort:
      OnFailure(absl::CancelledError(
          absl::StrCat("job ", options_.job, " was aborted")));
      break;
    case Body::kFenced:
      OnFailure(absl::PermissionDeniedError(absl::StrCat(
          "rank ", rank_, " of job ", options_.job,
          " was taken over: ", directive.fenced())));
      break;
    case Body::kJobFinished: {
      absl::MutexLock lock(&mu_);
      finished_ = true;
      break;
    }
    case Body::kRejoin: {
      absl::Status why;
      {
        absl::MutexLock lock(&mu_);
        rejoin_ = std::max(rejoin_, directive.rejoin().number());
        rejoin_why_ = directive.rejoin().why();
        if (rejoin_ > declared_) why = absl::AbortedError(rejoin_why_);
      }
      if (!why.ok()) Interrupt(std::move(why));
      break;
    }
    case Body::kCheckpoint:
      if (!checkpoints_.TryPush(directive.checkpoint()))
        LOG(WARNING) << "checkpoint " << directive.checkpoint().checkpoint_id()
                     << " is not exported: too many are waiting";
      break;
    case Body::kPropose: {
      control::WorkerReport report;
      *report.mutable_order_answer() = gate_.Propose(directive.propose());
      Report(std::move(report));
      break;
    }
    case Body::kWithdraw:
      gate_.Withdraw(directive.withdraw());
      break;
    case Body::kOrder:
      gate_.Commit(directive.order());
      break;
    case Body::kStalledBy:
      LOG(WARNING) << directive.stalled_by();
      break;
    case Body::BODY_NOT_SET:
      break;
  }
}

void JobSession::OnFailure(absl::Status status) {
  {
    absl::MutexLock lock(&mu_);
    if (!failure_.ok()) return;
    failure_ = status;
  }
  Interrupt(std::move(status));
}

// Ends what the watcher does.
void JobSession::Interrupt(absl::Status status) {
  gate_.Fail(status);
  std::function<void(absl::Status)> call;
  {
    absl::MutexLock lock(&mu_);
    if (on_failure_ == nullptr) return;
    call = on_failure_;
    ++calling_;
  }
  call(status);
  absl::MutexLock lock(&mu_);
  --calling_;
}

void JobSession::Watch(std::function<void(absl::Status)> on_failure) {
  absl::Status failure;
  {
    absl::MutexLock lock(&mu_);
    on_failure_ = on_failure;
    failure = failure_;
    if (failure.ok() && rejoin_ > declared_)
      failure = absl::AbortedError(rejoin_why_);
  }
  if (!failure.ok()) on_failure(failure);
}

void JobSession::Unwatch() {
  absl::MutexLock lock(&mu_);
  on_failure_ = nullptr;
  const auto quiet = [this]() ABSL_SHARED_LOCKS_REQUIRED(mu_) {
    return calling_ == 0;
  };
  mu_.Await(absl::Condition(&quiet));
}

absl::Status JobSession::failure() const {
  absl::MutexLock lock(&mu_);
  return failure_;
}

std::optional<control::CheckpointInfo> JobSession::NextCheckpoint(
    absl::Duration timeout) {
  return checkpoints_.PopFor(timeout);
}

absl::Status JobSession::AwaitRelease() {
  control::WorkerReport report;
  report.set_done(true);
  Report(std::move(report));
  absl::MutexLock lock(&mu_);
  const auto settled = [this]() ABSL_SHARED_LOCKS_REQUIRED(mu_) {
    return finished_.load() || !failure_.ok() || rejoin_ > declared_;
  };
  mu_.Await(absl::Condition(&settled));
  if (finished_.load()) return absl::OkStatus();
  if (failure_.ok()) {
    kept_.clear();  // not the end, after all
    return absl::AbortedError(rejoin_why_);
  }
  // Aborted or lost after the end: the work is done all the same.  But who was
  // only counted as dead is still waited for, unless its rank has been taken.
  const absl::Status failure = failure_;
  mu_.Unlock();
  const bool back = absl::IsFailedPrecondition(failure) &&
                    spec().wait_for_dead() && JoinAgain().ok();
  mu_.Lock();
  return back ? absl::AbortedError(failure.message()) : absl::OkStatus();
}

void JobSession::Leave(const absl::Status& why) {
  control::WorkerReport report;
  if (why.ok()) {
    report.set_done(true);
  } else if (absl::IsInvalidArgument(why) && !options_.evaluator) {
    report.set_wrong(std::string(why.message()));
  } else {
    report.set_failed(std::string(why.message()));
  }
  leaving_ = true;
  Report(std::move(report));
  Current()->Close(kLeaveGrace);
}

}  // namespace cssp
