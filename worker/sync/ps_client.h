// The data plane as a worker or evaluator sees it: a comm thread that owns the
// transport, one connection to each server, and requests that survive a
// reconnect.
#ifndef CSSP_WORKER_SYNC_PS_CLIENT_H_
#define CSSP_WORKER_SYNC_PS_CLIENT_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/base/thread.h"
#include "common/base/time_source.h"
#include "common/ps/messages.h"
#include "common/ps/table_wire.h"
#include "common/transport/transport.h"
#include "worker/sync/metrics.h"

namespace cssp {

using TransportFactory =
    std::function<absl::StatusOr<std::unique_ptr<Transport>>(
        const TransportOptions&, TransportHandler&)>;

struct PsClientOptions {
  uint32_t job = 0;
  uint32_t job_epoch = 0;
  uint32_t map_epoch = 0;
  int32_t rank = 0;               // -1: evaluator
  uint32_t incarnation = 0;
  std::string token;
  std::vector<std::string> servers;  // data addresses
  std::vector<int> chunk_server;     // index into servers, per chunk
  bool subscribe = true;             // fresh values come unasked
  TransportOptions transport;
  TransportFactory make_transport = MakeUcxTransport;
  // Bytes not yet acknowledged by one server, unless its credit is smaller:
  // PushWindowBytes.
  int64_t push_window_bytes = int64_t{1} << 20;
  int pull_window = 64;              // pulls outstanding at one server
  // A server that cannot be reached for so long ends the job here.
  absl::Duration unreachable_after = absl::Seconds(20);
  SyncMetrics* metrics = nullptr;    // borrowed, may be null
  TimeSource* time = nullptr;        // borrowed, null: the machine's
};

// Called on the comm thread; must not block.
class PsClientEvents {
 public:
  virtual ~PsClientEvents() = default;
  // Values of header.chunk are arriving: memory for them, or null to refuse.
  virtual float* OnValuesBegin(const ps::MessageHeader& header) = 0;
  // `ok` false: the array is incomplete or damaged.
  virtual void OnValuesEnd(const ps::MessageHeader& header, float* memory,
                           bool ok) = 0;
  // The server holds the push (or has applied it), and its memory is free.
  virtual void OnPushDone(int chunk, int64_t clock) = 0;
  // A push came late: its clock was closed without it, as were all clocks
  // before `version`.  Its OnPushDone follows.
  virtual void OnLate(int64_t version) {}
  // A pull was refused for good: the request's header with the reason (kGone).
  virtual void OnPullRefused(const ps::MessageHeader& header) = 0;
  // Tables: the body of rows that were asked for; the server holds an
  // increment.
  virtual void OnTableRows(int server, const ps::MessageHeader& header,
                           absl::Span<const uint8_t> body) {}
  virtual void OnIncDone(int server, uint32_t table, uint64_t sequence) {}
  // A server was reached again: what it sent in between may be lost.
  virtual void OnReconnect(int server) = 0;
  // Nothing more will come.  Called once.
  virtual void OnFatal(const absl::Status& status) = 0;
};

// Thread-safe: requests are queued to the comm thread.
//
// Invariants: (1) a push or init lives until its server has acknowledged it and
// the transport has given its memory back; until then a reconnect sends it
// again.  (2) Pushes and pulls have separate windows.
class PsClient : private TransportHandler {
 public:
  PsClient(PsClientOptions options, PsClientEvents& events);
  ~PsClient() override;

  // Starts the comm thread and begins to connect.
  absl::Status Start();
  // Says goodbye and joins.  Idempotent.
  void Stop();

  // What is pushed, `data` or else `packed`, must stay as it is until
  // OnPushDone.
  struct Push {
    int chunk = 0;
    int64_t clock = 0;
    int64_t based_on = 0;
    uint32_t samples = 0;
    absl::Span<const float> data;
    absl::Span<const uint16_t> packed;  // as bfloat16
  };
  void SendPush(const Push& push) ABSL_LOCKS_EXCLUDED(mu_);
  // Rank 0's initial values (slot 0) or history; OnPushDone when it is held.
  void SendInit(int chunk, int slot, int64_t clock, bool last,
                absl::Span<const float> data) ABSL_LOCKS_EXCLUDED(mu_);
  // A version fit for `clock`; answered by OnValuesBegin/End.
  void SendPull(int chunk, int64_t clock) ABSL_LOCKS_EXCLUDED(mu_);
  // Slot `slot` of the retained cut `clock`.
  void SendPullExact(int chunk, int slot, int64_t clock)
      ABSL_LOCKS_EXCLUDED(mu_);

  // Tables: an increment, answered by OnIncDone; rows fit for get.clock,
  // answered by OnTableRows.
  void SendInc(int server, const ps::TableInc& inc) ABSL_LOCKS_EXCLUDED(mu_);
  void SendGet(int server, const ps::TableGet& get) ABSL_LOCKS_EXCLUDED(mu_);

  // "posix, tcp/lo" of each server, for logs; empty before the connections.
  std::string Describe() const ABSL_LOCKS_EXCLUDED(mu_);

