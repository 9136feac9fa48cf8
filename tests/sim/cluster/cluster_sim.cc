#include "tests/sim/cluster/cluster_sim.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "absl/strings/str_cat.h"
#include "tests/testing/worker_header.h"

namespace cssp {
namespace {

constexpr int64_t kMaxEvents = 20000000;

// The bits of a chunk's two ends: tells whether it was written to.
uint64_t Mark(const BufferRef& values) {
  const absl::Span<const float> floats = values.floats();
  const float last = floats[ClusterSim::kChunkFloats - 1];
  return uint64_t{std::bit_cast<uint32_t>(floats[0])} << 32 |
         std::bit_cast<uint32_t>(last);
}

}  // namespace

std::string SimConfig::ToString() const {
  return absl::StrCat("seed ", seed, ": workers ", workers, " servers ",
                      servers, " chunks ", chunks, " staleness ", staleness,
                      " clocks ", clocks, " delay ", faults.max_delay, " drop ",
                      faults.drop, " duplicate ", faults.duplicate, " clip ",
                      clip, " dead ", dead_rank, " order ", membership_order,
                      " reconnects ", reconnects, " snapshot ", snapshot,
                      " per_push ", per_push, " lazy ", lazy, " uneven ",
                      uneven);
}

void ClusterSim::Server::Open(const ps::SlabLayout& layout,
                              ShardOptions options) {
  options.self = index_;
  auto made = Shard::Create(layout, std::move(options), *this);
  if (!made.ok()) return sim_.Fail(std::string(made.status().message()));
  shard_ = *std::move(made);
}

void ClusterSim::Server::SendValues(PeerId peer,
                                    const ps::MessageHeader& header,
                                    BufferRef values) {
  const uint64_t as_sent = Mark(values);
  sim_.network_.Send(
      [this, peer, header, values, as_sent] {
        sim_.OnValues(RankOf(peer), peer, header, values, as_sent);
      },
      sim_.config_.latency);
  // The memory is free some time, whether it arrived or not.
  sim_.network_.SendReliably(
      [this, peer, header] { shard_->OnValuesSent(peer, header.chunk); });
}

void ClusterSim::Server::SendReply(PeerId peer,
                                   const ps::MessageHeader& header) {
  sim_.network_.Send([this, header] { sim_.OnReply(header.rank, header); });
}

// Norms are resent only after a reconnect, so the network may repeat and
// reorder, but not lose them.
void ClusterSim::Server::SendNorms(int server, int64_t clock,
                                   std::vector<double> partials) {
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

void ClusterSim::Server::CutReady(const RetainedCut& cut) {
  sim_.CheckCut(*shard_, cut);
}

namespace {

ps::SlabLayout Layout(int chunks) {
  std::vector<ps::BlobSpec> blobs(chunks);
  for (int c = 0; c < chunks; ++c) {
    blobs[c].key = absl::StrCat("blob", c);
    blobs[c].count = ClusterSim::kChunkFloats;  // two do not fit into one chunk
  }
  return *ps::SlabLayout::Create(blobs, ps::SlabLayout::kMinChunkBytes);
}

}  // namespace

ClusterSim::ClusterSim(const SimConfig& config)
    : config_(config),
      layout_(Layout(config.chunks)),
      random_(config.seed),
      network_(queue_, random_, config_.faults),
      workers_(config.workers),
      expected_(config.chunks, {0.0f}) {
  ShardOptions options;
  options.solver.set_base_lr(1);
  options.solver.set_lr_policy("fixed");
  options.solver.set_max_iter(config_.clocks);
  options.solver.set_snapshot(config_.snapshot);
  if (config_.clip) options.solver.set_clip_gradients(100);
  options.workers = config_.workers;
  options.staleness = config_.staleness;
  if (config_.per_push) options.update = control::PER_PUSH;
  options.servers = config_.servers;
  for (int c = 0; c < config_.chunks; ++c) {
    options.chunk_server.push_back(c % config_.servers);
  }
  if (config_.shard) config_.shard(&options);
  for (int s = 0; s < config_.servers; ++s) {
    servers_.push_back(std::make_unique<Server>(*this, s));
    servers_.back()->Open(layout_, options);
  }
  for (int rank = 0; rank < config_.workers; ++rank) {
    Worker& worker = workers_[rank];
    worker.end = config_.clocks - rank % (config_.uneven + 1);
    worker.slab.resize(layout_.size());
    worker.cache = std::make_unique<ParamCache>(
        layout_, absl::MakeSpan(worker.slab), config_.staleness);
  }
}

ClusterSim::~ClusterSim() = default;

absl::Span<const float> ClusterSim::Weights(int rank, int chunk) const {
  const ps::Chunk& where = layout_.chunks()[chunk];
  return absl::MakeConstSpan(workers_[rank].slab)
      .subspan(where.offset, where.count);
}

absl::Span<const float> ClusterSim::values(int chunk) const {
  const Shard& shard = servers_[chunk % config_.servers]->shard();
  for (const ChunkState& state : shard.chunks()) {
    if (state.id == chunk) return state.values.floats();
  }
  return {};
}

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
  if (failure_.empty()) CheckEnd();
  return failure_;
}

// ---- Workers ----------------------------------------------------------------

ps::MessageHeader ClusterSim::Header(ps::MessageType type, int rank, int chunk,
                                     int64_t clock) {
  return WorkerHeader(type, rank, chunk, clock, ++sequence_);
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
    if (config_.lazy) continue;
    server->shard().OnSubscribe(
        worker.peer, Header(ps::MessageType::kSubscribe, rank, 0, 0));
  }
}

