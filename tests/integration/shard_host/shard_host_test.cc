// ShardHosts over real UCX loopback with peers by hand: exactness, and what a
// hostile or dying peer may not do.
#include <functional>

#include "absl/strings/numbers.h"
#include "tests/integration/shard_host/cluster.h"

namespace cssp {
namespace {

using ps::MessageType;
using ps::Reason;

std::vector<float> TrainOnCluster(const caffe::SolverParameter& solver,
                                  int num_servers, int clocks) {
  constexpr int kWorkers = 2;
  std::vector<Server> servers;
  for (int i = 0; i < num_servers; ++i) servers.push_back(StartServer());
  OpenAll(servers, OpenRequest(servers, solver, kWorkers, 0));
  std::vector<std::unique_ptr<HandWorker>> workers;
  for (int rank = 0; rank < kWorkers; ++rank) {
    workers.push_back(std::make_unique<HandWorker>(servers, rank));
  }
  workers[0]->Init(1);
  for (int64_t clock = 0; clock < clocks; ++clock) {
    for (int rank = kWorkers - 1; rank >= 0; --rank) {
      workers[rank]->Push(
          clock, [&](int64_t i) { return ClusterGradient(rank, clock, i); });
      for (int s = 0; s < num_servers; ++s) {
        const auto ack = servers[s].host->Tick(
            ClusterTick(rank, clock, workers[rank]->pushes_to(s)));
        EXPECT_TRUE(ack.ok()) << ack.status();
        EXPECT_EQ(ack->min_clock(), rank == 0 ? clock + 1 : clock);
      }
    }
  }
  return workers[1]->Pull(clocks);
}

TEST(ShardHostTest, ExactAtStalenessZero) {
  const caffe::SolverParameter solver = ClusterSolver();
  EXPECT_EQ(TrainOnCluster(solver, 2, 4), ReferenceSlab(solver, 2, 4));
}

TEST(ShardHostTest, ExactWithClippingAcrossServers) {
  caffe::SolverParameter solver = ClusterSolver();
  solver.set_clip_gradients(3);
  solver.set_iter_size(2);
  const std::vector<float> reference = ReferenceSlab(solver, 2, 4);
  EXPECT_EQ(TrainOnCluster(solver, 2, 4), reference);
  EXPECT_EQ(TrainOnCluster(solver, 3, 4), reference);
}

class OneServerTest : public testing::Test {
 protected:
  void SetUp() override {
    servers_.push_back(StartServer());
    OpenAll(servers_, OpenRequest(servers_, ClusterSolver(), 2, 0));
  }
  Reason RefusalOf(WireClient& peer, uint32_t sequence) {
    const auto answer = peer.AwaitAnswer(sequence);
    EXPECT_EQ(answer.header.type, MessageType::kRefused);
    return answer.header.reason;
  }
  // The job still trains: both workers, one clock.
  void ExpectServes() {
    HandWorker first(servers_, 0), second(servers_, 1);
    first.Init(1);
    for (HandWorker* worker : {&first, &second}) {
      worker->Push(0, [](int64_t) { return 0.5f; });
    }
    EXPECT_EQ(second.Pull(1).size(),
              static_cast<size_t>(second.layout().size()));
  }

