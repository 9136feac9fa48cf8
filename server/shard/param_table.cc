#include "server/shard/param_table.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"

namespace cssp {
namespace {

// Rows of a dense table, or room of a sparse one, in this shard.
int64_t Capacity(const TableOptions& options) {
  if (options.max_rows > 0) return options.max_rows;
  return (options.rows + options.servers - 1 - options.self) / options.servers;
}

size_t HeldBytes(const ps::TableInc& inc) {
  return inc.rows.size() * sizeof(int64_t) + inc.deltas.size() * sizeof(float);
}

}  // namespace

absl::StatusOr<ParamTable> ParamTable::Create(const TableOptions& options,
                                              TableOutput& output) {
  constexpr int64_t kMaxFloats = int64_t{1} << 34;
  const int64_t made = options.max_rows > 0 ? options.max_rows : options.rows;
  if (options.rows < 1 || options.width < 1 || options.max_rows < 0 ||
      options.width > ps::kMaxTableWidth ||
      made > kMaxFloats / options.width || options.workers < 1 ||
      options.staleness < 0 || options.servers < 1 || options.self < 0 ||
      options.self >= options.servers) {
    return absl::InvalidArgumentError(absl::StrCat(
        "table ", options.id, ": ", options.rows, " rows of ", options.width,
        " floats, staleness ", options.staleness, " cannot be"));
  }
  return ParamTable(options, output);
}

ParamTable::ParamTable(const TableOptions& options, TableOutput& output)
    : options_(options),
      output_(&output),
      store_(options.max_rows > 0 ? RowStore::Kind::kSparse
                                  : RowStore::Kind::kDense,
             Capacity(options), options.width),
      zeros_(options.width),
      lanes_(options.workers),
      min_(options.start_clock) {
  for (Lane& lane : lanes_) lane.done = options.start_clock;
}

bool ParamTable::Mine(int64_t row) const {
  return row >= 0 && row < options_.rows &&
         row % options_.servers == options_.self;
}

absl::Span<const float> ParamTable::row(int64_t row) const {
  const float* made = store_.Find(row / options_.servers);
  return {made == nullptr ? zeros_.data() : made, zeros_.size()};
}

ps::Reason ParamTable::Inc(const ps::TableInc& inc) {
  if (inc.rank < 0 || inc.rank >= options_.workers || inc.sequence == 0 ||
      inc.deltas.size() != inc.rows.size() * options_.width) {
    return ps::Reason::kBadMessage;
  }
  for (int64_t row : inc.rows) {
    if (!Mine(row)) return ps::Reason::kNotMine;
  }
  Lane& lane = lanes_[inc.rank];
  if (lane.removed) return ps::Reason::kFenced;
  if (inc.sequence <= lane.applied) return ps::Reason::kDuplicate;
  if (inc.sequence > lane.applied + kMaxHeld) return ps::Reason::kTooFarAhead;
  const auto at = std::lower_bound(
      lane.held.begin(), lane.held.end(), inc.sequence,
      [](const ps::TableInc& held, uint64_t s) { return held.sequence < s; });
  if (at != lane.held.end() && at->sequence == inc.sequence) {
    return ps::Reason::kDuplicate;
  }
  // The one that fills the gap is always taken: it frees the others.
  if (inc.sequence != lane.applied + 1 &&
      lane.held_bytes + HeldBytes(inc) > kMaxHeldBytes) {
    return ps::Reason::kTooFarAhead;
  }
  // Made now, so that what is acknowledged can always be applied.
  for (int64_t row : inc.rows) {
    if (store_.Make(row / options_.servers) == nullptr) {
      return ps::Reason::kTableFull;
    }
  }
  lane.held_bytes += HeldBytes(inc);
  lane.held.insert(at, inc);
  Settle(lane);
  return ps::Reason::kNone;
}

absl::Status ParamTable::Tick(int rank, int64_t clock, uint64_t incs) {
  if (rank < 0 || rank >= options_.workers) {
    return absl::InvalidArgumentError(absl::StrCat("tick of rank ", rank));
  }
  Lane& lane = lanes_[rank];
  if (clock < lane.done) return absl::OkStatus();
  if (clock - lane.done >= VectorClock::kMaxOpenClocks) {
    return absl::InvalidArgumentError(
        absl::StrCat("rank ", rank, " ticks clock ", clock, " with only ",
                     lane.done, " clocks complete"));
  }
  const auto at = std::lower_bound(
      lane.ticks.begin(), lane.ticks.end(), clock,
      [](const PendingTick& tick, int64_t c) { return tick.clock < c; });
  if (at == lane.ticks.end() || at->clock != clock) {
    lane.ticks.insert(at, {clock, incs});
  }
  Settle(lane);
  return absl::OkStatus();
}

void ParamTable::Finish(int rank, uint64_t incs) {
  lanes_[rank].finished_at = incs;
  Settle(lanes_[rank]);
}

void ParamTable::Remove(int rank) {
  Lane& lane = lanes_[rank];
  for (const ps::TableInc& inc : lane.held) Apply(inc);
  lane.held.clear();
  lane.held_bytes = 0;
  lane.finished = lane.removed = true;
  lane.parked.clear();
  UpdateMin();
}

TableCut ParamTable::Cut() const {
  TableCut cut{.rows = store_.Take()};
  for (const Lane& lane : lanes_) {
    cut.lanes.push_back({.done = lane.done,
                         .applied = lane.applied,
                         .finished = lane.finished,
                         .removed = lane.removed});
  }
  return cut;
}

bool ParamTable::RestoreRow(int64_t row, absl::Span<const float> values) {
  if (!Mine(row) || values.size() != zeros_.size()) return false;
  float* const out = store_.Make(row / options_.servers);
  if (out == nullptr) return false;
  std::copy(values.begin(), values.end(), out);
  return true;
}

void ParamTable::RestoreLane(int rank, const TableLane& from) {
  Lane& lane = lanes_[rank];
  lane.done = from.done;
  lane.applied = from.applied;
  lane.finished = from.finished;
  lane.removed = from.removed;
  UpdateMin();
}

void ParamTable::Detach(PeerId peer) {
  for (Lane& lane : lanes_) {
    lane.parked.erase(
        std::remove_if(lane.parked.begin(), lane.parked.end(),
                       [=](const ParkedGet& get) { return get.peer == peer; }),
        lane.parked.end());
  }
}

void ParamTable::Apply(const ps::TableInc& inc) {
  const float* delta = inc.deltas.data();
  for (int64_t row : inc.rows) {
    float* out = store_.Make(row / options_.servers);
    for (int i = 0; i < options_.width; ++i) out[i] += *delta++;
  }
}

// Applies what is in order and advances the lane.
void ParamTable::Settle(Lane& lane) {
  while (!lane.held.empty() && lane.held.front().sequence == lane.applied + 1) {
    Apply(lane.held.front());
    lane.held_bytes -= HeldBytes(lane.held.front());
    ++lane.applied;
    lane.held.pop_front();
  }
  while (!lane.ticks.empty() && lane.ticks.front().clock == lane.done &&
         lane.ticks.front().incs <= lane.applied) {
    ++lane.done;
    lane.ticks.pop_front();
  }
  lane.finished = lane.finished || lane.applied >= lane.finished_at;
  UpdateMin();
}

// Answers whoever waited for the minimum.
void ParamTable::UpdateMin() {
  int64_t least = kClockInfinity;
  for (const Lane& each : lanes_) {
    if (!each.finished) least = std::min(least, each.done);
  }
  if (least == min_) return;
  min_ = least;
  for (Lane& each : lanes_) {
    for (size_t n = each.parked.size(); n > 0; --n) {
      ParkedGet parked = std::move(each.parked.front());
      each.parked.pop_front();
      if (min_ >= parked.get.clock - options_.staleness) {
        Answer(parked.peer, parked.get);
      } else {
        each.parked.push_back(std::move(parked));
      }
    }
  }
}

ps::Reason ParamTable::Get(PeerId peer, const ps::TableGet& get) {
  if (get.rank < 0 || get.rank >= options_.workers || get.rows.empty()) {
    return ps::Reason::kBadMessage;
  }
  if (ps::RowsBytes(get.rows.size(), options_.width) > ps::kMaxPayloadBytes) {
    return ps::Reason::kBadLength;
  }
  for (int64_t row : get.rows) {
    if (!Mine(row)) return ps::Reason::kNotMine;
  }
  if (min_ >= get.clock - options_.staleness) {
    Answer(peer, get);
    return ps::Reason::kNone;
  }
  Lane& lane = lanes_[get.rank];
  if (lane.parked.size() >= kMaxParked) return ps::Reason::kTooFarAhead;
  lane.parked.push_back({peer, get});
  return ps::Reason::kNone;
}

void ParamTable::Answer(PeerId peer, const ps::TableGet& get) {
  ps::TableRows rows;
  rows.table = options_.id;
  rows.server = options_.self;
  rows.request = get.request;
  rows.sequence = get.sequence;
  rows.row_clock = min_;
  rows.applied = lanes_[get.rank].applied;
  rows.rows = get.rows;
  for (int64_t id : get.rows) {
    const absl::Span<const float> from = row(id);
    rows.values.insert(rows.values.end(), from.begin(), from.end());
  }
  output_->SendRows(peer, rows);
}

int64_t ParamTable::parked() const {
  int64_t count = 0;
  for (const Lane& lane : lanes_) count += lane.parked.size();
  return count;
}

}  // namespace cssp
