// ShardHosts over real UCX in this process, and a job on them.
#ifndef CSSP_TESTS_INTEGRATION_SHARD_HOST_CLUSTER_H_
#define CSSP_TESTS_INTEGRATION_SHARD_HOST_CLUSTER_H_

#include <algorithm>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/metrics/metrics.h"
#include "common/ps/layout_proto.h"
#include "gtest/gtest.h"
#include "server/service/metrics.h"
#include "server/service/shard_host.h"
#include "tests/testing/shard_rig.h"
#include "tests/testing/wire_client.h"

namespace cssp {

inline constexpr char kToken[] = "0123456789abcdef";
inline constexpr int64_t kChunkBytes = 16384;

inline std::vector<ps::BlobSpec> ClusterBlobs() {
  return {TestBlob("ip/0", 9000), TestBlob("ip/1", 10),
          TestBlob("conv/0", 5000), TestBlob("conv/1", 20)};
}

inline caffe::SolverParameter ClusterSolver() {
  caffe::SolverParameter solver = PlainSgd(0.05);
  solver.set_momentum(0.9);
  solver.set_weight_decay(0.004);
  return solver;
}

struct Server {
  std::unique_ptr<MetricsRegistry> registry =
      std::make_unique<MetricsRegistry>();
  std::unique_ptr<ShardHostMetrics> metrics =
      std::make_unique<ShardHostMetrics>(*registry);
  std::unique_ptr<ShardHost> host;
};

inline Server StartServer(ShardHostOptions options = {}) {
  Server server;
  options.transport.devices = "lo";
  options.metrics = server.metrics.get();
  auto host = ShardHost::Start(std::move(options));
  EXPECT_TRUE(host.ok()) << host.status();
  server.host = *std::move(host);
  return server;
}

// Job `number` over `servers`, as the coordinator would open it.
inline control::OpenShardRequest OpenRequest(
    const std::vector<Server>& servers, const caffe::SolverParameter& solver,
    int workers, int staleness) {
  control::OpenShardRequest request;
  request.set_job_id("job-1");
  request.set_job_number(1);
  request.set_job_epoch(3);
  request.set_token(kToken);
  *request.mutable_spec()->mutable_solver() = solver;
  request.mutable_spec()->set_workers(workers);
  request.mutable_spec()->set_staleness(staleness);
  for (const ps::BlobSpec& blob : ClusterBlobs()) {
    *request.add_blobs() = ps::ToProto(blob);
  }
  const auto layout = *ps::SlabLayout::Create(ClusterBlobs(), kChunkBytes);
  control::ShardMap& map = *request.mutable_shard_map();
  map.set_map_epoch(2);
  map.set_chunk_bytes(kChunkBytes);
  for (size_t i = 0; i < servers.size(); ++i) {
    control::ServerEntry& entry = *map.add_servers();
    entry.set_index(i);
    entry.set_data_address(servers[i].host->data_address());
  }
  for (int owner : ps::PlaceChunks(layout, servers.size())) {
    map.add_chunk_server(owner);
  }
  return request;
}

inline void OpenAll(const std::vector<Server>& servers,
                    control::OpenShardRequest request) {
  for (size_t i = 0; i < servers.size(); ++i) {
    request.set_server_index(i);
    const auto opened = servers[i].host->Open(request);
    ASSERT_TRUE(opened.ok()) << opened.status();
  }
}

inline control::Tick ClusterTick(int rank, int64_t clock, int pushes) {
  control::Tick tick;
  tick.set_job_id("job-1");
  tick.set_token(kToken);
  tick.set_rank(rank);
  tick.set_incarnation(1);
  tick.set_clock(clock);
  tick.set_pushes(pushes);
  return tick;
}

// A connection of `rank` to one server of the job, Hello not yet said.
inline std::unique_ptr<WireClient> MakePeer(const Server& server, int rank) {
  auto client = std::make_unique<WireClient>(server.host->data_address());
  client->base.job = 1;
  client->base.job_epoch = 3;
  client->base.map_epoch = 2;
  client->base.rank = rank;
  client->base.incarnation = 1;
  return client;
}

// A worker with a connection to every server.
class HandWorker {
 public:
  HandWorker(const std::vector<Server>& servers, int rank)
      : layout_(*ps::SlabLayout::Create(ClusterBlobs(), kChunkBytes)),
        owner_(ps::PlaceChunks(layout_, servers.size())) {
    for (const Server& server : servers) {
      peers_.push_back(MakePeer(server, rank));
      EXPECT_TRUE(peers_.back()->Join(kToken));
    }
  }

