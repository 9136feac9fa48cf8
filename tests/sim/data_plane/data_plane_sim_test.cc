// The real data planes over the in-process transport, made faulty by a seed, in
// virtual time: drops, duplicates, delays, reorders and broken connections.
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/base/crc.h"
#include "common/ps/layout_proto.h"
#include "common/transport/faulty_transport.h"
#include "common/transport/inproc_transport.h"
#include "gtest/gtest.h"
#include "server/service/data_plane.h"
#include "tests/testing/shard_rig.h"

namespace cssp {
namespace {

constexpr char kToken[] = "token";
constexpr absl::Duration kStep = absl::Milliseconds(1);
constexpr absl::Duration kRetry = absl::Milliseconds(60);

struct World {
  uint64_t seed = 0;
  int workers = 2;
  int servers = 2;
  int staleness = 0;
  int64_t clocks = 4;
  bool clip = false;
  FaultPlan faults;
  FakeTimeSource time;
  InprocFabric fabric;
  int disconnects = 0;  // seen by workers
  int resends = 0;

  DataPlane::TransportFactory Factory(uint64_t node) {
    return
        [this, node](const TransportOptions& options, TransportHandler& handler)
            -> absl::StatusOr<std::unique_ptr<Transport>> {
          auto made = FaultyTransport::Create(
              [&](TransportHandler& inner)
                  -> absl::StatusOr<std::unique_ptr<Transport>> {
                return fabric.MakeTransport(options, inner);
              },
              seed * 100 + node, faults, time, handler);
          if (!made.ok()) return made.status();
          return std::unique_ptr<Transport>(*std::move(made));
        };
  }
};

std::vector<ps::BlobSpec> Blobs() {
  return {TestBlob("a", 2100), TestBlob("b", 2100), TestBlob("c", 2100)};
}

float Gradient(int rank, int64_t clock, int chunk) {
  return static_cast<float>((rank * 7 + clock * 3 + chunk) % 11) - 5;
}

// A worker by hand: sends everything again until it is answered.
// Thread-confined.
class SimWorker : private TransportHandler {
 public:
  SimWorker(World& world, int rank, std::vector<std::string> servers,
            std::vector<int> owner)
      : world_(world),
        rank_(rank),
        addresses_(std::move(servers)),
        owner_(std::move(owner)),
        versions_(owner_.size(), -1),
        values_(owner_.size(), 0),
        links_(addresses_.size()) {
    transport_ = *world_.Factory(10 + rank)(TransportOptions(), *this);
    if (rank_ == 0) {
      for (size_t c = 0; c < owner_.size(); ++c) {
        AddRequest(ps::MessageType::kInit, c, 0, 0);
      }
    }
  }

  bool finished() const { return clock_ == world_.clocks && requests_.empty(); }
  int64_t clock() const { return clock_; }
  const std::string& failure() const { return failure_; }
  const std::vector<float>& values() const { return values_; }
  const std::vector<int64_t>& versions() const { return versions_; }

  // One turn; true when a clock has just ended (its ticks are due).
  bool Turn() {
    while (transport_->Poll() > 0) {
    }
    const absl::Time now = world_.time.Now();
    for (size_t s = 0; s < links_.size(); ++s) KeepLink(s, now);
    for (auto& [sequence, request] : requests_) {
      if (links_[owner_[request.header.chunk]].ready && request.due <= now) {
        if (request.sent) ++world_.resends;
        request.due = now + kRetry;
        request.sent = true;
        Send(request);
      }
    }
    return Step();
  }

 private:
  struct Link {
    EndpointId endpoint = kNoEndpoint;
    bool ready = false;
    absl::Time due = absl::InfinitePast();
  };
  struct Request {
    ps::MessageHeader header;
    std::vector<float> floats;
    absl::Time due = absl::InfinitePast();
    bool sent = false;
  };

