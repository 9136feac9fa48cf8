// gRPC made ours: statuses, channels, one unary call with its retries.  For
// common/rpc and server/service only.
#ifndef CSSP_COMMON_RPC_GRPC_GLUE_H_
#define CSSP_COMMON_RPC_GRPC_GLUE_H_

#include <grpcpp/grpcpp.h>

#include <functional>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/rpc/client_options.h"

namespace cssp {

// Largest message either side takes: a model's list of blobs, or a solver with
// its nets.  Everything else is bounded by its handler.
inline constexpr int kMaxRpcBytes = 64 << 20;

// The codes have the same numbers on both sides.
absl::Status FromGrpc(const grpc::Status& status);
grpc::Status ToGrpc(const absl::Status& status);

// Sends gRPC's own log lines to VLOG(1): what matters comes back as a Status.
// Idempotent.
void QuietGrpc();

// An insecure channel, with pings, bounded messages, quick reconnection, and no
// proxy from the environment.
std::shared_ptr<grpc::Channel> MakeChannel(const std::string& address,
                                           const ClientOptions& options);

// Ends a client's unary calls from another thread, because its peer is known to
// be gone.  Thread-safe.
class CallBreaker {
 public:
  // Calls under way end at once, later ones do not begin: Unavailable.
  void Break() ABSL_LOCKS_EXCLUDED(mu_);

 private:
  friend absl::Status CallWithRetry(
      const std::string&, const RetryPolicy&, absl::Duration,
      const std::function<grpc::Status(grpc::ClientContext&)>&, CallBreaker*);

  // One attempt of a call, which Break cancels.
  grpc::Status Attempt(
      const std::function<grpc::Status(grpc::ClientContext&)>& attempt,
      grpc::ClientContext& context) ABSL_LOCKS_EXCLUDED(mu_);
  bool broken() const ABSL_LOCKS_EXCLUDED(mu_);
  // Sleeps, but not beyond Break.
  void Pause(absl::Duration pause) ABSL_LOCKS_EXCLUDED(mu_);

  mutable absl::Mutex mu_;
  bool broken_ ABSL_GUARDED_BY(mu_) = false;
  absl::flat_hash_set<grpc::ClientContext*> under_way_ ABSL_GUARDED_BY(mu_);
};

// Calls `attempt` until it succeeds, fails for good, or `deadline` has passed.
// Unreachable peers are named by `peer` ("coordinator 10.0.0.1:7070").
// `breaker` may be null.
absl::Status CallWithRetry(
    const std::string& peer, const RetryPolicy& retry, absl::Duration deadline,
    const std::function<grpc::Status(grpc::ClientContext&)>& attempt,
    CallBreaker* breaker = nullptr);

template <class Stub, class Request, class Response>
absl::StatusOr<Response> Call(
    const std::string& peer, const ClientOptions& options, Stub& stub,
    grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&,
                                 Response*),
    const Request& request, absl::Duration deadline,
    CallBreaker* breaker = nullptr) {
  Response response;
  absl::Status status = CallWithRetry(
      peer, options.retry, deadline,
      [&](grpc::ClientContext& context) {
        response.Clear();
        return (stub.*method)(&context, request, &response);
      },
      breaker);
  if (!status.ok()) return status;
  return response;
}

}  // namespace cssp

#endif  // CSSP_COMMON_RPC_GRPC_GLUE_H_
