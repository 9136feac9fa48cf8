#include "common/rpc/grpc_glue.h"

#include <grpc/support/log.h>

#include <algorithm>
#include <chrono>

#include "absl/base/call_once.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/base/logging.h"

namespace cssp {

absl::Status FromGrpc(const grpc::Status& status) {
  if (status.ok()) return absl::OkStatus();
  return absl::Status(static_cast<absl::StatusCode>(status.error_code()),
                      status.error_message());
}

grpc::Status ToGrpc(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()),
                      std::string(status.message()));
}

void QuietGrpc() {
  static absl::once_flag once;
  absl::call_once(once, [] {
    gpr_set_log_function([](gpr_log_func_args* args) {
      VLOG(1) << "grpc " << args->file << ":" << args->line << " "
              << args->message;
    });
  });
}

std::shared_ptr<grpc::Channel> MakeChannel(const std::string& address,
                                           const ClientOptions& options) {
  QuietGrpc();
  grpc::ChannelArguments args;
  args.SetMaxReceiveMessageSize(kMaxRpcBytes);
  args.SetMaxSendMessageSize(kMaxRpcBytes);
  const int keepalive_ms =
      static_cast<int>(absl::ToInt64Milliseconds(options.keepalive));
  args.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, keepalive_ms);
  args.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, keepalive_ms);
  args.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  args.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 50);
  // Also the patience of one attempt: a busy machine needs seconds for the
  // handshake.
  args.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 5000);
  args.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 1000);
  // One connection a client: a stream's fate is not shared by accident.
  args.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  args.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  return grpc::CreateCustomChannel(
      address, grpc::InsecureChannelCredentials(), args);
}

namespace {

absl::Status Unreachable(const std::string& peer, const absl::Status& status,
                         absl::Duration deadline) {
  if (absl::IsUnavailable(status))
    return absl::UnavailableError(
        absl::StrCat(peer, " cannot be reached: ", status.message()));
  if (absl::IsDeadlineExceeded(status))
    return absl::DeadlineExceededError(
        absl::StrCat(peer, " did not answer within ",
                     absl::FormatDuration(deadline)));
  // gRPC's own words, not our handlers': something else listens there, or a
  // ps-server that is not the coordinator.
  if (absl::IsUnimplemented(status) &&
      (status.message().empty() ||
       absl::StartsWith(status.message(), "Received http2")))
    return absl::UnimplementedError(
        absl::StrCat(peer, " does not offer this service; is the address right? ",
                     status.message()));
  return status;
}

}  // namespace

void CallBreaker::Break() {
  absl::MutexLock lock(&mu_);
  broken_ = true;
  for (grpc::ClientContext* context : under_way_) context->TryCancel();
}

grpc::Status CallBreaker::Attempt(
    const std::function<grpc::Status(grpc::ClientContext&)>& attempt,
    grpc::ClientContext& context) {
  {
    absl::MutexLock lock(&mu_);
    if (broken_) return grpc::Status::CANCELLED;
    under_way_.insert(&context);
  }
  grpc::Status status = attempt(context);
  absl::MutexLock lock(&mu_);
  under_way_.erase(&context);
  return status;
}

bool CallBreaker::broken() const {
  absl::MutexLock lock(&mu_);
  return broken_;
}

void CallBreaker::Pause(absl::Duration pause) {
  absl::MutexLock lock(&mu_);
  mu_.AwaitWithTimeout(absl::Condition(&broken_), pause);
}

absl::Status CallWithRetry(
    const std::string& peer, const RetryPolicy& retry, absl::Duration deadline,
    const std::function<grpc::Status(grpc::ClientContext&)>& attempt,
    CallBreaker* breaker) {
  CallBreaker whole;  // never broken
  if (breaker == nullptr) breaker = &whole;
  const absl::Time end = absl::Now() + deadline;
  for (int n = 0;; ++n) {
    grpc::ClientContext context;
    context.set_deadline(absl::ToChronoTime(end));
    const absl::Status status = FromGrpc(breaker->Attempt(attempt, context));
    if (status.ok()) return status;
    if (breaker->broken())
      return absl::UnavailableError(absl::StrCat(peer, " is gone"));
    const absl::Duration pause = retry.Backoff(n);
    if (!RetryPolicy::Retryable(status) || absl::Now() + pause >= end)
      return Unreachable(peer, status, deadline);
    breaker->Pause(pause);
  }
}

}  // namespace cssp
