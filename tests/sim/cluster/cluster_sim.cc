#include "tests/sim/cluster/cluster_sim.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"

namespace cssp {
namespace {

// Two of these do not fit into one chunk of the smallest size.
constexpr int64_t kChunkFloats = 2112;
constexpr uint32_t kIncarnation = 1;
constexpr int64_t kMaxEvents = 2000000;

}  // namespace

std::string SimConfig::ToString() const {
  return absl::StrCat("seed ", seed, ": workers ", workers, " servers ",
                      servers, " chunks ", chunks, " staleness ", staleness,
                      " clocks ", clocks, " delay ", faults.max_delay, " drop ",
                      faults.drop, " duplicate ", faults.duplicate, " clip ",
                      clip, " dead ", dead_rank, " order ", membership_order,
                      " reconnects ", reconnects, " snapshot ", snapshot);
}

// One shard and its way to the workers and the other shards.
class ClusterSim::Server : public ShardOutput {
 public:
  Server(ClusterSim& sim, int index) : sim_(sim), index_(index) {}

  void Open(const ps::SlabLayout& layout, ShardOptions options) {
    options.self = index_;
    auto made = Shard::Create(layout, std::move(options), *this);
    if (!made.ok()) return sim_.Fail(std::string(made.status().message()));
    shard_ = *std::move(made);
  }
  Shard& shard() { return *shard_; }

  void SendValues(PeerId peer, const ps::MessageHeader& header,
                  BufferRef values) override {
    const float as_sent = values.floats()[0];
    sim_.network_.Send([this, peer, header, values, as_sent] {
      sim_.OnValues(RankOf(peer), peer, header, values, as_sent);
    });
    // The memory is free some time, whether it arrived or not.
    sim_.network_.SendReliably(
        [this, peer, header] { shard_->OnValuesSent(peer, header.chunk); });
  }
  void SendReply(PeerId peer, const ps::MessageHeader& header) override {
    sim_.network_.Send([this, header] { sim_.OnReply(header.rank, header); });
  }
  // Norms are resent only after a reconnect, so the network may repeat and
  // reorder, but not lose them.
  void SendNorms(int server, int64_t clock,
                 std::vector<double> partials) override {
    const auto deliver = [this, server, clock, partials] {
      Server& to = *sim_.servers_[server];
      if (!to.shard_->OnNorms(index_, clock, partials)) {
        sim_.Fail("norms refused");
      }
      sim_.CheckShard(to);
    };
    sim_.network_.SendReliably(deliver);
    if (sim_.random_.Chance(sim_.config_.faults.duplicate)) {
      sim_.network_.SendReliably(deliver);
    }
  }
  void SendContributors(int, int64_t, std::vector<int32_t>) override {}
  void CutReady(const RetainedCut& cut) override {
    if (sim_.config_.dead_rank >= 0 || sim_.config_.clip) return;
    for (size_t i = 0; i < cut.chunks.size(); ++i) {
      const int chunk = shard_->chunks()[i].id;
      if (cut.chunks[i][0].floats()[0] != sim_.Expected(chunk, cut.clock)) {
        sim_.Fail(absl::StrCat("cut ", cut.clock, " of chunk ", chunk,
                               " is not version ", cut.clock));
      }
    }
  }

 private:
  int RankOf(PeerId peer) const { return peer % sim_.config_.workers; }

