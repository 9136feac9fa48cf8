#include "common/rpc/coordinator_client.h"

#include <random>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "common/base/bounded_queue.h"
#include "common/base/status_macros.h"
#include "common/base/thread.h"
#include "common/rpc/duplex_stream.h"
#include "common/rpc/grpc_glue.h"
#include "proto/control.grpc.pb.h"

namespace cssp {
namespace {

using control::Coordinator;

std::string RandomId() {
  std::random_device device;
  return absl::StrFormat("%08x%08x%08x%08x", device(), device(), device(),
                         device());
}

// LeaseStream and ServerStream differ in their messages only.
template <class Interface, class Out, class In>
class ReportStream final : public Interface {
 public:
  using Duplex = DuplexStream<Out, In>;
  explicit ReportStream(typename Duplex::Options options)
      : duplex_(std::move(options)) {}
  void Start() { duplex_.Start(); }

  absl::Status Send(Out report) override {
    return duplex_.Send(std::move(report));
  }
  bool alive() const override { return duplex_.alive(); }
  void Close(absl::Duration grace) override {
    duplex_.Close(grace).IgnoreError();
  }

 private:
  Duplex duplex_;
};

template <class Interface, class Out, class In>
std::unique_ptr<Interface> OpenReportStream(
    typename DuplexStream<Out, In>::Options options) {
  auto stream = std::make_unique<ReportStream<Interface, Out, In>>(
      std::move(options));
  stream->Start();
  return stream;
}

class GrpcJobWatch final : public JobWatch {
 public:
  GrpcJobWatch(std::string peer, control::WatchJobRequest request)
      : peer_(std::move(peer)), request_(std::move(request)), events_(256) {}
  ~GrpcJobWatch() override { Cancel(); }

  void Start(std::shared_ptr<Coordinator::StubInterface> stub,
             std::function<void()> on_unreachable) {
    reader_ = Thread("rpc-watch", [this, stub, on_unreachable] {
      Read(*stub);
      if (absl::IsUnavailable(status())) on_unreachable();
    });
  }
  std::optional<control::JobEvent> Next(absl::Duration timeout) override {
    return events_.PopFor(timeout);
  }
  bool ended() const override ABSL_LOCKS_EXCLUDED(mu_) {
    absl::MutexLock lock(&mu_);
    return ended_ && events_.size() == 0;
  }
  absl::Status status() const override ABSL_LOCKS_EXCLUDED(mu_) {
    absl::MutexLock lock(&mu_);
    return status_;
  }
  void Cancel() override {
    context_.TryCancel();
    events_.Close();
  }

 private:
  void Read(Coordinator::StubInterface& stub) ABSL_LOCKS_EXCLUDED(mu_) {
    auto stream = stub.WatchJob(&context_, request_);
    control::JobEvent event;
    while (stream->Read(&event)) {
      if (events_.Push(event)) continue;
      context_.TryCancel();  // nobody reads on
      break;
    }
    absl::Status status = FromGrpc(stream->Finish());
    if (absl::IsUnavailable(status))
      status = absl::UnavailableError(
          absl::StrCat(peer_, " cannot be reached: ", status.message()));
    {
      absl::MutexLock lock(&mu_);
      status_ = status;
      ended_ = true;
    }
    events_.Close();
  }

  const std::string peer_;
  const control::WatchJobRequest request_;
  grpc::ClientContext context_;
  BoundedQueue<control::JobEvent> events_;
  mutable absl::Mutex mu_;
  bool ended_ ABSL_GUARDED_BY(mu_) = false;
  absl::Status status_ ABSL_GUARDED_BY(mu_);
  Thread reader_;
};

}  // namespace

struct CoordinatorClient::Impl {
  std::string address;
  std::string peer;
  ClientOptions options;
  absl::Mutex mu;
  std::shared_ptr<Coordinator::Stub> stub ABSL_GUARDED_BY(mu);

