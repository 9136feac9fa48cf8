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

}  // namespace

absl::StatusOr<std::unique_ptr<JobSession>> JobSession::Join(
    const JobSessionOptions& options) {
  ASSIGN_OR_RETURN(std::unique_ptr<CoordinatorClient> client,
                   CoordinatorClient::Create(options.coordinator));
  control::JoinJobRequest request;
  request.set_job_id(options.job);
  request.set_token(options.token);
  request.set_role(options.evaluator ? control::ROLE_EVALUATOR
                                     : control::ROLE_WORKER);
  request.set_rank(options.rank);
  request.set_host(options.host);
  request.set_pid(options.pid);
  request.set_metrics_address(options.metrics_address);
  ASSIGN_OR_RETURN(control::JoinJobResponse joined, client->JoinJob(request));
  auto session = std::unique_ptr<JobSession>(
      new JobSession(options, std::move(client), std::move(joined)));
  session->StartLease();
  return session;
}

JobSession::JobSession(JobSessionOptions options,
                       std::unique_ptr<CoordinatorClient> client,
                       control::JoinJobResponse joined)
    : options_(std::move(options)),
      client_(std::move(client)),
      joined_(std::move(joined)) {}

JobSession::~JobSession() {
  {
    absl::MutexLock lock(&mu_);
    closing_ = true;
  }
  leaving_ = true;
  heartbeat_.Join();
  if (lease_ != nullptr) lease_->Close(absl::ZeroDuration());
  lease_.reset();
}

void JobSession::StartLease() {
  lease_ = client_->KeepLease(
      [this](const control::WorkerDirective& d) { OnDirective(d); },
      [this](absl::Status status) {
        if (leaving_) return;
        OnFailure(absl::UnavailableError(absl::StrCat(
            "lost the coordinator at ", options_.coordinator, ": ",
            status.ok() ? "it ended the lease" : status.message())));
      });
  control::WorkerReport first;
  first.set_heartbeat(true);
  Report(std::move(first));
  heartbeat_ = Thread("heartbeat", [this] { Beat(); });
}

void JobSession::Beat() {
  const double seconds =
      std::clamp(joined_.lease_seconds() / 4, 0.05, 1.0);
  absl::MutexLock lock(&mu_);
  while (!mu_.AwaitWithTimeout(absl::Condition(&closing_),
                               absl::Seconds(seconds))) {
    mu_.Unlock();
    control::WorkerReport report;
    report.set_heartbeat(true);
    Report(std::move(report));
    mu_.Lock();
  }
}

absl::StatusOr<control::DeclareLayoutResponse> JobSession::Declare(
    const std::vector<ps::BlobSpec>& blobs, int64_t samples_per_clock,
    int64_t start_clock, const PlateauRecord& plateau) {
  control::DeclareLayoutRequest request;
  request.set_job_id(options_.job);
  request.set_rank(joined_.rank());
  request.set_incarnation(joined_.incarnation());
  for (const ps::BlobSpec& blob : blobs)
    *request.add_blobs() = ps::ToProto(blob);
  request.set_samples_per_clock(samples_per_clock);
  request.set_start_clock(start_clock);
  *request.mutable_plateau() = plateau;
  return client_->DeclareLayout(request, kDeclareDeadline);
}

void JobSession::Report(control::WorkerReport report) {
  report.set_job_id(options_.job);
  report.set_rank(joined_.rank());
  report.set_incarnation(joined_.incarnation());
  const absl::Status sent = lease_->Send(std::move(report));
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
      OnFailure(absl::FailedPreconditionError(absl::StrCat(
          "rank ", joined_.rank(), " of job ", options_.job,
          " was taken over: ", directive.fenced())));
      break;
    case Body::kJobFinished:
      finished_ = true;
      break;
    case Body::kCheckpoint:
      if (!checkpoints_.TryPush(directive.checkpoint()))
        LOG(WARNING) << "checkpoint " << directive.checkpoint().checkpoint_id()
                     << " is not exported: too many are waiting";
      break;
    case Body::kOrder: {
      std::function<void(const control::Order&)> call;
      {
        absl::MutexLock lock(&mu_);
        if (on_order_ == nullptr) {
          early_orders_.push_back(directive.order());
        } else {
          call = on_order_;
          calling_ = true;
        }
      }
      if (call) {
        call(directive.order());
        absl::MutexLock lock(&mu_);
        calling_ = false;
      }
      break;
    }
    case Body::BODY_NOT_SET:
      break;
  }
}

void JobSession::OnFailure(absl::Status status) {
  std::function<void(absl::Status)> call;
  {
    absl::MutexLock lock(&mu_);
    if (!failure_.ok()) return;
    failure_ = status;
    if (on_failure_ == nullptr) return;
    call = on_failure_;
    calling_ = true;
  }
  call(status);
  absl::MutexLock lock(&mu_);
  calling_ = false;
}

void JobSession::Watch(std::function<void(absl::Status)> on_failure,
                       std::function<void(const control::Order&)> on_order) {
  absl::Status failure;
  std::vector<control::Order> orders;
  {
    absl::MutexLock lock(&mu_);
    on_failure_ = on_failure;
    on_order_ = on_order;
    failure = failure_;
    orders.swap(early_orders_);
  }
  for (const control::Order& order : orders) on_order(order);
  if (!failure.ok()) on_failure(failure);
}

void JobSession::Unwatch() {
  absl::MutexLock lock(&mu_);
  on_failure_ = nullptr;
  on_order_ = nullptr;
  const auto quiet = [this]() ABSL_SHARED_LOCKS_REQUIRED(mu_) {
    return !calling_;
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

void JobSession::Leave(const std::string& failed) {
  control::WorkerReport report;
  if (failed.empty()) {
    report.set_done(true);
  } else {
    report.set_failed(failed);
  }
  leaving_ = true;
  Report(std::move(report));
  lease_->Close(kLeaveGrace);
}

}  // namespace cssp