  ClusterSim& sim_;
  const int index_;
  std::unique_ptr<Shard> shard_;
};

ClusterSim::ClusterSim(const SimConfig& config)
    : config_(config),
      random_(config.seed),
      network_(queue_, random_, config_.faults),
      workers_(config.workers),
      expected_(config.chunks, {0.0f}) {
  std::vector<ps::BlobSpec> blobs(config_.chunks);
  for (int c = 0; c < config_.chunks; ++c) {
    blobs[c].key = absl::StrCat("blob", c);
    blobs[c].count = kChunkFloats;
  }
  const auto layout =
      ps::SlabLayout::Create(blobs, ps::SlabLayout::kMinChunkBytes);
  ShardOptions options;
  options.solver.set_base_lr(1);
  options.solver.set_lr_policy("fixed");
  options.solver.set_max_iter(config_.clocks);
  options.solver.set_snapshot(config_.snapshot);
  if (config_.clip) options.solver.set_clip_gradients(100);
  options.workers = config_.workers;
  options.staleness = config_.staleness;
  options.servers = config_.servers;
  for (int c = 0; c < config_.chunks; ++c) {
    options.chunk_server.push_back(c % config_.servers);
  }
  for (int s = 0; s < config_.servers; ++s) {
    servers_.push_back(std::make_unique<Server>(*this, s));
    servers_.back()->Open(*layout, options);
  }
  for (Worker& worker : workers_) {
    worker.version.assign(config_.chunks, -1);
    worker.value.assign(config_.chunks, 0);
  }
}

ClusterSim::~ClusterSim() = default;

void ClusterSim::Fail(const std::string& what) {
  if (failure_.empty())
    failure_ = absl::StrCat("at ", queue_.now(), ": ", what);
}

std::string ClusterSim::Run() {
  for (int c = 0; c < config_.chunks; ++c) {
    const std::vector<float> zeros(kChunkFloats, 0);
    ServerOf(c).shard().Restore(c, 0, zeros, /*last=*/true);
  }
  for (int rank = 0; rank < config_.workers; ++rank) {
    Connect(rank);
    BeginClock(rank);
  }
  if (config_.dead_rank >= 0) {
    queue_.After(config_.dies_at, [this] { Die(config_.dead_rank); });
  }
  for (int i = 0; i < config_.reconnects; ++i) {
    const int rank = random_.Below(config_.workers);
    queue_.After(random_.Uniform() * 2 * config_.clocks, [this, rank] {
      if (workers_[rank].alive && !workers_[rank].finished) Connect(rank);
    });
  }
  int64_t events = 0;
  while (failure_.empty() && queue_.Step()) {
    if (++events > kMaxEvents) Fail("too many events: livelock");
  }
  for (int rank = 0; rank < config_.workers && failure_.empty(); ++rank) {
    const Worker& worker = workers_[rank];
    if (worker.alive && !worker.finished) {
      Fail(absl::StrCat("deadlock: worker ", rank, " stands in clock ",
                        worker.clock));
    }
  }
  for (const auto& server : servers_) {
    for (const ChunkState& chunk : server->shard().chunks()) {
      if (failure_.empty() && chunk.version != config_.clocks) {
        Fail(absl::StrCat("chunk ", chunk.id, " ends at version ",
                          chunk.version));
      }
    }
  }
  return failure_;
}

// ---- Workers ----------------------------------------------------------------

ps::MessageHeader ClusterSim::Header(ps::MessageType type, int rank, int chunk,
                                     int64_t clock) {
  ps::MessageHeader header;
  header.type = type;
  header.rank = rank;
  header.incarnation = kIncarnation;
  header.chunk = chunk;
  header.clock = clock;
  header.samples = 1;
  header.sequence = ++sequence_;
  return header;
}

// A new connection to every server: what the last one asked for is forgotten.
void ClusterSim::Connect(int rank) {
  Worker& worker = workers_[rank];
  const PeerId old = worker.peer;
  last_peer_ += config_.workers;
  worker.peer = last_peer_ + rank;
  for (const auto& server : servers_) {
    if (old != 0) server->shard().Detach(old);
    if (server->shard().Attach(rank, kIncarnation, worker.peer) !=
        ps::Reason::kNone) {
      Fail("attach refused");
    }
    server->shard().OnSubscribe(
        worker.peer, Header(ps::MessageType::kSubscribe, rank, 0, 0));
  }
}

void ClusterSim::BeginClock(int rank) {
  Worker& worker = workers_[rank];
  if (worker.clock == config_.clocks) {
    worker.finished = true;
    finished_at_ = queue_.now();
    return;
  }
  TryRead(rank);
}

void ClusterSim::TryRead(int rank) {
  Worker& worker = workers_[rank];
  bool readable = true;
  for (int c = 0; c < config_.chunks; ++c) {
    if (worker.version[c] >= worker.clock - config_.staleness &&
        worker.version[c] >= 0) {
      continue;
    }
    readable = false;
    if (!worker.blocked) SendPull(rank, c, worker.clock);
  }
  if (!readable) {
    worker.blocked = true;
    return;
  }
  worker.blocked = false;
  for (int c = 0; c < config_.chunks; ++c) CheckRead(rank, c);
  Compute(rank);
}

void ClusterSim::SendPull(int rank, int chunk, int64_t clock) {
  Worker& worker = workers_[rank];
  if (!worker.alive || worker.finished || worker.clock != clock ||
      (worker.version[chunk] >= 0 &&
       worker.version[chunk] >= clock - config_.staleness)) {
    return;
  }
  const PeerId peer = worker.peer;
  const ps::MessageHeader header =
      Header(ps::MessageType::kPull, rank, chunk, clock);
  network_.Send([this, peer, header] {
    Server& server = ServerOf(header.chunk);
    server.shard().OnPull(peer, header);
    CheckShard(server);
    if (config_.faults.max_delay > 0) return;
    // After everything else that this instant brings.
    queue_.After(1e-9, [this, rank = header.rank] { CheckBlocked(rank); });
  });
  queue_.After(config_.retry_after,
               [this, rank, chunk, clock] { SendPull(rank, chunk, clock); });
}

void ClusterSim::OnValues(int rank, PeerId peer,
                          const ps::MessageHeader& header,
                          const BufferRef& values, float as_sent) {
  Worker& worker = workers_[rank];
  const absl::Span<const float> floats = values.floats();
  if (floats[0] != as_sent || floats[kChunkFloats - 1] != as_sent) {
    return Fail("a version under way changed");
  }
  const int chunk = header.chunk;
  if (!worker.alive || header.clock <= worker.version[chunk]) return;
  worker.version[chunk] = header.clock;
  worker.value[chunk] = as_sent;
  if (worker.blocked) TryRead(rank);
}

void ClusterSim::Compute(int rank) {
  const double seconds = config_.duration(rank, workers_[rank].clock);
  queue_.After(seconds, [this, rank, versions = workers_[rank].version] {
    if (!workers_[rank].alive) return;
    for (int c = 0; c < config_.chunks; ++c) {
      const uint32_t sequence = ++sequence_;
      // What arrived meanwhile was not what was computed on.
      workers_[rank].unacked[sequence] = {c, workers_[rank].clock, versions[c]};
      SendPush(rank, sequence);
    }
    EndClock(rank);
  });
}

void ClusterSim::SendPush(int rank, uint32_t sequence) {
  Worker& worker = workers_[rank];
  const auto at = worker.unacked.find(sequence);
  if (!worker.alive || at == worker.unacked.end()) return;
  const PendingPush push = at->second;
  const PeerId peer = worker.peer;
  ps::MessageHeader header =
      Header(ps::MessageType::kPush, rank, push.chunk, push.clock);
  header.sequence = sequence;
  header.based_on = push.based_on;
  const float gradient = Gradient(rank, push.clock, push.chunk);
  network_.Send([this, peer, header, gradient] {
    Server& server = ServerOf(header.chunk);
    BufferRef part = server.shard().NewPart(header.chunk);
    std::fill(part.floats().begin(), part.floats().end(), gradient);
    server.shard().OnPush(peer, header, std::move(part));
    CheckShard(server);
  });
  queue_.After(config_.retry_after,
               [this, rank, sequence] { SendPush(rank, sequence); });
}

void ClusterSim::OnReply(int rank, const ps::MessageHeader& header) {
  if (rank < 0 || !workers_[rank].alive) return;
  if (header.type == ps::MessageType::kPushAck) {
    workers_[rank].unacked.erase(header.sequence);
    return;
  }
  // Too far ahead, or asked over a connection that is no more: asked again.
  const bool passing =
      header.reason == ps::Reason::kTooFarAhead ||
      (header.reason == ps::Reason::kFenced && config_.reconnects > 0);
  if (!passing) Fail("refused: " + ps::ToString(header));
}

void ClusterSim::EndClock(int rank) {
  Worker& worker = workers_[rank];
  control::Tick tick;
  tick.set_rank(rank);
  tick.set_incarnation(kIncarnation);
  tick.set_clock(worker.clock);
  tick.set_finished(worker.clock + 1 == config_.clocks);
  for (int s = 0; s < config_.servers; ++s) {
    tick.set_pushes((config_.chunks - s + config_.servers - 1) /
                    config_.servers);
    network_.SendReliably([this, s, tick] {
      const auto ack = servers_[s]->shard().Tick(tick);
      if (!ack.ok() && config_.dead_rank != tick.rank()) {
        Fail(std::string(ack.status().message()));
      }
      CheckShard(*servers_[s]);
    });
  }
  ++worker.clock;
  BeginClock(rank);
}

// ---- Death ------------------------------------------------------------------

void ClusterSim::Die(int rank) {
  Worker& worker = workers_[rank];
  if (worker.finished) return;
  worker.alive = false;
  worker.unacked.clear();
  for (const auto& server : servers_) {
    queue_.After(config_.noticed_after + network_.Delay(),
                 [this, rank, &server] {
                   server->shard().Detach(workers_[rank].peer);
                   server->shard().WorkerGone(rank, kIncarnation);
                   CheckShard(*server);
                 });
  }
  if (config_.membership_order) {
    queue_.After(config_.noticed_after + 1 + config_.faults.max_delay,
                 [this, rank] { OrderMembership(rank); });
  }
}

// As the coordinator does: everyone accepts before anyone is told.
void ClusterSim::OrderMembership(int dead) {
  control::ProposeOrderRequest request;
  control::Order& order = *request.mutable_order();
  order.set_number(1);
  for (int rank = 0; rank < config_.workers; ++rank) {
    if (rank != dead) order.mutable_membership()->add_ranks(rank);
  }
  int64_t effective = 0;
  for (bool accepted = false; !accepted;) {
    ++effective;
    order.set_effective_clock(effective);
    accepted = true;
    for (const auto& server : servers_) {
      const auto answer = server->shard().ProposeOrder(request);
      if (!answer.ok()) return Fail(std::string(answer.status().message()));
      accepted = accepted && answer->accepted();
      effective = std::max(effective, answer->opened_clock());
    }
  }
  request.set_commit(true);
  for (const auto& server : servers_) {
    network_.SendReliably([this, &server, request] {
      const auto answer = server->shard().ProposeOrder(request);
      if (!answer.ok() || !answer->accepted()) Fail("a commit was refused");
      CheckShard(*server);
    });
  }
}

// ---- Checks -----------------------------------------------------------------

float ClusterSim::Gradient(int rank, int64_t clock, int chunk) const {
  return static_cast<float>((rank * 7 + clock * 3 + chunk) % 11) - 5;
}

// The value of a version by the definition of PER_CLOCK.
float ClusterSim::Expected(int chunk, int64_t version) {
  std::vector<float>& values = expected_[chunk];
  while (static_cast<int64_t>(values.size()) <= version) {
    float sum = 0;
    for (int rank = 0; rank < config_.workers; ++rank) {
      sum += Gradient(rank, values.size() - 1, chunk);
    }
    const float mean = sum * (1.0f / static_cast<float>(config_.workers));
    values.push_back(values.back() - mean);
  }
  return values[version];
}

void ClusterSim::CheckRead(int rank, int chunk) {
  const Worker& worker = workers_[rank];
  const int64_t version = worker.version[chunk];
  if (version < worker.clock - config_.staleness || version > worker.clock) {
    return Fail(absl::StrCat("worker ", rank, " in clock ", worker.clock,
                             " reads version ", version, " of chunk ", chunk));
  }
  ++seen_[worker.clock - version];
  // Whoever reads a version reads the same; without faults of membership, what
  // the definition says, so nothing is lost or counted twice.
  const auto [it, first] =
      read_.emplace(std::make_pair(chunk, version), worker.value[chunk]);
  if (it->second != worker.value[chunk]) {
    return Fail(absl::StrCat("two values of version ", version));
  }
  if (config_.dead_rank < 0 && !config_.clip &&
      worker.value[chunk] != Expected(chunk, version)) {
    Fail(absl::StrCat("chunk ", chunk, " version ", version, " is ",
                      worker.value[chunk], ", not ", Expected(chunk, version)));
  }
}

// With a network that takes no time, a worker blocks only where the rule
// demands it: somebody has not committed clock - s.  So the slowest never does.
void ClusterSim::CheckBlocked(int rank) {
  const Worker& worker = workers_[rank];
  bool parked = false;
  for (const auto& server : servers_) {
    for (const ChunkState& chunk : server->shard().chunks()) {
      parked = parked || (chunk.parked[rank].parked &&
                          chunk.parked[rank].clock == worker.clock);
    }
  }
  if (!parked || worker.finished) return;
  ++blocked_reads_;
  for (int other = 0; other < config_.workers; ++other) {
    const Worker& slow = workers_[other];
    if (!slow.finished && slow.clock < worker.clock - config_.staleness) return;
  }
  Fail(absl::StrCat("worker ", rank, " blocks in clock ", worker.clock,
                    " without need"));
}

// A clock counts as done only if this chunk's part of it is in.
void ClusterSim::CheckDone(const Shard& shard, const ChunkState& chunk,
                           int rank) {
  const int64_t done = shard.done(rank);
  if (done == kClockInfinity || done <= chunk.version || chunk.summed) return;
  for (int64_t clock = chunk.version; clock < done; ++clock) {
    if (chunk.Holds(rank, clock)) continue;
    return Fail(absl::StrCat("worker ", rank, " counts as done with clock ",
                             clock, " without its part of chunk ", chunk.id));
  }
}

// After every event: nobody is parked whose bound is met, and no clock stays
// open whose parts are all in.
void ClusterSim::CheckShard(Server& server) {
  for (const ChunkState& chunk : server.shard().chunks()) {
    bool complete = chunk.version < config_.clocks && !chunk.summed &&
                    !config_.membership_order;
    for (int rank = 0; rank < config_.workers; ++rank) {
      const ParkedPull& pull = chunk.parked[rank];
      if (pull.parked && chunk.version >= pull.clock - config_.staleness) {
        Fail(absl::StrCat("worker ", rank, " waits for chunk ", chunk.id,
                          " without need"));
      }
      complete = complete && chunk.Holds(rank, chunk.version);
      CheckDone(server.shard(), chunk, rank);
    }
    if (complete) {
      Fail(absl::StrCat("chunk ", chunk.id, " holds every part of clock ",
                        chunk.version, " and does not close it"));
    }
  }
}

}  // namespace cssp
