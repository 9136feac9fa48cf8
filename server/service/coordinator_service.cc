#include "server/service/coordinator_service.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "common/base/status_macros.h"
#include "common/base/thread.h"
#include "common/rpc/grpc_glue.h"

namespace cssp {
namespace {

// A peer that has been told its last word has this long to hang up.
constexpr absl::Duration kHangUp = absl::Seconds(2);
constexpr absl::Duration kLongestWait = absl::Minutes(10);

// What the caller still waits, bounded.
absl::Duration Remaining(const grpc::ServerContext& context) {
  const absl::Duration left =
      absl::FromChrono(context.deadline()) - absl::Now();
  return std::clamp(left, absl::ZeroDuration(), kLongestWait);
}

template <class Response>
grpc::Status Give(absl::StatusOr<Response> result, Response* response) {
  if (!result.ok()) return ToGrpc(result.status());
  *response = *std::move(result);
  return grpc::Status::OK;
}

// Writes a queue's messages to the stream until it is closed; then gives the
// peer a moment to hang up before it is cut off.
template <class Queue, class Stream>
class StreamWriter {
 public:
  StreamWriter(grpc::ServerContext& context, Queue& queue, Stream& stream)
      : queue_(queue), thread_("rpc-directives", [this, &context, &stream] {
          while (auto message = queue_.Pop())
            if (!stream.Write(*message)) break;
          if (!read_all_.WaitForNotificationWithTimeout(kHangUp))
            context.TryCancel();
        }) {}
  ~StreamWriter() {
    queue_.Close();
    read_all_.Notify();
  }

 private:
  Queue& queue_;
  absl::Notification read_all_;
  Thread thread_;  // last: uses the others, joined first
};

}  // namespace

absl::Status CheckSmall(const google::protobuf::Message& message) {
  const size_t bytes = message.ByteSizeLong();
  if (bytes <= kMaxSmallMessage) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat(message.GetTypeName(), " has ", bytes,
                   " bytes; at most ", kMaxSmallMessage, " are taken"));
}

grpc::Status CoordinatorService::SubmitJob(
    grpc::ServerContext* context, const control::SubmitJobRequest* request,
    control::SubmitJobResponse* response) {
  return Give(coordinator_.SubmitJob(request->spec()), response);
}

grpc::Status CoordinatorService::ListJobs(
    grpc::ServerContext* context, const control::ListJobsRequest* request,
    control::ListJobsResponse* response) {
  *response = coordinator_.ListJobs();
  return grpc::Status::OK;
}

grpc::Status CoordinatorService::DescribeJob(grpc::ServerContext* context,
                                             const control::JobRef* request,
                                             control::JobStatus* response) {
  return Give(coordinator_.DescribeJob(request->job_id()), response);
}

grpc::Status CoordinatorService::WatchJob(
    grpc::ServerContext* context, const control::WatchJobRequest* request,
    grpc::ServerWriter<control::JobEvent>* writer) {
  WatchCursor cursor{.job_id = request->job_id(),
                     .from_clock = request->from_clock()};
  while (!cursor.ended && !context->IsCancelled()) {
    const absl::StatusOr<std::vector<control::JobEvent>> events =
        coordinator_.NextEvents(&cursor, absl::Milliseconds(500));
    if (!events.ok()) return ToGrpc(events.status());
    for (const control::JobEvent& event : *events)
      if (!writer->Write(event)) return grpc::Status::OK;
  }
  return grpc::Status::OK;
}

grpc::Status CoordinatorService::CancelJob(grpc::ServerContext* context,
                                           const control::JobRef* request,
                                           control::JobStatus* response) {
  return Give(coordinator_.CancelJob(request->job_id()), response);
}

grpc::Status CoordinatorService::SetStaleness(
    grpc::ServerContext* context, const control::SetStalenessRequest* request,
    control::OrderPlaced* response) {
  return Give(coordinator_.SetStaleness(request->job_id(),
                                        request->staleness()),
              response);
}

