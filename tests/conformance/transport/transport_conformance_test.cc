// Long because one suite holds what every transport must do.
#include "tests/conformance/transport/transport_conformance.h"

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/base/thread.h"
#include "common/base/time_source.h"
#include "common/transport/faulty_transport.h"
#include "common/transport/inproc_transport.h"
#include "common/transport/metered_transport.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/recording_handler.h"

namespace cssp {
namespace {

using testing::HasSubstr;

class TransportConformance : public testing::TestWithParam<TransportKind> {
 protected:
  TransportConformance() : world_(GetParam().make_world()) {}

  std::unique_ptr<Transport> Make(TransportHandler& handler,
                                  const TransportOptions& options = {}) {
    auto transport = world_->Make(options, handler);
    EXPECT_TRUE(transport.ok()) << transport.status();
    return *std::move(transport);
  }

  // A server that listens and a client connected to it.
  void Connect(const TransportOptions& server_options = {},
               const TransportOptions& client_options = {}) {
    server_ = Make(on_server_, server_options);
    client_ = Make(on_client_, client_options);
    auto address = server_->Listen("127.0.0.1", 0);
    ASSERT_TRUE(address.ok()) << address.status();
    address_ = *address;
    auto id = client_->Connect(address_);
    ASSERT_TRUE(id.ok()) << id.status();
    to_server_ = *id;
    ASSERT_TRUE(Until([&] { return on_server_.accepted.size() == 1; }));
    to_client_ = on_server_.accepted[0];
  }

  // Polls everybody until `done`, for at most 60 s.
  bool Until(const std::function<bool()>& done) {
    TimeSource& time = TimeSource::Real();
    const absl::Time deadline = time.Now() + absl::Seconds(60);
    while (!done()) {
      if (time.Now() > deadline) return false;
      int events = 0;
      for (Transport* t : {server_.get(), client_.get(), other_.get()}) {
        if (t != nullptr) events += t->Poll();
      }
      if (events == 0) client_->Wait(absl::Milliseconds(1));
    }
    return true;
  }

