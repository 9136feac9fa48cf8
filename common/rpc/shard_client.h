// A ps-server's control service as seen by workers (ticks) and the coordinator.
#ifndef CSSP_COMMON_RPC_SHARD_CLIENT_H_
#define CSSP_COMMON_RPC_SHARD_CLIENT_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/rpc/client_options.h"
#include "proto/control.pb.h"

namespace cssp {

// One worker's ticks to one shard.  Thread-safe; destroying it cuts the stream
// and joins its threads.
class TickStream {
 public:
  virtual ~TickStream() = default;
  // Never blocks.  ResourceExhausted when too many ticks are unsent; once the
  // stream is broken, why (the shard's refusal, or Unavailable).
  virtual absl::Status Send(control::Tick tick) = 0;
  // OK while the stream lives.
  virtual absl::Status status() const = 0;
  // The shard's minimum clock by the last answer; -1 before the first.
  virtual int64_t min_clock() const = 0;
  // Answers received: ticks that the shard has taken.
  virtual int64_t acknowledged() const = 0;
  // Sends what is queued, half-closes, waits at most `grace` for the answers.
  // The status of the stream: OK when every tick was answered.
  virtual absl::Status Close(absl::Duration grace) = 0;
};

// Thread-safe.  As CoordinatorClient.
class ShardClient {
 public:
  static absl::StatusOr<std::unique_ptr<ShardClient>> Create(
      const std::string& address, const ClientOptions& options = {});
  ~ShardClient();

  absl::StatusOr<control::OpenShardResponse> OpenShard(
      const control::OpenShardRequest& request, absl::Duration deadline);
  absl::Status CloseShard(const std::string& job_id);
  absl::StatusOr<control::OrderAnswer> ProposeOrder(
      const control::ProposeOrderRequest& request);
  absl::Status WorkerGone(const control::WorkerGoneRequest& request);
  absl::StatusOr<control::RejoinWorkerResponse> RejoinWorker(
      const control::RejoinWorkerRequest& request);
  absl::Status UpdateServers(const control::UpdateServersRequest& request);
  absl::Status CutCommitted(const std::string& job_id, int64_t clock);
  absl::StatusOr<control::ShardStatusResponse> ShardStatus(
      const std::string& job_id);
  absl::Status DeleteCut(const std::string& job_id, int64_t clock);

  // Waits up to ClientOptions::connect_wait for the connection; a server that
  // is not there by then shows as a broken stream.
  // `on_broken` (may be empty) runs once on the stream's reader thread when the
  // stream ends other than by Close; it must not destroy the stream.
  std::unique_ptr<TickStream> Ticks(
      std::function<void(absl::Status)> on_broken);

  // The server is gone for good: unary calls under way and to come fail at once
  // (Unavailable) instead of trying until their deadline.
  void Abandon();

  const std::string& address() const;

 private:
  struct Impl;
  explicit ShardClient(std::unique_ptr<Impl> impl);
  const std::unique_ptr<Impl> impl_;
};

}  // namespace cssp

#endif  // CSSP_COMMON_RPC_SHARD_CLIENT_H_