  std::vector<Server> servers_;
};

TEST_F(OneServerTest, AWrongTokenIsRefusedAndClosed) {
  auto peer = MakePeer(servers_[0], 0);
  peer->Hello("guess");
  EXPECT_TRUE(peer->Await([&] { return peer->disconnected; }));
  const auto* refusal = peer->Find(MessageType::kRefused);
  ASSERT_NE(refusal, nullptr);
  EXPECT_EQ(refusal->header.reason, Reason::kWrongToken);
  ExpectServes();
}

TEST_F(OneServerTest, APeerThatDoesNotSayHelloIsClosed) {
  auto silent = MakePeer(servers_[0], 0);
  auto rude = MakePeer(servers_[0], 0);
  rude->Send(rude->Header(MessageType::kPull, 0, 0));
  EXPECT_TRUE(rude->Await([&] { return rude->disconnected; }));
  EXPECT_TRUE(silent->Await([&] { return silent->disconnected; }));
  ExpectServes();
}

TEST_F(OneServerTest, WrongJobAndEpochsAreNamed) {
  const auto reason = [&](const std::function<void(ps::MessageHeader&)>& edit) {
    auto peer = MakePeer(servers_[0], 0);
    edit(peer->base);
    peer->Hello(kToken);
    EXPECT_TRUE(peer->Await([&] { return peer->Find(MessageType::kRefused); }));
    const auto* refusal = peer->Find(MessageType::kRefused);
    return refusal == nullptr ? Reason::kNone : refusal->header.reason;
  };
  EXPECT_EQ(reason([](auto& h) { h.job = 9; }), Reason::kUnknownJob);
  EXPECT_EQ(reason([](auto& h) { h.job_epoch = 2; }), Reason::kWrongJobEpoch);
  EXPECT_EQ(reason([](auto& h) { h.map_epoch = 1; }), Reason::kWrongMapEpoch);
  EXPECT_EQ(reason([](auto& h) { h.rank = 2; }), Reason::kBadMessage);
}

TEST_F(OneServerTest, BadMessagesCostOnlyThemselves) {
  auto peer = MakePeer(servers_[0], 0);
  ASSERT_TRUE(peer->Join(kToken));
  const int64_t floats = 4096;  // of chunk 0
  ps::MessageHeader header = peer->Header(MessageType::kInit, 0, 0);
  header.flags = ps::kFlagHasCrc;
  header.payload_crc = 12345;
  EXPECT_EQ(RefusalOf(*peer, peer->Send(header, std::vector<float>(floats))),
            Reason::kBadChecksum);
  header = peer->Header(MessageType::kInit, 0, 0);
  EXPECT_EQ(RefusalOf(*peer, peer->Send(header, std::vector<float>(17))),
            Reason::kBadLength);
  header = peer->Header(MessageType::kInit, 4000000000u, 0);
  EXPECT_EQ(RefusalOf(*peer, peer->Send(header, std::vector<float>(floats))),
            Reason::kNotMine);
  header = peer->Header(MessageType::kPush, 0, 0);
  EXPECT_EQ(RefusalOf(*peer, peer->Send(header, std::vector<float>(floats))),
            Reason::kNotReady);
  header = peer->Header(MessageType::kPull, 0, 0);
  header.rank = 1;
  EXPECT_EQ(RefusalOf(*peer, peer->Send(header)), Reason::kFenced);
  header = peer->Header(MessageType::kNorms, 0, 0);
  EXPECT_EQ(RefusalOf(*peer, peer->Send(header)), Reason::kBadMessage);
  header = peer->Header(MessageType::kPullExact, 0, 77);
  EXPECT_EQ(RefusalOf(*peer, peer->Send(header)), Reason::kGone);
  EXPECT_GE(servers_[0].metrics->refused->value(), 5);
  ExpectServes();
}

TEST_F(OneServerTest, ADeadPeerTakesNobodyAlong) {
  {
    auto peer = MakePeer(servers_[0], 1);
    ASSERT_TRUE(peer->Join(kToken));
    ps::MessageHeader header = peer->Header(MessageType::kPull, 0, 5);
    peer->Send(header);  // parked when it dies
    header = peer->Header(MessageType::kSubscribe, 0, 0);
    peer->Send(header);
    peer->Await([] { return false; }, absl::Milliseconds(50));
  }
  ExpectServes();
}

TEST_F(OneServerTest, ControlSaysWhatIsWrong) {
  ShardHost& host = *servers_[0].host;
  control::Tick tick = ClusterTick(0, 0, 0);
  tick.set_token("guess");
  EXPECT_TRUE(absl::IsUnauthenticated(host.Tick(tick).status()));
  tick = ClusterTick(7, 0, 0);
  EXPECT_TRUE(absl::IsInvalidArgument(host.Tick(tick).status()));
  tick.set_job_id("job-2");
  EXPECT_TRUE(absl::IsNotFound(host.Tick(tick).status()));
  EXPECT_TRUE(absl::IsNotFound(host.Close("job-2")));
  EXPECT_TRUE(absl::IsAlreadyExists(
      host.Open(OpenRequest(servers_, ClusterSolver(), 2, 0)).status()));
  control::ProposeOrderRequest order;
  order.set_job_id("job-1");
  order.mutable_order()->set_number(1);
  order.mutable_order()->set_effective_clock(5);
  order.mutable_order()->mutable_checkpoint()->set_durable(true);
  order.set_job_epoch(2);
  EXPECT_TRUE(absl::IsUnavailable(host.ProposeOrder(order).status()));
  order.set_job_epoch(3);
  EXPECT_TRUE(host.ProposeOrder(order).ok());
  EXPECT_TRUE(host.Status("job-1").ok());
  EXPECT_TRUE(host.Close("job-1").ok());
  EXPECT_TRUE(absl::IsNotFound(host.Status("job-1").status()));
  const uint64_t before = host.heartbeat();
  EXPECT_TRUE(absl::IsNotFound(host.Close("job-1")));
  EXPECT_GT(host.heartbeat(), 0u);
  EXPECT_GE(host.heartbeat(), before);
  host.Stop();
  host.Stop();
  EXPECT_TRUE(absl::IsUnavailable(host.Status("job-1").status()));
}

TEST_F(OneServerTest, ClosingTheJobSaysGoodbye) {
  auto peer = MakePeer(servers_[0], 0);
  ASSERT_TRUE(peer->Join(kToken));
  ASSERT_TRUE(servers_[0].host->Close("job-1").ok());
  EXPECT_TRUE(peer->Await([&] { return peer->Find(MessageType::kGoodbye); }));
  EXPECT_TRUE(peer->Await([&] { return peer->disconnected; }));
}

TEST(ShardHostStartTest, APortInUseIsNamed) {
  Server server = StartServer();
  const std::string address = server.host->data_address();
  ShardHostOptions options;
  options.transport.devices = "lo";
  ASSERT_TRUE(absl::SimpleAtoi(address.substr(address.rfind(':') + 1),
                               &options.data_port));
  const auto second = ShardHost::Start(options);
  EXPECT_TRUE(absl::IsAlreadyExists(second.status())) << second.status();
}

}  // namespace
}  // namespace cssp
