// A running ps-server: its parts, put together in order and taken down in the
// opposite one.
#ifndef CSSP_SERVER_DAEMON_H_
#define CSSP_SERVER_DAEMON_H_

#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/metrics/exposer.h"
#include "common/metrics/metrics.h"
#include "common/transport/metrics.h"
#include "proto/config.pb.h"
#include "proto/control.pb.h"
#include "server/coordinator/coordinator.h"
#include "server/coordinator/metrics.h"
#include "server/service/control_plane.h"
#include "server/service/metrics.h"
#include "server/service/registration.h"
#include "server/service/shard_host.h"
#include "server/storage/param_store.h"

namespace cssp {

// Thread-confined: main.
class Daemon {
 public:
  // Binds the three ports and opens the store.  Every error is one that the
  // caller can show as it is (a port in use, a store that is locked).
  static absl::StatusOr<std::unique_ptr<Daemon>> Start(
      const ServerConfig& config);
  ~Daemon() { Stop(); }

  bool is_coordinator() const { return coordinator_ != nullptr; }
  // Registered with the coordinator elsewhere (at once where it is here).
  // Unavailable while it does not answer; other errors are final.
  absl::Status AwaitRegistered(absl::Duration timeout);
  // "control=HOST:PORT data=... metrics=...": what ready_file holds.
  std::string Addresses() const;
  // "coordinator, 2 jobs, 145 KiB of parameters".
  std::string StatusLine() const;
  uint64_t heartbeat() const { return shard_host_->heartbeat(); }
  // Checkpoints running jobs and says goodbye, within `bound`.
  void Drain(absl::Duration bound);
  void Stop();  // idempotent

 private:
  explicit Daemon(const ServerConfig& config) : config_(config) {}
  absl::Status OpenParts();
  absl::Status StartCoordinator();
  absl::Status StartRegistration();
  void OnCheckpoint(const control::ShardCheckpoint& part);
  control::ServerInfo Info() const;
  std::string store_directory() const;

  const ServerConfig config_;
  MetricsRegistry registry_;
  std::unique_ptr<ShardHostMetrics> shard_metrics_;
  std::unique_ptr<TransportMetrics> transport_metrics_;
  std::unique_ptr<CoordinatorMetrics> coordinator_metrics_;
  std::unique_ptr<MetricsExposer> exposer_;
  std::unique_ptr<ParamStore> store_;
  // Called by the shard host: made before it, and never replaced.
  std::unique_ptr<Coordinator> coordinator_;
  std::unique_ptr<Registration> registration_;
  std::unique_ptr<ShardHost> shard_host_;
  std::unique_ptr<ControlPlane> control_plane_;
};

}  // namespace cssp

#endif  // CSSP_SERVER_DAEMON_H_