  // Reads when the bound is met, pulls what is missing, pushes.
  bool Step() {
    if (clock_ == world_.clocks || !requests_.empty()) return false;
    for (size_t c = 0; c < owner_.size(); ++c) {
      if (versions_[c] >= std::max<int64_t>(0, clock_ - world_.staleness)) {
        continue;
      }
      AddRequest(ps::MessageType::kPull, c, clock_, 0);
    }
    if (!requests_.empty()) return false;
    for (size_t c = 0; c < owner_.size(); ++c) {
      if (versions_[c] > clock_) Fail("a version from the future");
      AddRequest(ps::MessageType::kPush, c, clock_, Gradient(rank_, clock_, c));
    }
    ++clock_;
    return true;
  }

  void AddRequest(ps::MessageType type, int chunk, int64_t clock, float value) {
    Request request;
    request.header = Base(type);
    request.header.chunk = chunk;
    request.header.clock = clock;
    request.header.based_on = std::max<int64_t>(versions_[chunk], 0);
    request.header.samples = 1;
    if (type == ps::MessageType::kInit) {
      request.header.flags = ps::kFlagLastOfInit;
    }
    if (type != ps::MessageType::kPull) request.floats.assign(2112, value);
    requests_[request.header.sequence] = std::move(request);
  }

  ps::MessageHeader Base(ps::MessageType type) {
    ps::MessageHeader header;
    header.type = type;
    header.job = 1;
    header.rank = rank_;
    header.incarnation = 1;
    header.sequence = ++sequence_;
    return header;
  }

  void Send(const Request& request) {
    // A resend may outlive the request: the memory is the token's.
    const uint64_t token = ++last_token_;
    std::vector<float>& kept = sent_[token];
    kept = request.floats;
    ps::MessageHeader header = request.header;
    const absl::Span<const uint8_t> payload(
        reinterpret_cast<const uint8_t*>(kept.data()), kept.size() * 4);
    header.payload_bytes = payload.size();
    if (!payload.empty()) {
      header.payload_crc = Crc32c(payload.data(), payload.size());
      header.flags |= ps::kFlagHasCrc;
    }
    uint8_t bytes[ps::kHeaderBytes];
    ps::EncodeHeader(header, bytes);
    const EndpointId to = links_[owner_[header.chunk]].endpoint;
    if (!transport_->Send(to, bytes, payload, token).ok()) sent_.erase(token);
  }

  void KeepLink(int server, absl::Time now) {
    Link& link = links_[server];
    if (link.ready || link.due > now) return;
    link.due = now + kRetry;
    if (link.endpoint != kNoEndpoint) transport_->Close(link.endpoint);
    const auto id = transport_->Connect(addresses_[server]);
    if (!id.ok()) return;
    link.endpoint = *id;
    ps::MessageHeader header = Base(ps::MessageType::kHello);
    header.payload_bytes = sizeof(kToken) - 1;
    uint8_t bytes[ps::kHeaderBytes];
    ps::EncodeHeader(header, bytes);
    transport_
        ->Send(link.endpoint, bytes,
               {reinterpret_cast<const uint8_t*>(kToken), sizeof(kToken) - 1},
               0)
        .IgnoreError();
  }

