// A peer of the data plane by hand: what a test sends is what goes out.
#ifndef CSSP_TESTS_TESTING_WIRE_CLIENT_H_
#define CSSP_TESTS_TESTING_WIRE_CLIENT_H_

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "common/base/crc.h"
#include "common/base/time_source.h"
#include "common/ps/messages.h"
#include "common/transport/transport.h"
#include "gtest/gtest.h"

namespace cssp {

// One connection.  Thread-confined: every method polls on the caller's thread.
class WireClient : private TransportHandler {
 public:
  struct Message {
    ps::MessageHeader header;
    std::vector<float> floats;
  };

  explicit WireClient(const std::string& address) {
    TransportOptions options;
    options.devices = "lo";
    auto made = MakeUcxTransport(options, *this);
    EXPECT_TRUE(made.ok()) << made.status();
    transport_ = *std::move(made);
    auto peer = transport_->Connect(address);
    EXPECT_TRUE(peer.ok()) << peer.status();
    peer_ = *peer;
  }
  // As a killed process would: no goodbye.
  ~WireClient() override { transport_.reset(); }

  // What later messages say of themselves.
  ps::MessageHeader base;

  ps::MessageHeader Header(ps::MessageType type, uint32_t chunk,
                           int64_t clock) {
    ps::MessageHeader header = base;
    header.type = type;
    header.chunk = chunk;
    header.clock = clock;
    header.based_on = clock;
    header.samples = 1;
    header.sequence = ++sequence_;
    return header;
  }

  uint32_t Send(ps::MessageHeader header, std::vector<float> floats = {}) {
    auto kept = std::make_unique<std::vector<float>>(std::move(floats));
    const absl::Span<const uint8_t> payload(
        reinterpret_cast<const uint8_t*>(kept->data()), kept->size() * 4);
    if (!payload.empty() && header.payload_crc == 0) {
      header.payload_crc = Crc32c(payload.data(), payload.size());
      header.flags |= ps::kFlagHasCrc;
    }
    SendBytes(header, payload);
    floats_.push_back(std::move(kept));
    return header.sequence;
  }

  void Hello(const std::string& token) {
    token_ = token;
    SendBytes(Header(ps::MessageType::kHello, 0, 0),
              {reinterpret_cast<const uint8_t*>(token_.data()), token_.size()});
  }
  // Hello, and its acknowledgement awaited.
  bool Join(const std::string& token) {
    Hello(token);
    return Await(
        [this] { return Find(ps::MessageType::kHelloAck) != nullptr; });
  }

  // Polls until `done` or `timeout`.
  bool Await(const std::function<bool()>& done,
             absl::Duration timeout = absl::Seconds(10)) {
    TimeSource& time = TimeSource::Real();
    const absl::Time deadline = time.Now() + timeout;
    while (!done()) {
      if (transport_->Poll() > 0) continue;
      if (time.Now() >= deadline) return false;
      transport_->Wait(absl::Milliseconds(5));
    }
    return true;
  }
  // The answer to `sequence`.
  Message AwaitAnswer(uint32_t sequence) {
    const Message* found = nullptr;
    EXPECT_TRUE(Await([&] {
      for (const Message& message : inbox) {
        if (message.header.sequence == sequence) found = &message;
      }
      return found != nullptr;
    })) << "no answer to "
        << sequence;
    return found != nullptr ? *found : Message();
  }
  const Message* Find(ps::MessageType type) const {
    for (const Message& message : inbox) {
      if (message.header.type == type) return &message;
    }
    return nullptr;
  }
  std::string Describe() const { return transport_->Describe(peer_); }

  std::vector<Message> inbox;
  bool disconnected = false;

 private:
  void SendBytes(ps::MessageHeader header, absl::Span<const uint8_t> payload) {
    header.payload_bytes = payload.size();
    uint8_t bytes[ps::kHeaderBytes];
    ps::EncodeHeader(header, bytes);
    transport_->Send(peer_, bytes, payload, 1).IgnoreError();
  }

  void OnAccept(EndpointId) override {}
  uint8_t* OnArrival(EndpointId, absl::Span<const uint8_t> bytes,
                     size_t payload_bytes) override {
    auto memory = std::make_unique<std::vector<float>>(payload_bytes / 4 + 1);
    uint8_t* data = reinterpret_cast<uint8_t*>(memory->data());
    arriving_[data] = std::move(memory);
    return data;
  }
  void OnMessage(EndpointId, absl::Span<const uint8_t> bytes,
                 absl::Span<uint8_t> payload) override {
    const auto header = ps::DecodeHeader(bytes);
    ASSERT_TRUE(header.ok()) << header.status();
    Message message;
    message.header = *header;
    const float* floats = reinterpret_cast<const float*>(payload.data());
    message.floats.assign(floats, floats + payload.size() / 4);
    inbox.push_back(std::move(message));
  }
  void OnSent(EndpointId, uint64_t, absl::Status) override {}
  void OnDisconnect(EndpointId, absl::Status) override { disconnected = true; }

  std::unique_ptr<Transport> transport_;
  EndpointId peer_ = kNoEndpoint;
  uint32_t sequence_ = 0;
  std::string token_;
  std::map<uint8_t*, std::unique_ptr<std::vector<float>>> arriving_;
  std::vector<std::unique_ptr<std::vector<float>>> floats_;
};

}  // namespace cssp

#endif  // CSSP_TESTS_TESTING_WIRE_CLIENT_H_
