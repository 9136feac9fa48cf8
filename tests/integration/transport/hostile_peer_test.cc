// Strangers at the data port: they speak UCX, or nothing at all, and must not
// get through, nor keep anything busy.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <ucp/api/ucp.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "absl/strings/str_split.h"
#include "common/base/time_source.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/recording_handler.h"

namespace cssp {
namespace {

sockaddr_in Loopback(const std::string& address) {
  const std::vector<std::string> parts = absl::StrSplit(address, ':');
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(std::stoi(parts[1]));
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return to;
}

// A UCX client that knows nothing of our protocol.
class RawClient {
 public:
  explicit RawClient(const sockaddr_in& to) {
    ucp_params_t params{};
    params.field_mask = UCP_PARAM_FIELD_FEATURES;
    params.features = UCP_FEATURE_AM;
    EXPECT_EQ(ucp_init(&params, nullptr, &context_), UCS_OK);
    ucp_worker_params_t worker_params{};
    EXPECT_EQ(ucp_worker_create(context_, &worker_params, &worker_), UCS_OK);
    ucp_ep_params_t ep{};
    ep.field_mask = UCP_EP_PARAM_FIELD_FLAGS | UCP_EP_PARAM_FIELD_SOCK_ADDR |
                    UCP_EP_PARAM_FIELD_ERR_HANDLING_MODE |
                    UCP_EP_PARAM_FIELD_ERR_HANDLER;
    ep.flags = UCP_EP_PARAMS_FLAGS_CLIENT_SERVER;
    ep.sockaddr = {reinterpret_cast<const sockaddr*>(&to), sizeof(to)};
    ep.err_mode = UCP_ERR_HANDLING_MODE_PEER;
    ep.err_handler = {[](void* self, ucp_ep_h, ucs_status_t) {
                        static_cast<RawClient*>(self)->cut_off = true;
                      },
                      this};
    EXPECT_EQ(ucp_ep_create(worker_, &ep, &ep_), UCS_OK);
  }
  ~RawClient() {
    ucp_request_param_t param{};
    param.op_attr_mask = UCP_OP_ATTR_FIELD_FLAGS;
    param.flags = UCP_EP_CLOSE_FLAG_FORCE;
    const ucs_status_ptr_t closing = ucp_ep_close_nbx(ep_, &param);
    if (UCS_PTR_IS_PTR(closing)) {
      while (ucp_request_check_status(closing) == UCS_INPROGRESS) Progress();
      ucp_request_free(closing);
    }
    ucp_worker_destroy(worker_);
    ucp_cleanup(context_);
  }
  // Header and payload must live until the test ends.
  void Send(unsigned id, const std::vector<uint8_t>& header,
            const std::vector<uint8_t>& payload, uint32_t flags) {
    ucp_request_param_t param{};
    param.op_attr_mask = UCP_OP_ATTR_FIELD_FLAGS;
    param.flags = flags;
    const ucs_status_ptr_t sent =
        ucp_am_send_nbx(ep_, id, header.data(), header.size(), payload.data(),
                        payload.size(), &param);
    if (UCS_PTR_IS_PTR(sent)) ucp_request_free(sent);
  }
  void Progress() { ucp_worker_progress(worker_); }

  bool cut_off = false;

 private:
  ucp_context_h context_ = nullptr;
  ucp_worker_h worker_ = nullptr;
  ucp_ep_h ep_ = nullptr;
};

class HostilePeer : public testing::Test {
 protected:
  void SetUp() override {
    TransportOptions options;
    options.devices = "lo";
    options.transports = "tcp";
    options.handshake_timeout = absl::Seconds(1);
    auto made = MakeUcxTransport(options, on_server_);
    ASSERT_TRUE(made.ok()) << made.status();
    server_ = *std::move(made);
    auto address = server_->Listen("127.0.0.1", 0);
    ASSERT_TRUE(address.ok()) << address.status();
    address_ = *address;
    options.handshake_timeout = absl::Seconds(2);
    auto client = MakeUcxTransport(options, on_client_);
    ASSERT_TRUE(client.ok()) << client.status();
    client_ = *std::move(client);
  }
  bool Until(const std::function<bool()>& done, RawClient* raw = nullptr,
             absl::Duration limit = absl::Seconds(60)) {
    TimeSource& time = TimeSource::Real();
    const absl::Time deadline = time.Now() + limit;
    while (!done()) {
      if (time.Now() > deadline) return false;
      const int events = server_->Poll() + client_->Poll();
      if (raw != nullptr) raw->Progress();
      if (events == 0) server_->Wait(absl::Milliseconds(1));
    }
    return true;
  }
  // An honest client still gets through; on a starved machine it may be taken
  // for a silent one, so it tries again.
  void ExpectServes() {
    const size_t before = on_server_.messages.size();
    const std::vector<uint8_t> payload = Pattern(1 << 20, 1);
    for (int attempt = 0; attempt < 20 && on_server_.messages.size() == before;
         ++attempt) {
      const EndpointId honest = *client_->Connect(address_);
      ASSERT_TRUE(client_->Send(honest, Bytes("honest"), payload, 1).ok());
      ASSERT_TRUE(Until([&] {
        return on_server_.messages.size() > before ||
               on_client_.lost.contains(honest);
      }));
    }
    ASSERT_GT(on_server_.messages.size(), before);
    EXPECT_EQ(on_server_.messages.back().header, "honest");
  }

