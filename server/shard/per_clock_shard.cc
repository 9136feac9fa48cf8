#include "server/shard/per_clock_shard.h"

#include <algorithm>
#include <utility>

#include "absl/container/inlined_vector.h"
#include "common/ps/consistency.h"

namespace cssp {
namespace {

// The server that decides who contributes, where there are backup workers.
constexpr int kDecider = 0;

}  // namespace

PerClockShard::PerClockShard(ps::SlabLayout layout, ShardOptions options,
                             Parts parts, ShardOutput& output)
    : Shard(std::move(layout), std::move(options), std::move(parts), output),
      plateau_(std::move(parts.plateau)),
      losses_(options_.workers) {
  if (options_.backup > 0) {
    contributors_ = std::make_unique<Contributors>(options_.workers,
                                                   options_.start_clock);
  }
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

ps::Reason PerClockShard::Admit(const ChunkState& chunk,
                                const ps::MessageHeader& push) const {
  if (IsLate(push, chunk)) return ps::Reason::kLate;
  if (push.clock < chunk.version) return ps::Reason::kDuplicate;
  if (push.clock > chunk.version + options_.max_staleness) {
    return ps::Reason::kTooFarAhead;
  }
  if (chunk.summed && push.clock == chunk.version) {
    return ps::Reason::kDuplicate;  // its clock is summed, waiting for norms
  }
  return ps::Reason::kNone;
}

// Whether a part of `rank` belongs to `clock`, once it is known who does.
bool PerClockShard::Contributes(int rank, int64_t clock) const {
  return contributors_ == nullptr || contributors_->Contains(clock, rank);
}

bool PerClockShard::AllIn(const ChunkState& chunk) const {
  if (!chunk.ready() || chunk.summed || !orders_.MayClose(chunk.version) ||
      (contributors_ != nullptr && !contributors_->Knows(chunk.version))) {
    return false;
  }
  // A decided clock closes even when all who were to contribute have died.
  bool any = contributors_ != nullptr;
  for (int rank = 0; rank < options_.workers; ++rank) {
    if (!Contributes(rank, chunk.version)) continue;
    const bool held = chunk.Holds(rank, chunk.version);
    if (!held && Required(rank, chunk.version)) return false;
    any = any || held;
  }
  return any;
}

void PerClockShard::Advance(ChunkState& chunk) {
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

void PerClockShard::AdvanceChunks() {
  for (ChunkState& chunk : table_.chunks()) Advance(chunk);
}

void PerClockShard::AdvanceAll() {
  Decide();
  AdvanceChunks();
  DecideLoss();
}

void PerClockShard::OnPart(ChunkState& chunk, int rank) {
  Decide();
  Advance(chunk);
}

void PerClockShard::Sum(ChunkState& chunk) {
  absl::InlinedVector<const float*, 16> parts;
  absl::InlinedVector<uint32_t, 16> samples;
  double factors = 0, all_samples = 0;
  const int64_t clock = chunk.version;
  chunk.mean.Reset();
  for (int rank = 0; rank < options_.workers; ++rank) {
    if (!Contributes(rank, clock)) continue;
    if (chunk.Holds(rank, clock)) {
      const Part& part = chunk.PartOf(rank, clock);
      // The first part's memory takes the sum: it is hot, and one array less.
      if (parts.empty()) chunk.mean = part.gradient;
      parts.push_back(part.gradient.floats().data());
      samples.push_back(part.samples);
      all_samples += part.samples;
      factors += part.samples *
                 double{ps::StalenessFactor(options_.staleness_lr, part.age)};
    } else if (orders_.IsMember(rank, clock) &&
               clock < clocks_.finished_at(rank)) {
      ++counters_.incomplete;
    }
  }
  chunk.hollow = parts.empty();
  if (chunk.hollow) chunk.mean = chunk.part_pool.Take();
  // By samples, as the gradients are.
  chunk.rate_factor =
      chunk.hollow ? 1 : static_cast<float>(factors / all_samples);
  const absl::Span<float> mean = chunk.mean.floats();
  const bool equal =
      std::all_of(samples.begin(), samples.end(),
                  [&](uint32_t n) { return n == samples.front(); });
  if (chunk.hollow) {
    std::fill(mean.begin(), mean.end(), 0.0f);
  } else if (equal) {
    SumParts(parts, 1.0f / static_cast<float>(parts.size()), mean);
  } else {
    absl::InlinedVector<float, 16> weights;
    for (uint32_t n : samples) {
      weights.push_back(static_cast<float>(n / all_samples));
    }
    WeightedSumParts(parts, weights, mean);
  }
  for (int rank = 0; rank < options_.workers; ++rank) {
    Part& part = chunk.PartOf(rank, clock);
    if (part.clock == clock) part = Part();
  }
}

// `scales` come with the norms; statistics alone (no gradient in this shard)
// take none.
void PerClockShard::Apply(ChunkState& chunk, const UpdateScales& scales) {
  if (std::exchange(chunk.hollow, false)) {
    chunk.mean.Reset();
    chunk.summed = false;
    return Opened(chunk, chunk.version + 1);
  }
  // In place where nobody reads: an array less goes through the cache.
  BufferRef next = options_.keep_previous
                       ? chunk.value_pool.Take()
                       : chunk.value_pool.TakeAfter(chunk.values);
  absl::InlinedVector<float*, 4> history;
  for (BufferRef& array : chunk.history) {
    history.push_back(array.floats().data());
  }
  const int plateau_step = plateau_ ? plateau_->state().step : 0;
  const UpdateStep step = {.rate = rates_.Rate(chunk.version, plateau_step) *
                                   chunk.rate_factor,
                           .update = chunk.version};
  update_->Apply(step, scales, chunk.segments, chunk.values.floats(),
                 next.floats(), absl::MakeSpan(history), chunk.mean.floats());
  if (options_.keep_previous) chunk.previous = std::move(chunk.values);
  chunk.values = std::move(next);
  chunk.mean.Reset();
  chunk.summed = false;
  ++counters_.applied;
  Opened(chunk, chunk.version + 1);
  // Another server may be behind by as much as a reader may.
  if (contributors_ != nullptr && &chunk == &table_.chunks().front()) {
    contributors_->Prune(min_version() - options_.max_staleness - 2);
  }
}

void PerClockShard::AddNorms(ChunkState& chunk) {
  partials_.clear();
  update_->NormPartials(chunk.segments, chunk.values.floats(),
                        chunk.mean.floats(), ps::SlabLayout::kBlock,
                        &partials_);
  if (norms_->AddOwn(chunk.id, chunk.version, partials_)) {
    SendOwnNorms(chunk.version);
  }
}

void PerClockShard::OnTick(const control::Tick& tick) {
  if (norms_ != nullptr && norms_->DecidesLoss() &&
      tick.clock() >= norms_->current() &&
      !(tick.finished() && tick.pushes() == 0)) {
    losses_.Add(tick.rank(), tick.clock(), tick.loss());
    DecideLoss();
  }
  Decide();
  if (tick.finished()) AdvanceAll();
}

// Once every contributor has ticked the clock that is to be applied next.
void PerClockShard::DecideLoss() {
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

void PerClockShard::SendOwnNorms(int64_t clock) {
  for (int server = 0; server < options_.servers; ++server) {
    SendOwnNorms(server, clock);
  }
}

void PerClockShard::SendOwnNorms(int server, int64_t clock) {
  if (server == options_.self || !norms_->Participates(server)) return;
  std::vector<double> own = norms_->Own(clock);
  if (!own.empty()) output_.SendNorms(server, clock, std::move(own));
}

// Applies a clock whose norms are all in; whether it did.
bool PerClockShard::AdvanceNormed() {
  const int64_t clock = norms_->current();
  if (!norms_->Complete(clock)) return false;
  // Chunks that hold statistics only add no norms: they may lag behind.
  for (const ChunkState& chunk : table_.chunks()) {
    if (!chunk.summed || chunk.version != clock) return false;
  }
  const UpdateScales scales =
      update_->Scales(blobs_, ps::SlabLayout::kBlock, norms_->All(clock));
  if (plateau_) {
    plateau_->Observe(clock, static_cast<float>(norms_->Loss(clock)));
  }
  norms_->Applied(clock);
  for (ChunkState& chunk : table_.chunks()) Apply(chunk, scales);
  return true;
}

bool PerClockShard::OnNorms(int server, int64_t clock,
                    absl::Span<const double> partials) {
  if (norms_ == nullptr || server < 0 || server >= options_.servers ||
      server == options_.self || !norms_->Participates(server) ||
      !norms_->AddPeer(server, clock, partials)) {
    return false;
  }
  if (AdvanceNormed()) AdvanceAll();
  return true;
}

void PerClockShard::OnServerConnected(int server) {
  if (server < 0 || server >= options_.servers) return;
  if (contributors_ != nullptr && options_.self == kDecider) {
    for (int64_t clock = contributors_->oldest(); clock < contributors_->next();
         ++clock) {
      output_.SendContributors(server, clock, contributors_->Ranks(clock));
    }
  }
  if (norms_ == nullptr) return;
  // The peer may be one clock behind us.
  for (int64_t clock : {norms_->current() - 1, norms_->current()}) {
    SendOwnNorms(server, clock);
  }
}

// ---- Backup workers ---------------------------------------------------------

// The deciding shard settles a clock as soon as enough workers have completed
// it: tick and pushes.  The dead are waited for no longer, and do not count as
// having contributed: their parts may be missing elsewhere.
void PerClockShard::Decide() {
  if (contributors_ == nullptr || options_.self != kDecider || deciding_)
    return;
  while (orders_.MayClose(contributors_->next())) {
    const int64_t clock = contributors_->next();
    int members = 0, able = 0;
    std::vector<int32_t> ready;
    for (int rank = 0; rank < options_.workers; ++rank) {
      members += orders_.IsMember(rank, clock);
      if (!Required(rank, clock)) continue;
      ++able;
      if (clocks_.done(rank) > clock) ready.push_back(rank);
    }
    const int needed = std::max(1, std::min(members - options_.backup, able));
    if (static_cast<int>(ready.size()) < needed) return;
    deciding_ = options_.decisions_logged;
    if (deciding_) return output_.LogContributors(clock, std::move(ready));
    Announce(clock, ready);
  }
}

void PerClockShard::Announce(int64_t clock, const std::vector<int32_t>& ranks) {
  for (int server = 0; server < options_.servers; ++server) {
    if (server == options_.self) continue;
    output_.SendContributors(server, clock, ranks);
  }
  Settle(clock, ranks);
}

void PerClockShard::OnDecided(int64_t clock, absl::Span<const int32_t> ranks) {
  if (contributors_ == nullptr || options_.self != kDecider) return;
  deciding_ = false;
  Announce(clock, {ranks.begin(), ranks.end()});
  AdvanceAll();
}

// What was decided and did not reach the log is decided anew.
void PerClockShard::Replayed() {
  deciding_ = false;
  AdvanceAll();
}

bool PerClockShard::Settle(int64_t clock, absl::Span<const int32_t> ranks) {
  const bool known = contributors_->Knows(clock);
  if (!contributors_->Add(clock, ranks)) return false;
  if (known || !contributors_->Knows(clock)) return true;
  for (int rank = 0; rank < options_.workers; ++rank) {
    if (!Contributes(rank, clock)) clocks_.Close(rank, clock);
  }
  AdvanceChunks();
  AdvanceEmpty();
  return true;
}

bool PerClockShard::OnContributors(int server, int64_t clock,
                                   absl::Span<const int32_t> ranks) {
  return contributors_ != nullptr && server == kDecider &&
         options_.self != kDecider && Settle(clock, ranks);
}

bool PerClockShard::IsLate(const ps::MessageHeader& push,
                           const ChunkState& chunk) const {
  if (contributors_ == nullptr) return false;
  if (contributors_->Knows(push.clock)) {
    return !contributors_->Contains(push.clock, push.rank);
  }
  return push.clock < chunk.version;
}

ps::Freshness PerClockShard::FreshnessFor(const ChunkState& chunk,
                                          int rank) const {
  return {.row = chunk.version};
}

bool PerClockShard::WorthSending(int rank, const ps::Freshness& sent,
                                 const ps::Freshness& now) const {
  return now.row > sent.row && now.row < clocks_.finished_at(rank);
}

void PerClockShard::FillHistory(ChunkState& chunk, int slot,
                                absl::Span<const float> floats) {
  CopySegments(chunk, floats, chunk.history[slot - 1].floats());
}

void PerClockShard::SaveHistory(ChunkState& chunk,
                                std::vector<BufferRef>* arrays) {
  for (const BufferRef& array : chunk.history) {
    arrays->push_back(chunk.value_pool.Take());
    CopySegments(chunk, array.floats(), arrays->back().floats());
  }
}

int64_t PerClockShard::NextNeeded(const ChunkState& chunk, int rank) const {
  if (!chunk.ready()) return options_.start_clock;
  int64_t clock = chunk.version;
  if (chunk.summed) ++clock;
  while (clock < chunk.version + chunk.window && chunk.Holds(rank, clock)) {
    ++clock;
  }
  // The tick brings the loss, which the clock waits for.
  return plateau_ ? std::min(clock, clocks_.done(rank)) : clock;
}

int64_t PerClockShard::LookAhead(const ChunkState& chunk, int64_t target,
                                 Momentum* weighed) const {
  const int64_t late = target - chunk.version;
  if (late <= 0) return 0;
  weighed->emplace_back(update_->rule().Coast(late),
                        chunk.history[0].floats().data());
  return late;
}

// Whoever has pushed its part of a clock reads for the next.
int64_t PerClockShard::NextRead(const ChunkState& chunk, int rank) const {
  int64_t next = chunk.version;
  while (chunk.Holds(rank, next)) ++next;
  return next;
}

std::optional<PlateauState> PerClockShard::plateau() const {
  if (!plateau_) return std::nullopt;
  return plateau_->state();
}

}  // namespace cssp
