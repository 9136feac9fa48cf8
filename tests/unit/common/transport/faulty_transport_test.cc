#include "common/transport/faulty_transport.h"

#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/transport/inproc_transport.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/recording_handler.h"

namespace cssp {
namespace {

// A faulty client and a sound server on virtual time.
class FaultyTransportTest : public testing::Test {
 protected:
  void Start(uint64_t seed, const FaultPlan& plan) {
    auto made = FaultyTransport::Create(
        [this](TransportHandler& inner)
            -> absl::StatusOr<std::unique_ptr<Transport>> {
          return fabric_.MakeTransport({}, inner);
        },
        seed, plan, time_, on_client_);
    ASSERT_TRUE(made.ok()) << made.status();
    client_ = *std::move(made);
    server_ = fabric_.MakeTransport({}, on_server_);
    auto address = server_->Listen("host", 1);
    ASSERT_TRUE(address.ok()) << address.status();
    peer_ = *client_->Connect(*address);
  }
  // All events at the present instant.
  void Settle() {
    while (client_->Poll() + server_->Poll() > 0) {
    }
  }
  void Send(int count) {
    for (int i = 0; i < count; ++i) {
      (void)client_->Send(peer_, Bytes(absl::StrCat(i)), payload_, i);
    }
  }
  std::vector<int> Received() const {
    std::vector<int> numbers;
    for (const auto& message : on_server_.messages) {
      numbers.push_back(std::stoi(message.header));
    }
    return numbers;
  }

  const std::vector<uint8_t> payload_ = Pattern(100, 1);
  FakeTimeSource time_;
  InprocFabric fabric_;
  RecordingHandler on_client_, on_server_;
  std::unique_ptr<FaultyTransport> client_;
  std::unique_ptr<Transport> server_;
  EndpointId peer_ = kNoEndpoint;
};

TEST_F(FaultyTransportTest, DropsItsShareAndReportsThemSent) {
  Start(1, {.drop = 0.3});
  Send(1000);
  Settle();
  EXPECT_NEAR(on_server_.messages.size(), 700, 60);
  EXPECT_EQ(on_client_.sent.size(), 1000);
  EXPECT_TRUE(on_client_.SentAllOk());
}

TEST_F(FaultyTransportTest, DuplicatesArriveTwiceAndAreReportedOnce) {
  Start(2, {.duplicate = 1});
  Send(100);
  Settle();
  EXPECT_EQ(on_client_.sent.size(), 100);
  time_.Advance(absl::Milliseconds(10));
  Settle();
  std::vector<int> received = Received();
  std::sort(received.begin(), received.end());
  ASSERT_EQ(received.size(), 200);
  for (int i = 0; i < 200; ++i) EXPECT_EQ(received[i], i / 2);
  for (const auto& message : on_server_.messages) {
    EXPECT_EQ(message.payload, payload_);
  }
  EXPECT_EQ(on_client_.sent.size(), 100);
}

TEST_F(FaultyTransportTest, DelayKeepsTheOrder) {
  Start(3, {.delay = 0.5});
  Send(100);
  Settle();
  EXPECT_LT(on_server_.messages.size(), 100);
  time_.Advance(absl::Milliseconds(10));
  Settle();
  const std::vector<int> received = Received();
  ASSERT_EQ(received.size(), 100);
  EXPECT_TRUE(std::is_sorted(received.begin(), received.end()));
  EXPECT_EQ(client_->NextDue(), absl::InfiniteFuture());
}

TEST_F(FaultyTransportTest, ReorderOvertakes) {
  Start(4, {.reorder = 0.3});
  Send(100);
  Settle();
  time_.Advance(absl::Milliseconds(10));
  Settle();
  std::vector<int> received = Received();
  ASSERT_EQ(received.size(), 100);
  EXPECT_FALSE(std::is_sorted(received.begin(), received.end()));
}

TEST_F(FaultyTransportTest, LateMessagesLeaveAtTheirTimeNotBefore) {
  Start(5, {.reorder = 1, .max_delay = absl::Seconds(1)});
  Send(1);
  Settle();
  EXPECT_TRUE(on_server_.messages.empty());
  const absl::Time due = client_->NextDue();
  time_.Set(due - absl::Nanoseconds(1));
  Settle();
  EXPECT_TRUE(on_server_.messages.empty());
  EXPECT_TRUE(on_client_.sent.empty()) << "its memory is still needed";
  time_.Set(due);
  Settle();
  EXPECT_EQ(on_server_.messages.size(), 1);
  EXPECT_EQ(on_client_.sent.size(), 1);
}

TEST_F(FaultyTransportTest, TheSeedDecidesEverything) {
  const FaultPlan plan{
      .drop = 0.1, .duplicate = 0.1, .delay = 0.1, .reorder = 0.2};
  std::vector<std::vector<int>> runs;
  for (uint64_t seed : {7, 7, 8}) {
    on_server_ = RecordingHandler();
    on_client_ = RecordingHandler();
    client_.reset();
    server_.reset();
    Start(seed, plan);
    for (int step = 0; step < 20; ++step) {
      Send(10);
      Settle();
      time_.Advance(absl::Milliseconds(1));
    }
    runs.push_back(Received());
  }
  EXPECT_EQ(runs[0], runs[1]);
  EXPECT_NE(runs[0], runs[2]);
}

TEST_F(FaultyTransportTest, ADisconnectReportsEverySendFirstOnBothSides) {
  Start(6, {.disconnect = 0.05, .reorder = 0.5});
  int accepted = 0;
  for (int i = 0; i < 1000; ++i) {
    accepted += client_->Send(peer_, Bytes("x"), payload_, i).ok();
  }
  EXPECT_LT(accepted, 1000);
  Settle();
  EXPECT_EQ(on_client_.lost.size(), 1);
  EXPECT_EQ(on_server_.lost.size(), 1);
  EXPECT_EQ(on_client_.sent.size(), accepted);
  time_.Advance(absl::Seconds(1));
  Settle();
  EXPECT_EQ(on_client_.sent.size(), accepted);
  EXPECT_EQ(client_->Send(peer_, Bytes("x"), payload_, 1).code(),
            absl::StatusCode::kUnavailable);
}

TEST_F(FaultyTransportTest, AHealedPlanIsSound) {
  Start(9, {.drop = 1});
  Send(10);
  client_->SetPlan({});
  Send(10);
  Settle();
  EXPECT_EQ(on_server_.messages.size(), 10);
}

TEST_F(FaultyTransportTest, ADeadServerFailsWhatIsLate) {
  Start(10, {.reorder = 1});
  Send(10);
  server_.reset();
  client_->Poll();
  EXPECT_EQ(on_client_.lost.size(), 1);
  ASSERT_EQ(on_client_.sent.size(), 10);
  EXPECT_FALSE(on_client_.sent[0].status.ok());
}

}  // namespace
}  // namespace cssp
