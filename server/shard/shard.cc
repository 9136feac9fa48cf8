#include "server/shard/shard.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "server/shard/per_clock_shard.h"
#include "server/shard/per_push_shard.h"

namespace cssp {
namespace {

absl::Status CheckOptions(const ps::SlabLayout& layout,
                          const ShardOptions& options) {
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
  if (options.backup < 0 || options.backup >= options.workers) {
    return absl::InvalidArgumentError(
        absl::StrCat("backup ", options.backup, " is outside 0..",
                     options.workers - 1));
  }
  if (options.chunk_server.size() != layout.chunks().size()) {
    return absl::InvalidArgumentError(
        absl::StrCat("the shard map has ", options.chunk_server.size(),
                     " chunks, the layout ", layout.chunks().size()));
  }
  for (int rank : options.members) {
    if (rank < 0 || rank >= options.workers) {
      return absl::InvalidArgumentError(
          absl::StrCat("rank ", rank, " cannot be a member"));
    }
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
  Parts parts{.update = std::move(update), .rates = std::move(rates)};
  if (parts.rates.follows_loss()) {
    ASSIGN_OR_RETURN(parts.plateau, PlateauTracker::Create(options.solver));
    parts.plateau->Restore(options.plateau);
  }
  parts.history_arrays = parts.update->rule().num_history();
  if (options.update == control::PER_PUSH) {
    return PerPushShard::Create(std::move(layout), std::move(options),
                                std::move(parts), output);
  }
  if (options.lookahead && !parts.update->rule().linear()) {
    return absl::InvalidArgumentError(
        absl::StrCat("lookahead predicts by momentum: it needs SGD or "
                     "Nesterov, not ",
                     parts.update->rule().type()));
  }
  return std::unique_ptr<Shard>(
      new PerClockShard(std::move(layout), std::move(options),
                        std::move(parts), output));
}

Shard::Shard(ps::SlabLayout layout, ShardOptions options, Parts&& parts,
             ShardOutput& output)
    : layout_(std::move(layout)),
      options_(std::move(options)),
      update_(std::move(parts.update)),
      rates_(std::move(parts.rates)),
      output_(output),
      table_(layout_, options_.chunk_server, options_.self,
             {.workers = options_.workers,
              .window = options_.max_staleness + 1,
              .num_history = parts.history_arrays,
              .value_memory = options_.value_memory}),
      clocks_(options_.workers, options_.start_clock),
      orders_(options_.workers, options_.staleness, options_.max_staleness),
      cuts_(options_.solver, options_.start_clock, table_.chunks().size(),
            {.every = options_.checkpoint_clocks,
             .restored = options_.restored}),
      workers_(options_.workers),
      empty_version_(options_.start_clock) {
  if (options_.members.empty()) return;
  orders_.SetMembers(options_.members);
  for (int rank = 0; rank < options_.workers; ++rank) {
    if (orders_.IsMember(rank, options_.start_clock)) continue;
    workers_[rank].gone = true;
    clocks_.Remove(rank);
  }
}

bool Shard::Required(int rank, int64_t clock) const {
  const Worker& worker = workers_[rank];
  return !worker.gone && clock >= worker.due_from &&
         clock < clocks_.finished_at(rank) && orders_.IsMember(rank, clock);
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
  if (kind.history()) SaveHistory(chunk, &arrays);
  RetainedCut* complete = cuts_.Add(
      chunk.version, kind, table_.LocalIndex(chunk), std::move(arrays));
  if (complete != nullptr) complete->plateau = plateau();
  if (complete != nullptr && complete->kind.durable) {
    output_.CutReady(*complete);
  }
}

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

void Shard::Publish(ChunkState& chunk) {
  for (int rank = 0; rank < options_.workers; ++rank) {
    ParkedPull& pull = chunk.parked[rank];
    if (!pull.parked || workers_[rank].peer == 0 ||
        !FreshnessFor(chunk, rank)
             .FitFor(pull.clock, orders_.Staleness(pull.clock))) {
      continue;
    }
    pull.parked = false;
    --counters_.parked_now;
    Answer(chunk, rank, pull);
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
  if (!worker.subscribed || !chunk.ready() || delivery.in_flight > 0) return;
  const ps::Freshness fresh = FreshnessFor(chunk, rank);
  if (!WorthSending(rank, delivery.sent, fresh)) return;
  ps::MessageHeader header = ValuesHeader(chunk);
  header.flags = ps::kFlagEager;
  ++counters_.eager_sent;
  // A reader who was late for its last clock is so for its next.
  const int64_t target =
      std::max(NextRead(chunk, rank), fresh.row + worker.age);
  SendTo(chunk, rank, target, header);
}

// `header` lacks what tells the reader how fresh the values are.
void Shard::SendTo(ChunkState& chunk, int rank, int64_t target,
                   ps::MessageHeader header) {
  const ps::Freshness fresh = FreshnessFor(chunk, rank);
  Delivery& delivery = chunk.deliveries[rank];
  ++delivery.in_flight;
  delivery.sent = fresh;
  header.based_on = fresh.own;
  BufferRef values = chunk.values;
  Momentum momentum;
  const int64_t ahead =
      options_.lookahead ? LookAhead(chunk, target, &momentum) : 0;
  if (ahead > 0) {
    values = chunk.value_pool.Take();
    const absl::Span<float> out = values.floats();
    const absl::Span<const float> now = chunk.values.floats();
    std::copy(now.begin(), now.end(), out.begin());
    for (const auto& [factor, history] : momentum) {
      for (size_t i = 0; i < out.size(); ++i) out[i] -= factor * history[i];
    }
    header.flags |= ps::kFlagPredicted;
    header.samples = static_cast<uint32_t>(ahead);
  }
  ++counters_.values_sent;
  output_.SendValues(workers_[rank].peer, header, std::move(values));
}

void Shard::CopySegments(const ChunkState& chunk, absl::Span<const float> from,
                         absl::Span<float> to) {
  for (const UpdateSegment& segment : chunk.segments) {
    std::copy_n(from.begin() + segment.offset, segment.count,
                to.begin() + segment.offset);
  }
}

int64_t Shard::NextNeeded(const ChunkState& chunk, int rank) const {
  if (!chunk.ready()) return options_.start_clock;
  const int64_t done = clocks_.done(rank);
  return done == kClockInfinity ? chunk.version : done;
}

int64_t Shard::OpenedClock() const {
  int64_t opened = table_.chunks().empty()
                       ? std::max(empty_version_, empty_opened_)
                       : options_.start_clock - 1;
  for (const ChunkState& chunk : table_.chunks()) {
    opened = std::max({opened, chunk.version, chunk.highest_clock});
  }
  if (contributors() != nullptr) {
    opened = std::max(opened, contributors()->next() - 1);
  }
  return opened;
}

int64_t Shard::version(uint32_t chunk) const {
  const ChunkState* state = const_cast<ChunkTable&>(table_).Find(chunk);
  return state == nullptr ? ChunkState::kNotReady : state->version;
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
