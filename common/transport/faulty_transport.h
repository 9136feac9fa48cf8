// A transport that misbehaves on purpose, by a seed: for tests.
#ifndef CSSP_COMMON_TRANSPORT_FAULTY_TRANSPORT_H_
#define CSSP_COMMON_TRANSPORT_FAULTY_TRANSPORT_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "common/base/time_source.h"
#include "common/transport/transport.h"

namespace cssp {

// Probabilities per message sent, tried in this order; of delay and reorder
// one at most, and the second copy of a duplicate is spared.
struct FaultPlan {
  double disconnect = 0;  // the connection breaks instead
  double drop = 0;        // lost; the sender sees OnSent(OK), as on a network
  double duplicate = 0;   // arrives twice, the copy up to max_delay later
  double delay = 0;       // up to max_delay late, later ones wait behind it
  double reorder = 0;     // up to max_delay late, later ones overtake it
  absl::Duration max_delay = absl::Milliseconds(10);
};

// Decorates the transport that `make_inner` builds around the handler it is
// given.  Faults are drawn from `seed` alone, so the same sends give the same
// faults; late messages leave in the first Poll at or after their time.  The
// contract holds: memory is referenced until OnSent, OnDisconnect comes once.
//
// Thread-confined, as its inner transport.  The handler and the time source
// are borrowed for its life.
class FaultyTransport final : public Transport, private TransportHandler {
 public:
  using MakeInner = std::function<absl::StatusOr<std::unique_ptr<Transport>>(
      TransportHandler&)>;
  static absl::StatusOr<std::unique_ptr<FaultyTransport>> Create(
      const MakeInner& make_inner, uint64_t seed, const FaultPlan& plan,
      TimeSource& time, TransportHandler& handler);
  ~FaultyTransport() override;

  // From the next Send on; what is late already stays late.
  void SetPlan(const FaultPlan& plan) { plan_ = plan; }
  // When the earliest late message is due; InfiniteFuture if there is none.
  absl::Time NextDue() const;
  // Breaks a connection now: the handler hears in the next Poll.
  void Break(EndpointId peer);

  absl::StatusOr<std::string> Listen(const std::string& host,
                                     int port) override;
  absl::StatusOr<EndpointId> Connect(const std::string& address) override;
  absl::Status Send(EndpointId peer, absl::Span<const uint8_t> header,
                    absl::Span<const uint8_t> payload, uint64_t token) override;
  void Close(EndpointId peer) override;
  int Poll() override;
  void Wait(absl::Duration timeout) override;
  void Wake() override { inner_->Wake(); }
  std::shared_ptr<uint8_t> AllocateMemory(size_t bytes) override {
    return inner_->AllocateMemory(bytes);
  }
  int64_t fetched_bytes() const override { return inner_->fetched_bytes(); }
  std::optional<uint32_t> payload_crc() const override {
    return inner_->payload_crc();
  }
  std::string Describe(EndpointId peer) const override;

 private:
  // A message on its way to the inner transport.
  struct Message {
    EndpointId peer;
    uint64_t token;
    bool report;  // the handler is to hear of it: not a duplicate
    std::vector<uint8_t> header;
    absl::Span<const uint8_t> payload;
    std::vector<uint8_t> copy;  // what `payload` shows, for duplicates
  };
  struct Report {
    EndpointId peer;
    uint64_t token;
    absl::Status status;
  };

  FaultyTransport(uint64_t seed, const FaultPlan& plan, TimeSource& time,
                  TransportHandler& handler)
      : plan_(plan), time_(time), handler_(handler), random_(seed) {}

  void OnAccept(EndpointId peer) override;
  uint8_t* OnArrival(EndpointId peer, absl::Span<const uint8_t> header,
                     size_t payload_bytes) override;
  void OnMessage(EndpointId peer, absl::Span<const uint8_t> header,
                 absl::Span<uint8_t> payload) override;
  void OnSent(EndpointId peer, uint64_t token, absl::Status status) override;
  void OnDisconnect(EndpointId peer, absl::Status why) override;
  void OnArrivalDropped(EndpointId peer, uint8_t* memory) override;

  bool Draw(double probability);
  absl::Time DrawDue();
  absl::Status Forward(Message message);
  void Hold(absl::Time due, Message message);
  void Duplicate(const Message& message);
  // Late messages of `peer` will not leave any more.
  void FailHeld(EndpointId peer, const absl::Status& why);
  int ReleaseDue();
  int ReportSent();

  FaultPlan plan_;
  TimeSource& time_;
  TransportHandler& handler_;
  std::mt19937_64 random_;
  std::unique_ptr<Transport> inner_;
  std::set<EndpointId> open_;
  uint64_t last_token_ = 0;
  std::map<uint64_t, Message> sent_;  // by the inner transport's token
  std::multimap<absl::Time, Message> held_;
  std::map<EndpointId, absl::Time> held_until_;  // `delay`: order is kept
  std::vector<Report> reports_;                  // OnSent due in the next Poll
  std::map<EndpointId, absl::Status> broken_;    // OnDisconnect due, too
};

}  // namespace cssp

#endif  // CSSP_COMMON_TRANSPORT_FAULTY_TRANSPORT_H_
