// One ps-server's control interface as the coordinator uses it.
#ifndef CSSP_SERVER_COORDINATOR_SHARD_CONTROL_H_
#define CSSP_SERVER_COORDINATOR_SHARD_CONTROL_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto/control.pb.h"

namespace cssp {

// Thread-safe.  Calls block, for bounded time; the coordinator makes them
// without holding its lock.  Implementations: the shard in this process, a
// remote one over gRPC, a fake in tests.
class ShardControl {
 public:
  virtual ~ShardControl() = default;
  virtual absl::StatusOr<control::OpenShardResponse> Open(
      const control::OpenShardRequest& request) = 0;
  virtual absl::Status Close(const std::string& job_id) = 0;
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
  virtual absl::StatusOr<control::ShardStatusResponse> Status(
      const std::string& job_id) = 0;
  // Deletes the records of a cut that is not, or no longer, a checkpoint.
  virtual absl::Status DeleteCut(const std::string& job_id, int64_t clock) = 0;
  // The server is gone, and comes again as another ShardControl: calls under way
  // and to come fail at once.  Never blocks.
  virtual void Abandon() {}
};

// Makes the control of a server that has registered from elsewhere.
using ShardControlFactory =
    std::function<absl::StatusOr<std::shared_ptr<ShardControl>>(
        const control::ServerInfo&)>;

}  // namespace cssp

#endif  // CSSP_SERVER_COORDINATOR_SHARD_CONTROL_H_