  std::shared_ptr<Coordinator::Stub> Current() ABSL_LOCKS_EXCLUDED(mu) {
    absl::MutexLock lock(&mu);
    return stub;
  }
  // A channel whose peer was away connects again in its own time, which can be
  // many seconds; a new one does at once.
  void Renew(const std::shared_ptr<Coordinator::Stub>& failed)
      ABSL_LOCKS_EXCLUDED(mu) {
    absl::MutexLock lock(&mu);
    if (stub == failed)
      stub = Coordinator::NewStub(MakeChannel(address, options));
  }

  template <class Request, class Response>
  absl::StatusOr<Response> Unary(
      grpc::Status (Coordinator::Stub::*method)(grpc::ClientContext*,
                                                const Request&, Response*),
      const Request& request, absl::Duration deadline) {
    Response response;
    const absl::Status status = CallWithRetry(
        peer, options.retry, deadline, [&](grpc::ClientContext& context) {
          const std::shared_ptr<Coordinator::Stub> now = Current();
          response.Clear();
          const grpc::Status done = (now.get()->*method)(&context, request,
                                                         &response);
          if (done.error_code() == grpc::StatusCode::UNAVAILABLE) Renew(now);
          return done;
        });
    if (!status.ok()) return status;
    return response;
  }
};

CoordinatorClient::CoordinatorClient(std::unique_ptr<Impl> impl)
    : impl_(std::move(impl)) {}
CoordinatorClient::~CoordinatorClient() = default;

absl::StatusOr<std::unique_ptr<CoordinatorClient>> CoordinatorClient::Create(
    const std::string& address, const ClientOptions& options) {
  RETURN_IF_ERROR(CheckAddress("coordinator", address));
  auto impl = std::make_unique<Impl>();
  impl->address = address;
  impl->peer = absl::StrCat("coordinator ", address);
  impl->options = options;
  impl->Renew(nullptr);
  return std::unique_ptr<CoordinatorClient>(
      new CoordinatorClient(std::move(impl)));
}

const std::string& CoordinatorClient::address() const {
  return impl_->address;
}

absl::StatusOr<control::SubmitJobResponse> CoordinatorClient::SubmitJob(
    control::SubmitJobRequest request) {
  if (request.spec().request_id().empty())
    request.mutable_spec()->set_request_id(RandomId());
  return impl_->Unary(&Coordinator::Stub::SubmitJob, request,
                      impl_->options.deadline);
}

absl::StatusOr<control::ListJobsResponse> CoordinatorClient::ListJobs() {
  return impl_->Unary(&Coordinator::Stub::ListJobs, control::ListJobsRequest(),
                      impl_->options.deadline);
}

absl::StatusOr<control::JobStatus> CoordinatorClient::DescribeJob(
    const std::string& job_id) {
  control::JobRef ref;
  ref.set_job_id(job_id);
  return impl_->Unary(&Coordinator::Stub::DescribeJob, ref,
                      impl_->options.deadline);
}

absl::StatusOr<control::JobStatus> CoordinatorClient::CancelJob(
    const std::string& job_id) {
  control::JobRef ref;
  ref.set_job_id(job_id);
  return impl_->Unary(&Coordinator::Stub::CancelJob, ref,
                      impl_->options.deadline);
}

absl::StatusOr<control::CheckpointJobResponse> CoordinatorClient::CheckpointJob(
    const std::string& job_id, absl::Duration deadline) {
  control::CheckpointJobRequest request;
  request.set_job_id(job_id);
  return impl_->Unary(&Coordinator::Stub::CheckpointJob, request, deadline);
}

absl::StatusOr<control::OrderPlaced> CoordinatorClient::SetStaleness(
    const std::string& job_id, int staleness) {
  control::SetStalenessRequest request;
  request.set_job_id(job_id);
  request.set_staleness(staleness);
  return impl_->Unary(&Coordinator::Stub::SetStaleness, request,
                      impl_->options.deadline);
}

absl::StatusOr<control::OrderPlaced> CoordinatorClient::DrainWorker(
    const std::string& job_id, int rank) {
  control::DrainWorkerRequest request;
  request.set_job_id(job_id);
  request.set_rank(rank);
  return impl_->Unary(&Coordinator::Stub::DrainWorker, request,
                      impl_->options.deadline);
}

absl::StatusOr<control::JobStatus> CoordinatorClient::ScaleJob(
    const std::string& job_id, int workers) {
  control::ScaleJobRequest request;
  request.set_job_id(job_id);
  request.set_workers(workers);
  return impl_->Unary(&Coordinator::Stub::ScaleJob, request,
                      impl_->options.deadline);
}

absl::StatusOr<control::ListServersResponse> CoordinatorClient::ListServers() {
  return impl_->Unary(&Coordinator::Stub::ListServers,
                      control::ListServersRequest(), impl_->options.deadline);
}

absl::StatusOr<control::JoinJobResponse> CoordinatorClient::JoinJob(
    control::JoinJobRequest request) {
  if (request.request_id().empty()) request.set_request_id(RandomId());
  return impl_->Unary(&Coordinator::Stub::JoinJob, request,
                      impl_->options.deadline);
}

absl::StatusOr<control::DeclareLayoutResponse> CoordinatorClient::DeclareLayout(
    const control::DeclareLayoutRequest& request, absl::Duration deadline) {
  return impl_->Unary(&Coordinator::Stub::DeclareLayout, request, deadline);
}

std::unique_ptr<LeaseStream> CoordinatorClient::KeepLease(
    std::function<void(const control::WorkerDirective&)> on_directive,
    std::function<void(absl::Status)> on_end) {
  using Duplex = DuplexStream<control::WorkerReport, control::WorkerDirective>;
  Duplex::Options options;
  options.peer = impl_->peer;
  options.max_queued = impl_->options.max_queued;
  const std::shared_ptr<Coordinator::Stub> stub = impl_->Current();
  options.open = [stub](grpc::ClientContext* context)
      -> std::unique_ptr<Duplex::Stream> { return stub->KeepLease(context); };
  options.on_message = std::move(on_directive);
  options.on_end = [on_end = std::move(on_end), stub, impl = impl_.get()](
                       const absl::Status& status, bool) {
    if (absl::IsUnavailable(status)) impl->Renew(stub);
    if (on_end) on_end(status);
  };
  return OpenReportStream<LeaseStream, control::WorkerReport,
                          control::WorkerDirective>(std::move(options));
}

std::unique_ptr<ServerStream> CoordinatorClient::KeepServer(
    std::function<void(const control::ServerDirective&)> on_directive,
    std::function<void(absl::Status)> on_end) {
  using Duplex = DuplexStream<control::ServerReport, control::ServerDirective>;
  Duplex::Options options;
  options.peer = impl_->peer;
  options.max_queued = impl_->options.max_queued;
  const std::shared_ptr<Coordinator::Stub> stub = impl_->Current();
  options.open = [stub](grpc::ClientContext* context)
      -> std::unique_ptr<Duplex::Stream> { return stub->KeepServer(context); };
  options.on_message = std::move(on_directive);
  options.on_end = [on_end = std::move(on_end), stub, impl = impl_.get()](
                       const absl::Status& status, bool) {
    if (absl::IsUnavailable(status)) impl->Renew(stub);
    if (on_end) on_end(status);
  };
  return OpenReportStream<ServerStream, control::ServerReport,
                          control::ServerDirective>(std::move(options));
}

std::unique_ptr<JobWatch> CoordinatorClient::WatchJob(
    const control::WatchJobRequest& request) {
  auto watch = std::make_unique<GrpcJobWatch>(impl_->peer, request);
  const std::shared_ptr<Coordinator::Stub> stub = impl_->Current();
  watch->Start(stub, [stub, impl = impl_.get()] { impl->Renew(stub); });
  return watch;
}

}  // namespace cssp