  void OnAccept(EndpointId) override {}
  uint8_t* OnArrival(EndpointId, absl::Span<const uint8_t>,
                     size_t payload_bytes) override {
    landing_.resize(std::max<size_t>(payload_bytes, 4));
    return landing_.data();  // in process, arrivals do not overlap
  }
  void OnMessage(EndpointId peer, absl::Span<const uint8_t> bytes,
                 absl::Span<uint8_t> payload) override {
    const auto header = ps::DecodeHeader(bytes);
    if (!header.ok()) return Fail("a damaged header");
    switch (header->type) {
      case ps::MessageType::kHelloAck:
        return OnReady(peer);
      case ps::MessageType::kPushAck:
        requests_.erase(header->sequence);
        return;
      case ps::MessageType::kValues:
        return OnValues(*header, payload);
      case ps::MessageType::kRefused:
        // Asked over a connection that is no more, or before initialisation.
        if (header->reason != ps::Reason::kFenced &&
            header->reason != ps::Reason::kNotReady &&
            header->reason != ps::Reason::kTooFarAhead) {
          Fail(ps::ToString(*header));
        }
        return;
      default:
        return Fail(ps::ToString(*header));
    }
  }
  void OnReady(EndpointId peer) {
    for (Link& link : links_) {
      if (link.endpoint != peer) continue;
      link.ready = true;
      uint8_t bytes[ps::kHeaderBytes];
      ps::EncodeHeader(Base(ps::MessageType::kSubscribe), bytes);
      transport_->Send(peer, bytes, {}, 0).IgnoreError();
    }
    for (auto& [sequence, request] : requests_) {
      request.due = absl::InfinitePast();
    }
  }
  void OnValues(const ps::MessageHeader& header,
                absl::Span<const uint8_t> payload) {
    if (header.payload_crc != Crc32c(payload.data(), payload.size())) {
      return Fail("torn values");
    }
    requests_.erase(header.sequence);
    if (header.clock <= versions_[header.chunk]) return;
    versions_[header.chunk] = header.clock;
    std::memcpy(&values_[header.chunk], payload.data(), 4);
  }
  void OnSent(EndpointId, uint64_t token, absl::Status) override {
    sent_.erase(token);
  }
  void OnDisconnect(EndpointId peer, absl::Status) override {
    ++world_.disconnects;
    for (Link& link : links_) {
      if (link.endpoint == peer) link = Link();
    }
  }
  void Fail(const std::string& what) {
    if (failure_.empty()) failure_ = absl::StrCat("worker ", rank_, ": ", what);
  }

