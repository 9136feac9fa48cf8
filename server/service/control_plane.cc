#include "server/service/control_plane.h"

#include <set>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "common/base/logging.h"
#include "common/base/status_macros.h"
#include "common/ps/slab_layout.h"
#include "common/rpc/grpc_glue.h"
#include "common/rpc/grpc_server.h"
#include "proto/control.grpc.pb.h"
#include "server/checkpoint/checkpoint_io.h"
#include "server/service/coordinator_service.h"

namespace cssp {
namespace {

constexpr int kMaxMapServers = 1024;
constexpr int kMaxMapChunks = 1 << 24;

absl::Status CheckOpen(const control::OpenShardRequest& request) {
  if (request.blobs_size() > ps::SlabLayout::kMaxBlobs ||
      request.shard_map().servers_size() > kMaxMapServers ||
      request.shard_map().chunk_server_size() > kMaxMapChunks)
    return absl::InvalidArgumentError("OpenShard: a list is too long");
  if (request.job_id().empty() || request.job_id().size() > 63)
    return absl::InvalidArgumentError("OpenShard: no proper job id");
  return absl::OkStatus();
}

template <class Response>
grpc::Status Give(absl::StatusOr<Response> result, Response* response) {
  if (!result.ok()) return ToGrpc(result.status());
  *response = *std::move(result);
  return grpc::Status::OK;
}

// Thread-safe (monitor).
class ShardService final : public control::Shard::Service {
 public:
  ShardService(ShardHost& host, ParamStore& store)
      : host_(host), store_(store) {}

  grpc::Status OpenShard(grpc::ServerContext* context,
                         const control::OpenShardRequest* request,
                         control::OpenShardResponse* response) override
      ABSL_LOCKS_EXCLUDED(mu_) {
    if (absl::Status status = CheckOpen(*request); !status.ok())
      return ToGrpc(status);
    absl::StatusOr<control::OpenShardResponse> opened = host_.Open(*request);
    if (opened.ok()) {
      absl::MutexLock lock(&mu_);
      open_.insert(request->job_id());
    }
    return Give(std::move(opened), response);
  }
  grpc::Status CloseShard(grpc::ServerContext* context,
                          const control::CloseShardRequest* request,
                          control::CloseShardResponse* response) override
      ABSL_LOCKS_EXCLUDED(mu_) {
    {
      absl::MutexLock lock(&mu_);
      open_.erase(request->job_id());
    }
    return ToGrpc(host_.Close(request->job_id()));
  }
  grpc::Status Ticks(grpc::ServerContext* context,
                     grpc::ServerReaderWriter<control::TickAck, control::Tick>*
                         stream) override {
    control::Tick tick;
    while (stream->Read(&tick)) {
      const absl::StatusOr<control::TickAck> ack = host_.Tick(tick);
      if (!ack.ok()) return ToGrpc(ack.status());
      if (!stream->Write(*ack)) break;
    }
    return grpc::Status::OK;
  }
  grpc::Status ProposeOrder(grpc::ServerContext* context,
                            const control::ProposeOrderRequest* request,
                            control::OrderAnswer* response) override {
    if (absl::Status small = CheckSmall(*request); !small.ok())
      return ToGrpc(small);
    return Give(host_.ProposeOrder(*request), response);
  }
  grpc::Status WorkerGone(grpc::ServerContext* context,
                          const control::WorkerGoneRequest* request,
                          control::WorkerGoneResponse* response) override {
    return ToGrpc(host_.WorkerGone(*request));
  }
  grpc::Status RejoinWorker(grpc::ServerContext* context,
                            const control::RejoinWorkerRequest* request,
                            control::RejoinWorkerResponse* response) override {
    return Give(host_.RejoinWorker(*request), response);
  }
  grpc::Status UpdateServers(
      grpc::ServerContext* context,
      const control::UpdateServersRequest* request,
      control::UpdateServersResponse* response) override {
    return ToGrpc(host_.UpdateServers(*request));
  }
  grpc::Status CutCommitted(grpc::ServerContext* context,
                            const control::CutCommittedRequest* request,
                            control::CutCommittedResponse* response) override {
    return ToGrpc(host_.CutCommitted(request->job_id(), request->clock()));
  }
  grpc::Status ShardStatus(grpc::ServerContext* context,
                           const control::ShardStatusRequest* request,
                           control::ShardStatusResponse* response) override {
    return Give(host_.Status(request->job_id()), response);
  }
  grpc::Status DeleteCut(grpc::ServerContext* context,
                         const control::DeleteCutRequest* request,
                         control::DeleteCutResponse* response) override {
    // An id with a slash could name another job's cuts.
    if (request->job_id().empty() || request->clock() < 0 ||
        request->job_id().find('/') != std::string::npos)
      return ToGrpc(absl::InvalidArgumentError("DeleteCut: no proper cut"));
    return ToGrpc(store_.DeletePrefix(
        CutPrefix(request->job_id(), request->clock())));
  }

  void CloseAll() ABSL_LOCKS_EXCLUDED(mu_) {
    std::set<std::string> open;
    {
      absl::MutexLock lock(&mu_);
      open.swap(open_);
    }
    for (const std::string& job : open) {
      const absl::Status closed = host_.Close(job);
      if (!closed.ok() && !absl::IsNotFound(closed))
        LOG(WARNING) << "job " << job << ": closing its shard: " << closed;
    }
  }

 private:
  ShardHost& host_;
  ParamStore& store_;
  absl::Mutex mu_;
  std::set<std::string> open_ ABSL_GUARDED_BY(mu_);
};

class GrpcControlPlane final : public ControlPlane {
 public:
  GrpcControlPlane(const ControlPlaneOptions& options)
      : shard_service_(*options.shard_host, *options.store) {
    if (options.coordinator != nullptr)
      coordinator_service_ =
          std::make_unique<CoordinatorService>(*options.coordinator);
  }
  ~GrpcControlPlane() override { Shutdown(absl::ZeroDuration()); }

  absl::Status Serve(const std::string& host, int port) {
    std::vector<grpc::Service*> services = {&shard_service_};
    if (coordinator_service_ != nullptr)
      services.push_back(coordinator_service_.get());
    ASSIGN_OR_RETURN(server_, GrpcServer::Start(host, port, services));
    return absl::OkStatus();
  }
  int port() const override { return server_->port(); }
  void CloseShards() override { shard_service_.CloseAll(); }
  void Shutdown(absl::Duration grace) override {
    if (server_ != nullptr) server_->Shutdown(grace);
  }

 private:
  ShardService shard_service_;
  std::unique_ptr<CoordinatorService> coordinator_service_;
  std::unique_ptr<GrpcServer> server_;  // last: uses the services
};

}  // namespace

absl::StatusOr<std::unique_ptr<ControlPlane>> ControlPlane::Start(
    const ControlPlaneOptions& options) {
  CHECK(options.shard_host != nullptr && options.store != nullptr)
      << "shard_host and store are required";
  auto plane = std::make_unique<GrpcControlPlane>(options);
  RETURN_IF_ERROR(plane->Serve(options.host, options.port));
  return plane;
}

}  // namespace cssp
