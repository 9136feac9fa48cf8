#include "common/rpc/grpc_server.h"

#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/base/status_macros.h"
#include "common/rpc/grpc_glue.h"

namespace cssp {
namespace {

// gRPC says only that it could not bind; a bind of our own says why.
absl::Status ProbeAddress(const std::string& host, int port) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE;
  addrinfo* list = nullptr;
  const std::string where = absl::StrCat(host, ":", port);
  if (const int error = getaddrinfo(
          host.c_str(), absl::StrCat(port).c_str(), &hints, &list);
      error != 0)
    return absl::InvalidArgumentError(absl::StrCat(
        "control address ", where, ": ", gai_strerror(error)));
  const int fd = socket(list->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int on = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  const int failed = fd < 0 || bind(fd, list->ai_addr, list->ai_addrlen) != 0 ||
                     (port != 0 && listen(fd, 1) != 0)
                         ? errno
                         : 0;
  if (fd >= 0) close(fd);
  freeaddrinfo(list);
  if (failed == EADDRINUSE)
    return absl::AlreadyExistsError(absl::StrCat(
        "control port ", where,
        " is in use; stop what listens there or choose another control_port"));
  if (failed != 0)
    return absl::InvalidArgumentError(
        absl::StrCat("control address ", where, ": ", std::strerror(failed)));
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<GrpcServer>> GrpcServer::Start(
    const std::string& host, int port,
    const std::vector<grpc::Service*>& services) {
  QuietGrpc();
  RETURN_IF_ERROR(ProbeAddress(host, port));
  std::unique_ptr<GrpcServer> server(new GrpcServer());
  grpc::ServerBuilder builder;
  builder.SetMaxReceiveMessageSize(kMaxRpcBytes);
  builder.SetMaxSendMessageSize(kMaxRpcBytes);
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  // Clients ping every few seconds; a peer that answers none is cut.
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS,
                             1000);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, 10000);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 10000);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, 4096);
  builder.AddChannelArgument(GRPC_ARG_MAX_METADATA_SIZE, 8192);
  builder.AddListeningPort(absl::StrCat(host, ":", port),
                           grpc::InsecureServerCredentials(), &server->port_);
  for (grpc::Service* service : services) builder.RegisterService(service);
  server->server_ = builder.BuildAndStart();
  if (server->server_ == nullptr || server->port_ == 0)
    return absl::AlreadyExistsError(absl::StrCat(
        "control port ", host, ":", port, " cannot be bound: is it in use?"));
  return server;
}

void GrpcServer::Shutdown(absl::Duration grace) {
  if (server_ == nullptr) return;
  server_->Shutdown(absl::ToChronoTime(absl::Now() + grace));
  server_->Wait();
  server_.reset();
}

}  // namespace cssp
