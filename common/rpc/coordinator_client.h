// The coordinator as seen by workers, servers and psctl.
#ifndef CSSP_COMMON_RPC_COORDINATOR_CLIENT_H_
#define CSSP_COMMON_RPC_COORDINATOR_CLIENT_H_

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/rpc/client_options.h"
#include "proto/control.pb.h"

namespace cssp {

// A worker's lease: reports go up, directives come down.
// Thread-safe.  Destroying it ends the stream (the coordinator takes that for
// the worker's end) and joins its threads.
class LeaseStream {
 public:
  virtual ~LeaseStream() = default;
  // Never blocks.  ResourceExhausted when too many reports are unsent; the
  // stream's own error once it is broken.
  virtual absl::Status Send(control::WorkerReport report) = 0;
  // False once the stream has ended, whoever ended it.
  virtual bool alive() const = 0;
  // Sends what is queued, half-closes, waits at most `grace` for the other
  // side, then cuts.  Idempotent.  Not from a callback.
  virtual void Close(absl::Duration grace) = 0;
};

// A server's registration: reports up, directives down.  As LeaseStream.
class ServerStream {
 public:
  virtual ~ServerStream() = default;
  virtual absl::Status Send(control::ServerReport report) = 0;
  virtual bool alive() const = 0;
  virtual void Close(absl::Duration grace) = 0;
};

// A job's events, in order.  Thread-safe; destroying it cancels the stream.
class JobWatch {
 public:
  virtual ~JobWatch() = default;
  // The next event; nullopt after `timeout` or at the end (then ended() is
  // true and status() says why: OK when the job's last event has been given).
  virtual std::optional<control::JobEvent> Next(absl::Duration timeout) = 0;
  virtual bool ended() const = 0;
  virtual absl::Status status() const = 0;
  // Ends Next, now and later.  Idempotent.
  virtual void Cancel() = 0;
};

// Thread-safe.  Unary calls block up to ClientOptions::deadline and retry by
// RetryPolicy; an unreachable coordinator is Unavailable and names the address.
// Every call can be repeated: SubmitJob and JoinJob are given a request id
// where they have none.
class CoordinatorClient {
 public:
  // InvalidArgument for an address that is not "host:port".  Does not connect.
  static absl::StatusOr<std::unique_ptr<CoordinatorClient>> Create(
      const std::string& address, const ClientOptions& options = {});
  ~CoordinatorClient();

  absl::StatusOr<control::SubmitJobResponse> SubmitJob(
      control::SubmitJobRequest request);
  absl::StatusOr<control::ListJobsResponse> ListJobs();
  absl::StatusOr<control::JobStatus> DescribeJob(const std::string& job_id);
  absl::StatusOr<control::JobStatus> CancelJob(const std::string& job_id);
  // Waits until the cut is durable: give it a deadline of minutes.
  absl::StatusOr<control::CheckpointJobResponse> CheckpointJob(
      const std::string& job_id, absl::Duration deadline);
  absl::StatusOr<control::ListServersResponse> ListServers();
  // Orders; what they give is the clock from which they hold.
  absl::StatusOr<control::OrderPlaced> SetStaleness(const std::string& job_id,
                                                    int staleness);
  absl::StatusOr<control::OrderPlaced> DrainWorker(const std::string& job_id,
                                                   int rank);
  absl::StatusOr<control::JobStatus> ScaleJob(const std::string& job_id,
                                              int workers);

  absl::StatusOr<control::JoinJobResponse> JoinJob(
      control::JoinJobRequest request);
  // Waits for the servers to open their shards (a restored model is read from
  // disk): `deadline` in minutes.
  absl::StatusOr<control::DeclareLayoutResponse> DeclareLayout(
      const control::DeclareLayoutRequest& request,
      absl::Duration deadline = absl::Minutes(2));

  // `on_directive` runs on the stream's reader thread, in order; `on_end` once,
  // last, with why the stream ended (OK: an orderly end).  Both may call Send,
  // neither may destroy the stream.  The first report should follow at once: it
  // names the worker.
  std::unique_ptr<LeaseStream> KeepLease(
      std::function<void(const control::WorkerDirective&)> on_directive,
      std::function<void(absl::Status)> on_end);
  std::unique_ptr<ServerStream> KeepServer(
      std::function<void(const control::ServerDirective&)> on_directive,
      std::function<void(absl::Status)> on_end);
  std::unique_ptr<JobWatch> WatchJob(const control::WatchJobRequest& request);

  const std::string& address() const;

 private:
  struct Impl;
  explicit CoordinatorClient(std::unique_ptr<Impl> impl);
  const std::unique_ptr<Impl> impl_;
};

}  // namespace cssp

#endif  // CSSP_COMMON_RPC_COORDINATOR_CLIENT_H_