grpc::Status CoordinatorService::ScaleJob(
    grpc::ServerContext* context, const control::ScaleJobRequest* request,
    control::JobStatus* response) {
  return Give(coordinator_.ScaleJob(request->job_id(), request->workers()),
              response);
}

grpc::Status CoordinatorService::DrainWorker(
    grpc::ServerContext* context, const control::DrainWorkerRequest* request,
    control::OrderPlaced* response) {
  return Give(coordinator_.DrainWorker(request->job_id(), request->rank()),
              response);
}

grpc::Status CoordinatorService::CheckpointJob(
    grpc::ServerContext* context, const control::CheckpointJobRequest* request,
    control::CheckpointJobResponse* response) {
  absl::StatusOr<control::CheckpointInfo> info =
      coordinator_.CheckpointJob(request->job_id(), Remaining(*context));
  if (!info.ok()) return ToGrpc(info.status());
  *response->mutable_checkpoint() = *std::move(info);
  return grpc::Status::OK;
}

grpc::Status CoordinatorService::ListServers(
    grpc::ServerContext* context, const control::ListServersRequest* request,
    control::ListServersResponse* response) {
  *response = coordinator_.ListServers();
  return grpc::Status::OK;
}

grpc::Status CoordinatorService::JoinJob(grpc::ServerContext* context,
                                         const control::JoinJobRequest* request,
                                         control::JoinJobResponse* response) {
  if (absl::Status small = CheckSmall(*request); !small.ok())
    return ToGrpc(small);
  return Give(coordinator_.JoinJob(*request), response);
}

grpc::Status CoordinatorService::DeclareLayout(
    grpc::ServerContext* context, const control::DeclareLayoutRequest* request,
    control::DeclareLayoutResponse* response) {
  return Give(coordinator_.DeclareLayout(*request, Remaining(*context)),
              response);
}

grpc::Status CoordinatorService::KeepLease(
    grpc::ServerContext* context,
    grpc::ServerReaderWriter<control::WorkerDirective, control::WorkerReport>*
        stream) {
  control::WorkerReport report;
  if (!stream->Read(&report))
    return ToGrpc(absl::InvalidArgumentError("a lease begins with a report"));
  absl::Status status = CheckSmall(report);
  if (!status.ok()) return ToGrpc(status);
  absl::StatusOr<LeaseHandle> lease = coordinator_.OpenLease(report);
  if (!lease.ok()) return ToGrpc(lease.status());
  {
    StreamWriter writer(*context, *lease->directives, *stream);
    while (status.ok() && stream->Read(&report)) {
      status = CheckSmall(report);
      // A stream speaks for the member that opened it.
      report.set_job_id(lease->job_id);
      report.set_rank(lease->rank);
      report.set_incarnation(lease->incarnation);
      if (status.ok()) status = coordinator_.Report(report);
    }
    coordinator_.LeaseEnded(*lease);
  }
  return ToGrpc(status);
}

grpc::Status CoordinatorService::KeepServer(
    grpc::ServerContext* context,
    grpc::ServerReaderWriter<control::ServerDirective, control::ServerReport>*
        stream) {
  control::ServerReport report;
  if (!stream->Read(&report) || !report.has_hello())
    return ToGrpc(absl::InvalidArgumentError("a server begins with its hello"));
  absl::Status status = CheckSmall(report);
  if (!status.ok()) return ToGrpc(status);
  absl::StatusOr<ServerHandle> server = coordinator_.OpenServer(report.hello());
  if (!server.ok()) return ToGrpc(server.status());
  {
    StreamWriter writer(*context, *server->directives, *stream);
    // A cut's part lists chunks: a million of them fit the general bound.
    while (status.ok() && stream->Read(&report))
      status = coordinator_.ReportServer(*server, report);
    coordinator_.ServerEnded(*server);
  }
  return ToGrpc(status);
}

}  // namespace cssp
