// Transports within one process: for simulations (one thread, deterministic,
// virtual time) and for tests with threads.
#ifndef CSSP_COMMON_TRANSPORT_INPROC_TRANSPORT_H_
#define CSSP_COMMON_TRANSPORT_INPROC_TRANSPORT_H_

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "common/transport/transport.h"

namespace cssp {

// The network that any number of transports hang on.  Messages queue until the
// receiver polls; a Poll handles what was queued when it began.  Given the same
// calls in the same order, the same events come in the same order.  The memory
// of a Send is read when it is delivered, OnSent follows; destroying a
// transport is the death of a peer.
//
// Thread-safe (monitor); must outlive its transports.
class InprocFabric {
 public:
  InprocFabric() = default;
  InprocFabric(const InprocFabric&) = delete;
  InprocFabric& operator=(const InprocFabric&) = delete;

  // The handler is borrowed for the transport's life.
  std::unique_ptr<Transport> MakeTransport(const TransportOptions& options,
                                           TransportHandler& handler)
      ABSL_LOCKS_EXCLUDED(mu_);

 private:
  friend class InprocTransport;
  using NodeId = uint64_t;

  struct Message {
    std::vector<uint8_t> header;
    absl::Span<const uint8_t> payload;  // the sender's memory
    NodeId sender;
    EndpointId sender_endpoint;
    uint64_t token;
  };
  struct Event {
    enum class Kind { kAccept, kArrival, kSent, kDisconnect } kind;
    EndpointId endpoint;
    uint64_t token = 0;    // kSent
    absl::Status status;   // kSent, kDisconnect
    Message message = {};  // kArrival
  };
  struct Link {
    NodeId node;
    EndpointId endpoint;
  };
  struct Node {
    TransportOptions options;
    std::map<EndpointId, Link> links;
    std::deque<Event> inbox;
    // The arrival whose memory the handler is being asked for.
    std::optional<Event> arriving;
    EndpointId last_endpoint = kNoEndpoint;
    bool woken = false;
  };

  absl::StatusOr<std::string> Listen(NodeId node, const std::string& host,
                                     int port) ABSL_LOCKS_EXCLUDED(mu_);
  absl::StatusOr<EndpointId> Connect(NodeId node, const std::string& address)
      ABSL_LOCKS_EXCLUDED(mu_);
  absl::Status Send(NodeId node, EndpointId endpoint,
                    absl::Span<const uint8_t> header,
                    absl::Span<const uint8_t> payload, uint64_t token)
      ABSL_LOCKS_EXCLUDED(mu_);
  void Close(NodeId node, EndpointId endpoint) ABSL_LOCKS_EXCLUDED(mu_);
  void Remove(NodeId node) ABSL_LOCKS_EXCLUDED(mu_);
  size_t Pending(NodeId node) ABSL_LOCKS_EXCLUDED(mu_);
  // The next event; an arrival also stays in `arriving` until FinishArrival.
  std::optional<Event> Take(NodeId node) ABSL_LOCKS_EXCLUDED(mu_);
  // Copies the payload (unless `memory` is null) and reports to the sender.
  // False when the connection went away meanwhile.
  bool FinishArrival(NodeId node, uint8_t* memory) ABSL_LOCKS_EXCLUDED(mu_);
  void Wait(NodeId node, absl::Duration timeout) ABSL_LOCKS_EXCLUDED(mu_);
  void Wake(NodeId node) ABSL_LOCKS_EXCLUDED(mu_);

  void CloseLocked(NodeId node, EndpointId endpoint, const absl::Status& why)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Takes arrivals for `endpoint` out of `node`'s inbox; their senders hear.
  void DropArrivalsLocked(Node& node, EndpointId endpoint,
                          const absl::Status& why)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void ReportSentLocked(const Message& message, const absl::Status& status)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  absl::Mutex mu_;
  std::map<NodeId, Node> nodes_ ABSL_GUARDED_BY(mu_);
  std::map<std::string, NodeId> listeners_ ABSL_GUARDED_BY(mu_);
  NodeId last_node_ ABSL_GUARDED_BY(mu_) = 0;
  int next_port_ ABSL_GUARDED_BY(mu_) = 20000;
};

}  // namespace cssp

#endif  // CSSP_COMMON_TRANSPORT_INPROC_TRANSPORT_H_
