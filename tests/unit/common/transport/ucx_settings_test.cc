// Whether UCX really does what our settings ask: it ignores misnamed ones
// without a word, and drops transports silently.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <unistd.h>

#include <cstdlib>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_split.h"
#include "common/base/time_source.h"
#include "common/transport/listener_owner.h"
#include "common/transport/transport.h"
#include "common/transport/ucx_wire.h"
#include "common/transport/ucx_worker.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/testing/recording_handler.h"

namespace cssp {
namespace {

using testing::AnyOf;
using testing::HasSubstr;
using testing::Not;

// The lanes of a fresh connection over loopback, both sides.
std::vector<std::string> Lanes(const std::string& transports) {
  TransportOptions options;
  options.devices = "lo";
  options.transports = transports;
  RecordingHandler on_server, on_client;
  auto server = MakeUcxTransport(options, on_server);
  auto client = MakeUcxTransport(options, on_client);
  if (!server.ok() || !client.ok()) return {server.status().ToString()};
  const EndpointId peer =
      *(*client)->Connect(*(*server)->Listen("127.0.0.1", 0));
  // 4 MiB there, so that the wire-up is complete.
  const std::vector<uint8_t> payload(4 << 20);
  EXPECT_TRUE((*client)->Send(peer, {}, payload, 1).ok());
  const absl::Time deadline = TimeSource::Real().Now() + absl::Seconds(20);
  while (on_server.messages.empty() && TimeSource::Real().Now() < deadline) {
    if ((*server)->Poll() + (*client)->Poll() == 0) {
      (*client)->Wait(absl::Milliseconds(1));
    }
  }
  EXPECT_EQ(on_server.messages.size(), 1);
  if (on_server.accepted.empty()) return {};
  return {(*server)->Describe(on_server.accepted[0]),
          (*client)->Describe(peer)};
}

TEST(ListenerOwner, IsReadFromTheKernelsTable) {
  const char table[] =
      "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when "
      "retrnsmt   uid  timeout inode\n"
      "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 "
      "00000000   998        0 25 1 0000000000000000 100 0 0 10 0\n"
      "   1: 00000000:1F91 00000000:0000 0A 00000000:00000000 00:00000000 "
      "00000000     0        0 26 1 0000000000000000 100 0 0 10 0\n"
      "   2: 0100007F:1F92 0100007F:C001 01 00000000:00000000 00:00000000 "
      "00000000   998        0 27 1 0000000000000000 100 0 0 10 0\n";
  EXPECT_EQ(OwnerInTable(table, "0100007F", 8080), 998);
  EXPECT_EQ(OwnerInTable(table, "0100007F", 8081), 0) << "on all addresses";
  EXPECT_EQ(OwnerInTable(table, "0100007F", 8082), std::nullopt)
      << "connected, not listening";
  EXPECT_EQ(OwnerInTable(table, "0200007F", 8080), std::nullopt);
  EXPECT_EQ(OwnerInTable("", "0100007F", 8080), std::nullopt);
}

TEST(ListenerOwner, OfOurOwnListenerIsUs) {
  RecordingHandler handler;
  TransportOptions options;
  options.devices = "lo";
  auto server = MakeUcxTransport(options, handler);
  ASSERT_TRUE(server.ok()) << server.status();
  EXPECT_EQ(ListenerOwner(*(*server)->Listen("127.0.0.1", 0)), geteuid());
  EXPECT_EQ(ListenerOwner("not an address"), std::nullopt);
}

TEST(UcxSettings, SharedMemorySurvivesPeerErrorHandling) {
  const std::vector<std::string> lanes = Lanes("");
  ASSERT_EQ(lanes.size(), 2);
  for (const std::string& side : lanes) {
    EXPECT_THAT(side,
                AnyOf(HasSubstr("posix/memory"), HasSubstr("sysv/memory")));
    EXPECT_THAT(side, Not(HasSubstr("cma")));
  }
}

TEST(UcxSettings, TransportsAndDevicesAreObeyed) {
  for (const std::string& side : Lanes("tcp")) EXPECT_EQ(side, "tcp/lo");
  for (const std::string& side : Lanes("tcp,posix")) {
    EXPECT_THAT(side, HasSubstr("posix/memory"));
  }
}

TEST(UcxSettings, TheUsersEnvironmentWins) {
  setenv("UCX_TLS", "tcp", 1);
  const std::vector<std::string> lanes = Lanes("posix,sysv,tcp");
  unsetenv("UCX_TLS");
  ASSERT_EQ(lanes.size(), 2);
  for (const std::string& side : lanes) EXPECT_EQ(side, "tcp/lo");
}

TEST(UcxSettings, NonsenseIsAnErrorNotADefault) {
  RecordingHandler handler;
  TransportOptions options;
  options.transports = "tcp";
  options.devices = "no_such_device";
  EXPECT_THAT(MakeUcxTransport(options, handler).status().ToString(),
              HasSubstr("no_such_device"));
  options.devices = "lo";
  options.transports = "carrier_pigeon";
  EXPECT_THAT(MakeUcxTransport(options, handler).status().ToString(),
              HasSubstr("carrier_pigeon"));
  options.transports = "tcp";
  options.max_header_bytes = size_t{1} << 30;
  EXPECT_EQ(MakeUcxTransport(options, handler).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(UcxAddress, ParsesHostsAndPorts) {
  auto v4 = ParseAddress("127.0.0.1:80");
  ASSERT_TRUE(v4.ok()) << v4.status();
  EXPECT_EQ(PortOf(v4->storage), 80);
  auto v6 = ParseAddress("[::1]:81");
  ASSERT_TRUE(v6.ok()) << v6.status();
  EXPECT_EQ(v6->storage.ss_family, AF_INET6);
  EXPECT_EQ(PortOf(v6->storage), 81);
  EXPECT_EQ(JoinHostPort("::1", 81), "[::1]:81");
  EXPECT_EQ(JoinHostPort("10.0.0.1", 81), "10.0.0.1:81");
  for (const char* bad : {"", "host", ":80", "host:", "host:0", "host:70000",
                          "host:-1", "host:8o"}) {
    EXPECT_EQ(ParseAddress(bad).status().code(),
              absl::StatusCode::kInvalidArgument)
        << bad;
  }
}

TEST(UcxStatus, PeersThatAreNotThereAreUnavailable) {
  for (ucs_status_t status : {UCS_ERR_CONNECTION_RESET, UCS_ERR_REJECTED,
                              UCS_ERR_UNREACHABLE, UCS_ERR_ENDPOINT_TIMEOUT}) {
    EXPECT_EQ(FromUcs(status, "x").code(), absl::StatusCode::kUnavailable);
  }
  EXPECT_EQ(FromUcs(UCS_ERR_BUSY, "x").code(),
            absl::StatusCode::kAlreadyExists);
  EXPECT_THAT(std::string(FromUcs(UCS_ERR_NO_MEMORY, "what").message()),
              testing::StartsWith("what: "));
  EXPECT_TRUE(FromUcs(UCS_OK, "x").ok());
}

TEST(UcxWire, GreetingsRoundTripAndStrangersAreRefused) {
  uint8_t bytes[Greeting::kBytes];
  Greeting{true, 0x1122334455667788, 42}.Write(bytes);
  Greeting read;
  ASSERT_TRUE(read.Read(bytes));
  EXPECT_TRUE(read.answer);
  EXPECT_EQ(read.sender, 0x1122334455667788);
  EXPECT_EQ(read.receiver, 42);
  EXPECT_FALSE(read.Read(absl::MakeSpan(bytes, Greeting::kBytes - 1)));
  bytes[4] = 9;  // another version
  EXPECT_FALSE(read.Read(bytes));
  bytes[4] = 1;
  bytes[0] = 'X';
  EXPECT_FALSE(read.Read(bytes));
  DataPrefix prefix;
  EXPECT_FALSE(prefix.Read(absl::MakeSpan(bytes, 7)));
}

}  // namespace
}  // namespace cssp
