// The data plane's protocol on one server: who may speak, what a message may
// say, and where its payload lands.
#ifndef CSSP_SERVER_SERVICE_DATA_PLANE_H_
#define CSSP_SERVER_SERVICE_DATA_PLANE_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "common/base/time_source.h"
#include "common/ps/messages.h"
#include "common/transport/transport.h"
#include "server/service/job_shard.h"
#include "server/service/metrics.h"

namespace cssp {

// Thread-confined: the shard thread.  Invariants:
//  1. Nothing from a peer reaches a shard before the job's token came.
//  2. Every length, rank, epoch and checksum is checked before use; memory for
//     a payload is bounded by the peer's credit.
//  3. A peer's death or nonsense costs its own connection, nothing else.
class DataPlane : private TransportHandler, private JobSender {
 public:
  using TransportFactory =
      std::function<absl::StatusOr<std::unique_ptr<Transport>>(
          const TransportOptions&, TransportHandler&)>;
  struct Options {
    std::string host;
    int port = 0;
    TransportOptions transport;
    TransportFactory make_transport;
    ShardHostMetrics* metrics = nullptr;  // may be null
    TimeSource* time = nullptr;
    std::function<void(JobShard&, const RetainedCut&)> on_cut;
  };
  // Listens; the transport is polled by Turn only.
  static absl::StatusOr<std::unique_ptr<DataPlane>> Create(Options options);
  ~DataPlane() override;

  const std::string& address() const { return address_; }
  Transport& transport() { return *transport_; }
  JobSender& sender() { return *this; }

  // AlreadyExists for an id or number that is open.
  absl::Status AddJob(std::unique_ptr<JobShard> job);
  absl::Status RemoveJob(const std::string& id);
  // Other servers of the job may have moved: the connections to those are made
  // anew.  InvalidArgument: another number of servers.
  absl::Status UpdateServers(JobShard& job, const control::ShardMap& map);
  // Null: unknown.
  JobShard* FindJob(const std::string& id);
  const std::map<uint32_t, std::unique_ptr<JobShard>>& jobs() const {
    return jobs_;
  }

  // Polls and does what is due; gives the number of events.
  int Turn();
  // How long there is nothing due.
  absl::Duration UntilDue();
  // Nothing more is taken into logs, or applied from them.
  void CloseLogs();
  // Says goodbye to every peer.
  void Farewell();

 private:
  struct Peer {
    JobShard* job = nullptr;  // null before a good Hello
    int rank = 0;
    uint32_t incarnation = 0;
    int64_t arriving_bytes = 0;
    bool outgoing = false;  // our connection to another server
    bool doomed = false;    // refused: closes at `deadline`
    absl::Time deadline = absl::InfiniteFuture();
  };
  struct Arrival {
    EndpointId peer = kNoEndpoint;
    BufferRef buffer;            // a chunk's
    std::vector<uint8_t> small;  // anything else's
    int64_t held() const {
      return buffer ? buffer.bytes().size() : small.size();
    }
  };
  struct Outgoing {
    EndpointId peer = kNoEndpoint;
    uint32_t job = 0;  // 0: no shard to tell
    uint32_t chunk = 0;
    BufferRef values;
    std::unique_ptr<std::string> body;
  };

  explicit DataPlane(Options options);

  // TransportHandler.
  void OnAccept(EndpointId id) override;
  uint8_t* OnArrival(EndpointId id, absl::Span<const uint8_t> bytes,
                     size_t payload_bytes) override;
  void OnMessage(EndpointId id, absl::Span<const uint8_t> bytes,
                 absl::Span<uint8_t> payload) override;
  void OnSent(EndpointId id, uint64_t token, absl::Status status) override;
  void OnDisconnect(EndpointId id, absl::Status why) override;
  void OnArrivalDropped(EndpointId id, uint8_t* memory) override;

  // JobSender.
  void SendJobValues(JobShard& job, PeerId peer,
                     const ps::MessageHeader& header,
                     BufferRef values) override;
  void SendJobReply(PeerId peer, const ps::MessageHeader& header) override;
  void SendJobNorms(JobShard& job, int server, int64_t clock,
                    std::vector<double> partials) override;
  void SendJobContributors(JobShard& job, int server, int64_t clock,
                           std::vector<int32_t> ranks) override;
  void SendJobBody(JobShard& job, PeerId peer, const ps::MessageHeader& header,
                   std::string body) override;
  std::shared_ptr<uint8_t> AllocateJobMemory(size_t bytes) override {
    return transport_->AllocateMemory(bytes);
  }
  void JobCutReady(JobShard& job, const RetainedCut& cut) override;
  void WakeShard() override { transport_->Wake(); }

  // Why a message may not come in now; kNone: it may.
  ps::Reason Check(const Peer& peer, const ps::MessageHeader& header) const;
  ps::Reason CheckSize(Peer& peer, const ps::MessageHeader& header) const;
  uint8_t* Land(EndpointId id, Peer& peer, const ps::MessageHeader& header);
  Arrival TakeArrival(uint8_t* memory);
  void Dispatch(EndpointId id, Peer& peer, const ps::MessageHeader& header,
                Arrival arrival, absl::Span<uint8_t> payload);
  void OnHello(EndpointId id, Peer& peer, const ps::MessageHeader& header,
               absl::Span<const uint8_t> token);
  void OnHelloAck(EndpointId id, Peer& peer);
  void OnServerMessage(EndpointId id, Peer& peer, ShardInput type,
                       const ps::MessageHeader& header,
                       absl::Span<const uint8_t> body);
  void OnTableMessage(EndpointId id, Peer& peer,
                      const ps::MessageHeader& header,
                      absl::Span<const uint8_t> body);
  void Refuse(EndpointId id, const ps::MessageHeader& request,
              ps::Reason reason);
  // Refuses and closes a little later, so that the refusal gets out.
  void Doom(EndpointId id, Peer& peer, const ps::MessageHeader& request,
            ps::Reason reason);
  void Drop(EndpointId id);
  void Forget(EndpointId id);
  void ConnectServers(JobShard& job, absl::Time now);
  void SendHello(JobShard& job, EndpointId id);
  void SendHeader(EndpointId id, const ps::MessageHeader& header);
  void SendBody(EndpointId id, const ps::MessageHeader& header,
                std::string body);
  void SendToServer(JobShard& job, int server, ps::MessageType type,
                    int64_t clock, std::string body);
  void SendWith(EndpointId id, const ps::MessageHeader& header,
                absl::Span<const uint8_t> payload, Outgoing outgoing);
  void CountBad();

  const Options options_;
  TimeSource& time_;
  std::string address_;
  std::unique_ptr<Transport> transport_;
  std::map<uint32_t, std::unique_ptr<JobShard>> jobs_;  // by number
  absl::flat_hash_map<EndpointId, Peer> peers_;
  absl::flat_hash_map<uint8_t*, Arrival> arrivals_;
  absl::flat_hash_map<uint64_t, Outgoing> outgoing_;  // by token
  uint64_t last_token_ = 0;
  absl::Time next_timers_;
  uint8_t nothing_ = 0;  // where empty payloads land
};

}  // namespace cssp

#endif  // CSSP_SERVER_SERVICE_DATA_PLANE_H_