 private:
  struct Request {
    ps::MessageHeader header;
    absl::Span<const uint8_t> data;
    std::shared_ptr<const std::string> body;  // `data` of a table's request
    uint64_t increment = 0;                   // its sequence
    int server = 0;
    absl::Time begun;
    bool sent = false;        // handed to the transport on this connection
    int memory_out = 0;       // sends that may still read `data`
    bool answered = false;
    bool is_pull() const {
      return header.type == ps::MessageType::kPull ||
             header.type == ps::MessageType::kPullExact ||
             header.type == ps::MessageType::kTableGet;
    }
  };
  // Pulls leave by clock, and of a clock the first layers' first: forward needs
  // them first, and chunks lie in the order of backward.
  struct PullKey {
    int64_t clock = 0;
    int64_t backwards = 0;  // minus the chunk
    uint32_t sequence = 0;
    auto operator<=>(const PullKey&) const = default;
  };
  enum class Link { kDown, kConnecting, kReady };
  struct Server {
    std::string address;
    Link link = Link::kDown;
    EndpointId endpoint = kNoEndpoint;
    absl::Time retry_at;
    absl::Time down_since;
    int attempts = 0;
    bool was_ready = false;
    int64_t window_bytes = 0;
    int64_t bytes_out = 0;
    int pulls_out = 0;
    std::deque<uint32_t> unsent;    // sequences, pushes and inits
    std::set<PullKey> unpulled;
    absl::Status last_error;
  };
  // Values on their way into memory that the events' receiver gave.
  struct Arrival {
    EndpointId peer = kNoEndpoint;
    ps::MessageHeader header;
    float* memory = nullptr;
  };

  struct Body {
    EndpointId peer = kNoEndpoint;
    std::unique_ptr<uint8_t[]> bytes;
  };

  // TransportHandler.
  void OnAccept(EndpointId peer) override {}
  uint8_t* OnArrival(EndpointId peer, absl::Span<const uint8_t> header,
                     size_t payload_bytes) override;
  void OnMessage(EndpointId peer, absl::Span<const uint8_t> header,
                 absl::Span<uint8_t> payload) override;
  void OnSent(EndpointId peer, uint64_t token, absl::Status status) override;
  void OnDisconnect(EndpointId peer, absl::Status why) override;

  // All below: comm thread.
  void Run();
  void TakeCommands() ABSL_LOCKS_EXCLUDED(mu_);
  void Turn();
  void Connect(int server);
  void Retry(int server, absl::Status why);
  void SendHello(int server);
  void OnHelloAck(int server, const ps::MessageHeader& header);
  void Pump(int server);
  bool SendRequest(int server, uint32_t sequence);
  void Answered(int server, const ps::MessageHeader& header);
  void Refused(int server, const ps::MessageHeader& header);
  void AskAgain(int server, const ps::MessageHeader& header);
  void RetryLater(uint32_t sequence);
  static void Queue(Server& server, const Request& request);
  void FinishIfDone(uint32_t sequence);
  void OnValues(int server, const ps::MessageHeader& header,
                absl::Span<uint8_t> payload);
  bool Intact(const ps::MessageHeader& header,
              absl::Span<const uint8_t> payload) const;
  void OnRows(int server, const ps::MessageHeader& header,
              absl::Span<uint8_t> payload);
  void DropArrivals(EndpointId peer);
  void Fatal(absl::Status status);
  void Goodbye();
  int ServerOf(EndpointId peer) const;
  ps::MessageHeader NewHeader(ps::MessageType type);
  void EnqueueChunk(Request request) ABSL_LOCKS_EXCLUDED(mu_);
  void EnqueueBody(Request request, std::string body)
      ABSL_LOCKS_EXCLUDED(mu_);
  void Enqueue(Request request) ABSL_LOCKS_EXCLUDED(mu_);

  const PsClientOptions options_;
  PsClientEvents& events_;
  TimeSource& time_;

  mutable absl::Mutex mu_;
  std::vector<Request> commands_ ABSL_GUARDED_BY(mu_);
  bool stop_ ABSL_GUARDED_BY(mu_) = false;
  std::vector<std::string> carriers_ ABSL_GUARDED_BY(mu_);

  // Comm thread only, but for Wake.
  std::unique_ptr<Transport> transport_;
  std::vector<Server> servers_;
  // Open requests: bounded by what the caller has outstanding (two clocks of
  // chunks, one pull a chunk).
  std::map<uint32_t, Request> requests_;
  absl::flat_hash_map<uint64_t, uint32_t> tokens_;  // send -> sequence
  std::vector<Arrival> arrivals_;
  std::vector<std::pair<absl::Time, uint32_t>> delayed_;
  std::vector<uint8_t> small_;     // landing place of short payloads
  // Bodies of rows on their way, by where they land.
  absl::flat_hash_map<uint8_t*, Body> bodies_;
  uint32_t sequence_ = 0;
  uint64_t last_token_ = 0;
  bool failed_ = false;
  Thread thread_;  // last: joins before the rest goes
};

}  // namespace cssp

#endif  // CSSP_WORKER_SYNC_PS_CLIENT_H_
