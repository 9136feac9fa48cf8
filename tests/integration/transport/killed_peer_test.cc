// A peer killed in the middle of a transfer must cost the server nothing but
// that peer.
#include <libgen.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <climits>
#include <string>
#include <vector>

#include "common/base/time_source.h"
#include "gtest/gtest.h"
#include "tests/testing/recording_handler.h"

namespace cssp {
namespace {

// Peers killed one after the other.  By shared memory each death is noticed by
// UCX's keepalive only, which takes seconds.
constexpr int kRounds = 4;

// The helper stands beside this test.
std::string PeerProgram() {
  char self[PATH_MAX] = {};
  if (readlink("/proc/self/exe", self, sizeof(self) - 1) < 0) return "";
  return std::string(dirname(self)) + "/transport_peer";
}

// A child process; killed, if it still runs, when it goes.
class Child {
 public:
  Child(const std::string& address, const std::string& transports) {
    const std::string program = PeerProgram();
    pid_ = fork();
    if (pid_ == 0) {
      execl(program.c_str(), program.c_str(), address.c_str(),
            transports.c_str(), nullptr);
      _exit(127);
    }
  }
  ~Child() { Kill(); }
  void Kill() {
    if (pid_ <= 0) return;
    kill(pid_, SIGKILL);
    int status = 0;
    waitpid(pid_, &status, 0);
    // It must have lived until now.
    EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) << status;
    pid_ = -1;
  }

 private:
  pid_t pid_;
};

class KilledPeer : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    TransportOptions options;
    options.devices = "lo";
    options.transports = GetParam();
    options.handshake_timeout = absl::Seconds(30);
    auto made = MakeUcxTransport(options, handler_);
    ASSERT_TRUE(made.ok()) << made.status();
    server_ = *std::move(made);
    auto address = server_->Listen("127.0.0.1", 0);
    ASSERT_TRUE(address.ok()) << address.status();
    address_ = *address;
    handler_.on_message = [this](const RecordingHandler::Message& message) {
      ++received_[message.peer];
      EXPECT_EQ(message.payload.size(), size_t{4} << 20);
      handler_.messages.clear();
    };
  }
  bool Until(const std::function<bool()>& done) {
    TimeSource& time = TimeSource::Real();
    const absl::Time deadline = time.Now() + absl::Seconds(60);
    while (!done()) {
      if (time.Now() > deadline) return false;
      if (server_->Poll() == 0) server_->Wait(absl::Milliseconds(100));
    }
    return true;
  }
  // Starts a child and gives its endpoint, once data flow.
  EndpointId Start(std::unique_ptr<Child>& child) {
    const size_t before = handler_.accepted.size();
    child = std::make_unique<Child>(address_, GetParam());
    EXPECT_TRUE(Until([&] { return handler_.accepted.size() > before; }));
    const EndpointId peer = handler_.accepted.back();
    EXPECT_TRUE(Until([&] { return received_[peer] > 0; }));
    return peer;
  }
  void ExpectGoesOn(EndpointId peer) {
    const int before = received_[peer];
    EXPECT_TRUE(Until([&] { return received_[peer] >= before + 3; }));
    EXPECT_FALSE(handler_.lost.contains(peer));
  }

  RecordingHandler handler_;
  std::unique_ptr<Transport> server_;
  std::string address_;
  std::map<EndpointId, int> received_;
};

TEST_P(KilledPeer, InMidPushIsDisconnectedAndOthersGoOn) {
  std::unique_ptr<Child> steady, victim;
  const EndpointId other = Start(steady);
  for (int round = 0; round < kRounds; ++round) {
    const EndpointId doomed = Start(victim);
    // Killed while the server is being asked for memory: the 4 MiB are not
    // here yet and never will be.
    handler_.on_arrival = [&](EndpointId peer) {
      if (peer == doomed) victim->Kill();
    };
    ASSERT_TRUE(Until([&] { return handler_.lost.contains(doomed); }))
        << "round " << round;
    handler_.on_arrival = nullptr;
    EXPECT_EQ(handler_.lost[doomed].code(), absl::StatusCode::kUnavailable)
        << handler_.lost[doomed];
    ExpectGoesOn(other);
  }
  EXPECT_EQ(handler_.lost.size(), kRounds);
}

TEST_P(KilledPeer, InMidPullReportsEverySendAndOthersGoOn) {
  std::unique_ptr<Child> steady, victim;
  const EndpointId other = Start(steady);
  const std::vector<uint8_t> values(4 << 20, 3);
  for (int round = 0; round < kRounds; ++round) {
    const EndpointId doomed = Start(victim);
    handler_.sent.clear();
    for (int i = 0; i < 6; ++i) {
      ASSERT_TRUE(server_->Send(doomed, Bytes("values"), values, i).ok());
    }
    for (int i = 0; i < round; ++i) server_->Poll();
    victim->Kill();
    ASSERT_TRUE(Until([&] { return handler_.lost.contains(doomed); }));
    EXPECT_EQ(handler_.sent.size(), 6) << "all were reported, before it";
    ExpectGoesOn(other);
  }
}

TEST_P(KilledPeer, StoppedPeerIsClosedWithoutHanging) {
  std::unique_ptr<Child> steady, victim;
  const EndpointId other = Start(steady);
  const EndpointId doomed = Start(victim);
  EXPECT_TRUE(Until([&] { return !handler_.arriving.empty(); }));
  server_->Close(doomed);
  victim->Kill();
  ExpectGoesOn(other);
  EXPECT_FALSE(handler_.lost.contains(doomed));
  // Destroying the server with a dead peer and one in mid-push ends promptly.
  steady->Kill();
  const absl::Time start = TimeSource::Real().Now();
  server_.reset();
  EXPECT_LT(TimeSource::Real().Now() - start, absl::Seconds(5));
}

INSTANTIATE_TEST_SUITE_P(Lanes, KilledPeer,
                         testing::Values("tcp", "tcp,sysv,self",
                                         "tcp,posix,self"),
                         [](const auto& info) {
                           std::string name;
                           for (char c : info.param)
                             name += isalnum(c) ? c : '_';
                           return name;
                         });

}  // namespace
}  // namespace cssp
