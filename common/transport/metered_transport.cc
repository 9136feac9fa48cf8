#include "common/transport/metered_transport.h"

#include <unordered_map>
#include <utility>

#include "common/base/status_macros.h"

namespace cssp {
namespace {

// Thread-confined: the thread that polls.
class MeteredTransport final : public Transport, private TransportHandler {
 public:
  MeteredTransport(const TransportMetrics& metrics, TransportHandler& handler)
      : metrics_(metrics), handler_(handler) {}
  ~MeteredTransport() override { metrics_.unsent_bytes->Add(-unsent_); }

  TransportHandler& inner_handler() { return *this; }
  void set_inner(std::unique_ptr<Transport> inner) {
    inner_ = std::move(inner);
  }

  absl::StatusOr<std::string> Listen(const std::string& host,
                                     int port) override {
    return inner_->Listen(host, port);
  }
  absl::StatusOr<EndpointId> Connect(const std::string& address) override {
    return inner_->Connect(address);
  }
  absl::Status Send(EndpointId peer, absl::Span<const uint8_t> header,
                    absl::Span<const uint8_t> payload,
                    uint64_t token) override {
    // OnSent does not say how long the message was: the inner token leads to
    // it.
    const uint64_t ours = ++last_token_;
    sends_.emplace(ours, Unsent{token, payload.size()});
    absl::Status status = inner_->Send(peer, header, payload, ours);
    if (!status.ok()) {
      sends_.erase(ours);
      return status;
    }
    metrics_.sent_messages->Increment();
    metrics_.sent_bytes->Add(header.size() + payload.size());
    AddUnsent(payload.size());
    return status;
  }
  void Close(EndpointId peer) override { inner_->Close(peer); }
  int Poll() override {
    const int events = inner_->Poll();
    const int64_t fetched = inner_->fetched_bytes();
    if (fetched != fetched_) {
      metrics_.fetched_bytes->Add(static_cast<double>(fetched - fetched_));
      fetched_ = fetched;
    }
    return events;
  }
  void Wait(absl::Duration timeout) override { inner_->Wait(timeout); }
  void Wake() override { inner_->Wake(); }
  std::shared_ptr<uint8_t> AllocateMemory(size_t bytes) override {
    return inner_->AllocateMemory(bytes);
  }
  int64_t fetched_bytes() const override { return inner_->fetched_bytes(); }
  std::optional<uint32_t> payload_crc() const override {
    return inner_->payload_crc();
  }
  std::string Describe(EndpointId peer) const override {
    return inner_->Describe(peer);
  }

 private:
  struct Unsent {
    uint64_t token;
    size_t bytes;
  };

  void OnAccept(EndpointId peer) override {
    metrics_.accepted_connections->Increment();
    handler_.OnAccept(peer);
  }
  uint8_t* OnArrival(EndpointId peer, absl::Span<const uint8_t> header,
                     size_t payload_bytes) override {
    uint8_t* memory = handler_.OnArrival(peer, header, payload_bytes);
    if (memory == nullptr) metrics_.refused_messages->Increment();
    return memory;
  }
  void OnMessage(EndpointId peer, absl::Span<const uint8_t> header,
                 absl::Span<uint8_t> payload) override {
    metrics_.received_messages->Increment();
    metrics_.received_bytes->Add(header.size() + payload.size());
    handler_.OnMessage(peer, header, payload);
  }
  void OnSent(EndpointId peer, uint64_t token, absl::Status status) override {
    const auto found = sends_.find(token);
    if (found == sends_.end()) return;
    const Unsent send = found->second;
    sends_.erase(found);
    AddUnsent(-static_cast<double>(send.bytes));
    if (!status.ok()) metrics_.failed_messages->Increment();
    handler_.OnSent(peer, send.token, std::move(status));
  }
  void OnDisconnect(EndpointId peer, absl::Status why) override {
    metrics_.lost_connections->Increment();
    handler_.OnDisconnect(peer, std::move(why));
  }
  void OnArrivalDropped(EndpointId peer, uint8_t* memory) override {
    handler_.OnArrivalDropped(peer, memory);
  }

  void AddUnsent(double bytes) {
    unsent_ += bytes;
    metrics_.unsent_bytes->Add(bytes);
  }

  const TransportMetrics& metrics_;
  TransportHandler& handler_;
  std::unique_ptr<Transport> inner_;
  std::unordered_map<uint64_t, Unsent> sends_;
  uint64_t last_token_ = 0;
  double unsent_ = 0;
  int64_t fetched_ = 0;
};

}  // namespace

TransportMetrics::TransportMetrics(MetricsRegistry& registry) {
  const auto counter = [&registry](const char* name, const char* help,
                                   const char* direction) {
    return registry.AddCounter(name, help, {{"direction", direction}});
  };
  const char* messages = "cssp_transport_messages_total";
  const char* messages_help =
      "Data-plane messages, accepted to send or received.";
  sent_messages = counter(messages, messages_help, "sent");
  received_messages = counter(messages, messages_help, "received");
  const char* bytes = "cssp_transport_bytes_total";
  const char* bytes_help = "Data-plane bytes, headers and payloads.";
  sent_bytes = counter(bytes, bytes_help, "sent");
  received_bytes = counter(bytes, bytes_help, "received");
  fetched_bytes = registry.AddCounter(
      "cssp_transport_fetched_bytes_total",
      "Payload bytes received by reading the sender's shared memory.");
  failed_messages =
      registry.AddCounter("cssp_transport_failed_messages_total",
                          "Messages whose sending ended in an error.");
  refused_messages =
      registry.AddCounter("cssp_transport_refused_messages_total",
                          "Arrivals for which there was no memory.");
  accepted_connections = registry.AddCounter(
      "cssp_transport_accepted_connections_total", "Peers that connected.");
  lost_connections =
      registry.AddCounter("cssp_transport_lost_connections_total",
                          "Connections that ended from the other side.");
  unsent_bytes = registry.AddGauge("cssp_transport_unsent_bytes",
                                   "Payload memory handed to sends under way.");
}

absl::StatusOr<std::unique_ptr<Transport>> MakeMeteredTransport(
    const std::function<absl::StatusOr<std::unique_ptr<Transport>>(
        TransportHandler&)>& make_inner,
    const TransportMetrics& metrics, TransportHandler& handler) {
  auto metered = std::make_unique<MeteredTransport>(metrics, handler);
  ASSIGN_OR_RETURN(std::unique_ptr<Transport> inner,
                   make_inner(metered->inner_handler()));
  metered->set_inner(std::move(inner));
  return metered;
}

}  // namespace cssp
