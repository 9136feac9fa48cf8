// How clients of the control plane wait and retry.  No gRPC in here.
#ifndef CSSP_COMMON_RPC_CLIENT_OPTIONS_H_
#define CSSP_COMMON_RPC_CLIENT_OPTIONS_H_

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace cssp {

// Immutable.  Exponential backoff: the n-th pause is initial * multiplier^n, at
// most `maximum`.
struct RetryPolicy {
  absl::Duration initial = absl::Milliseconds(50);
  absl::Duration maximum = absl::Seconds(1);
  double multiplier = 2;

  // Unavailable and ResourceExhausted; DeadlineExceeded is the caller's own
  // budget and is not tried again.
  static bool Retryable(const absl::Status& status);
  // Pause before attempt `attempt` + 1 (attempt counts from 0).
  absl::Duration Backoff(int attempt) const;
};

struct ClientOptions {
  // Budget of one unary call, retries included.
  absl::Duration deadline = absl::Seconds(4);
  RetryPolicy retry;
  // How long opening a stream of ticks waits for the connection.
  absl::Duration connect_wait = absl::Seconds(10);
  // A peer that is silent for this long counts as gone (HTTP/2 pings).
  absl::Duration keepalive = absl::Seconds(10);
  // Bound of a stream's queue of unsent messages.
  size_t max_queued = 1024;
};

// InvalidArgument unless it is "host:port" with a port in 1..65535; `what`
// names the address in the message ("coordinator").
absl::Status CheckAddress(absl::string_view what, absl::string_view address);

}  // namespace cssp

#endif  // CSSP_COMMON_RPC_CLIENT_OPTIONS_H_