  RecordingHandler on_server_, on_client_;
  std::unique_ptr<Transport> server_, client_;
  std::string address_;
};

TEST_F(HostilePeer, WhoNeverGreetsIsCutOffInTime) {
  RawClient raw(Loopback(address_));
  const absl::Time start = TimeSource::Real().Now();
  ASSERT_TRUE(Until([&] { return raw.cut_off; }, &raw));
  EXPECT_GT(TimeSource::Real().Now() - start, absl::Milliseconds(900));
  EXPECT_LT(TimeSource::Real().Now() - start, absl::Seconds(30));
  EXPECT_TRUE(on_server_.accepted.empty());
  EXPECT_TRUE(on_server_.lost.empty()) << "the handler never knew of it";
  ExpectServes();
}

TEST_F(HostilePeer, UnknownIdsGarbageAndGuessedKeysAreIgnored) {
  RawClient raw(Loopback(address_));
  const std::vector<uint8_t> empty,
      small = Pattern(5, 1), key = Pattern(80, 2), hello = Pattern(24, 3),
      big = Pattern(4 << 20, 4), huge = Pattern(16 << 20, 5);
  for (unsigned id : {1u, 2u, 3u, 77u, 4000u}) {
    for (const auto* header : {&empty, &small, &key, &hello}) {
      for (const auto* payload : {&empty, &small, &big}) {
        raw.Send(id, *header, *payload, 0);
        raw.Send(id, *header, *payload, UCP_AM_SEND_FLAG_REPLY);
      }
    }
  }
  raw.Send(2, key, huge, 0);
  Until([&] { return raw.cut_off; }, &raw);
  EXPECT_TRUE(on_server_.accepted.empty());
  EXPECT_EQ(on_server_.refused, 0);
  EXPECT_TRUE(on_server_.messages.empty()) << "nothing may reach the handler";
  ExpectServes();
}

TEST_F(HostilePeer, BytesThatAreNotUcxDoNoHarm) {
  const sockaddr_in to = Loopback(address_);
  std::vector<int> sockets;
  for (int i = 0; i < 20; ++i) {
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    ASSERT_EQ(connect(fd, reinterpret_cast<const sockaddr*>(&to), sizeof(to)),
              0);
    const std::string text =
        i % 2 == 0 ? "GET / HTTP/1.1\r\n\r\n" : std::string(3000, char(i));
    if (i % 5 != 0) (void)!write(fd, text.data(), text.size());
    sockets.push_back(fd);
  }
  ExpectServes();
  for (int fd : sockets) close(fd);
  ExpectServes();
  EXPECT_GE(on_server_.accepted.size(), 2);
}

TEST_F(HostilePeer, AServerThatNeverAnswersIsGivenUp) {
  // A listening socket whose owner never accepts: the kernel completes the
  // connection, nobody greets.
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in any = Loopback("127.0.0.1:0");
  ASSERT_EQ(bind(fd, reinterpret_cast<sockaddr*>(&any), sizeof(any)), 0);
  ASSERT_EQ(listen(fd, 1), 0);
  socklen_t length = sizeof(any);
  getsockname(fd, reinterpret_cast<sockaddr*>(&any), &length);
  TransportOptions options;
  options.devices = "lo";
  options.transports = "tcp";
  options.handshake_timeout = absl::Milliseconds(100);
  client_ = *MakeUcxTransport(options, on_client_);
  const std::string silent = "127.0.0.1:" + std::to_string(ntohs(any.sin_port));
  const EndpointId id = *client_->Connect(silent);
  ASSERT_TRUE(client_->Send(id, Bytes("x"), Bytes("y"), 5).ok());
  ASSERT_TRUE(Until([&] { return on_client_.lost.contains(id); }));
  EXPECT_EQ(on_client_.lost[id].code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_THAT(std::string(on_client_.lost[id].message()),
              testing::HasSubstr(silent));
  EXPECT_EQ(on_client_.sent.size(), 1);
  close(fd);
}

}  // namespace
}  // namespace cssp
