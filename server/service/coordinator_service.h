// gRPC's Coordinator service.  For control_plane.cc.
#ifndef CSSP_SERVER_SERVICE_COORDINATOR_SERVICE_H_
#define CSSP_SERVER_SERVICE_COORDINATOR_SERVICE_H_

#include <grpcpp/grpcpp.h>

#include "proto/control.grpc.pb.h"
#include "server/coordinator/coordinator.h"

namespace cssp {

// Messages other than nets and blob lists stay below this.
inline constexpr size_t kMaxSmallMessage = 1 << 20;
// InvalidArgument beyond kMaxSmallMessage.
absl::Status CheckSmall(const google::protobuf::Message& message);

// Thread-safe.  Borrows the coordinator.
class CoordinatorService final : public control::Coordinator::Service {
 public:
  explicit CoordinatorService(Coordinator& coordinator)
      : coordinator_(coordinator) {}

  grpc::Status SubmitJob(grpc::ServerContext* context,
                         const control::SubmitJobRequest* request,
                         control::SubmitJobResponse* response) override;
  grpc::Status ListJobs(grpc::ServerContext* context,
                        const control::ListJobsRequest* request,
                        control::ListJobsResponse* response) override;
  grpc::Status DescribeJob(grpc::ServerContext* context,
                           const control::JobRef* request,
                           control::JobStatus* response) override;
  grpc::Status WatchJob(
      grpc::ServerContext* context, const control::WatchJobRequest* request,
      grpc::ServerWriter<control::JobEvent>* writer) override;
  grpc::Status CancelJob(grpc::ServerContext* context,
                         const control::JobRef* request,
                         control::JobStatus* response) override;
  grpc::Status SetStaleness(grpc::ServerContext* context,
                            const control::SetStalenessRequest* request,
                            control::OrderPlaced* response) override;
  grpc::Status ScaleJob(grpc::ServerContext* context,
                        const control::ScaleJobRequest* request,
                        control::JobStatus* response) override;
  grpc::Status DrainWorker(grpc::ServerContext* context,
                           const control::DrainWorkerRequest* request,
                           control::OrderPlaced* response) override;
  grpc::Status CheckpointJob(grpc::ServerContext* context,
                             const control::CheckpointJobRequest* request,
                             control::CheckpointJobResponse* response) override;
  grpc::Status ListServers(grpc::ServerContext* context,
                           const control::ListServersRequest* request,
                           control::ListServersResponse* response) override;
  grpc::Status JoinJob(grpc::ServerContext* context,
                       const control::JoinJobRequest* request,
                       control::JoinJobResponse* response) override;
  grpc::Status DeclareLayout(grpc::ServerContext* context,
                             const control::DeclareLayoutRequest* request,
                             control::DeclareLayoutResponse* response) override;
  grpc::Status KeepLease(
      grpc::ServerContext* context,
      grpc::ServerReaderWriter<control::WorkerDirective,
                               control::WorkerReport>* stream) override;
  grpc::Status KeepServer(
      grpc::ServerContext* context,
      grpc::ServerReaderWriter<control::ServerDirective,
                               control::ServerReport>* stream) override;

 private:
  Coordinator& coordinator_;
};

}  // namespace cssp

#endif  // CSSP_SERVER_SERVICE_COORDINATOR_SERVICE_H_