  std::unique_ptr<TransportWorld> world_;
  RecordingHandler on_server_, on_client_, on_other_;
  std::unique_ptr<Transport> server_, client_, other_;
  std::string address_;
  EndpointId to_server_ = kNoEndpoint, to_client_ = kNoEndpoint;
};

TEST_P(TransportConformance, CarriesEverySizeBothWays) {
  Connect();
  const size_t sizes[] = {
      0,     1,      7,      4096,   8192,          8193,
      65535, 100000, 262143, 262144, (1 << 20) + 3, 4 << 20};
  std::vector<std::vector<uint8_t>> payloads;
  uint64_t token = 0;
  for (size_t size : sizes) {
    payloads.push_back(Pattern(size, size + 1));
    const std::string header = absl::StrCat("of ", size, " bytes");
    ++token;
    ASSERT_TRUE(
        client_->Send(to_server_, Bytes(header), payloads.back(), token).ok());
    ASSERT_TRUE(
        server_->Send(to_client_, Bytes(header), payloads.back(), token).ok());
    ASSERT_TRUE(Until([&] {
      return on_server_.messages.size() == token &&
             on_client_.messages.size() == token &&
             on_server_.sent.size() == token && on_client_.sent.size() == token;
    })) << header;
    for (RecordingHandler* side : {&on_server_, &on_client_}) {
      EXPECT_EQ(side->messages.back().header, header);
      EXPECT_EQ(side->messages.back().payload, payloads.back());
      EXPECT_EQ(side->sent.back().token, token);
      EXPECT_TRUE(side->SentAllOk());
    }
    EXPECT_EQ(on_server_.messages.back().peer, to_client_);
    EXPECT_EQ(on_client_.messages.back().peer, to_server_);
  }
}

TEST_P(TransportConformance, ManyMessagesAtOnceLoseNothing) {
  Connect();
  constexpr int kMessages = 400;
  std::vector<std::vector<uint8_t>> payloads;
  for (int i = 0; i < kMessages; ++i) {
    payloads.push_back(Pattern((i * 7919) % 70000, i));
  }
  for (int i = 0; i < kMessages; ++i) {
    const std::string header = absl::StrCat(i);
    ASSERT_TRUE(client_->Send(to_server_, Bytes(header), payloads[i], i).ok());
    ASSERT_TRUE(server_->Send(to_client_, Bytes(header), payloads[i], i).ok());
  }
  ASSERT_TRUE(Until([&] {
    return on_server_.messages.size() == kMessages &&
           on_client_.messages.size() == kMessages &&
           on_server_.sent.size() == kMessages &&
           on_client_.sent.size() == kMessages;
  }));
  for (RecordingHandler* side : {&on_server_, &on_client_}) {
    std::set<std::string> seen;
    for (const auto& message : side->messages) {
      EXPECT_TRUE(seen.insert(message.header).second) << "twice";
      EXPECT_EQ(message.payload, payloads[std::stoi(message.header)]);
    }
    std::set<uint64_t> tokens;
    for (const auto& sent : side->sent) {
      EXPECT_TRUE(sent.status.ok()) << sent.status;
      EXPECT_TRUE(tokens.insert(sent.token).second) << "reported twice";
    }
  }
}

TEST_P(TransportConformance, HeadersOfEveryLengthUpToTheLimit) {
  TransportOptions options;
  options.max_header_bytes = 200;
  Connect(options, options);
  for (size_t size : {0, 1, 72, 200}) {
    const std::vector<uint8_t> bytes = Pattern(size, 5);
    const std::vector<uint8_t> payload = Pattern(300000, 1);
    on_server_.messages.clear();
    ASSERT_TRUE(client_->Send(to_server_, bytes, payload, 1).ok());
    ASSERT_TRUE(Until([&] { return on_server_.messages.size() == 1; })) << size;
    EXPECT_EQ(on_server_.messages[0].header,
              std::string(bytes.begin(), bytes.end()));
    on_client_.sent.clear();
    ASSERT_TRUE(Until([&] { return on_client_.sent.size() <= 1; }));
  }
  EXPECT_EQ(client_->Send(to_server_, Pattern(201, 1), {}, 1).code(),
            absl::StatusCode::kInvalidArgument);
}

TEST_P(TransportConformance, TheHeaderIsCopied) {
  Connect();
  const std::vector<uint8_t> payload = Pattern(2 << 20, 3);
  {
    std::string header = "short-lived header, longer than any inline string";
    ASSERT_TRUE(client_->Send(to_server_, Bytes(header), payload, 1).ok());
    header.assign(header.size(), '#');
  }
  ASSERT_TRUE(Until([&] { return on_server_.messages.size() == 1; }));
  EXPECT_EQ(on_server_.messages[0].header,
            "short-lived header, longer than any inline string");
}

TEST_P(TransportConformance, SentMemoryMayBeReusedAtOnce) {
  Connect();
  std::vector<uint8_t> payload(1 << 20, 0);
  int next = 1;
  const auto send = [&] {
    std::fill(payload.begin(), payload.end(), next);
    ASSERT_TRUE(
        client_->Send(to_server_, Bytes(absl::StrCat(next)), payload, next)
            .ok());
    ++next;
  };
  on_client_.on_sent = [&](const RecordingHandler::Sent&) {
    if (next <= 10) send();
  };
  send();
  ASSERT_TRUE(Until([&] { return on_server_.messages.size() == 10; }));
  for (const auto& message : on_server_.messages) {
    const uint8_t value = std::stoi(message.header);
    EXPECT_EQ(std::count(message.payload.begin(), message.payload.end(), value),
              message.payload.size());
  }
}

// The way between processes of one host that copies least: what arrives is what
// the memory held at Send, whatever is written after OnSent.
TEST_P(TransportConformance, AllocatedMemoryArrivesAsItWasSent) {
  Connect();
  constexpr size_t kBytes = (300 << 10) + 5;
  constexpr uint64_t kRounds = 20;
  std::shared_ptr<uint8_t> ours = client_->AllocateMemory(2 * kBytes);
  std::shared_ptr<uint8_t> theirs = server_->AllocateMemory(2 * kBytes);
  ASSERT_NE(ours, nullptr);
  ASSERT_NE(theirs, nullptr);
  EXPECT_EQ(ours.get()[2 * kBytes - 1], 0);
  for (uint64_t round = 1; round <= kRounds; ++round) {
    const size_t offset = round % 2 * kBytes;
    const std::vector<uint8_t> up = Pattern(kBytes, round);
    const std::vector<uint8_t> down = Pattern(kBytes, 100 + round);
    std::copy(up.begin(), up.end(), ours.get() + offset);
    std::copy(down.begin(), down.end(), theirs.get() + offset);
    const std::string header = absl::StrCat("round ", round);
    ASSERT_TRUE(client_
                    ->Send(to_server_, Bytes(header),
                           {ours.get() + offset, kBytes}, round)
                    .ok());
    ASSERT_TRUE(server_
                    ->Send(to_client_, Bytes(header),
                           {theirs.get() + offset, kBytes}, round)
                    .ok());
    ASSERT_TRUE(Until([&] {
      return on_server_.sent.size() == round && on_client_.sent.size() == round;
    }));
    std::fill_n(ours.get() + offset, kBytes, 0);
    std::fill_n(theirs.get() + offset, kBytes, 0);
    ASSERT_TRUE(Until([&] {
      return on_server_.messages.size() == round &&
             on_client_.messages.size() == round;
    }));
    EXPECT_EQ(on_server_.messages.back().payload, up);
    EXPECT_EQ(on_client_.messages.back().payload, down);
    EXPECT_EQ(on_client_.messages.back().header, header);
  }
  EXPECT_TRUE(on_client_.SentAllOk());
  client_.reset();
  server_.reset();
  ours.get()[0] = 1;  // outlives its transport
}

TEST_P(TransportConformance, CallbacksMaySendAndClose) {
  Connect();
  const std::vector<uint8_t> big = Pattern(1 << 20, 8);
  on_server_.on_message = [&](const RecordingHandler::Message& message) {
    ASSERT_TRUE(server_->Send(message.peer, Bytes("echo"), big, 9).ok());
  };
  on_client_.on_message = [&](const RecordingHandler::Message& message) {
    client_->Close(message.peer);
  };
  ASSERT_TRUE(client_->Send(to_server_, Bytes("hello"), big, 1).ok());
  ASSERT_TRUE(Until([&] { return on_server_.lost.size() == 1; }));
  EXPECT_EQ(on_client_.messages.size(), 1);
  EXPECT_TRUE(on_client_.lost.empty()) << "we closed it ourselves";
}

TEST_P(TransportConformance, RefusedArrivalsAreDroppedAndOthersGoOn) {
  Connect();
  const std::vector<uint8_t> small = Pattern(100, 1);
  const std::vector<uint8_t> big = Pattern(4 << 20, 2);
  on_server_.refuse = true;
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(client_->Send(to_server_, Bytes("s"), small, 1).ok());
    ASSERT_TRUE(client_->Send(to_server_, Bytes("b"), big, 2).ok());
  }
  ASSERT_TRUE(Until(
      [&] { return on_server_.refused == 6 && on_client_.sent.size() == 6; }));
  EXPECT_TRUE(on_server_.messages.empty());
  on_server_.refuse = false;
  ASSERT_TRUE(client_->Send(to_server_, Bytes("wanted"), big, 3).ok());
  ASSERT_TRUE(Until([&] { return on_server_.messages.size() == 1; }));
  EXPECT_EQ(on_server_.messages[0].payload, big);
  EXPECT_TRUE(on_server_.lost.empty());
}

TEST_P(TransportConformance, CloseIsSeenOnceByTheOtherSide) {
  Connect();
  client_->Close(to_server_);
  ASSERT_TRUE(Until([&] { return on_server_.lost.size() == 1; }));
  for (int i = 0; i < 50; ++i) {
    server_->Poll();
    client_->Poll();
  }
  EXPECT_TRUE(on_client_.lost.empty());
  EXPECT_EQ(server_->Send(to_client_, Bytes("x"), {}, 1).code(),
            absl::StatusCode::kUnavailable);
  EXPECT_EQ(client_->Send(to_server_, Bytes("x"), {}, 1).code(),
            absl::StatusCode::kUnavailable);
  client_->Close(to_server_);  // again: nothing
  server_->Close(to_client_);
}

TEST_P(TransportConformance, EverySendIsReportedAlsoWhenClosedUnderWay) {
  Connect();
  const std::vector<uint8_t> big = Pattern(4 << 20, 2);
  for (int i = 0; i < 8; ++i) {
    ASSERT_TRUE(client_->Send(to_server_, Bytes("b"), big, i).ok());
  }
  client_->Poll();
  server_->Poll();
  client_->Close(to_server_);
  ASSERT_TRUE(Until([&] {
    return on_client_.sent.size() == 8 && on_server_.lost.size() == 1;
  })) << on_client_.sent.size();
}

TEST_P(TransportConformance, ClosingTheReceiverFreesItsMemoryAndTheSender) {
  Connect();
  const std::vector<uint8_t> big = Pattern(4 << 20, 2);
  on_server_.on_arrival = [&](EndpointId peer) { server_->Close(peer); };
  for (int i = 0; i < 4; ++i) {
    ASSERT_TRUE(client_->Send(to_server_, Bytes("b"), big, i).ok());
  }
  ASSERT_TRUE(Until([&] { return on_client_.lost.size() == 1; }));
  EXPECT_EQ(on_client_.sent.size(), 4);
  ASSERT_TRUE(Until([&] { return on_server_.arriving.empty(); }));
  EXPECT_EQ(on_server_.dropped, 1);
  EXPECT_TRUE(on_server_.messages.empty());
  EXPECT_TRUE(on_server_.lost.empty());
}

TEST_P(TransportConformance, DestroyingAPeerDisconnectsIt) {
  Connect();
  const std::vector<uint8_t> big = Pattern(4 << 20, 2);
  for (int i = 0; i < 4; ++i) {
    ASSERT_TRUE(client_->Send(to_server_, Bytes("b"), big, i).ok());
  }
  client_->Poll();
  server_.reset();
  ASSERT_TRUE(Until([&] { return on_client_.lost.size() == 1; }));
  EXPECT_EQ(on_client_.sent.size(), 4);
}

TEST_P(TransportConformance, ConnectingToNobodyDisconnects) {
  client_ = Make(on_client_);
  server_ = Make(on_server_);
  auto address = server_->Listen("127.0.0.1", 0);
  ASSERT_TRUE(address.ok()) << address.status();
  server_.reset();  // the port is free again, nobody there
  auto id = client_->Connect(*address);
  ASSERT_TRUE(id.ok()) << id.status();
  const absl::Status sent = client_->Send(*id, Bytes("x"), Bytes("y"), 7);
  ASSERT_TRUE(Until([&] { return on_client_.lost.contains(*id); }));
  EXPECT_THAT(on_client_.lost[*id].code(),
              testing::AnyOf(absl::StatusCode::kUnavailable,
                             absl::StatusCode::kDeadlineExceeded))
      << on_client_.lost[*id];
  EXPECT_EQ(on_client_.sent.size(), sent.ok() ? 1 : 0);
}

TEST_P(TransportConformance, APortInUseIsAlreadyExistsAndNamed) {
  server_ = Make(on_server_);
  client_ = Make(on_client_);
  auto address = server_->Listen("127.0.0.1", 0);
  ASSERT_TRUE(address.ok()) << address.status();
  const std::vector<std::string> parts = absl::StrSplit(*address, ':');
  ASSERT_EQ(parts.size(), 2);
  EXPECT_EQ(parts[0], "127.0.0.1");
  auto again = client_->Listen("127.0.0.1", std::stoi(parts[1]));
  EXPECT_EQ(again.status().code(), absl::StatusCode::kAlreadyExists)
      << again.status();
  EXPECT_THAT(std::string(again.status().message()), HasSubstr(*address));
}

TEST_P(TransportConformance, APortCanBeListenedOnAgainAfterItsOwner) {
  Connect();
  const std::vector<std::string> parts = absl::StrSplit(address_, ':');
  server_.reset();
  ASSERT_TRUE(Until([&] { return on_client_.lost.size() == 1; }));
  server_ = Make(on_other_);
  auto again = server_->Listen("127.0.0.1", std::stoi(parts[1]));
  ASSERT_TRUE(again.ok()) << again.status();
  auto id = client_->Connect(*again);
  ASSERT_TRUE(id.ok());
  EXPECT_NE(*id, to_server_) << "ids are never reused";
  ASSERT_TRUE(Until([&] { return on_other_.accepted.size() == 1; }));
}

TEST_P(TransportConformance, ManyPeersAreToldApart) {
  Connect();
  other_ = Make(on_other_);
  std::vector<EndpointId> links{to_server_};
  for (int i = 0; i < 4; ++i) {
    auto id = (i % 2 == 0 ? client_ : other_)->Connect(address_);
    ASSERT_TRUE(id.ok());
    links.push_back(*id);
  }
  ASSERT_TRUE(Until([&] { return on_server_.accepted.size() == 5; }));
  for (int i = 0; i < 5; ++i) {
    // links[0] is the client's, then they alternate.
    Transport& sender = i == 0 || i % 2 == 1 ? *client_ : *other_;
    ASSERT_TRUE(sender.Send(links[i], Bytes(absl::StrCat(i)), {}, i).ok());
  }
  ASSERT_TRUE(Until([&] { return on_server_.messages.size() == 5; }));
  std::set<EndpointId> peers;
  for (const auto& message : on_server_.messages) peers.insert(message.peer);
  EXPECT_EQ(peers.size(), 5);
  // Closing one leaves the others.
  client_->Close(links[0]);
  ASSERT_TRUE(Until([&] { return on_server_.lost.size() == 1; }));
  EXPECT_TRUE(on_server_.lost.contains(to_client_));
  ASSERT_TRUE(other_->Send(links[2], Bytes("still"), {}, 1).ok());
  ASSERT_TRUE(Until([&] { return on_server_.messages.size() == 6; }));
}

TEST_P(TransportConformance, EndpointsAreLimited) {
  TransportOptions two;
  two.max_endpoints = 2;
  Connect(two);
  for (int i = 0; i < 2; ++i) ASSERT_TRUE(client_->Connect(address_).ok());
  ASSERT_TRUE(Until([&] {
    return on_server_.accepted.size() == 2 && on_client_.lost.size() == 1;
  }));
  client_ = Make(on_other_, two);
  for (int i = 0; i < 2; ++i) ASSERT_TRUE(client_->Connect(address_).ok());
  EXPECT_EQ(client_->Connect(address_).status().code(),
            absl::StatusCode::kResourceExhausted);
}

TEST_P(TransportConformance, APeerThatClaimsTooMuchIsCutOff) {
  TransportOptions narrow;
  narrow.max_payload_bytes = 1000;
  Connect(narrow);
  const std::vector<uint8_t> payload = Pattern(1001, 1);
  EXPECT_EQ(server_->Send(to_client_, Bytes("x"), payload, 1).code(),
            absl::StatusCode::kInvalidArgument);
  ASSERT_TRUE(client_->Send(to_server_, Bytes("x"), payload, 1).ok());
  ASSERT_TRUE(Until([&] {
    return on_server_.lost.size() == 1 && on_client_.lost.size() == 1;
  }));
  EXPECT_EQ(on_server_.lost[to_client_].code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(on_server_.messages.empty());
  EXPECT_TRUE(on_server_.arriving.empty());
}

TEST_P(TransportConformance, WakeEndsAWaitNowOrTheNext) {
  client_ = Make(on_client_);
  TimeSource& time = TimeSource::Real();
  for (int i = 0; i < 100 && client_->Poll() > 0; ++i) {
  }
  client_->Wake();
  const absl::Time start = time.Now();
  // Spurious returns are allowed; sleeping on is not.
  client_->Wait(absl::Seconds(30));
  EXPECT_LT(time.Now() - start, absl::Seconds(10));
  Thread waker("waker", [this] { client_->Wake(); });
  client_->Wait(absl::Seconds(30));
  EXPECT_LT(time.Now() - start, absl::Seconds(10));
}

TEST_P(TransportConformance, WaitSleepsUntilTheTimeout) {
  Connect();
  TimeSource& time = TimeSource::Real();
  const absl::Time start = time.Now();
  int waits = 0;
  while (time.Now() - start < absl::Milliseconds(200)) {
    client_->Poll();
    client_->Wait(absl::Milliseconds(200) - (time.Now() - start));
    ++waits;
  }
  EXPECT_LT(waits, 50) << "it spins";
}

TEST_P(TransportConformance, AMessageEndsAWait) {
  Connect();
  on_server_.on_message = [](const RecordingHandler::Message&) {};
  Thread sender("sender", [this] {
    ASSERT_TRUE(client_->Send(to_server_, Bytes("x"), {}, 1).ok());
    for (int i = 0; i < 1000 && on_client_.sent.empty(); ++i) {
      if (client_->Poll() == 0) client_->Wait(absl::Milliseconds(10));
    }
  });
  TimeSource& time = TimeSource::Real();
  const absl::Time start = time.Now();
  while (on_server_.messages.empty() &&
         time.Now() - start < absl::Seconds(20)) {
    if (server_->Poll() == 0) server_->Wait(absl::Seconds(20));
  }
  sender.Join();
  EXPECT_EQ(on_server_.messages.size(), 1);
  EXPECT_LT(time.Now() - start, absl::Seconds(10));
}

// --- the implementations ---

class InprocWorld final : public TransportWorld {
 public:
  absl::StatusOr<std::unique_ptr<Transport>> Make(
      const TransportOptions& options, TransportHandler& handler) override {
    return fabric_.MakeTransport(options, handler);
  }

 private:
  InprocFabric fabric_;
};

// Decorators without faults must be transparent.
class DecoratedWorld final : public TransportWorld {
 public:
  absl::StatusOr<std::unique_ptr<Transport>> Make(
      const TransportOptions& options, TransportHandler& handler) override {
    return MakeMeteredTransport(
        [&](TransportHandler& outer) {
          return FaultyTransport::Create(
              [&](TransportHandler& inner) {
                return fabric_.MakeTransport(options, inner);
              },
              /*seed=*/1, FaultPlan{}, TimeSource::Real(), outer);
        },
        metrics_, handler);
  }

 private:
  InprocFabric fabric_;
  MetricsRegistry registry_;
  TransportMetrics metrics_{registry_};
};

class UcxWorld final : public TransportWorld {
 public:
  explicit UcxWorld(std::string transports)
      : transports_(std::move(transports)) {}
  absl::StatusOr<std::unique_ptr<Transport>> Make(
      const TransportOptions& options, TransportHandler& handler) override {
    TransportOptions loopback = options;
    loopback.devices = "lo";
    loopback.transports = transports_;
    // The machine may be slow; these tests are not about that.
    loopback.handshake_timeout = absl::Seconds(30);
    return MakeUcxTransport(loopback, handler);
  }

 private:
  const std::string transports_;
};

INSTANTIATE_TEST_SUITE_P(
    Implementations, TransportConformance,
    testing::Values(
        TransportKind{"Inproc", [] { return std::make_unique<InprocWorld>(); }},
        TransportKind{"Decorated",
                      [] { return std::make_unique<DecoratedWorld>(); }},
        TransportKind{"UcxDefault",
                      [] { return std::make_unique<UcxWorld>(""); }},
        TransportKind{"UcxTcp",
                      [] { return std::make_unique<UcxWorld>("tcp"); }}),
    [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace cssp
