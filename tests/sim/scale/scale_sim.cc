#include "tests/sim/scale/scale_sim.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/logging.h"

namespace cssp {
namespace {

// Two of these do not fit into one chunk of the smallest size.
constexpr int64_t kChunkFloats = 2112;
constexpr uint32_t kIncarnation = 1;
constexpr int64_t kWarmClocks = 2;
constexpr int kWindow = 2;  // of modelled chunks

}  // namespace

double ComputeFactor(const ScaleConfig& config, int rank, int64_t clock) {
  if (config.jitter == 0) return 1;
  SimRandom random(config.seed + clock * 100003 + rank);
  random.Next();
  return 1 - config.jitter * std::log(1 - random.Uniform());
}

ScaleSim::ScaleSim(ScaleConfig config)
    : config_(std::move(config)),
      links_(config_.shape),
      workers_(config_.shape.workers),
      seen_(config_.staleness + 1) {
  // Chunks lie in the order of backward: the last stage's first.
  std::vector<ps::BlobSpec> blobs(stages());
  for (int i = 0; i < stages(); ++i) {
    blobs[i].key = absl::StrCat("stage", stages() - 1 - i);
    blobs[i].count = kChunkFloats;
  }
  layout_ = *ps::SlabLayout::Create(blobs, ps::SlabLayout::kMinChunkBytes);
  CHECK_EQ(layout_.chunks().size(), blobs.size());
  ShardOptions options;
  options.solver.set_base_lr(1);
  options.solver.set_lr_policy("fixed");
  options.solver.set_max_iter(static_cast<int>(config_.clocks));
  options.workers = config_.shape.workers;
  options.staleness = config_.staleness;
  options.chunk_server.assign(stages(), 0);
  auto shard = Shard::Create(layout_, options, *this);
  CHECK(shard.ok()) << shard.status();
  shard_ = *std::move(shard);
  for (Worker& worker : workers_) {
    worker.slab.resize(layout_.size());
    worker.cache = std::make_unique<ParamCache>(
        layout_, absl::MakeSpan(worker.slab), config_.staleness);
  }
}

ScaleSim::~ScaleSim() = default;

ps::MessageHeader ScaleSim::Header(ps::MessageType type, int rank,
                                   int chunk) const {
  ps::MessageHeader header;
  header.type = type;
  header.rank = rank;
  header.incarnation = kIncarnation;
  header.chunk = chunk;
  header.samples = 1;
  return header;
}

double ScaleSim::Run() {
  const std::vector<float> zeros(kChunkFloats, 0);
  for (int c = 0; c < stages(); ++c) shard_->Restore(c, 0, zeros, true);
  running_ = config_.shape.workers;
  for (int rank = 0; rank < config_.shape.workers; ++rank) {
    const PeerId peer = rank + 1;
    CHECK(shard_->Attach(rank, kIncarnation, peer) == ps::Reason::kNone);
    shard_->OnSubscribe(peer, Header(ps::MessageType::kSubscribe, rank, 0));
    for (int c = 0; c < stages(); ++c) Land(rank, c, {.row = 0}, zeros);
    queue_.After(0, [this, rank] { Start(rank); });
  }
  while (queue_.Step()) {
  }
  CHECK_EQ(running_, 0) << "deadlock";
  double seconds = 0;
  for (const Worker& worker : workers_) {
    seconds += worker.last_at - worker.warm_at;
  }
  return seconds / config_.shape.workers / (config_.clocks - 1 - kWarmClocks);
}

void ScaleSim::Start(int rank) {
  Worker& worker = workers_[rank];
  if (worker.clock == config_.clocks) {
    --running_;
    return;
  }
  worker.stage = 0;
  worker.based_on = worker.clock;
  Forward(rank);
}

// Awaits a stage's weights, computes it, goes on to the next.
void ScaleSim::Forward(int rank) {
  Worker& worker = workers_[rank];
  if (worker.stage == stages()) return Backward(rank);
  const int chunk = ChunkOf(worker.stage);
  worker.blocked = !worker.cache->Fit(chunk, worker.clock);
  if (worker.blocked) return;  // until values come
  const auto read = worker.cache->Install(chunk, worker.clock,
                                          absl::InfinitePast(),
                                          TimeSource::Real());
  CHECK(read.ok()) << read.status();
  CHECK(read->version >= worker.clock - config_.staleness &&
        read->version <= worker.clock);
  ++seen_[worker.clock - read->version];
  worker.based_on = std::min(worker.based_on, read->version);
  const double seconds = config_.net.stages[worker.stage].forward *
                         ComputeFactor(config_, rank, worker.clock);
  ++worker.stage;
  queue_.After(seconds, [this, rank] { Forward(rank); });
}

// The last stage's gradients leave first.
void ScaleSim::Backward(int rank) {
  Worker& worker = workers_[rank];
  if (worker.clock == kWarmClocks) worker.warm_at = queue_.now();
  if (worker.clock + 1 == config_.clocks) worker.last_at = queue_.now();
  const double factor = ComputeFactor(config_, rank, worker.clock);
  double seconds = 0;
  for (int stage = stages() - 1; stage >= 0; --stage) {
    seconds += config_.net.stages[stage].backward * factor;
    const PendingPush push = {ChunkOf(stage), worker.clock, worker.based_on};
    queue_.After(seconds, [this, rank, push] {
      workers_[rank].unsent.push_back(push);
      Pump(rank);
    });
  }
  queue_.After(seconds, [this, rank] { EndClock(rank); });
}

// A window of pushes is under way, as PsClient has it: a receiver that cannot
// follow holds the sender back.
void ScaleSim::Pump(int rank) {
  Worker& worker = workers_[rank];
  while (worker.sending < kWindow && !worker.unsent.empty()) {
    const PendingPush push = worker.unsent.front();
    worker.unsent.pop_front();
    ++worker.sending;
    const double now = queue_.now();
    const LinkModel::Sent sent = links_.Push(rank, Bytes(push.chunk), now);
    queue_.After(sent.received - now, [this, rank] {
      --workers_[rank].sending;
      Pump(rank);
    });
    ps::MessageHeader header =
        Header(ps::MessageType::kPush, rank, push.chunk);
    header.clock = push.clock;
    header.based_on = push.based_on;
    queue_.After(sent.summed - now, [this, header] {
      shard_->OnPush(header.rank + 1, header, shard_->NewPart(header.chunk));
    });
  }
}

void ScaleSim::EndClock(int rank) {
  Worker& worker = workers_[rank];
  control::Tick tick;
  tick.set_rank(rank);
  tick.set_incarnation(kIncarnation);
  tick.set_clock(worker.clock);
  tick.set_pushes(stages());
  tick.set_finished(worker.clock + 1 == config_.clocks);
  queue_.After(config_.shape.latency, [this, tick] {
    const auto ack = shard_->Tick(tick);
    CHECK(ack.ok()) << ack.status();
  });
  ++worker.clock;
  Start(rank);
}

void ScaleSim::SendValues(PeerId peer, const ps::MessageHeader& header,
                          BufferRef values) {
  const int rank = static_cast<int>(peer) - 1;
  const int chunk = static_cast<int>(header.chunk);
  const double there = links_.Values(rank, Bytes(chunk), queue_.now());
  queue_.After(there - queue_.now(), [this, rank, peer, header, values] {
    Land(rank, static_cast<int>(header.chunk),
         {.row = header.clock, .own = header.based_on}, values.floats());
    shard_->OnValuesSent(peer, header.chunk);
    if (workers_[rank].blocked) Forward(rank);
  });
}

void ScaleSim::Land(int rank, int chunk, const ps::Freshness& fresh,
                    absl::Span<const float> values) {
  ParamCache& cache = *workers_[rank].cache;
  bool lost = false;
  float* memory = cache.BeginArrival(chunk, fresh, &lost);
  CHECK(!lost);
  if (memory == nullptr) return;
  std::copy(values.begin(), values.end(), memory);
  cache.EndArrival(chunk, memory, true);
}

void ScaleSim::SendReply(PeerId, const ps::MessageHeader& header) {
  CHECK(header.type == ps::MessageType::kPushAck) << ps::ToString(header);
}

double RingSecondsPerClock(const ScaleConfig& config) {
  double begin = 0, third = 0;
  for (int64_t clock = 0; clock < config.clocks; ++clock) {
    if (clock == kWarmClocks) third = begin;
    double slowest = 0;
    for (int rank = 0; rank < config.shape.workers; ++rank) {
      slowest = std::max(slowest, ComputeFactor(config, rank, clock));
    }
    double ready = begin, reduced = begin;
    for (const ProfileStage& stage : config.net.stages) {
      ready += stage.forward * slowest;
    }
    for (size_t i = config.net.stages.size(); i-- > 0;) {
      const ProfileStage& stage = config.net.stages[i];
      ready += stage.backward * slowest;
      reduced = std::max(reduced, ready) +
                RingSeconds(config.shape, stage.bytes);
    }
    begin = reduced;
  }
  return (begin - third) / (config.clocks - kWarmClocks);
}

}  // namespace cssp
