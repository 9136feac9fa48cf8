// Backup workers under random schedules: one set of contributors a clock on
// every shard, nothing lost or counted twice, no deadlock when workers die.
// Long because the simulated cluster and its faults belong to this one suite.
#include <algorithm>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "gtest/gtest.h"
#include "server/shard/shard.h"
#include "tests/sim/cluster/event_queue.h"
#include "tests/sim/cluster/schedules.h"
#include "tests/testing/worker_header.h"

namespace cssp {
namespace {

constexpr int64_t kChunkFloats = 2112;  // two do not fit into one chunk
constexpr int64_t kMaxEvents = 500000;

struct BackupConfig {
  uint64_t seed = 1;
  int workers = 4;
  int backup = 1;
  int servers = 2;
  int chunks = 3;
  int staleness = 0;
  int64_t clocks = 8;
  bool clip = false;
  bool membership_order = false;
  NetworkFaults faults;
  double retry_after = 5;
  std::map<int, double> dies_at;  // by rank
  std::function<double(int, int64_t)> duration;

  std::string ToString() const {
    return absl::StrCat("seed ", seed, ": workers ", workers, " backup ",
                        backup, " servers ", servers, " chunks ", chunks,
                        " staleness ", staleness, " clocks ", clocks, " clip ",
                        clip, " order ", membership_order, " dead ",
                        absl::StrJoin(dies_at, ",", absl::PairFormatter("@")),
                        " delay ", faults.max_delay, " drop ", faults.drop,
                        " duplicate ", faults.duplicate);
  }
};

// Thread-confined.
class BackupSim {
 public:
  explicit BackupSim(const BackupConfig& config);

  // The first violation, or empty.
  std::string Run();
  double seconds() const { return finished_at_; }
  const std::map<int64_t, std::vector<int32_t>>& sets() const { return sets_; }
  int64_t jumps() const { return jumps_; }
  int64_t late() const {
    int64_t late = 0;
    for (const auto& server : servers_) late += server->shard->counters().late;
    return late;
  }

 private:
  struct Server : ShardOutput {
    Server(BackupSim& sim, int index) : sim(sim), index(index) {}
    void SendValues(PeerId peer, const ps::MessageHeader& header,
                    BufferRef values) override;
    void SendReply(PeerId peer, const ps::MessageHeader& header) override;
    void SendNorms(int server, int64_t clock,
                   std::vector<double> partials) override;
    void SendContributors(int server, int64_t clock,
                          std::vector<int32_t> ranks) override;
    void CutReady(const RetainedCut&) override {}

    BackupSim& sim;
    const int index;
    std::unique_ptr<Shard> shard;
    std::set<int> reconnecting;               // to these servers
    std::map<int, int64_t> version;           // last seen, by chunk
    std::map<int, std::set<float>> possible;  // values of that version
  };
  struct Worker {
    bool alive = true;
    bool finished = false;
    bool blocked = false;
    int64_t clock = 0;
    int64_t reached = 0;
    std::vector<int64_t> version;
    std::map<uint32_t, ps::MessageHeader> unacked;
  };

  void Fail(const std::string& what) {
    if (failure_.empty()) failure_ = absl::StrCat("at ", queue_.now(), ": ", what);
  }
  void Begin(int rank);
  void TryRead(int rank);
  void SendPull(int rank, int chunk, int64_t clock);
  void End(int rank);
  void SendPush(int rank, uint32_t sequence);
  void SendTick(int rank, int64_t clock, bool finished);
  void Die(int rank);
  void OrderMembership();
  void Check(Server& server);
  void CheckVersion(Server& server, const ChunkState& chunk, int64_t clock);
  ps::MessageHeader Header(ps::MessageType type, int rank, int chunk,
                           int64_t clock);
  float Gradient(int rank, int64_t clock) const {
    return static_cast<float>((rank * 7 + clock * 3) % 11) - 5;
  }
  Server& ServerOf(int chunk) { return *servers_[chunk % config_.servers]; }

