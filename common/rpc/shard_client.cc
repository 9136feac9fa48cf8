#include "common/rpc/shard_client.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/base/status_macros.h"
#include "common/rpc/duplex_stream.h"
#include "common/rpc/grpc_glue.h"
#include "proto/control.grpc.pb.h"

namespace cssp {
namespace {

using control::Shard;
constexpr absl::Duration kOnce = absl::Seconds(1);

using TickDuplex = DuplexStream<control::Tick, control::TickAck>;

class GrpcTickStream final : public TickStream {
 public:
  GrpcTickStream(TickDuplex::Options options,
                 std::function<void(absl::Status)> on_broken)
      : on_broken_(std::move(on_broken)),
        duplex_(WithCallbacks(std::move(options))) {}
  void Start() { duplex_.Start(); }

  absl::Status Send(control::Tick tick) override {
    return duplex_.Send(std::move(tick));
  }
  absl::Status status() const override {
    absl::Status status = duplex_.status();
    if (status.ok() && !duplex_.alive())
      return absl::UnavailableError("the shard ended the stream of ticks");
    return status;
  }
  int64_t min_clock() const override {
    absl::MutexLock lock(&mu_);
    return min_clock_;
  }
  int64_t acknowledged() const override {
    absl::MutexLock lock(&mu_);
    return acknowledged_;
  }
  absl::Status Close(absl::Duration grace) override {
    return duplex_.Close(grace);
  }

 private:
  TickDuplex::Options WithCallbacks(TickDuplex::Options options) {
    options.on_message = [this](const control::TickAck& ack) {
      absl::MutexLock lock(&mu_);
      min_clock_ = ack.min_clock();
      ++acknowledged_;
    };
    options.on_end = [this](const absl::Status& status, bool closing) {
      if (!closing && on_broken_) on_broken_(this->status());
    };
    return options;
  }

  const std::function<void(absl::Status)> on_broken_;
  mutable absl::Mutex mu_;
  int64_t min_clock_ ABSL_GUARDED_BY(mu_) = -1;
  int64_t acknowledged_ ABSL_GUARDED_BY(mu_) = 0;
  TickDuplex duplex_;  // last: its threads use the members above
};

}  // namespace

struct ShardClient::Impl {
  std::string address;
  std::string peer;
  ClientOptions options;
  std::shared_ptr<grpc::Channel> channel;
  std::unique_ptr<Shard::Stub> stub;
  CallBreaker breaker;

  template <class Request, class Response>
  absl::StatusOr<Response> Unary(
      grpc::Status (Shard::Stub::*method)(grpc::ClientContext*, const Request&,
                                          Response*),
      const Request& request, absl::Duration deadline) {
    return Call(peer, options, *stub, method, request, deadline, &breaker);
  }
  // One attempt: what a server that is gone misses, it does not need.
  template <class Request, class Response>
  absl::Status Once(grpc::Status (Shard::Stub::*method)(grpc::ClientContext*,
                                                        const Request&,
                                                        Response*),
                    const Request& request) {
    ClientOptions once = options;
    once.retry.initial = once.retry.maximum = kOnce;
    return Call(peer, once, *stub, method, request, kOnce, &breaker).status();
  }
};

ShardClient::ShardClient(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
ShardClient::~ShardClient() = default;

absl::StatusOr<std::unique_ptr<ShardClient>> ShardClient::Create(
    const std::string& address, const ClientOptions& options) {
  RETURN_IF_ERROR(CheckAddress("ps-server", address));
  auto impl = std::make_unique<Impl>();
  impl->address = address;
  impl->peer = absl::StrCat("ps-server ", address);
  impl->options = options;
  impl->channel = MakeChannel(address, options);
  impl->stub = Shard::NewStub(impl->channel);
  return std::unique_ptr<ShardClient>(new ShardClient(std::move(impl)));
}

void ShardClient::Abandon() { impl_->breaker.Break(); }

const std::string& ShardClient::address() const { return impl_->address; }

absl::StatusOr<control::OpenShardResponse> ShardClient::OpenShard(
    const control::OpenShardRequest& request, absl::Duration deadline) {
  return impl_->Unary(&Shard::Stub::OpenShard, request, deadline);
}

absl::Status ShardClient::CloseShard(const std::string& job_id) {
  control::CloseShardRequest request;
  request.set_job_id(job_id);
  return impl_->Unary(&Shard::Stub::CloseShard, request,
                      impl_->options.deadline)
      .status();
}

absl::StatusOr<control::OrderAnswer> ShardClient::ProposeOrder(
    const control::ProposeOrderRequest& request) {
  return impl_->Unary(&Shard::Stub::ProposeOrder, request,
                      impl_->options.deadline);
}

absl::Status ShardClient::WorkerGone(const control::WorkerGoneRequest& request) {
  return impl_->Unary(&Shard::Stub::WorkerGone, request,
                      impl_->options.deadline)
      .status();
}

absl::StatusOr<control::RejoinWorkerResponse> ShardClient::RejoinWorker(
    const control::RejoinWorkerRequest& request) {
  return impl_->Unary(&Shard::Stub::RejoinWorker, request,
                      impl_->options.deadline);
}

absl::Status ShardClient::UpdateServers(
    const control::UpdateServersRequest& request) {
  return impl_->Unary(&Shard::Stub::UpdateServers, request,
                      impl_->options.deadline)
      .status();
}

absl::Status ShardClient::CutCommitted(const std::string& job_id,
                                       int64_t clock) {
  control::CutCommittedRequest request;
  request.set_job_id(job_id);
  request.set_clock(clock);
  return impl_->Once(&Shard::Stub::CutCommitted, request);
}

absl::StatusOr<control::ShardStatusResponse> ShardClient::ShardStatus(
    const std::string& job_id) {
  control::ShardStatusRequest request;
  request.set_job_id(job_id);
  return impl_->Unary(&Shard::Stub::ShardStatus, request,
                      impl_->options.deadline);
}

absl::Status ShardClient::DeleteCut(const std::string& job_id, int64_t clock) {
  control::DeleteCutRequest request;
  request.set_job_id(job_id);
  request.set_clock(clock);
  return impl_->Once(&Shard::Stub::DeleteCut, request);
}

std::unique_ptr<TickStream> ShardClient::Ticks(
    std::function<void(absl::Status)> on_broken) {
  // A stream fails at the first attempt to connect that does; a channel does
  // not give up so soon.
  impl_->channel->WaitForConnected(
      absl::ToChronoTime(absl::Now() + impl_->options.connect_wait));
  TickDuplex::Options options;
  options.peer = impl_->peer;
  options.max_queued = impl_->options.max_queued;
  options.open = [stub = impl_->stub.get()](grpc::ClientContext* context)
      -> std::unique_ptr<TickDuplex::Stream> { return stub->Ticks(context); };
  auto stream = std::make_unique<GrpcTickStream>(std::move(options),
                                                 std::move(on_broken));
  stream->Start();
  return stream;
}

}  // namespace cssp
