// A server's registration with the coordinator on another server: hello,
// heartbeats, parts of cuts; registers anew when the coordinator comes back.
#ifndef CSSP_SERVER_SERVICE_REGISTRATION_H_
#define CSSP_SERVER_SERVICE_REGISTRATION_H_

#include <deque>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/base/bounded_queue.h"
#include "common/base/thread.h"
#include "common/rpc/coordinator_client.h"
#include "proto/config.pb.h"
#include "proto/control.pb.h"

namespace cssp {

struct RegistrationOptions {
  std::string coordinator;
  LeaseConfig lease;
  // Who we are, with bytes and jobs as of now; called at every heartbeat.
  std::function<control::ServerInfo()> info;
  // The coordinator has been away for longer than `patience`: nobody will ask
  // for this server's jobs any more.
  std::function<void()> on_lost;
  absl::Duration patience = absl::Minutes(10);
};

// Thread-safe (monitor).
class Registration {
 public:
  static absl::StatusOr<std::unique_ptr<Registration>> Create(
      RegistrationOptions options);
  ~Registration() { Stop(); }

  void Start();
  void Stop();  // idempotent; joins

  // Queues a part of a cut for the coordinator.
  void Report(const control::ShardCheckpoint& part);
  // OK once registered; the coordinator's refusal when it is final (an id that
  // is taken); Unavailable while `timeout` passes.
  absl::Status AwaitRegistered(absl::Duration timeout)
      ABSL_LOCKS_EXCLUDED(mu_);
  // Says that we leave and waits, at most `bound`, until we may.
  void Drain(absl::Duration bound) ABSL_LOCKS_EXCLUDED(mu_);

 private:
  explicit Registration(RegistrationOptions options,
                        std::unique_ptr<CoordinatorClient> client)
      : options_(std::move(options)), client_(std::move(client)) {}
  void Run();
  // One connection, from hello to its end.
  void Serve() ABSL_LOCKS_EXCLUDED(mu_);
  void OnDirective(const control::ServerDirective& directive)
      ABSL_LOCKS_EXCLUDED(mu_);

  const RegistrationOptions options_;
  const std::unique_ptr<CoordinatorClient> client_;
  BoundedQueue<control::ShardCheckpoint> parts_{1024};
  // The last ones sent: a coordinator that comes back may not have them.
  std::deque<control::ShardCheckpoint> sent_;  // thread_ only
  absl::Mutex mu_;
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  bool draining_ ABSL_GUARDED_BY(mu_) = false;
  bool may_leave_ ABSL_GUARDED_BY(mu_) = false;
  bool registered_ ABSL_GUARDED_BY(mu_) = false;
  bool ended_ ABSL_GUARDED_BY(mu_) = false;  // this connection
  absl::Status refusal_ ABSL_GUARDED_BY(mu_);
  absl::Status last_ ABSL_GUARDED_BY(mu_);
  Thread thread_;
};

}  // namespace cssp

#endif  // CSSP_SERVER_SERVICE_REGISTRATION_H_
