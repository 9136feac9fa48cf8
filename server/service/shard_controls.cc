#include "server/service/shard_controls.h"

#include <utility>

#include "common/base/status_macros.h"
#include "common/rpc/shard_client.h"
#include "server/checkpoint/checkpoint_io.h"

namespace cssp {
namespace {

// Restoring a large model reads it from disk.
constexpr absl::Duration kOpenDeadline = absl::Minutes(10);

class LocalShardControl final : public ShardControl {
 public:
  LocalShardControl(ShardHost& host, ParamStore& store)
      : host_(host), store_(store) {}

  absl::StatusOr<control::OpenShardResponse> Open(
      const control::OpenShardRequest& request) override {
    return host_.Open(request);
  }
  absl::Status Close(const std::string& job_id) override {
    return host_.Close(job_id);
  }
  absl::StatusOr<control::OrderAnswer> ProposeOrder(
      const control::ProposeOrderRequest& request) override {
    return host_.ProposeOrder(request);
  }
  absl::Status WorkerGone(const control::WorkerGoneRequest& request) override {
    return host_.WorkerGone(request);
  }
  absl::StatusOr<control::RejoinWorkerResponse> RejoinWorker(
      const control::RejoinWorkerRequest& request) override {
    return host_.RejoinWorker(request);
  }
  absl::Status UpdateServers(
      const control::UpdateServersRequest& request) override {
    return host_.UpdateServers(request);
  }
  absl::Status CutCommitted(const std::string& job_id,
                            int64_t clock) override {
    return host_.CutCommitted(job_id, clock);
  }
  absl::StatusOr<control::ShardStatusResponse> Status(
      const std::string& job_id) override {
    return host_.Status(job_id);
  }
  absl::Status DeleteCut(const std::string& job_id, int64_t clock) override {
    return store_.DeletePrefix(CutPrefix(job_id, clock));
  }

 private:
  ShardHost& host_;
  ParamStore& store_;
};

class RemoteShardControl final : public ShardControl {
 public:
  explicit RemoteShardControl(std::unique_ptr<ShardClient> client)
      : client_(std::move(client)) {}

  absl::StatusOr<control::OpenShardResponse> Open(
      const control::OpenShardRequest& request) override {
    return client_->OpenShard(request, kOpenDeadline);
  }
  absl::Status Close(const std::string& job_id) override {
    return client_->CloseShard(job_id);
  }
  absl::StatusOr<control::OrderAnswer> ProposeOrder(
      const control::ProposeOrderRequest& request) override {
    return client_->ProposeOrder(request);
  }
  absl::Status WorkerGone(const control::WorkerGoneRequest& request) override {
    return client_->WorkerGone(request);
  }
  absl::StatusOr<control::RejoinWorkerResponse> RejoinWorker(
      const control::RejoinWorkerRequest& request) override {
    return client_->RejoinWorker(request);
  }
  absl::Status UpdateServers(
      const control::UpdateServersRequest& request) override {
    return client_->UpdateServers(request);
  }
  absl::Status CutCommitted(const std::string& job_id,
                            int64_t clock) override {
    return client_->CutCommitted(job_id, clock);
  }
  absl::StatusOr<control::ShardStatusResponse> Status(
      const std::string& job_id) override {
    return client_->ShardStatus(job_id);
  }
  absl::Status DeleteCut(const std::string& job_id, int64_t clock) override {
    return client_->DeleteCut(job_id, clock);
  }
  void Abandon() override { client_->Abandon(); }

 private:
  const std::unique_ptr<ShardClient> client_;
};

}  // namespace

std::shared_ptr<ShardControl> MakeLocalShardControl(ShardHost& host,
                                                    ParamStore& store) {
  return std::make_shared<LocalShardControl>(host, store);
}

absl::StatusOr<std::shared_ptr<ShardControl>> MakeRemoteShardControl(
    const control::ServerInfo& server) {
  ASSIGN_OR_RETURN(std::unique_ptr<ShardClient> client,
                   ShardClient::Create(server.control_address()));
  return std::make_shared<RemoteShardControl>(std::move(client));
}

}  // namespace cssp
