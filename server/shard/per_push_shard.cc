#include "server/shard/per_push_shard.h"

#include <algorithm>
#include <utility>

#include "absl/container/inlined_vector.h"
#include "absl/memory/memory.h"
#include "common/base/status_macros.h"
#include "common/ps/consistency.h"

namespace cssp {

absl::StatusOr<std::unique_ptr<Shard>> PerPushShard::Create(
    ps::SlabLayout layout, ShardOptions options, Parts parts,
    ShardOutput& output) {
  RETURN_IF_ERROR(parts.update->CheckSeparable());
  if (parts.plateau) {
    return absl::InvalidArgumentError(
        "lr_policy plateau follows the mean loss of a clock, which ssp_update "
        "PER_PUSH does not have; use PER_CLOCK");
  }
  parts.history_arrays = options.workers;
  return absl::WrapUnique<Shard>(new PerPushShard(
      std::move(layout), std::move(options), std::move(parts), output));
}

PerPushShard::PerPushShard(ps::SlabLayout layout, ShardOptions options,
                           Parts parts, ShardOutput& output)
    : Shard(std::move(layout), std::move(options), std::move(parts), output),
      lanes_(options_.workers),
      row_(options_.start_clock) {
  for (Lane& lane : lanes_) lane.applied = lane.complete = row_;
}

ps::Reason PerPushShard::Admit(const ChunkState& chunk,
                               const ps::MessageHeader& push) const {
  const int64_t applied = lanes_[push.rank].applied;
  if (push.clock < applied) return ps::Reason::kDuplicate;
  // A read needs the reader's own clocks, so a worker is hardly ever more than
  // one clock beyond what is applied.
  return push.clock > applied + options_.max_staleness
             ? ps::Reason::kTooFarAhead
             : ps::Reason::kNone;
}

void PerPushShard::OnTick(const control::Tick& tick) {
  Lane& lane = lanes_[tick.rank()];
  if (update_->needs_norms() && tick.pushes() > 0 &&
      tick.clock() >= lane.applied) {
    lane.norms[tick.clock()] = tick.squared_norm();
  }
  Settle(tick.rank());
}

void PerPushShard::Settle(int rank) {
  const int64_t end = clocks_.finished_at(rank);
  const int64_t complete = std::min(clocks_.done(rank), end);
  // Another's finish may have moved the minimum, even without a clock of ours.
  Lane& lane = lanes_[rank];
  for (; complete != kClockInfinity && lane.complete < complete;
       ++lane.complete) {
    complete_.push_back({rank, lane.complete});
  }
  AdvanceAll();
}

void PerPushShard::AdvanceAll() {
  for (int rank = 0; rank < options_.workers; ++rank) JoinOrLeave(rank);
  MoveRow();  // without an update, if somebody has left
  for (auto next = complete_.begin(); next != complete_.end();) {
    if (!CanApply(*next)) {
      ++next;
      continue;
    }
    const int rank = next->rank;
    complete_.erase(next);
    ApplyClock(rank);
    next = complete_.begin();  // a cut may have let earlier ones go on
  }
}

// After a restore: what the worker's last clock before it weighed.
void PerPushShard::OnRepeated(const ps::MessageHeader& push) {
  Lane& lane = lanes_[push.rank];
  if (push.clock >= lane.applied || push.clock <= lane.samples_clock) return;
  lane.samples = push.samples;
  lane.samples_clock = push.clock;
}

void PerPushShard::SaveMode(ShardLogState* state) const {
  for (int rank = 0; rank < options_.workers; ++rank) {
    std::map<int64_t, uint32_t> samples;
    const Lane& lane = lanes_[rank];
    if (lane.samples > 0) samples[lane.samples_clock] = lane.samples;
    for (const ChunkState& chunk : table_.chunks()) {
      for (int slot = 0; slot < chunk.window; ++slot) {
        const Part& part = chunk.parts[slot * options_.workers + rank];
        if (part.gradient) samples[part.clock] = part.samples;
      }
    }
    for (const auto& [clock, count] : samples) {
      ShardLogState::Samples* out = state->mutable_workers(rank)->add_samples();
      out->set_clock(clock);
      out->set_count(count);
    }
  }
}

void PerPushShard::LoadMode(const ShardLogState& state) {
  const int count = std::min(state.workers_size(), options_.workers);
  for (int rank = 0; rank < count; ++rank) {
    for (const ShardLogState::Samples& in : state.workers(rank).samples()) {
      ps::MessageHeader push;
      push.rank = rank;
      push.clock = in.clock();
      push.samples = in.count();
      OnRepeated(push);
    }
  }
}

void PerPushShard::JoinOrLeave(int rank) {
  Lane& lane = lanes_[rank];
  const Worker& worker = workers_[rank];
  if (lane.joined != worker.gone) return;
  lane.joined = !worker.gone;
  if (lane.joined) {
    lane.applied = lane.complete = std::max(lane.applied, worker.due_from);
    lane.norms.clear();
    complete_.erase(std::remove_if(complete_.begin(), complete_.end(),
                                   [rank](const Complete& each) {
                                     return each.rank == rank;
                                   }),
                    complete_.end());
  }
  for (ChunkState& chunk : table_.chunks()) {
    for (int slot = 0; slot < chunk.window; ++slot) {
      Part& part = chunk.parts[slot * options_.workers + rank];
      if (part.clock >= lane.complete || lane.joined) part = Part();
    }
    const absl::Span<float> history = chunk.history[rank].floats();
    if (lane.applied == lane.complete) {
      std::fill(history.begin(), history.end(), 0.0f);
    }
  }
}

bool PerPushShard::CanApply(const Complete& next) const {
  return next.clock == lanes_[next.rank].applied &&
         orders_.MayClose(next.clock) && !HeldByCut(next.clock);
}

bool PerPushShard::HeldByCut(int64_t clock) const {
  for (int64_t cut = row_ + 1; cut <= clock; ++cut) {
    if (cuts_.KindAt(cut, orders_).any()) return true;
  }
  return false;
}

float PerPushShard::ShareOf(int rank, int64_t clock) const {
  const double own = lanes_[rank].samples;
  double all = own;
  for (int other = 0; other < options_.workers; ++other) {
    if (other == rank || !Required(other, clock)) continue;
    const uint32_t samples = lanes_[other].samples;
    all += samples > 0 ? samples : own;
  }
  return static_cast<float>(own / all);
}

void PerPushShard::ApplyClock(int rank) {
  Lane& lane = lanes_[rank];
  const int64_t clock = lane.applied;
  UpdateScales scales;
  if (update_->needs_norms()) {
    scales = update_->ClipScales(lane.norms[clock]);
    lane.norms.erase(lane.norms.begin(), lane.norms.upper_bound(clock));
  }
  UpdateStep step{.rate = rates_.Rate(clock), .update = clock};
  for (ChunkState& chunk : table_.chunks()) {
    if (!chunk.Holds(rank, clock)) continue;
    const Part& part = chunk.PartOf(rank, clock);
    lane.samples = part.samples;
    lane.samples_clock = clock;
    step.rate *= ps::StalenessFactor(options_.staleness_lr, part.age);
    break;  // one slab was read, so its chunks' parts agree
  }
  step.share = ShareOf(rank, clock);
  for (ChunkState& chunk : table_.chunks()) {
    // A tick that covers fewer pushes than chunks: those have no update.
    if (!chunk.Holds(rank, clock)) {
      ++counters_.incomplete;
      continue;
    }
    Part part = std::exchange(chunk.PartOf(rank, clock), Part());
    BufferRef next = options_.keep_previous
                         ? chunk.value_pool.Take()
                         : chunk.value_pool.TakeAfter(chunk.values);
    float* history = chunk.history[rank].floats().data();
    update_->Apply(step, scales, chunk.segments, chunk.values.floats(),
                   next.floats(), absl::MakeSpan(&history, 1),
                   part.gradient.floats());
    if (options_.keep_previous) chunk.previous = std::move(chunk.values);
    chunk.values = std::move(next);
    ++counters_.applied;
  }
  ++lane.applied;
  if (MoveRow()) return;
  for (ChunkState& chunk : table_.chunks()) Publish(chunk);
}

bool PerPushShard::MoveRow() {
  int64_t least = kClockInfinity, most = row_;
  for (int rank = 0; rank < options_.workers; ++rank) {
    const int64_t applied = lanes_[rank].applied;
    most = std::max(most, applied);
    if (Required(rank, applied)) least = std::min(least, applied);
  }
  const int64_t row = least == kClockInfinity ? most : least;
  if (row <= row_) return false;
  row_ = row;
  for (ChunkState& chunk : table_.chunks()) {
    if (chunk.ready()) Opened(chunk, row_);
  }
  return true;
}

ps::Freshness PerPushShard::FreshnessFor(const ChunkState& chunk,
                                         int rank) const {
  return {.row = chunk.version, .own = lanes_[rank].applied};
}

// Once a clock: when the values let the reader begin it.
bool PerPushShard::WorthSending(int rank, const ps::Freshness& sent,
                                const ps::Freshness& now) const {
  const int64_t next = now.own;
  if (next >= clocks_.finished_at(rank)) return false;
  const int64_t staleness = orders_.Staleness(next);
  return now.FitFor(next, staleness) && !sent.FitFor(next, staleness);
}

// Each worker's momentum as far as its own clocks are missing.
int64_t PerPushShard::LookAhead(const ChunkState& chunk, int64_t target,
                                Momentum* weighed) const {
  int64_t latest = 0;
  for (int rank = 0; rank < options_.workers; ++rank) {
    const int64_t applied = lanes_[rank].applied;
    if (applied >= target || !Required(rank, applied)) continue;
    latest = std::max(latest, target - applied);
    weighed->emplace_back(update_->rule().Coast(target - applied),
                          chunk.history[rank].floats().data());
  }
  return latest;
}

// Slot 1 is the sum over workers, dealt out evenly.
void PerPushShard::FillHistory(ChunkState& chunk, int slot,
                               absl::Span<const float> floats) {
  const float* const sum = floats.data();
  BufferRef share = chunk.part_pool.Take();
  SumParts(absl::MakeConstSpan(&sum, 1),
           1.0f / static_cast<float>(options_.workers), share.floats());
  for (BufferRef& history : chunk.history) {
    CopySegments(chunk, share.floats(), history.floats());
  }
}

void PerPushShard::RestoreWorkerHistory(uint32_t id, int rank,
                                        absl::Span<const float> floats) {
  ChunkState& chunk = *table_.Find(id);
  CopySegments(chunk, floats, chunk.history[rank].floats());
}

void PerPushShard::SaveHistory(ChunkState& chunk,
                               std::vector<BufferRef>* arrays) {
  absl::InlinedVector<const float*, 16> histories;
  for (const BufferRef& history : chunk.history) {
    histories.push_back(history.floats().data());
  }
  arrays->push_back(chunk.value_pool.Take());
  SumParts(histories, 1.0f, arrays->back().floats());
  for (const BufferRef& history : chunk.history) {
    arrays->push_back(chunk.value_pool.Take());
    CopySegments(chunk, history.floats(), arrays->back().floats());
  }
}

}  // namespace cssp
