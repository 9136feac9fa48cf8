// UCX's objects, owned: context, worker, and how their errors and addresses
// become ours.  Only ucx_*.cc may include this.
#ifndef CSSP_COMMON_TRANSPORT_UCX_WORKER_H_
#define CSSP_COMMON_TRANSPORT_UCX_WORKER_H_

#include <sys/socket.h>
#include <ucp/api/ucp.h>

#include <atomic>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "common/transport/transport.h"
#include "common/transport/ucx_memory.h"

namespace cssp {

// The one converter of UCX's errors: "<what>: <UCX's words>".
absl::Status FromUcs(ucs_status_t status, absl::string_view what);

// An IPv4 or IPv6 address and port.
struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t length = 0;

  ucs_sock_addr_t ucs() const {
    return {reinterpret_cast<const sockaddr*>(&storage), length};
  }
};
// Resolves a name; may ask DNS.  InvalidArgument for a bad port, Unavailable
// for a name that nobody knows.
absl::StatusOr<SocketAddress> ResolveAddress(const std::string& host, int port);
// "host:port" or "[v6]:port".
absl::StatusOr<SocketAddress> ParseAddress(const std::string& address);
// The port of an address.
int PortOf(const sockaddr_storage& address);
// "host:port", with brackets around an IPv6 host.
std::string JoinHostPort(const std::string& host, int port);

// A context with one worker, set up as the data plane needs it (README.md has
// the table of settings and reasons).  Endpoints must be closed before it goes.
//
// Thread-confined: whoever polls; construction may be elsewhere.
class UcxWorker {
 public:
  // Over TCP a payload up to kMaxInOne goes as one active message, in one
  // segment (with room for headers): one copy more at the receiver, but from
  // cache, and without the three small messages of a rendezvous, which queue
  // behind what flows the other way.
  static constexpr size_t kMaxInOne = size_t{1} << 20;
  static constexpr size_t kSegmentBytes = kMaxInOne + 4096;

  static absl::StatusOr<std::unique_ptr<UcxWorker>> Create(
      const TransportOptions& options, size_t am_header_bytes);
  ~UcxWorker();
  UcxWorker(const UcxWorker&) = delete;
  UcxWorker& operator=(const UcxWorker&) = delete;

  ucp_worker_h get() const { return worker_; }
  const std::shared_ptr<UcxContext>& context() const { return context_; }
  // Sleeps until UCX has something to progress, Wake, or the timeout.
  void Wait(absl::Duration timeout);
  // Thread-safe.
  void Wake();
  // Wake was called since the last Wait.
  bool woken() const { return woken_.load(std::memory_order_relaxed); }

 private:
  UcxWorker() = default;
  absl::Status Init(const TransportOptions& options, size_t am_header_bytes);

  std::shared_ptr<UcxContext> context_;
  ucp_worker_h worker_ = nullptr;
  int ucx_fd_ = -1;   // UCX's own
  int wake_fd_ = -1;  // an eventfd
  std::atomic<bool> woken_{false};
};

// The lanes of an endpoint, "posix/memory, tcp/lo", as UCX prints them.
std::string DescribeLanes(ucp_ep_h endpoint);
bool OnlyTcp(absl::string_view lanes);

}  // namespace cssp

#endif  // CSSP_COMMON_TRANSPORT_UCX_WORKER_H_
