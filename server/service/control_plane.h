// The gRPC adaptor: the services of control.proto on top of Coordinator and
// ShardHost.  Checks sizes, translates statuses, runs streams; decides nothing.
#ifndef CSSP_SERVER_SERVICE_CONTROL_PLANE_H_
#define CSSP_SERVER_SERVICE_CONTROL_PLANE_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/coordinator/coordinator.h"
#include "server/service/shard_host.h"
#include "server/storage/param_store.h"

namespace cssp {

struct ControlPlaneOptions {
  std::string host = "127.0.0.1";
  int port = 0;                        // 0: any
  Coordinator* coordinator = nullptr;  // borrowed; null: shard service only
  ShardHost* shard_host = nullptr;     // borrowed
  ParamStore* store = nullptr;         // borrowed
};

// Thread-safe.  Handlers run on gRPC's threads, one for each open stream.
class ControlPlane {
 public:
  // Binds and serves.  AlreadyExists: the port is in use.
  static absl::StatusOr<std::unique_ptr<ControlPlane>> Start(
      const ControlPlaneOptions& options);
  virtual ~ControlPlane() = default;

  virtual int port() const = 0;
  // Closes every shard that was opened through the service: this server has
  // lost its coordinator, and with it all of its jobs.
  virtual void CloseShards() = 0;
  // Ends all calls after `grace`.  Idempotent.  The coordinator's Stop comes
  // first: it ends the streams.
  virtual void Shutdown(absl::Duration grace) = 0;
};

}  // namespace cssp

#endif  // CSSP_SERVER_SERVICE_CONTROL_PLANE_H_
