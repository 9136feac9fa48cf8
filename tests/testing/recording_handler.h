// A TransportHandler that writes down what happens and checks the contract.
#ifndef CSSP_TESTS_TESTING_RECORDING_HANDLER_H_
#define CSSP_TESTS_TESTING_RECORDING_HANDLER_H_

#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "common/transport/transport.h"
#include "gtest/gtest.h"

namespace cssp {

// Thread-confined: the thread that polls its transport.
class RecordingHandler : public TransportHandler {
 public:
  struct Message {
    EndpointId peer;
    std::string header;
    std::vector<uint8_t> payload;
  };
  struct Sent {
    EndpointId peer;
    uint64_t token;
    absl::Status status;
  };

  void OnAccept(EndpointId peer) override { accepted.push_back(peer); }
  uint8_t* OnArrival(EndpointId peer, absl::Span<const uint8_t> header,
                     size_t payload_bytes) override {
    EXPECT_FALSE(lost.contains(peer)) << "an arrival after OnDisconnect";
    if (refuse) {
      ++refused;
      return nullptr;
    }
    // Never null, so that empty payloads are not taken for refusals.
    auto memory = std::make_unique<uint8_t[]>(payload_bytes + 1);
    uint8_t* start = memory.get();
    arriving[start] = std::move(memory);
    arriving_peer[start] = peer;
    if (on_arrival) on_arrival(peer);
    return start;
  }
  void OnMessage(EndpointId peer, absl::Span<const uint8_t> header,
                 absl::Span<uint8_t> payload) override {
    EXPECT_TRUE(arriving.contains(payload.data())) << "memory not from us";
    messages.push_back({peer,
                        {header.begin(), header.end()},
                        {payload.begin(), payload.end()}});
    Forget(payload.data());
    if (on_message) on_message(messages.back());
  }
  void OnSent(EndpointId peer, uint64_t token, absl::Status status) override {
    EXPECT_FALSE(lost.contains(peer)) << "OnSent after OnDisconnect";
    sent.push_back({peer, token, std::move(status)});
    if (on_sent) on_sent(sent.back());
  }
  void OnDisconnect(EndpointId peer, absl::Status why) override {
    EXPECT_FALSE(why.ok());
    EXPECT_TRUE(lost.emplace(peer, why).second) << "OnDisconnect twice";
    for (auto it = arriving_peer.begin(); it != arriving_peer.end();) {
      uint8_t* memory = it->second == peer ? it->first : nullptr;
      ++it;
      if (memory != nullptr) Forget(memory);
    }
    if (on_disconnect) on_disconnect(peer);
  }
  void OnArrivalDropped(EndpointId peer, uint8_t* memory) override {
    EXPECT_EQ(arriving_peer[memory], peer);
    Forget(memory);
    ++dropped;
  }

  bool SentAllOk() const {
    for (const Sent& s : sent) {
      if (!s.status.ok()) return false;
    }
    return true;
  }

  bool refuse = false;
  int refused = 0;
  int dropped = 0;
  std::vector<EndpointId> accepted;
  std::vector<Message> messages;
  std::vector<Sent> sent;
  std::map<EndpointId, absl::Status> lost;
  std::map<uint8_t*, std::unique_ptr<uint8_t[]>> arriving;
  std::function<void(EndpointId)> on_arrival;
  std::function<void(const Message&)> on_message;
  std::function<void(const Sent&)> on_sent;
  std::function<void(EndpointId)> on_disconnect;

 private:
  void Forget(uint8_t* memory) {
    arriving_peer.erase(memory);
    arriving.erase(memory);
  }
  std::map<uint8_t*, EndpointId> arriving_peer;
};

inline absl::Span<const uint8_t> Bytes(const std::string& text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

// Bytes that differ by position and seed.
inline std::vector<uint8_t> Pattern(size_t size, uint32_t seed) {
  std::vector<uint8_t> bytes(size);
  uint32_t state = seed * 2654435761u + 1;
  for (uint8_t& byte : bytes) {
    state = state * 1664525u + 1013904223u;
    byte = state >> 24;
  }
  return bytes;
}

}  // namespace cssp

#endif  // CSSP_TESTS_TESTING_RECORDING_HANDLER_H_
