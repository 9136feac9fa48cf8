// The shard thread of a ps-server: owns the transport and every job's shard on
// this server, polls, receives and applies.  Control reaches it as commands.
#ifndef CSSP_SERVER_SERVICE_SHARD_HOST_H_
#define CSSP_SERVER_SERVICE_SHARD_HOST_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/base/time_source.h"
#include "common/transport/transport.h"
#include "proto/control.pb.h"
#include "server/storage/param_store.h"

namespace cssp {

struct ShardHostMetrics;  // server/service/metrics.h

struct ShardHostOptions {
  std::string data_host = "127.0.0.1";
  int data_port = 0;
  TransportOptions transport;
  ParamStore* store = nullptr;          // borrowed
  std::string store_directory;          // what Manifest.Part.directory says
  std::string log_directory;            // of jobs with durability LOG
  ShardHostMetrics* metrics = nullptr;  // borrowed
  // Injected by tests; null: MakeUcxTransport.
  std::function<absl::StatusOr<std::unique_ptr<Transport>>(
      const TransportOptions&, TransportHandler&)>
      make_transport;
  // Called on a background thread when this server's part of a cut is durable
  // (or has failed): the control plane reports it to the coordinator.
  std::function<void(const control::ShardCheckpoint&)> on_checkpoint;
};

// Thread-safe: commands are queued to the shard thread and waited for.
class ShardHost {
 public:
  static absl::StatusOr<std::unique_ptr<ShardHost>> Start(
      ShardHostOptions options);
  virtual ~ShardHost() = default;

  // Address of the data plane's listener.
  virtual std::string data_address() const = 0;

  virtual absl::StatusOr<control::OpenShardResponse> Open(
      const control::OpenShardRequest& request) = 0;
  virtual absl::Status Close(const std::string& job_id) = 0;
  // InvalidArgument, Unauthenticated (token), NotFound, FailedPrecondition
  // (fenced incarnation).
  virtual absl::StatusOr<control::TickAck> Tick(const control::Tick& tick) = 0;
  virtual absl::StatusOr<control::OrderAnswer> ProposeOrder(
      const control::ProposeOrderRequest& request) = 0;
  virtual absl::Status WorkerGone(
      const control::WorkerGoneRequest& request) = 0;
  virtual absl::StatusOr<control::RejoinWorkerResponse> RejoinWorker(
      const control::RejoinWorkerRequest& request) = 0;
  virtual absl::Status UpdateServers(
      const control::UpdateServersRequest& request) = 0;
  virtual absl::Status CutCommitted(const std::string& job_id,
                                    int64_t clock) = 0;
  // The shards that are open now.
  virtual std::vector<control::HeldShard> held() = 0;
  virtual absl::StatusOr<control::ShardStatusResponse> Status(
      const std::string& job_id) = 0;
  // Advances at every turn of the progress loop: feeds the watchdog.
  virtual uint64_t heartbeat() const = 0;
  // Bytes of parameters held, number of jobs.
  virtual int64_t bytes() const = 0;
  virtual int jobs() const = 0;
  // Idempotent; joins the shard thread.
  virtual void Stop() = 0;
};

}  // namespace cssp

#endif  // CSSP_SERVER_SERVICE_SHARD_HOST_H_
