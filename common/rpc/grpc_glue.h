// gRPC made ours: statuses, channels, one unary call with its retries.  For
// common/rpc and server/service only.
#ifndef CSSP_COMMON_RPC_GRPC_GLUE_H_
#define CSSP_COMMON_RPC_GRPC_GLUE_H_

#include <grpcpp/grpcpp.h>

#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
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

// Calls `attempt` until it succeeds, fails for good, or `deadline` has passed.
// Unreachable peers are named by `peer` ("coordinator 10.0.0.1:7070").
absl::Status CallWithRetry(
    const std::string& peer, const RetryPolicy& retry, absl::Duration deadline,
    const std::function<grpc::Status(grpc::ClientContext&)>& attempt);

template <class Stub, class Request, class Response>
absl::StatusOr<Response> Call(
    const std::string& peer, const ClientOptions& options, Stub& stub,
    grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&,
                                 Response*),
    const Request& request, absl::Duration deadline) {
  Response response;
  absl::Status status = CallWithRetry(
      peer, options.retry, deadline, [&](grpc::ClientContext& context) {
        response.Clear();
        return (stub.*method)(&context, request, &response);
      });
  if (!status.ok()) return status;
  return response;
}

}  // namespace cssp

#endif  // CSSP_COMMON_RPC_GRPC_GLUE_H_
