// One bidirectional stream with a reader thread and a bounded writer.  For the
// .cc files of common/rpc: includes gRPC.
#ifndef CSSP_COMMON_RPC_DUPLEX_STREAM_H_
#define CSSP_COMMON_RPC_DUPLEX_STREAM_H_

#include <grpcpp/grpcpp.h>

#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/mutex.h"
#include "common/base/bounded_queue.h"
#include "common/base/thread.h"
#include "common/rpc/grpc_glue.h"

namespace cssp {

// Thread-safe (monitor), but Close and the destructor are not for callbacks.
// Invariants: on_message and on_end run on the reader thread only, on_end last
// and once; the writer thread ends before on_end runs.
template <class Out, class In>
class DuplexStream {
 public:
  using Stream = grpc::ClientReaderWriter<Out, In>;
  struct Options {
    std::string peer;  // for messages
    size_t max_queued = 1024;
    std::function<std::unique_ptr<Stream>(grpc::ClientContext*)> open;
    std::function<void(const In&)> on_message;
    // `closing`: the end follows a Close.
    std::function<void(const absl::Status&, bool closing)> on_end;
  };

  explicit DuplexStream(Options options)
      : options_(std::move(options)), queue_(options_.max_queued) {}
  ~DuplexStream() { Close(absl::ZeroDuration()).IgnoreError(); }

  // REQUIRES: called once, before anything else.
  void Start() {
    stream_ = options_.open(&context_);
    writer_ = Thread("rpc-writer", [this] { Write(); });
    reader_ = Thread("rpc-reader", [this] { Read(); });
  }

  absl::Status Send(Out message) ABSL_LOCKS_EXCLUDED(mu_) {
    if (queue_.TryPush(std::move(message))) return absl::OkStatus();
    absl::MutexLock lock(&mu_);
    // Closed without us: the reader has seen the end and is about to say why.
    if (queue_.closed()) mu_.Await(absl::Condition(this, &DuplexStream::Over));
    if (!ended_ && !closing_)
      return absl::ResourceExhaustedError(absl::StrCat(
          options_.peer, ": ", options_.max_queued, " messages are unsent"));
    return status_.ok() ? absl::FailedPreconditionError(absl::StrCat(
                              options_.peer, ": the stream is closed"))
                        : status_;
  }
  bool alive() const ABSL_LOCKS_EXCLUDED(mu_) {
    absl::MutexLock lock(&mu_);
    return !ended_;
  }
  absl::Status status() const ABSL_LOCKS_EXCLUDED(mu_) {
    absl::MutexLock lock(&mu_);
    return status_;
  }
  absl::Status Close(absl::Duration grace) ABSL_LOCKS_EXCLUDED(mu_) {
    {
      absl::MutexLock lock(&mu_);
      closing_ = true;
    }
    queue_.Close();
    {
      absl::MutexLock lock(&mu_);
      if (!mu_.AwaitWithTimeout(absl::Condition(&ended_), grace))
        context_.TryCancel();
    }
    absl::MutexLock join(&join_mu_);
    reader_.Join();
    return status();
  }

 private:
  void Write() {
    while (std::optional<Out> message = queue_.Pop())
      if (!stream_->Write(*message)) return;
    stream_->WritesDone();
  }
  void Read() ABSL_LOCKS_EXCLUDED(mu_) {
    In message;
    while (stream_->Read(&message)) options_.on_message(message);
    // The call is over: a pending Write returns.
    queue_.Close();
    writer_.Join();
    absl::Status status = FromGrpc(stream_->Finish());
    if (absl::IsUnavailable(status))
      status = absl::UnavailableError(
          absl::StrCat(options_.peer, ": connection lost: ", status.message()));
    bool closing;
    {
      absl::MutexLock lock(&mu_);
      closing = closing_;
      status_ = status;
      ended_ = true;
    }
    options_.on_end(status, closing);
  }

  bool Over() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    return ended_ || closing_;
  }

  const Options options_;
  grpc::ClientContext context_;
  std::unique_ptr<Stream> stream_;
  BoundedQueue<Out> queue_;
  mutable absl::Mutex mu_;
  bool closing_ ABSL_GUARDED_BY(mu_) = false;
  bool ended_ ABSL_GUARDED_BY(mu_) = false;
  absl::Status status_ ABSL_GUARDED_BY(mu_);
  absl::Mutex join_mu_;
  Thread writer_;
  Thread reader_;
};

}  // namespace cssp

#endif  // CSSP_COMMON_RPC_DUPLEX_STREAM_H_
