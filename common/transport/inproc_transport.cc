#include "common/transport/inproc_transport.h"

#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/transport/limits.h"

namespace cssp {

// One node's face of the fabric.  Thread-confined: the thread that polls.
class InprocTransport final : public Transport {
 public:
  InprocTransport(InprocFabric& fabric, InprocFabric::NodeId node,
                  TransportHandler& handler)
      : fabric_(fabric), node_(node), handler_(handler) {}
  ~InprocTransport() override { fabric_.Remove(node_); }

  absl::StatusOr<std::string> Listen(const std::string& host,
                                     int port) override {
    return fabric_.Listen(node_, host, port);
  }
  absl::StatusOr<EndpointId> Connect(const std::string& address) override {
    return fabric_.Connect(node_, address);
  }
  absl::Status Send(EndpointId peer, absl::Span<const uint8_t> header,
                    absl::Span<const uint8_t> payload,
                    uint64_t token) override {
    return fabric_.Send(node_, peer, header, payload, token);
  }
  void Close(EndpointId peer) override { fabric_.Close(node_, peer); }
  int Poll() override;
  void Wait(absl::Duration timeout) override { fabric_.Wait(node_, timeout); }
  void Wake() override { fabric_.Wake(node_); }
  std::string Describe(EndpointId) const override { return "inproc"; }

 private:
  void Dispatch(const InprocFabric::Event& event);
  void Deliver(const InprocFabric::Event& event);

