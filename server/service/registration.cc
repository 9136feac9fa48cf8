#include "server/service/registration.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/base/logging.h"
#include "common/base/status_macros.h"

namespace cssp {
namespace {

constexpr size_t kPartsKept = 16;

}  // namespace

absl::StatusOr<std::unique_ptr<Registration>> Registration::Create(
    RegistrationOptions options) {
  ClientOptions client_options;
  client_options.keepalive = absl::Milliseconds(options.lease.lease_ms());
  ASSIGN_OR_RETURN(
      std::unique_ptr<CoordinatorClient> client,
      CoordinatorClient::Create(options.coordinator, client_options));
  return std::unique_ptr<Registration>(
      new Registration(std::move(options), std::move(client)));
}

void Registration::Start() {
  thread_ = Thread("registration", [this] { Run(); });
}

void Registration::Stop() {
  {
    absl::MutexLock lock(&mu_);
    stopping_ = true;
  }
  parts_.Close();
  thread_.Join();
}

void Registration::Report(const control::ShardCheckpoint& part) {
  if (!parts_.TryPush(part))
    LOG(ERROR) << "job " << part.job_id() << ": a part of the cut at clock "
               << part.clock() << " could not be reported";
}

absl::Status Registration::AwaitRegistered(absl::Duration timeout) {
  absl::MutexLock lock(&mu_);
  const auto settled = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    return registered_ || stopping_ || !refusal_.ok();
  };
  mu_.AwaitWithTimeout(absl::Condition(&settled), timeout);
  if (registered_) return absl::OkStatus();
  if (!refusal_.ok()) return refusal_;
  return absl::UnavailableError(
      absl::StrCat("coordinator ", options_.coordinator,
                   " has not answered yet: ", last_.message()));
}

void Registration::Drain(absl::Duration bound) {
  absl::MutexLock lock(&mu_);
  draining_ = true;
  const auto done = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    return may_leave_ || !registered_ || stopping_;
  };
  mu_.AwaitWithTimeout(absl::Condition(&done), bound);
}

void Registration::Run() {
  const RetryPolicy retry;
  int failures = 0;
  absl::Time lost_at = absl::Now();
  bool told = false;
  for (;;) {
    Serve();
    bool registered;
    {
      absl::MutexLock lock(&mu_);
      registered = registered_;
    }
    if (registered) {
      lost_at = absl::Now();
      told = false;
    } else if (!told && absl::Now() - lost_at > options_.patience) {
      told = true;
      options_.on_lost();
    }
    absl::MutexLock lock(&mu_);
    if (registered_) failures = 0;
    registered_ = false;
    if (stopping_ || draining_ || !refusal_.ok()) return;
    if (failures == 0)
      LOG(WARNING) << "coordinator " << options_.coordinator
                   << " is lost, trying again: " << last_.message();
    const absl::Duration pause = retry.Backoff(failures++);
    mu_.AwaitWithTimeout(absl::Condition(&stopping_), pause);
    if (stopping_) return;
  }
}

void Registration::OnDirective(const control::ServerDirective& directive) {
  absl::MutexLock lock(&mu_);
  if (directive.body_case() == control::ServerDirective::kIndex) {
    registered_ = true;
    LOG(INFO) << "registered with coordinator " << options_.coordinator
              << " as server " << directive.index();
  } else if (directive.shutdown()) {
    may_leave_ = true;
  }
}

void Registration::Serve() {
  {
    absl::MutexLock lock(&mu_);
    ended_ = false;
  }
  std::unique_ptr<ServerStream> stream = client_->KeepServer(
      [this](const control::ServerDirective& directive) {
        OnDirective(directive);
      },
      [this](absl::Status status) {
        absl::MutexLock lock(&mu_);
        ended_ = true;
        last_ = status;
        // What we are is refused: trying again changes nothing.
        if (absl::IsAlreadyExists(status) || absl::IsInvalidArgument(status) ||
            absl::IsUnimplemented(status))
          refusal_ = status;
      });
  const absl::Duration beat =
      absl::Milliseconds(options_.lease.heartbeat_ms());
  bool said_draining = false;
  const auto say_hello = [&] {
    control::ServerReport report;
    *report.mutable_hello() = options_.info();
    stream->Send(std::move(report)).IgnoreError();
  };
  say_hello();
  for (const control::ShardCheckpoint& part : sent_) {
    control::ServerReport report;
    *report.mutable_checkpoint() = part;
    stream->Send(std::move(report)).IgnoreError();
  }
  absl::Time next_beat = absl::Now() + beat;
  for (;;) {
    if (absl::Now() >= next_beat) {
      say_hello();
      next_beat = absl::Now() + beat;
    }
    // Short waits, so that draining and a lost stream are seen soon.
    if (std::optional<control::ShardCheckpoint> part =
            parts_.PopFor(std::min(beat, absl::Milliseconds(100)))) {
      control::ServerReport report;
      sent_.push_back(*part);
      if (sent_.size() > kPartsKept) sent_.pop_front();
      *report.mutable_checkpoint() = *std::move(part);
      stream->Send(std::move(report)).IgnoreError();
    }
    absl::MutexLock lock(&mu_);
    if (ended_ || stopping_) break;
    if (draining_ && !said_draining) {
      control::ServerReport report;
      report.set_draining(true);
      stream->Send(std::move(report)).IgnoreError();
      said_draining = true;
    }
  }
  stream->Close(absl::Milliseconds(500));
}

}  // namespace cssp
