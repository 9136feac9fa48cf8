// The client against a server by hand, over the in-process transport.
#include "worker/sync/ps_client.h"

#include <atomic>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/time/clock.h"
#include "common/base/crc.h"
#include "common/transport/inproc_transport.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace cssp {
namespace {

using ps::MessageHeader;
using ps::MessageType;
using ps::Reason;

constexpr int kFloats = 64;

// Answers every request as `on_request` says.  Its thread polls.
class FakeServer : private TransportHandler {
 public:
  using OnRequest = std::function<void(FakeServer&, EndpointId,
                                       const MessageHeader&,
                                       absl::Span<const uint8_t>)>;
  FakeServer(InprocFabric& fabric, OnRequest on_request)
      : on_request_(std::move(on_request)),
        transport_(fabric.MakeTransport({}, *this)) {
    address_ = transport_->Listen("127.0.0.1", 0).value();
    thread_ = Thread("fake-server", [this] {
      while (!stop_) {
        if (cut_.exchange(false)) {
          transport_->Close(peer_);
        }
        if (transport_->Poll() == 0) transport_->Wait(absl::Milliseconds(5));
      }
    });
  }
  ~FakeServer() override {
    stop_ = true;
    thread_.Join();
  }
  const std::string& address() const { return address_; }
  // Drops the connection, once.
  void Cut() { cut_ = true; }
  int hellos() const { return hellos_; }

  void Answer(EndpointId peer, MessageHeader header,
              absl::Span<const float> floats = {}) {
    const auto* bytes = reinterpret_cast<const uint8_t*>(floats.data());
    header.payload_bytes = static_cast<uint32_t>(floats.size() * 4);
    if (!floats.empty() && header.payload_crc == 0) {
      header.payload_crc = Crc32c(bytes, floats.size() * 4);
      header.flags |= ps::kFlagHasCrc;
    }
    uint8_t encoded[ps::kHeaderBytes];
    ps::EncodeHeader(header, encoded);
    transport_->Send(peer, encoded, {bytes, floats.size() * 4}, ++token_)
        .IgnoreError();
  }

 private:
  void OnAccept(EndpointId peer) override { peer_ = peer; }
  uint8_t* OnArrival(EndpointId, absl::Span<const uint8_t>,
                     size_t bytes) override {
    landing_.resize(bytes + 1);
    return landing_.data();
  }
  void OnMessage(EndpointId peer, absl::Span<const uint8_t> bytes,
                 absl::Span<uint8_t> payload) override {
    MessageHeader header = ps::DecodeHeader(bytes).value();
    if (header.type == MessageType::kHello) {
      ++hellos_;
      MessageHeader ack = header;
      ack.type = MessageType::kHelloAck;
      if (std::string(payload.begin(), payload.end()) != "secret") {
        ack.type = MessageType::kRefused;
        ack.reason = Reason::kWrongToken;
      }
      return Answer(peer, ack);
    }
    on_request_(*this, peer, header, payload);
  }
  void OnSent(EndpointId, uint64_t, absl::Status) override {}
  void OnDisconnect(EndpointId, absl::Status) override {}

  const OnRequest on_request_;
  std::atomic<bool> stop_{false}, cut_{false};
  std::atomic<int> hellos_{0};
  std::vector<uint8_t> landing_;
  EndpointId peer_ = kNoEndpoint;
  uint64_t token_ = 0;
  std::string address_;
  std::unique_ptr<Transport> transport_;
  Thread thread_;
};

// Thread-safe (monitor).
class Events : public PsClientEvents {
 public:
  float* OnValuesBegin(const MessageHeader&) override { return values; }
  void OnValuesEnd(const MessageHeader& header, float*, bool ok) override {
    absl::MutexLock lock(&mu);
    (ok ? good : bad).push_back(header.clock);
  }
  void OnPushDone(int chunk, int64_t clock) override {
    absl::MutexLock lock(&mu);
    done.push_back({chunk, clock});
  }
  void OnPullRefused(const MessageHeader& header) override {
    absl::MutexLock lock(&mu);
    refused.push_back(header.clock);
    why_refused = header.reason;
  }
  void OnReconnect(int server) override {
    absl::MutexLock lock(&mu);
    ++reconnects;
  }
  void OnFatal(const absl::Status& status) override {
    absl::MutexLock lock(&mu);
    fatal = status;
  }
  template <class Condition>
  bool Await(Condition condition) {
    absl::MutexLock lock(&mu);
    return mu.AwaitWithTimeout(absl::Condition(&condition), absl::Seconds(20));
  }