  InprocFabric& fabric_;
  const InprocFabric::NodeId node_;
  TransportHandler& handler_;
};

int InprocTransport::Poll() {
  // What callbacks cause is for the next Poll: no endless ping-pong here.
  const size_t pending = fabric_.Pending(node_);
  int events = 0;
  for (size_t i = 0; i < pending; ++i) {
    const std::optional<InprocFabric::Event> event = fabric_.Take(node_);
    if (!event) break;  // a Close took the rest away
    Dispatch(*event);
    ++events;
  }
  return events;
}

void InprocTransport::Dispatch(const InprocFabric::Event& event) {
  switch (event.kind) {
    case InprocFabric::Event::Kind::kAccept:
      return handler_.OnAccept(event.endpoint);
    case InprocFabric::Event::Kind::kArrival:
      return Deliver(event);
    case InprocFabric::Event::Kind::kSent:
      return handler_.OnSent(event.endpoint, event.token, event.status);
    case InprocFabric::Event::Kind::kDisconnect:
      return handler_.OnDisconnect(event.endpoint, event.status);
  }
}

void InprocTransport::Deliver(const InprocFabric::Event& event) {
  const std::vector<uint8_t>& header = event.message.header;
  const size_t bytes = event.message.payload.size();
  uint8_t* memory = handler_.OnArrival(event.endpoint, header, bytes);
  const bool complete = fabric_.FinishArrival(node_, memory);
  if (memory == nullptr) return;
  if (complete) {
    handler_.OnMessage(event.endpoint, header, absl::MakeSpan(memory, bytes));
  } else {
    handler_.OnArrivalDropped(event.endpoint, memory);
  }
}

std::unique_ptr<Transport> InprocFabric::MakeTransport(
    const TransportOptions& options, TransportHandler& handler) {
  absl::MutexLock lock(&mu_);
  const NodeId id = ++last_node_;
  nodes_[id].options = options;
  return std::make_unique<InprocTransport>(*this, id, handler);
}

absl::StatusOr<std::string> InprocFabric::Listen(NodeId node,
                                                 const std::string& host,
                                                 int port) {
  absl::MutexLock lock(&mu_);
  if (port == 0) port = next_port_++;
  const std::string address = absl::StrCat(host, ":", port);
  if (!listeners_.emplace(address, node).second) {
    return absl::AlreadyExistsError(
        absl::StrCat("cannot listen on ", address, ": in use"));
  }
  return address;
}

absl::StatusOr<EndpointId> InprocFabric::Connect(NodeId node,
                                                 const std::string& address) {
  absl::MutexLock lock(&mu_);
  Node& self = nodes_.at(node);
  if (self.links.size() >= self.options.max_endpoints) {
    return TooManyEndpoints(self.options);
  }
  const EndpointId id = ++self.last_endpoint;
  const auto listener = listeners_.find(address);
  Node* peer = nullptr;
  if (listener != listeners_.end()) peer = &nodes_.at(listener->second);
  if (peer == nullptr || peer->links.size() >= peer->options.max_endpoints) {
    self.inbox.push_back(
        {Event::Kind::kDisconnect, id, 0,
         absl::UnavailableError(absl::StrCat("nobody accepts at ", address))});
    return id;
  }
  const EndpointId theirs = ++peer->last_endpoint;
  self.links[id] = {listener->second, theirs};
  peer->links[theirs] = {node, id};
  peer->inbox.push_back({Event::Kind::kAccept, theirs, 0, absl::OkStatus()});
  return id;
}

absl::Status InprocFabric::Send(NodeId node, EndpointId endpoint,
                                absl::Span<const uint8_t> header,
                                absl::Span<const uint8_t> payload,
                                uint64_t token) {
  absl::MutexLock lock(&mu_);
  Node& self = nodes_.at(node);
  if (absl::Status fits =
          CheckLengths(self.options, header.size(), payload.size());
      !fits.ok()) {
    return fits;
  }
  const auto link = self.links.find(endpoint);
  if (link == self.links.end()) return EndpointGone(endpoint);
  const Link to = link->second;
  Node& peer = nodes_.at(to.node);
  const absl::Status accepted =
      CheckLengths(peer.options, header.size(), payload.size());
  if (!accepted.ok()) {
    // What a receiver does with a peer that claims too much.
    self.inbox.push_back({Event::Kind::kSent, endpoint, token, accepted});
    peer.inbox.push_back({Event::Kind::kDisconnect, to.endpoint, 0, accepted});
    CloseLocked(to.node, to.endpoint, accepted);
    return absl::OkStatus();
  }
  peer.inbox.push_back(
      {Event::Kind::kArrival, to.endpoint, 0, absl::OkStatus(),
       Message{
           {header.begin(), header.end()}, payload, node, endpoint, token}});
  return absl::OkStatus();
}

void InprocFabric::Close(NodeId node, EndpointId endpoint) {
  absl::MutexLock lock(&mu_);
  CloseLocked(node, endpoint, absl::UnavailableError("peer closed"));
  std::erase_if(nodes_.at(node).inbox, [endpoint](const Event& event) {
    return event.endpoint == endpoint && event.kind != Event::Kind::kSent;
  });
}

void InprocFabric::Remove(NodeId node) {
  absl::MutexLock lock(&mu_);
  Node& self = nodes_.at(node);
  while (!self.links.empty()) {
    CloseLocked(node, self.links.begin()->first,
                absl::UnavailableError("peer is gone"));
  }
  std::erase_if(listeners_,
                [node](const auto& entry) { return entry.second == node; });
  nodes_.erase(node);
}

void InprocFabric::CloseLocked(NodeId node, EndpointId endpoint,
                               const absl::Status& why) {
  Node& self = nodes_.at(node);
  const auto link = self.links.find(endpoint);
  if (link == self.links.end()) return;
  const Link to = link->second;
  Node& peer = nodes_.at(to.node);
  self.links.erase(link);
  peer.links.erase(to.endpoint);
  DropArrivalsLocked(self, endpoint, why);
  DropArrivalsLocked(peer, to.endpoint, absl::CancelledError("closed"));
  peer.inbox.push_back({Event::Kind::kDisconnect, to.endpoint, 0, why});
}

void InprocFabric::DropArrivalsLocked(Node& node, EndpointId endpoint,
                                      const absl::Status& why) {
  if (node.arriving && node.arriving->endpoint == endpoint) {
    ReportSentLocked(node.arriving->message, why);
    node.arriving.reset();
  }
  // Taken out first: reporting may add to this very inbox.
  std::vector<Message> dropped;
  std::erase_if(node.inbox, [&](Event& event) {
    const bool drop =
        event.kind == Event::Kind::kArrival && event.endpoint == endpoint;
    if (drop) dropped.push_back(std::move(event.message));
    return drop;
  });
  for (const Message& message : dropped) ReportSentLocked(message, why);
}

void InprocFabric::ReportSentLocked(const Message& message,
                                    const absl::Status& status) {
  const auto sender = nodes_.find(message.sender);
  if (sender == nodes_.end()) return;
  sender->second.inbox.push_back(
      {Event::Kind::kSent, message.sender_endpoint, message.token, status});
}

size_t InprocFabric::Pending(NodeId node) {
  absl::MutexLock lock(&mu_);
  return nodes_.at(node).inbox.size();
}

std::optional<InprocFabric::Event> InprocFabric::Take(NodeId node) {
  absl::MutexLock lock(&mu_);
  Node& self = nodes_.at(node);
  if (self.inbox.empty()) return std::nullopt;
  Event event = std::move(self.inbox.front());
  self.inbox.pop_front();
  if (event.kind == Event::Kind::kArrival) self.arriving = event;
  return event;
}

bool InprocFabric::FinishArrival(NodeId node, uint8_t* memory) {
  absl::MutexLock lock(&mu_);
  Node& self = nodes_.at(node);
  if (!self.arriving) return false;
  const Message& message = self.arriving->message;
  // Under the lock: the sender's memory cannot go away meanwhile.
  if (memory != nullptr && !message.payload.empty()) {
    std::memcpy(memory, message.payload.data(), message.payload.size());
  }
  ReportSentLocked(message, absl::OkStatus());
  self.arriving.reset();
  return true;
}

void InprocFabric::Wait(NodeId node, absl::Duration timeout) {
  absl::MutexLock lock(&mu_);
  Node& self = nodes_.at(node);
  const auto ready = [](Node* n) { return n->woken || !n->inbox.empty(); };
  mu_.AwaitWithTimeout(absl::Condition(+ready, &self), timeout);
  self.woken = false;
}

void InprocFabric::Wake(NodeId node) {
  absl::MutexLock lock(&mu_);
  nodes_.at(node).woken = true;
}

}  // namespace cssp
