#include "common/transport/metered_transport.h"

#include "common/transport/inproc_transport.h"
#include "gtest/gtest.h"
#include "tests/testing/recording_handler.h"

namespace cssp {
namespace {

TEST(MeteredTransport, CountsBothDirectionsAndFailures) {
  MetricsRegistry client_registry, server_registry;
  const TransportMetrics of_client(client_registry);
  const TransportMetrics of_server(server_registry);
  InprocFabric fabric;
  RecordingHandler on_client, on_server;
  const auto inner = [&fabric](TransportHandler& handler)
      -> absl::StatusOr<std::unique_ptr<Transport>> {
    return fabric.MakeTransport({}, handler);
  };
  auto client = *MakeMeteredTransport(inner, of_client, on_client);
  auto server = *MakeMeteredTransport(inner, of_server, on_server);
  const EndpointId peer = *client->Connect(*server->Listen("host", 0));
  const std::vector<uint8_t> payload(1000);

  // One arrives, one is refused, one is cut off by a dying server.
  ASSERT_TRUE(client->Send(peer, Bytes("head"), payload, 1).ok());
  EXPECT_EQ(of_client.sent_messages->value(), 1);
  EXPECT_EQ(of_client.sent_bytes->value(), 1004);
  EXPECT_EQ(of_client.unsent_bytes->value(), 1000);
  server->Poll();
  client->Poll();
  EXPECT_EQ(of_client.unsent_bytes->value(), 0);
  ASSERT_EQ(on_client.sent.size(), 1);
  EXPECT_EQ(on_client.sent[0].token, 1) << "the caller's token, not ours";
  EXPECT_EQ(of_server.accepted_connections->value(), 1);
  EXPECT_EQ(of_server.received_messages->value(), 1);
  EXPECT_EQ(of_server.received_bytes->value(), 1004);

  on_server.refuse = true;
  ASSERT_TRUE(client->Send(peer, Bytes("head"), payload, 2).ok());
  server->Poll();
  EXPECT_EQ(of_server.refused_messages->value(), 1);
  EXPECT_EQ(of_server.received_messages->value(), 1);

  ASSERT_TRUE(client->Send(peer, Bytes("head"), payload, 3).ok());
  server.reset();
  client->Poll();
  EXPECT_EQ(of_client.failed_messages->value(), 1);
  EXPECT_EQ(of_client.lost_connections->value(), 1);
  EXPECT_EQ(of_client.unsent_bytes->value(), 0);
  EXPECT_FALSE(client->Send(peer, Bytes("head"), payload, 4).ok());
  EXPECT_EQ(of_client.sent_messages->value(), 3);
}

}  // namespace
}  // namespace cssp