void ClusterSim::BeginClock(int rank) {
  Worker& worker = workers_[rank];
  worker.began = queue_.now();
  if (worker.clock == worker.end) {
    worker.finished = true;
    stats_.seconds = queue_.now();
    return;
  }
  TryRead(rank);
}

bool ClusterSim::Fit(int rank, int chunk, int64_t clock) const {
  return workers_[rank].cache->Fit(chunk, clock);
}

void ClusterSim::TryRead(int rank) {
  Worker& worker = workers_[rank];
  bool readable = true;
  for (int c = 0; c < config_.chunks; ++c) {
    if (Fit(rank, c, worker.clock)) continue;
    readable = false;
    if (!worker.blocked) SendPull(rank, c, worker.clock);
  }
  if (!readable) {
    worker.blocked = true;
    return;
  }
  worker.blocked = false;
  stats_.waited += queue_.now() - worker.began;
  for (int c = 0; c < config_.chunks; ++c) {
    const auto read = worker.cache->Install(
        c, worker.clock, absl::InfinitePast(), TimeSource::Real());
    if (!read.ok()) return Fail(std::string(read.status().message()));
    CheckRead(rank, c);
    if (config_.on_read) {
      config_.on_read(rank, worker.clock, c, Weights(rank, c));
    }
  }
  Compute(rank);
}

void ClusterSim::SendPull(int rank, int chunk, int64_t clock) {
  Worker& worker = workers_[rank];
  if (!worker.alive || worker.finished || worker.clock != clock ||
      Fit(rank, chunk, clock)) {
    return;
  }
  ++stats_.pulls;
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
                          const BufferRef& values, uint64_t as_sent) {
  Worker& worker = workers_[rank];
  const absl::Span<const float> floats = values.floats();
  if (Mark(values) != as_sent) {
    return Fail("a version under way changed");
  }
  if (!worker.alive) return;
  ++stats_.values;
  bool lost = false;
  float* memory = worker.cache->BeginArrival(
      header.chunk, {.row = header.clock, .own = header.based_on}, &lost);
  if (memory == nullptr) return;
  std::copy(floats.begin(), floats.end(), memory);
  worker.cache->EndArrival(header.chunk, memory, true);
  if (worker.blocked) TryRead(rank);
}

void ClusterSim::Compute(int rank) {
  const double seconds = config_.duration(rank, workers_[rank].clock);
  stats_.computed += seconds;
  queue_.After(seconds, [this, rank] {
    Worker& worker = workers_[rank];
    if (!worker.alive) return;
    for (int c = 0; c < config_.chunks; ++c) {
      PendingPush push{c, worker.clock, worker.cache->oldest_installed(), {}};
      if (config_.gradient) {
        push.gradient.resize(kChunkFloats);
        config_.gradient(rank, worker.clock, c, Weights(rank, c),
                         absl::MakeSpan(push.gradient));
      }
      const uint32_t sequence = ++sequence_;
      worker.unacked[sequence] = std::move(push);
      SendPush(rank, sequence);
    }
    EndClock(rank);
  });
}

void ClusterSim::SendPush(int rank, uint32_t sequence) {
  Worker& worker = workers_[rank];
  const auto at = worker.unacked.find(sequence);
  if (!worker.alive || at == worker.unacked.end()) return;
  const PendingPush& push = at->second;
  const PeerId peer = worker.peer;
  ps::MessageHeader header =
      Header(ps::MessageType::kPush, rank, push.chunk, push.clock);
  header.sequence = sequence;
  header.based_on = push.based_on;
  network_.Send([this, peer, header, push] {
    Server& server = ServerOf(header.chunk);
    BufferRef part = server.shard().NewPart(header.chunk);
    FillGradient(header.rank, push, part.floats());
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
  tick.set_finished(worker.clock + 1 == worker.end);
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
  stats_.progress.emplace_back(queue_.now(),
                               static_cast<int64_t>(stats_.progress.size()));
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


}  // namespace cssp