  absl::Mutex mu;
  float values[kFloats] = {};
  std::vector<int64_t> good, bad, refused;
  Reason why_refused = Reason::kNone;
  std::vector<std::pair<int, int64_t>> done;
  int reconnects = 0;
  absl::Status fatal;
};

class PsClientTest : public testing::Test {
 protected:
  void Connect(FakeServer& server, const std::string& token = "secret",
               bool subscribe = false) {
    PsClientOptions options;
    options.token = token;
    options.servers = {server.address()};
    options.chunk_server = {0, 0};
    options.subscribe = subscribe;
    options.unreachable_after = absl::Seconds(1);
    options.make_transport = [this](const TransportOptions& o,
                                    TransportHandler& h) {
      return absl::StatusOr<std::unique_ptr<Transport>>(
          fabric_.MakeTransport(o, h));
    };
    client_ = std::make_unique<PsClient>(std::move(options), events_);
    ASSERT_TRUE(client_->Start().ok());
  }
  void Push(int64_t clock) {
    client_->SendPush({.chunk = 1, .clock = clock, .based_on = clock,
                       .samples = 3, .data = gradient_});
  }

  InprocFabric fabric_;
  Events events_;
  std::vector<float> gradient_ = std::vector<float>(kFloats, 1.5f);
  std::unique_ptr<PsClient> client_;
};

MessageHeader Ack(MessageHeader header, Reason reason = Reason::kNone) {
  header.type = MessageType::kPushAck;
  header.reason = reason;
  header.flags = 0;
  header.payload_crc = 0;
  return header;
}

TEST_F(PsClientTest, APushIsDoneWhenAcknowledged) {
  MessageHeader seen;
  bool crc_right = false;
  FakeServer server(fabric_, [&](FakeServer& s, EndpointId peer,
                                 const MessageHeader& header,
                                 absl::Span<const uint8_t> payload) {
    if (header.type != MessageType::kPush) return;
    seen = header;
    crc_right = Crc32c(payload.data(), payload.size()) == header.payload_crc;
    s.Answer(peer, Ack(header));
  });
  Connect(server);
  Push(7);
  ASSERT_TRUE(events_.Await([&] { return !events_.done.empty(); }));
  EXPECT_EQ(events_.done[0], std::make_pair(1, int64_t{7}));
  EXPECT_EQ(seen.clock, 7);
  EXPECT_EQ(seen.based_on, 7);
  EXPECT_EQ(seen.samples, 3u);
  EXPECT_TRUE(crc_right);
  client_->Stop();
}

TEST_F(PsClientTest, AnUnacknowledgedPushIsSentAgainAfterAReconnect) {
  std::atomic<int> pushes{0};
  FakeServer server(fabric_, [&](FakeServer& s, EndpointId peer,
                                 const MessageHeader& header,
                                 absl::Span<const uint8_t>) {
    if (header.type != MessageType::kPush) return;
    if (++pushes == 1) return s.Cut();  // taken, but the answer is lost
    s.Answer(peer, Ack(header, Reason::kDuplicate));
  });
  Connect(server);
  Push(0);
  ASSERT_TRUE(events_.Await([&] { return !events_.done.empty(); }));
  EXPECT_EQ(pushes, 2);
  EXPECT_EQ(server.hellos(), 2);
  EXPECT_EQ(events_.reconnects, 1);
  EXPECT_TRUE(events_.fatal.ok());
  client_->Stop();
}

TEST_F(PsClientTest, APassingRefusalIsAskedAgain) {
  std::atomic<int> pushes{0};
  FakeServer server(fabric_, [&](FakeServer& s, EndpointId peer,
                                 const MessageHeader& header,
                                 absl::Span<const uint8_t>) {
    if (header.type != MessageType::kPush) return;
    s.Answer(peer, Ack(header, ++pushes < 3 ? Reason::kTooFarAhead
                                            : Reason::kNone));
  });
  Connect(server);
  Push(0);
  ASSERT_TRUE(events_.Await([&] { return !events_.done.empty(); }));
  EXPECT_EQ(pushes, 3);
  client_->Stop();
}

TEST_F(PsClientTest, AStalePushEndsTheJobHere) {
  FakeServer server(fabric_, [&](FakeServer& s, EndpointId peer,
                                 const MessageHeader& header,
                                 absl::Span<const uint8_t>) {
    if (header.type == MessageType::kPush)
      s.Answer(peer, Ack(header, Reason::kTooStale));
  });
  Connect(server);
  Push(0);
  ASSERT_TRUE(events_.Await([&] { return !events_.fatal.ok(); }));
  EXPECT_EQ(events_.fatal.code(), absl::StatusCode::kFailedPrecondition);
  client_->Stop();
}

TEST_F(PsClientTest, AWrongTokenEndsTheJobHere) {
  FakeServer server(fabric_, [](auto&&...) {});
  Connect(server, "guess");
  ASSERT_TRUE(events_.Await([&] { return !events_.fatal.ok(); }));
  EXPECT_EQ(events_.fatal.code(), absl::StatusCode::kPermissionDenied);
  client_->Stop();
}

TEST_F(PsClientTest, ValuesLandWhereTheReceiverSays) {
  std::vector<float> weights(kFloats, 2.5f);
  FakeServer server(fabric_, [&](FakeServer& s, EndpointId peer,
                                 const MessageHeader& header,
                                 absl::Span<const uint8_t>) {
    MessageHeader values = header;
    values.type = MessageType::kValues;
    if (header.type == MessageType::kSubscribe) {
      values.flags = ps::kFlagEager;
      values.clock = 3;
      s.Answer(peer, values, weights);
    } else if (header.type == MessageType::kPull) {
      values.clock = 4;
      values.payload_crc = 99;  // damaged on the way
      values.flags = ps::kFlagHasCrc;
      s.Answer(peer, values, weights);
    }
  });
  Connect(server, "secret", /*subscribe=*/true);
  ASSERT_TRUE(events_.Await([&] { return !events_.good.empty(); }));
  EXPECT_EQ(events_.good[0], 3);
  EXPECT_EQ(events_.values[kFloats - 1], 2.5f);
  client_->SendPull(0, 4);
  ASSERT_TRUE(events_.Await([&] { return !events_.bad.empty(); }));
  EXPECT_EQ(events_.bad[0], 4);
  client_->Stop();
}

TEST_F(PsClientTest, ACutThatIsGoneIsReported) {
  FakeServer server(fabric_, [&](FakeServer& s, EndpointId peer,
                                 const MessageHeader& header,
                                 absl::Span<const uint8_t>) {
    if (header.type != MessageType::kPullExact) return;
    MessageHeader refused = header;
    refused.type = MessageType::kRefused;
    refused.reason = Reason::kGone;
    s.Answer(peer, refused);
  });
  Connect(server);
  client_->SendPullExact(0, 1, 500);
  ASSERT_TRUE(events_.Await([&] { return !events_.refused.empty(); }));
  EXPECT_EQ(events_.refused[0], 500);
  EXPECT_EQ(events_.why_refused, Reason::kGone);
  EXPECT_TRUE(events_.fatal.ok());
  client_->Stop();
}

TEST_F(PsClientTest, AServerThatStaysAwayEndsTheJobHere) {
  auto server = std::make_unique<FakeServer>(fabric_, [](auto&&...) {});
  Connect(*server);
  server.reset();
  ASSERT_TRUE(events_.Await([&] { return !events_.fatal.ok(); }));
  EXPECT_EQ(events_.fatal.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(events_.fatal.message()),
              testing::HasSubstr("cannot be reached"));
  client_->Stop();
}

}  // namespace
}  // namespace cssp
