#include "server/shard/shard.h"

#include <algorithm>
#include <utility>

#include "absl/container/inlined_vector.h"
#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"

namespace cssp {
namespace {

absl::Status CheckOptions(const ps::SlabLayout& layout,
                          const ShardOptions& options) {
  if (options.update != control::PER_CLOCK) {
    return absl::UnimplementedError(
        "ssp_update PER_PUSH is not available yet; use PER_CLOCK");
  }
  if (options.lazy_pull) {
    return absl::UnimplementedError(
        "lazy_pull is not available yet; leave it off (eager push)");
  }
  if (options.workers < 1 || options.workers > 4096) {
    return absl::InvalidArgumentError(
        absl::StrCat("workers ", options.workers, " is outside 1..4096"));
  }
  if (options.staleness < 0 || options.staleness > 1024) {
    return absl::InvalidArgumentError(
        absl::StrCat("staleness ", options.staleness, " is outside 0..1024"));
  }
  if (options.start_clock < 0 || options.self < 0 ||
      options.self >= options.servers) {
    return absl::InvalidArgumentError("start clock or server index is wrong");
  }
  if (options.chunk_server.size() != layout.chunks().size()) {
    return absl::InvalidArgumentError(
        absl::StrCat("the shard map has ", options.chunk_server.size(),
                     " chunks, the layout ", layout.chunks().size()));
  }
  for (int server : options.chunk_server) {
    if (server < 0 || server >= options.servers) {
      return absl::InvalidArgumentError(
          absl::StrCat("the shard map names server ", server));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<Shard>> Shard::Create(ps::SlabLayout layout,
                                                     ShardOptions options,
                                                     ShardOutput& output) {
  RETURN_IF_ERROR(CheckOptions(layout, options));
  options.max_staleness = std::max(options.max_staleness, options.staleness);
  ASSIGN_OR_RETURN(std::unique_ptr<ChunkUpdate> update,
                   ChunkUpdate::Create(options.solver));
  ASSIGN_OR_RETURN(LearningRatePolicy rates,
                   LearningRatePolicy::Create(options.solver));
  std::optional<PlateauTracker> plateau;
  if (rates.follows_loss()) {
    ASSIGN_OR_RETURN(plateau, PlateauTracker::Create(options.solver));
    plateau->Restore(options.plateau);
  }
  auto shard = std::unique_ptr<Shard>(new Shard(
      std::move(layout), std::move(options), std::move(update),
      std::move(rates), output));
  shard->plateau_ = std::move(plateau);
  return shard;
}

Shard::Shard(ps::SlabLayout layout, ShardOptions options,
             std::unique_ptr<ChunkUpdate> update, LearningRatePolicy rates,
             ShardOutput& output)
    : layout_(std::move(layout)),
      options_(std::move(options)),
      update_(std::move(update)),
      rates_(std::move(rates)),
      output_(output),
      table_(layout_, options_.chunk_server, options_.self,
             {.workers = options_.workers,
              .window = options_.max_staleness + 1,
              .num_history = update_->rule().num_history()}),
      clocks_(options_.workers, options_.start_clock),
      orders_(options_.workers, options_.staleness, options_.max_staleness),
      cuts_(options_.solver, options_.start_clock, table_.chunks().size()),
      losses_(options_.workers),
      workers_(options_.workers),
      empty_version_(options_.start_clock) {
  if (!update_->needs_norms() && !rates_.follows_loss()) return;
  const NormExchange::Place place = {.servers = options_.servers,
                                     .self = options_.self,
                                     .width = update_->norms_per_block(),
                                     .with_loss = rates_.follows_loss()};
  auto norms = std::make_unique<NormExchange>(
      layout_, options_.chunk_server, place, options_.start_clock);
  if (!norms->Participates(options_.self)) return;
  norms_ = std::move(norms);
  for (const ps::BlobSpec& blob : layout_.blobs()) {
    blobs_.push_back({.count = blob.count,
                      .multipliers = {blob.lr_mult, blob.decay_mult},
                      .statistic = blob.statistic});
  }
}

bool Shard::Required(int rank, int64_t clock) const {
  const Worker& worker = workers_[rank];
  return !worker.gone && clock >= worker.due_from &&
         clock < clocks_.finished_at(rank) && orders_.IsMember(rank, clock);
}

bool Shard::AllIn(const ChunkState& chunk) const {
  if (!chunk.ready() || chunk.summed || !orders_.MayClose(chunk.version)) {
    return false;
  }
  bool any = false;
  for (int rank = 0; rank < options_.workers; ++rank) {
    const bool held = chunk.Holds(rank, chunk.version);
    if (!held && Required(rank, chunk.version)) return false;
    any = any || held;
  }
  return any;
}

void Shard::Advance(ChunkState& chunk) {
  while (AllIn(chunk)) {
    Sum(chunk);
    if (norms_ == nullptr) {
      Apply(chunk, UpdateScales());
      continue;
    }
    chunk.summed = true;
    AddNorms(chunk);
    if (AdvanceNormed()) AdvanceAll();
    return;
  }
}

void Shard::AdvanceAll() {
  for (ChunkState& chunk : table_.chunks()) Advance(chunk);
  DecideLoss();
}

void Shard::Sum(ChunkState& chunk) {
  absl::InlinedVector<const float*, 16> parts;
  absl::InlinedVector<uint32_t, 16> samples;
  const int64_t clock = chunk.version;
  for (int rank = 0; rank < options_.workers; ++rank) {
    if (chunk.Holds(rank, clock)) {
      const Part& part = chunk.PartOf(rank, clock);
      parts.push_back(part.gradient.floats().data());
      samples.push_back(part.samples);
    } else if (orders_.IsMember(rank, clock) &&
               clock < clocks_.finished_at(rank)) {
      ++counters_.incomplete;
    }
  }
  chunk.mean = chunk.part_pool.Take();
  const absl::Span<float> mean = chunk.mean.floats();
  const bool equal =
      std::all_of(samples.begin(), samples.end(),
                  [&](uint32_t n) { return n == samples.front(); });
  if (equal) {
    SumParts(parts, 1.0f / static_cast<float>(parts.size()), mean);
  } else {
    double total = 0;
    for (uint32_t n : samples) total += n;
    absl::InlinedVector<float, 16> weights;
    for (uint32_t n : samples) weights.push_back(static_cast<float>(n / total));
    WeightedSumParts(parts, weights, mean);
  }
  for (int rank = 0; rank < options_.workers; ++rank) {
    Part& part = chunk.PartOf(rank, clock);
    if (part.clock == clock) part = Part();
  }
}

// `scales` come with the norms; statistics alone (no gradient in this shard)
// take none.
void Shard::Apply(ChunkState& chunk, const UpdateScales& scales) {
  BufferRef next = chunk.value_pool.Take();
  absl::InlinedVector<float*, 4> history;
  for (BufferRef& array : chunk.history) {
    history.push_back(array.floats().data());
  }
  const int plateau_step = plateau_ ? plateau_->state().step : 0;
  const UpdateStep step = {.rate = rates_.Rate(chunk.version, plateau_step),
                           .update = chunk.version};
  update_->Apply(step, scales, chunk.segments, chunk.values.floats(),
                 next.floats(), absl::MakeSpan(history), chunk.mean.floats());
  chunk.values = std::move(next);
  chunk.mean.Reset();
  chunk.summed = false;
  ++counters_.applied;
  Opened(chunk, chunk.version + 1);
}

void Shard::AddNorms(ChunkState& chunk) {
  partials_.clear();
  update_->NormPartials(chunk.segments, chunk.values.floats(),
                        chunk.mean.floats(), ps::SlabLayout::kBlock,
                        &partials_);
  if (norms_->AddOwn(chunk.id, chunk.version, partials_))
    SendOwnNorms(chunk.version);
}

// Once every contributor has ticked the clock that is to be applied next.
void Shard::DecideLoss() {
  if (norms_ == nullptr || !norms_->DecidesLoss()) return;
  const int64_t clock = norms_->current();
  if (norms_->HasLoss(clock)) return;
  for (int rank = 0; rank < options_.workers; ++rank) {
    if (Required(rank, clock) && !losses_.Has(rank, clock)) return;
  }
  const std::optional<double> mean = losses_.Mean(clock);
  if (!mean.has_value()) return;
  losses_.Prune(clock + 1);
  if (norms_->AddLoss(clock, *mean)) SendOwnNorms(clock);
  if (AdvanceNormed()) AdvanceAll();
}

void Shard::SendOwnNorms(int64_t clock) {
  for (int server = 0; server < options_.servers; ++server) {
    SendOwnNorms(server, clock);
  }
}

void Shard::SendOwnNorms(int server, int64_t clock) {
  if (server == options_.self || !norms_->Participates(server)) return;
  std::vector<double> own = norms_->Own(clock);
  if (!own.empty()) output_.SendNorms(server, clock, std::move(own));
}

// Applies a clock whose norms are all in; whether it did.
bool Shard::AdvanceNormed() {
  const int64_t clock = norms_->current();
  if (!norms_->Complete(clock)) return false;
  // Chunks that hold statistics only add no norms: they may lag behind.
  for (const ChunkState& chunk : table_.chunks()) {
    if (!chunk.summed || chunk.version != clock) return false;
  }
  const UpdateScales scales =
      update_->Scales(blobs_, ps::SlabLayout::kBlock, norms_->All(clock));
  if (plateau_)
    plateau_->Observe(clock, static_cast<float>(norms_->Loss(clock)));
  norms_->Applied(clock);
  for (ChunkState& chunk : table_.chunks()) Apply(chunk, scales);
  return true;
}

bool Shard::OnNorms(int server, int64_t clock,
                    absl::Span<const double> partials) {
  if (norms_ == nullptr || server < 0 || server >= options_.servers ||
      server == options_.self || !norms_->Participates(server) ||
      !norms_->AddPeer(server, clock, partials)) {
    return false;
  }
  if (AdvanceNormed()) AdvanceAll();
  return true;
}

void Shard::OnServerConnected(int server) {
  if (norms_ == nullptr || server < 0 || server >= options_.servers) return;
  // The peer may be one clock behind us.
  for (int64_t clock : {norms_->current() - 1, norms_->current()}) {
    SendOwnNorms(server, clock);
  }
}

void Shard::Opened(ChunkState& chunk, int64_t version) {
  chunk.version = version;
  KeepCut(chunk);
  Publish(chunk);
  if (&chunk == &table_.chunks().front()) orders_.Prune(min_version() - 1);
}

void Shard::KeepCut(ChunkState& chunk) {
  const CutKind kind = cuts_.KindAt(chunk.version, orders_);
  if (!kind.any()) return;
  std::vector<BufferRef> arrays = {chunk.values};
  if (kind.durable) {
    for (const BufferRef& array : chunk.history) {
      arrays.push_back(chunk.value_pool.Take());
      const absl::Span<const float> from = array.floats();
      std::copy(from.begin(), from.end(), arrays.back().floats().begin());
    }
  }
  RetainedCut* complete = cuts_.Add(
      chunk.version, kind, table_.LocalIndex(chunk), std::move(arrays));
  if (complete != nullptr && plateau_) complete->plateau = plateau_->state();
  if (complete != nullptr && complete->kind.durable) {
    output_.CutReady(*complete);
  }
}

// A shard without chunks still has its (empty) part in every durable cut: it
// goes by the ticks.
void Shard::AdvanceEmpty() {
  if (!table_.chunks().empty()) return;
  const int64_t reached =
      std::min<int64_t>(clocks_.min(), options_.solver.max_iter());
  while (empty_version_ < reached) {
    const CutKind kind = cuts_.KindAt(++empty_version_, orders_);
    if (!kind.durable) continue;
    output_.CutReady({.clock = empty_version_, .kind = kind});
  }
}

// A new version: who waits for it gets it, then who subscribes.
void Shard::Publish(ChunkState& chunk) {
  for (int rank = 0; rank < options_.workers; ++rank) {
    ParkedPull& pull = chunk.parked[rank];
    if (!pull.parked || workers_[rank].peer == 0 ||
        chunk.version < pull.clock - orders_.Staleness(pull.clock)) {
      continue;
    }
    pull.parked = false;
    --counters_.parked_now;
    ++chunk.deliveries[rank].in_flight;
    chunk.deliveries[rank].sent_version = chunk.version;
    Answer(workers_[rank].peer, chunk, pull.sequence);
  }
  ReleaseExact(chunk);
  // Another worker is first each time, so nobody is always last.
  for (int i = 0; i < options_.workers; ++i) {
    SendEagerly(chunk, (i + chunk.version) % options_.workers);
  }
}

void Shard::SendEagerly(ChunkState& chunk, int rank) {
  const Worker& worker = workers_[rank];
  Delivery& delivery = chunk.deliveries[rank];
  if (!worker.subscribed || !chunk.ready() || delivery.in_flight > 0 ||
      delivery.sent_version >= chunk.version ||
      clocks_.finished_at(rank) <= chunk.version) {
    return;
  }
  delivery.in_flight = 1;
  delivery.sent_version = chunk.version;
  ps::MessageHeader header = ValuesHeader(chunk);
  header.flags = ps::kFlagEager;
  ++counters_.values_sent;
  ++counters_.eager_sent;
  output_.SendValues(worker.peer, header, chunk.values);
}

int64_t Shard::OpenedClock() const {
  int64_t opened =
      table_.chunks().empty() ? empty_version_ : options_.start_clock - 1;
  for (const ChunkState& chunk : table_.chunks()) {
    opened = std::max({opened, chunk.version, chunk.highest_clock});
  }
  return opened;
}

int64_t Shard::min_version() const {
  int64_t lowest = kClockInfinity;
  for (const ChunkState& chunk : table_.chunks()) {
    lowest = std::min(lowest, chunk.version);
  }
  return lowest == kClockInfinity ? options_.start_clock : lowest;
}

int64_t Shard::max_version() const {
  int64_t highest = options_.start_clock;
  for (const ChunkState& chunk : table_.chunks()) {
    highest = std::max(highest, chunk.version);
  }
  return highest;
}

}  // namespace cssp