  const ps::SlabLayout& layout() const { return layout_; }
  WireClient& peer_of(int chunk) { return *peers_[owner_[chunk]]; }
  WireClient& peer(int server) { return *peers_[server]; }
  int pushes_to(int server) const {
    return std::count(owner_.begin(), owner_.end(), server);
  }

  void Init(float value) {
    SendAll(ps::MessageType::kInit, 0, [&](int64_t) { return value; });
  }
  void Push(int64_t clock, const std::function<float(int64_t)>& gradient) {
    SendAll(ps::MessageType::kPush, clock, gradient);
  }
  // The whole slab, fit for `clock`; the versions must be `clock` (s = 0).
  std::vector<float> Pull(int64_t clock) {
    std::vector<float> slab(layout_.size());
    for (size_t c = 0; c < owner_.size(); ++c) {
      WireClient& peer = peer_of(c);
      const auto answer = peer.AwaitAnswer(
          peer.Send(peer.Header(ps::MessageType::kPull, c, clock)));
      EXPECT_EQ(answer.header.type, ps::MessageType::kValues)
          << ps::ToString(answer.header);
      EXPECT_EQ(answer.header.clock, clock);
      EXPECT_EQ(answer.header.payload_crc,
                Crc32c(answer.floats.data(), answer.floats.size() * 4));
      std::copy(answer.floats.begin(), answer.floats.end(),
                slab.begin() + layout_.chunks()[c].offset);
    }
    return slab;
  }

 private:
  void SendAll(ps::MessageType type, int64_t clock,
               const std::function<float(int64_t)>& value) {
    std::vector<uint32_t> sent;
    for (size_t c = 0; c < owner_.size(); ++c) {
      const ps::Chunk& chunk = layout_.chunks()[c];
      std::vector<float> floats(chunk.count);
      for (const ps::Segment& segment : chunk.segments) {
        for (int64_t i = 0; i < segment.count; ++i) {
          const int64_t at = segment.chunk_offset + i;
          floats[at] = value(chunk.offset + at);
        }
      }
      ps::MessageHeader header = peer_of(c).Header(type, c, clock);
      if (type == ps::MessageType::kInit) header.flags = ps::kFlagLastOfInit;
      sent.push_back(peer_of(c).Send(header, std::move(floats)));
    }
    for (size_t c = 0; c < owner_.size(); ++c) {
      const auto answer = peer_of(c).AwaitAnswer(sent[c]);
      EXPECT_EQ(answer.header.type, ps::MessageType::kPushAck)
          << ps::ToString(answer.header);
    }
  }

  const ps::SlabLayout layout_;
  const std::vector<int> owner_;
  std::vector<std::unique_ptr<WireClient>> peers_;
};

inline float ClusterGradient(int rank, int64_t clock, int64_t index) {
  return static_cast<float>((rank * 131 + clock * 17 + index * 7) % 1000) /
             500 -
         1;
}

// The same job on one in-process shard: the reference.
inline std::vector<float> ReferenceSlab(const caffe::SolverParameter& solver,
                                        int workers, int64_t clocks) {
  ShardOptions options;
  options.solver = solver;
  options.workers = workers;
  ShardRig rig(ClusterBlobs(), options, ps::SlabLayout::kMaxChunkBytes);
  rig.InitAll(1);
  const auto layout = rig.shard->layout();
  EXPECT_EQ(layout.chunks().size(), 1u);
  for (int64_t clock = 0; clock < clocks; ++clock) {
    for (int rank = 0; rank < workers; ++rank) {
      BufferRef part = rig.shard->NewPart(0);
      for (const ps::Segment& segment : layout.chunks()[0].segments) {
        for (int64_t i = 0; i < segment.count; ++i) {
          const int64_t at = segment.chunk_offset + i;
          part.floats()[at] = ClusterGradient(rank, clock, at);
        }
      }
      rig.shard->OnPush(rank + 1,
                        rig.Header(ps::MessageType::kPush, rank, 0, clock),
                        std::move(part));
    }
  }
  const auto values = rig.shard->chunks()[0].values.floats();
  return {values.begin(), values.end()};
}

}  // namespace cssp

#endif  // CSSP_TESTS_INTEGRATION_SHARD_HOST_CLUSTER_H_
