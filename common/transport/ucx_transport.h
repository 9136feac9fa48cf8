// Transport over UCX active messages.  Private to this folder: everybody else
// calls MakeUcxTransport (transport.h).
#ifndef CSSP_COMMON_TRANSPORT_UCX_TRANSPORT_H_
#define CSSP_COMMON_TRANSPORT_UCX_TRANSPORT_H_

#include <ucp/api/ucp.h>

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "absl/time/time.h"
#include "common/transport/linger.h"
#include "common/transport/transport.h"
#include "common/transport/ucx_memory.h"
#include "common/transport/ucx_wire.h"
#include "common/transport/ucx_worker.h"

namespace cssp {

// How a connection comes about.  UCX gives each side a ucp_ep_h but does not
// say which one a message came from.  So each side draws a random 64-bit key
// per endpoint; the client greets with its key (the only message sent with
// UCX's reply flag, which names the server's endpoint), the server answers
// with its own.  From then on every message carries the key that its receiver
// drew: a stranger, or a peer that means another's connection, does not know
// it.  What is sent before the answer waits here.
//
// How a connection ends.  UCX's error callback or a Close only marks it; Poll
// closes the ucp_ep_h by force, waits until every operation in its memory has
// been called back, reports them, and then says OnDisconnect.  So memory is
// really free when the handler hears that it is.
//
// Thread-confined: the thread that polls (Wake excepted).
class UcxTransport final : public Transport {
 public:
  static absl::StatusOr<std::unique_ptr<UcxTransport>> Create(
      const TransportOptions& options, TransportHandler& handler);
  // Closes everything by force; waits 2 s at most for UCX to agree.
  ~UcxTransport() override;

  absl::StatusOr<std::string> Listen(const std::string& host,
                                     int port) override;
  absl::StatusOr<EndpointId> Connect(const std::string& address) override;
  absl::Status Send(EndpointId peer, absl::Span<const uint8_t> header,
                    absl::Span<const uint8_t> payload, uint64_t token) override;
  void Close(EndpointId peer) override;
  int Poll() override;
  void Wait(absl::Duration timeout) override;
  void Wake() override { worker_->Wake(); }
  std::shared_ptr<uint8_t> AllocateMemory(size_t bytes) override;
  int64_t fetched_bytes() const override { return fetched_bytes_; }
  std::optional<uint32_t> payload_crc() const override { return payload_crc_; }
  std::string Describe(EndpointId peer) const override;

 private:
  using Key = uint64_t;
  struct Endpoint;
  // A message handed to UCX, or waiting for the greeting.  Pooled.
  struct Outgoing {
    UcxTransport* transport;
    Endpoint* endpoint;
    bool internal;  // ours: nobody is to hear of it
    uint64_t token;
    absl::Span<const uint8_t> payload;
    std::vector<uint8_t> header;  // prefix and the caller's header
    std::vector<uint8_t> body;    // an offer's payload
    ucs_status_t result;
  };
  // Shared memory that holds a copy of a payload until it is taken.
  struct Stage {
    std::shared_ptr<uint8_t> memory;
    std::shared_ptr<const UcxRegion> region;
    bool busy = false;
  };
  // What was offered and not yet taken: the Send that waits for it, or the
  // stage that its payload was copied to.
  struct Offered {
    Outgoing* outgoing = nullptr;
    Stage* stage = nullptr;
  };
  // A payload that UCX is writing into the handler's memory.  Pooled.
  struct Incoming {
    UcxTransport* transport;
    Endpoint* endpoint;
    uint8_t* memory;
    size_t bytes;
    std::vector<uint8_t> header;
  };
  struct Endpoint {
    enum class State { kGreeting, kOpen, kClosed, kFailed };

    UcxTransport* transport;
    EndpointId id;
    Key key;           // messages to us carry it
    Key peer_key = 0;  // messages from us carry it
    ucp_ep_h ep = nullptr;
    State state = State::kGreeting;
    bool server_side = false;
    bool announced = false;  // the handler knows of it
    absl::Time greet_by;
    absl::Status why;  // once kFailed
    std::string address;
    std::string lanes;   // what carries it, once greeted
    size_t in_one = 0;   // payloads up to here go without a rendezvous
    std::deque<Outgoing*> waiting;  // for the greeting
    int sending = 0;                // Outgoings in UCX's hands
    int receiving = 0;              // Incomings in UCX's hands
    bool takes_offers = false;      // it can map our memory
    std::unordered_map<uint64_t, Offered> offers;  // by number
    // Its regions, mapped here.
    std::unordered_map<uint64_t, std::unique_ptr<PeerSegment>> regions;
    // Memory given by OnArrival and cut off by a failure: OnDisconnect frees
    // it, unless a Close comes first.
    std::vector<uint8_t*> cut_off;
    bool close_begun = false;
    ucs_status_ptr_t closing = nullptr;
  };
  struct Dropped {
    EndpointId peer;
    uint8_t* memory;
  };

  UcxTransport(const TransportOptions& options, TransportHandler& handler)
      : options_(options), handler_(handler) {}
  absl::Status Init();