  World& world_;
  const int rank_;
  const std::vector<std::string> addresses_;
  const std::vector<int> owner_;
  int64_t clock_ = 0;
  std::vector<int64_t> versions_;
  std::vector<float> values_;
  std::vector<Link> links_;
  std::map<uint32_t, Request> requests_;
  std::map<uint64_t, std::vector<float>> sent_;
  std::vector<uint8_t> landing_;
  uint32_t sequence_ = 0;
  uint64_t last_token_ = 0;
  std::string failure_;
  std::unique_ptr<Transport> transport_;  // last: goes before what it uses
};

std::vector<std::unique_ptr<DataPlane>> StartPlanes(
    World& world, const std::vector<int>& owner) {
  std::vector<std::unique_ptr<DataPlane>> planes;
  control::OpenShardRequest request;
  request.set_job_id("job");
  request.set_job_number(1);
  request.set_token(kToken);
  *request.mutable_spec()->mutable_solver() = PlainSgd(1);
  if (world.clip) {
    request.mutable_spec()->mutable_solver()->set_clip_gradients(50);
  }
  request.mutable_spec()->set_workers(world.workers);
  request.mutable_spec()->set_staleness(world.staleness);
  // The sum below is the definition's; staleness_lr has tests of its own.
  request.mutable_spec()->set_staleness_lr(control::STALENESS_LR_NONE);
  for (const ps::BlobSpec& blob : Blobs()) {
    *request.add_blobs() = ps::ToProto(blob);
  }
  request.mutable_shard_map()->set_chunk_bytes(16384);
  for (int server : owner)
    request.mutable_shard_map()->add_chunk_server(server);
  for (int s = 0; s < world.servers; ++s) {
    DataPlane::Options options;
    options.host = "sim";
    options.make_transport = world.Factory(s);
    options.time = &world.time;
    auto plane = DataPlane::Create(std::move(options));
    EXPECT_TRUE(plane.ok()) << plane.status();
    control::ServerEntry& entry = *request.mutable_shard_map()->add_servers();
    entry.set_data_address((*plane)->address());
    planes.push_back(*std::move(plane));
  }
  for (int s = 0; s < world.servers; ++s) {
    request.set_server_index(s);
    auto job = JobShard::Create(request, nullptr, {}, planes[s]->sender());
    EXPECT_TRUE(job.ok()) << job.status();
    EXPECT_TRUE(planes[s]->AddJob(*std::move(job)).ok());
  }
  return planes;
}

// Without clipping: the definition, clock by clock.
float Expected(const World& world, int chunk) {
  float value = 0;
  for (int64_t clock = 0; clock < world.clocks; ++clock) {
    float sum = 0;
    for (int rank = 0; rank < world.workers; ++rank) {
      sum += Gradient(rank, clock, chunk);
    }
    value -= sum * (1.0f / world.workers);
  }
  return value;
}

std::string RunWorld(World& world) {
  const auto layout = *ps::SlabLayout::Create(Blobs(), 16384);
  const std::vector<int> owner = ps::PlaceChunks(layout, world.servers);
  std::vector<std::unique_ptr<DataPlane>> planes = StartPlanes(world, owner);
  std::vector<std::string> addresses;
  for (const auto& plane : planes) addresses.push_back(plane->address());
  std::vector<std::unique_ptr<SimWorker>> workers;
  for (int rank = 0; rank < world.workers; ++rank) {
    workers.push_back(
        std::make_unique<SimWorker>(world, rank, addresses, owner));
  }
  const auto all_done = [&] {
    bool done = true;
    for (const auto& worker : workers) done = done && worker->finished();
    for (const auto& plane : planes) {
      const Shard& shard = plane->FindJob("job")->shard();
      for (const ChunkState& chunk : shard.chunks()) {
        done = done && chunk.version == world.clocks;
      }
    }
    return done;
  };
  for (int turn = 0; !all_done(); ++turn) {
    if (turn > 200000) return "deadlock";
    for (const auto& plane : planes) {
      while (plane->Turn() > 0) {
      }
    }
    for (int rank = 0; rank < world.workers; ++rank) {
      SimWorker& worker = *workers[rank];
      if (worker.Turn()) {
        control::Tick tick;
        tick.set_rank(rank);
        tick.set_incarnation(1);
        tick.set_clock(worker.clock() - 1);
        for (int s = 0; s < world.servers; ++s) {
          tick.set_pushes(std::count(owner.begin(), owner.end(), s));
          const auto ack = planes[s]->FindJob("job")->shard().Tick(tick);
          if (!ack.ok()) return std::string(ack.status().message());
        }
      }
      if (!worker.failure().empty()) return worker.failure();
    }
    world.time.Advance(kStep);
  }
  for (const auto& plane : planes) {
    const Shard& shard = plane->FindJob("job")->shard();
    for (const ChunkState& chunk : shard.chunks()) {
      const float value = chunk.values.floats()[0];
      if (!world.clip && value != Expected(world, chunk.id)) {
        return absl::StrCat("chunk ", chunk.id, " is ", value);
      }
    }
    if (shard.min_clock() != world.clocks) return "a clock is not done";
  }
  return "";
}

TEST(DataPlaneSimTest, SurvivesEveryFault) {
  const char* only = std::getenv("CSSP_SIM_SEED");
  int64_t from = 0, to = 2000, disconnects = 0, resends = 0;
  if (only != nullptr && absl::SimpleAtoi(only, &from)) to = from + 1;
  for (int64_t seed = from; seed < to; ++seed) {
    std::mt19937_64 rng(seed);
    World world;
    world.seed = seed;
    world.workers = 2 + rng() % 3;
    world.servers = 1 + rng() % 3;
    world.staleness = rng() % 3;
    world.clocks = 3 + rng() % 4;
    world.clip = rng() % 4 == 0;
    // Norms have no acknowledgement: they are lost with a connection only.
    world.faults.drop = world.clip ? 0 : (rng() % 3) * 0.05;
    world.faults.duplicate = (rng() % 3) * 0.05;
    world.faults.delay = (rng() % 3) * 0.05;
    world.faults.reorder = (rng() % 3) * 0.05;
    world.faults.disconnect = (rng() % 3) * 0.01;
    ASSERT_EQ(RunWorld(world), "")
        << "seed " << seed << " workers " << world.workers << " servers "
        << world.servers << " staleness " << world.staleness << " clip "
        << world.clip << " disconnect " << world.faults.disconnect;
    disconnects += world.disconnects;
    resends += world.resends;
  }
  if (only != nullptr) return;
  // The test would prove nothing over a network that behaves.
  EXPECT_GT(disconnects, to / 10);
  EXPECT_GT(resends, to);
  RecordProperty("disconnects", static_cast<int>(disconnects));
  RecordProperty("resends", static_cast<int>(resends));
}

}  // namespace
}  // namespace cssp