  const BackupConfig config_;
  SimRandom random_;
  EventQueue queue_;
  SimNetwork network_;
  std::vector<std::unique_ptr<Server>> servers_;
  std::vector<Worker> workers_;
  std::set<int> dead_;  // told to a shard
  std::map<int64_t, std::vector<int32_t>> sets_;
  std::string failure_;
  uint64_t orders_ = 0;
  uint32_t sequence_ = 0;
  double finished_at_ = 0;
  int64_t jumps_ = 0;
};

void BackupSim::Server::SendValues(PeerId peer, const ps::MessageHeader& header,
                                   BufferRef values) {
  const int rank = static_cast<int>(peer) - 1;
  sim.network_.Send([this, rank, header] {
    Worker& worker = sim.workers_[rank];
    if (!worker.alive || worker.finished) return;
    int64_t& version = worker.version[header.chunk];
    version = std::max(version, header.clock);
    worker.reached = std::max(worker.reached, header.clock);
    if (worker.blocked) sim.TryRead(rank);
  });
  sim.network_.SendReliably(
      [this, peer, header] { shard->OnValuesSent(peer, header.chunk); });
}

void BackupSim::Server::SendReply(PeerId peer,
                                  const ps::MessageHeader& header) {
  if (!ps::IsAcknowledged(header.reason) &&
      header.reason != ps::Reason::kFenced &&
      header.reason != ps::Reason::kTooFarAhead) {
    sim.Fail(absl::StrCat("refused: ", ps::ToString(header)));
  }
  sim.network_.Send([this, header] {
    Worker& worker = sim.workers_[header.rank];
    if (header.reason == ps::Reason::kFenced && worker.alive) {
      return sim.Fail(absl::StrCat("fenced: ", ps::ToString(header)));
    }
    if (!ps::IsAcknowledged(header.reason)) return;
    if (header.reason == ps::Reason::kLate) {
      worker.reached = std::max(worker.reached, header.based_on);
    }
    worker.unacked.erase(header.sequence);
  });
}

void BackupSim::Server::SendNorms(int server, int64_t clock,
                                  std::vector<double> partials) {
  sim.network_.SendReliably([this, server, clock, partials] {
    Server& to = *sim.servers_[server];
    if (!to.shard->OnNorms(index, clock, partials)) sim.Fail("norms refused");
    sim.Check(to);
  });
}

// What a connection loses comes again when it is made again.
void BackupSim::Server::SendContributors(int server, int64_t clock,
                                         std::vector<int32_t> ranks) {
  const auto [known, first] = sim.sets_.emplace(clock, ranks);
  if (!first && known->second != ranks) sim.Fail("a decision was changed");
  const auto deliver = [this, server, clock, ranks] {
    Server& to = *sim.servers_[server];
    if (!to.shard->OnContributors(index, clock, ranks)) {
      sim.Fail(absl::StrCat("contributors of clock ", clock, " refused"));
    }
    sim.Check(to);
  };
  if (sim.random_.Chance(sim.config_.faults.drop)) {
    if (!reconnecting.insert(server).second) return;
    sim.queue_.After(sim.config_.retry_after, [this, server] {
      reconnecting.erase(server);
      shard->OnServerConnected(server);
    });
    return;
  }
  sim.network_.SendReliably(deliver);
  if (sim.random_.Chance(sim.config_.faults.duplicate)) {
    sim.network_.SendReliably(deliver);
  }
}

BackupSim::BackupSim(const BackupConfig& config)
    : config_(config),
      random_(config.seed),
      network_(queue_, random_, config_.faults),
      workers_(config.workers) {
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
  if (config_.clip) options.solver.set_clip_gradients(100);
  options.workers = config_.workers;
  options.staleness = config_.staleness;
  options.servers = config_.servers;
  options.backup = config_.backup;
  for (int c = 0; c < config_.chunks; ++c) {
    options.chunk_server.push_back(c % config_.servers);
  }
  for (int s = 0; s < config_.servers; ++s) {
    servers_.push_back(std::make_unique<Server>(*this, s));
    options.self = s;
    auto made = Shard::Create(*layout, options, *servers_[s]);
    if (!made.ok()) {
      Fail(std::string(made.status().message()));
      return;
    }
    servers_[s]->shard = *std::move(made);
  }
  for (Worker& worker : workers_) worker.version.assign(config_.chunks, -1);
}

ps::MessageHeader BackupSim::Header(ps::MessageType type, int rank, int chunk,
                                    int64_t clock) {
  return WorkerHeader(type, rank, chunk, clock, ++sequence_);
}

std::string BackupSim::Run() {
  if (!failure_.empty()) return failure_;
  for (int c = 0; c < config_.chunks; ++c) {
    Server& server = ServerOf(c);
    server.shard->Restore(c, 0, std::vector<float>(kChunkFloats, 0), true);
    server.version[c] = 0;
    server.possible[c] = {0.0f};
  }
  for (int rank = 0; rank < config_.workers; ++rank) {
    for (const auto& server : servers_) {
      server->shard->Attach(rank, kIncarnation, rank + 1);
      server->shard->OnSubscribe(
          rank + 1, Header(ps::MessageType::kSubscribe, rank, 0, 0));
    }
    Begin(rank);
  }
  for (const auto& [rank, time] : config_.dies_at) {
    queue_.After(time, [this, rank = rank] { Die(rank); });
  }
  int64_t events = 0;
  while (failure_.empty() && queue_.Step()) {
    if (++events > kMaxEvents) Fail("too many events: livelock");
  }
  for (int rank = 0; rank < config_.workers; ++rank) {
    if (workers_[rank].alive && !workers_[rank].finished) {
      Fail(absl::StrCat("deadlock: worker ", rank, " stands in clock ",
                        workers_[rank].clock));
    }
  }
  for (const auto& server : servers_) {
    for (const ChunkState& chunk : server->shard->chunks()) {
      if (chunk.version != config_.clocks) {
        Fail(absl::StrCat("chunk ", chunk.id, " ends at version ",
                          chunk.version));
      }
    }
  }
  return failure_;
}

void BackupSim::Begin(int rank) {
  Worker& worker = workers_[rank];
  if (worker.clock == config_.clocks) {
    worker.finished = true;
    SendTick(rank, worker.clock, /*finished=*/true);
    finished_at_ = std::max(finished_at_, queue_.now());
    return;
  }
  TryRead(rank);
}

void BackupSim::TryRead(int rank) {
  Worker& worker = workers_[rank];
  const bool was_blocked = std::exchange(worker.blocked, false);
  for (int c = 0; c < config_.chunks; ++c) {
    if (worker.version[c] >= 0 &&
        worker.version[c] >= worker.clock - config_.staleness) {
      continue;
    }
    worker.blocked = true;
    if (!was_blocked) SendPull(rank, c, worker.clock);
  }
  if (worker.blocked) return;
  queue_.After(config_.duration(rank, worker.clock), [this, rank] {
    if (workers_[rank].alive) End(rank);
  });
}

void BackupSim::SendPull(int rank, int chunk, int64_t clock) {
  Worker& worker = workers_[rank];
  if (!worker.alive || !worker.blocked || worker.clock != clock ||
      (worker.version[chunk] >= 0 &&
       worker.version[chunk] >= clock - config_.staleness)) {
    return;
  }
  const ps::MessageHeader header =
      Header(ps::MessageType::kPull, rank, chunk, clock);
  network_.Send([this, header] {
    ServerOf(header.chunk).shard->OnPull(header.rank + 1, header);
  });
  queue_.After(config_.retry_after,
               [this, rank, chunk, clock] { SendPull(rank, chunk, clock); });
}

void BackupSim::End(int rank) {
  Worker& worker = workers_[rank];
  const int64_t oldest =
      *std::min_element(worker.version.begin(), worker.version.end());
  for (int c = 0; c < config_.chunks; ++c) {
    ps::MessageHeader header =
        Header(ps::MessageType::kPush, rank, c, worker.clock);
    header.based_on = std::min(worker.clock, oldest);
    worker.unacked[header.sequence] = header;
    SendPush(rank, header.sequence);
  }
  SendTick(rank, worker.clock, /*finished=*/false);
  const int64_t next = std::max(worker.clock + 1, worker.reached);
  jumps_ += next > worker.clock + 1;
  worker.clock = next;
  Begin(rank);
}

void BackupSim::SendPush(int rank, uint32_t sequence) {
  Worker& worker = workers_[rank];
  const auto at = worker.unacked.find(sequence);
  if (!worker.alive || at == worker.unacked.end()) return;
  const ps::MessageHeader header = at->second;
  network_.Send([this, header] {
    Server& server = ServerOf(header.chunk);
    BufferRef part = server.shard->NewPart(header.chunk);
    const float gradient = Gradient(header.rank, header.clock);
    std::fill(part.floats().begin(), part.floats().end(), gradient);
    server.shard->OnPush(header.rank + 1, header, std::move(part));
    Check(server);
  });
  queue_.After(config_.retry_after,
               [this, rank, sequence] { SendPush(rank, sequence); });
}

void BackupSim::SendTick(int rank, int64_t clock, bool finished) {
  control::Tick tick;
  tick.set_rank(rank);
  tick.set_incarnation(kIncarnation);
  tick.set_clock(clock);
  tick.set_finished(finished);
  for (int s = 0; s < config_.servers; ++s) {
    const int held = (config_.chunks - s + config_.servers - 1) / config_.servers;
    tick.set_pushes(finished ? 0 : held);
    network_.SendReliably([this, s, tick] {
      const auto ack = servers_[s]->shard->Tick(tick);
      if (!ack.ok() && workers_[tick.rank()].alive) {
        Fail(std::string(ack.status().message()));
      }
      Check(*servers_[s]);
    });
  }
}

void BackupSim::Die(int rank) {
  if (workers_[rank].finished) return;
  workers_[rank].alive = false;
  const double noticed = 1 + 2 * random_.Uniform();
  for (const auto& server : servers_) {
    queue_.After(noticed + network_.Delay(), [this, rank, &server] {
      dead_.insert(rank);
      server->shard->Detach(rank + 1);
      server->shard->WorkerGone(rank, kIncarnation);
      Check(*server);
    });
  }
  if (!config_.membership_order) return;
  queue_.After(noticed + 1 + config_.faults.max_delay,
               [this] { OrderMembership(); });
}

void BackupSim::OrderMembership() {
  control::ProposeOrderRequest request;
  control::Order& order = *request.mutable_order();
  for (int rank = 0; rank < config_.workers; ++rank) {
    if (workers_[rank].alive) order.mutable_membership()->add_ranks(rank);
  }
  if (order.membership().ranks().empty()) return;
  int64_t effective = 0;
  for (bool accepted = false; !accepted;) {
    order.set_number(++orders_);
    order.set_effective_clock(++effective);
    accepted = true;
    for (const auto& server : servers_) {
      const auto answer = server->shard->ProposeOrder(request);
      if (!answer.ok()) return Fail(std::string(answer.status().message()));
      accepted = accepted && answer->accepted();
      effective = std::max(effective, answer->opened_clock());
    }
  }
  // Another death's order must not come between.
  request.set_commit(true);
  for (const auto& server : servers_) {
    const auto answer = server->shard->ProposeOrder(request);
    if (!answer.ok() || !answer->accepted()) Fail("a commit was refused");
    Check(*server);
  }
}

// ---- Checks -----------------------------------------------------------------

void BackupSim::Check(Server& server) {
  for (const ChunkState& chunk : server.shard->chunks()) {
    int64_t& seen = server.version[chunk.id];
    if (chunk.version == seen) continue;
    for (; seen < chunk.version; ++seen) CheckVersion(server, chunk, seen);
    if (config_.clip) continue;
    const float value = chunk.values.floats()[0];
    std::set<float>& possible = server.possible[chunk.id];
    if (possible.count(value) == 0) {
      Fail(absl::StrCat("chunk ", chunk.id, " version ", chunk.version, " is ",
                        value, ", not ", absl::StrJoin(possible, " or ")));
    }
    possible = {value};
  }
}

// `clock` was applied: by the set that everybody has, each member's part once,
// but for parts of the dead.
void BackupSim::CheckVersion(Server& server, const ChunkState& chunk,
                             int64_t clock) {
  const std::vector<int32_t> set = server.shard->contributors()->Ranks(clock);
  const auto [known, first] = sets_.emplace(clock, set);
  if (known->second != set) {
    return Fail(absl::StrCat("clock ", clock, " is made of ranks ",
                             absl::StrJoin(set, ","), " on server ",
                             server.index, ", of ",
                             absl::StrJoin(known->second, ","), " elsewhere"));
  }
  const int least = config_.workers - config_.backup -
                    static_cast<int>(config_.dies_at.size());
  if (static_cast<int>(set.size()) < std::max(1, least)) {
    Fail(absl::StrCat("clock ", clock, " is made of ", set.size(), " parts"));
  }
  std::set<float> next;
  for (uint32_t missing = 0; missing < (1u << set.size()); ++missing) {
    float sum = 0;
    int parts = 0;
    bool may = true;
    for (size_t i = 0; i < set.size(); ++i) {
      if (missing >> i & 1) {
        may = may && dead_.count(set[i]) > 0;
        continue;
      }
      sum += Gradient(set[i], clock);
      ++parts;
    }
    if (!may) continue;
    const float mean = parts == 0 ? 0 : sum * (1.0f / static_cast<float>(parts));
    for (const float value : server.possible[chunk.id]) next.insert(value - mean);
  }
  server.possible[chunk.id] = std::move(next);
}

// ---- Tests ------------------------------------------------------------------

BackupConfig RandomConfig(uint64_t seed) {
  SimRandom random(seed * 0x5851f42d4c957f2dull + 3);
  BackupConfig config;
  config.seed = seed;
  config.workers = 2 + random.Below(4);
  config.backup = 1 + random.Below(config.workers - 1);
  config.servers = 1 + random.Below(3);
  config.chunks = config.servers + random.Below(3);
  config.staleness = random.Below(3);
  config.clocks = 3 + random.Below(6);
  config.clip = random.Chance(0.1);
  if (random.Chance(0.75)) {
    config.faults.max_delay = 0.05 + 2 * random.Uniform();
    if (random.Chance(0.6)) config.faults.drop = 0.3 * random.Uniform();
    if (random.Chance(0.6)) config.faults.duplicate = 0.3 * random.Uniform();
  }
  if (random.Chance(0.4)) {
    for (int n = 1 + random.Below(config.workers - 1); n > 0; --n) {
      config.dies_at[random.Below(config.workers)] =
          config.clocks * 1.5 * random.Uniform();
    }
    config.membership_order = random.Chance(0.5);
  }
  const uint64_t salt = random.Next();
  const int slow = random.Below(config.workers);
  config.duration = [slow, salt](int rank, int64_t clock) {
    SimRandom draw(salt + rank * 1000003 + clock * 7919);
    const double factor = draw.Chance(0.2) || rank == slow ? 4 : 1;
    return factor * (0.5 + draw.Uniform());
  };
  return config;
}

TEST(BackupSimTest, EveryScheduleHasOneSetAClock) {
  const int64_t only = FromEnvironment("CSSP_SIM_SEED", -1);
  const int64_t count =
      only >= 0 ? 1 : FromEnvironment("CSSP_SIM_SCHEDULES", 10000);
  int64_t jumps = 0, late = 0;
  for (int64_t i = 0; i < count; ++i) {
    const BackupConfig config = RandomConfig(only >= 0 ? only : i);
    BackupSim sim(config);
    const std::string failure = sim.Run();
    ASSERT_EQ(failure, "") << config.ToString()
                           << "\nagain: CSSP_SIM_SEED=" << config.seed;
    jumps += sim.jumps();
    late += sim.late();
  }
  RecordProperty("schedules", static_cast<int>(count));
  // The test would prove nothing if nobody were ever left behind.
  if (count < 1000) return;
  EXPECT_GT(jumps, count);
  EXPECT_GT(late, count);
}

// P=4, one worker always twice as slow: the clock of the three others counts.
TEST(BackupSimTest, OneSlowWorkerCostsNothing) {
  const auto seconds = [](int backup) {
    BackupConfig config;
    config.workers = 4;
    config.backup = std::max(backup, 1);
    config.clocks = 200;
    config.retry_after = 1000;
    config.duration = [backup](int rank, int64_t clock) {
      const bool all_slow = backup == 0;  // what s=0 without backup comes to
      return all_slow || rank == 3 ? 2.0 : 1.0;
    };
    BackupSim sim(config);
    EXPECT_EQ(sim.Run(), "") << config.ToString();
    if (backup > 0) {
      for (const auto& [clock, ranks] : sim.sets()) {
        EXPECT_EQ(ranks, (std::vector<int32_t>{0, 1, 2})) << clock;
      }
    }
    return sim.seconds();
  };
  EXPECT_NEAR(seconds(0) / seconds(1), 2.0, 0.03);
}

}  // namespace
}  // namespace cssp