  // UCX's callbacks.
  static ucp_am_recv_callback_t HandlerOf(int id);
  static void OnConnectRequest(ucp_conn_request_h request, void* self);
  static void OnError(void* endpoint, ucp_ep_h ep, ucs_status_t status);
  static ucs_status_t OnGreeting(void* self, const void* header,
                                 size_t header_bytes, void* data, size_t bytes,
                                 const ucp_am_recv_param_t* param);
  static ucs_status_t OnData(void* self, const void* header,
                             size_t header_bytes, void* data, size_t bytes,
                             const ucp_am_recv_param_t* param);
  static ucs_status_t OnOffer(void* self, const void* header,
                              size_t header_bytes, void* data, size_t bytes,
                              const ucp_am_recv_param_t* param);
  static ucs_status_t OnTaken(void* self, const void* header,
                              size_t header_bytes, void* data, size_t bytes,
                              const ucp_am_recv_param_t* param);
  static void OnSendDone(void* request, ucs_status_t status, void* outgoing);
  static void OnReceiveDone(void* request, ucs_status_t status, size_t bytes,
                            void* incoming);

  Endpoint* AddEndpoint(bool server_side);
  Endpoint* Find(EndpointId id) const;
  ucp_ep_params_t EndpointParams(Endpoint& endpoint) const;
  void Greet(Endpoint& endpoint, bool answer);
  void Greeted(Endpoint& endpoint, Key peer_key);
  void StartSend(Outgoing& outgoing, unsigned am_id, uint32_t flags);
  void Arrive(Endpoint& endpoint, absl::Span<const uint8_t> header, void* data,
              size_t bytes, bool rendezvous);
  void Receive(Endpoint& endpoint, absl::Span<const uint8_t> header,
               void* descriptor, uint8_t* memory, size_t bytes);
  void FinishReceive(Incoming& incoming, ucs_status_t status);
  void CopyAndReport(Endpoint& endpoint, absl::Span<const uint8_t> header,
                     const void* from, absl::Span<uint8_t> memory);

  // One-sided payloads (ucx_offer.cc).
  void Probe(Endpoint& endpoint);
  bool OfferInstead(Endpoint& endpoint, Outgoing& outgoing);
  void SendOffer(Endpoint& endpoint, uint64_t number, const UcxRegion& region,
                 absl::Span<const uint8_t> where,
                 absl::Span<const uint8_t> header, bool probe);
  Stage* TakeStage(size_t bytes);
  void EndOffer(const Offered& offered, ucs_status_t result);
  void TakeOffer(Endpoint& endpoint, absl::Span<const uint8_t> body);
  void SendTaken(Endpoint& endpoint, uint64_t number, bool probed);
  const uint8_t* Mapped(Endpoint& endpoint, const Offer& offer);

  // The end of an endpoint: Fail or Close mark it, Reap does the rest.
  void Fail(Endpoint& endpoint, absl::Status why);
  void Leave(Endpoint& endpoint, Endpoint::State state);
  void BeginClose(Endpoint& endpoint);
  bool CloseDone(Endpoint& endpoint);
  void Reap();
  void ExpireGreetings();
  void ReportDone();
  // Whether there was something to progress.
  bool Progress();

  Outgoing& NewOutgoing(Endpoint& endpoint, uint64_t token,
                        size_t header_bytes);
  Incoming& NewIncoming(Endpoint& endpoint);

  const TransportOptions options_;
  TransportHandler& handler_;
  std::unique_ptr<UcxWorker> worker_;
  std::shared_ptr<UcxMemory> memory_;
  std::shared_ptr<uint8_t> probe_;  // a page that peers try to map
  std::vector<std::unique_ptr<Stage>> stages_;
  uint64_t last_offer_ = 0;
  int64_t fetched_bytes_ = 0;
  std::optional<uint32_t> payload_crc_;  // of the payload being reported
  std::vector<ucp_listener_h> listeners_;

  EndpointId last_id_ = kNoEndpoint;
  std::unordered_map<EndpointId, std::unique_ptr<Endpoint>> endpoints_;
  std::unordered_map<Key, Endpoint*> by_key_;
  std::unordered_map<ucp_ep_h, Endpoint*> by_ep_;  // server sides, greeting
  std::vector<EndpointId> greeting_;
  std::vector<EndpointId> leaving_;

  std::vector<std::unique_ptr<Outgoing>> outgoings_;
  std::vector<Outgoing*> free_outgoings_;
  std::vector<std::unique_ptr<Incoming>> incomings_;
  std::vector<Incoming*> free_incomings_;
  std::vector<Outgoing*> done_;   // for OnSent
  std::vector<Dropped> dropped_;  // for OnArrivalDropped
  Linger linger_;
  bool polling_ = false;
  bool quiet_ = false;  // being destroyed: the handler hears nothing more
  int events_ = 0;
};

}  // namespace cssp

#endif  // CSSP_COMMON_TRANSPORT_UCX_TRANSPORT_H_
