// The listening side of the control plane.  Includes gRPC: for server/service.
#ifndef CSSP_COMMON_RPC_GRPC_SERVER_H_
#define CSSP_COMMON_RPC_GRPC_SERVER_H_

#include <grpcpp/grpcpp.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace cssp {

// Thread-confined: its owner; the services' handlers run on gRPC's threads.
class GrpcServer {
 public:
  // Binds host:port (0: any free port) and serves.  `services` are borrowed.
  // A port in use is AlreadyExists, an address that is not this host's
  // InvalidArgument; both name it.
  static absl::StatusOr<std::unique_ptr<GrpcServer>> Start(
      const std::string& host, int port,
      const std::vector<grpc::Service*>& services);
  ~GrpcServer() { Shutdown(absl::ZeroDuration()); }

  int port() const { return port_; }
  // Refuses new calls, gives running ones `grace`, then cancels them and
  // joins.  Idempotent.
  void Shutdown(absl::Duration grace);

 private:
  GrpcServer() = default;

  int port_ = 0;
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace cssp

#endif  // CSSP_COMMON_RPC_GRPC_SERVER_H_
