// Shard: what workers, evaluators and the control plane ask of it.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "server/shard/shard.h"

namespace cssp {
namespace {

// Evaluators whose pulls may wait for a cut, per chunk.
constexpr size_t kMaxParkedExact = 8;

}  // namespace

// ---- Connections ------------------------------------------------------------

// A newer incarnation of `rank` fences the older ones.
ps::Reason Shard::Raise(int rank, uint32_t incarnation) {
  Worker& worker = workers_[rank];
  if (incarnation < worker.incarnation) return ps::Reason::kFenced;
  if (incarnation == worker.incarnation) {
    return worker.gone ? ps::Reason::kFenced : ps::Reason::kNone;
  }
  Forget(rank);
  worker.incarnation = incarnation;
  return ps::Reason::kNone;
}

ps::Reason Shard::Attach(int rank, uint32_t incarnation, PeerId peer) {
  if (!ValidRank(rank)) return ps::Reason::kBadMessage;
  const ps::Reason reason = Raise(rank, incarnation);
  if (reason != ps::Reason::kNone) return reason;
  if (workers_[rank].peer != peer) Forget(rank);
  workers_[rank].peer = peer;
  return ps::Reason::kNone;
}

// Drops what the rank's last connection asked for; its parts stay.
void Shard::Forget(int rank) {
  workers_[rank].peer = 0;
  workers_[rank].subscribed = false;
  for (ChunkState& chunk : table_.chunks()) {
    if (chunk.parked[rank].parked) --counters_.parked_now;
    chunk.parked[rank] = ParkedPull();
    chunk.deliveries[rank] = Delivery();
  }
}

void Shard::Detach(PeerId peer) {
  for (int rank = 0; rank < options_.workers; ++rank) {
    if (workers_[rank].peer == peer) Forget(rank);
  }
  for (ChunkState& chunk : table_.chunks()) {
    const auto from_peer = [peer](const ParkedExact& pull) {
      return pull.peer == peer;
    };
    chunk.exact.erase(
        std::remove_if(chunk.exact.begin(), chunk.exact.end(), from_peer),
        chunk.exact.end());
  }
}

// ---- Pushes -----------------------------------------------------------------

int64_t Shard::ChunkFloats(uint32_t chunk) const {
  const ChunkState* state = const_cast<ChunkTable&>(table_).Find(chunk);
  return state == nullptr ? 0 : state->count;
}

BufferRef Shard::NewPart(uint32_t chunk) {
  return table_.Find(chunk)->part_pool.Take();
}

ps::Reason Shard::CheckPush(const ps::MessageHeader& header) const {
  const ChunkState* chunk = const_cast<ChunkTable&>(table_).Find(header.chunk);
  if (chunk == nullptr) return ps::Reason::kNotMine;
  if (!ValidRank(header.rank) || header.samples == 0 ||
      header.based_on > header.clock || header.clock < 0) {
    return ps::Reason::kBadMessage;
  }
  const Worker& worker = workers_[header.rank];
  if (header.incarnation < worker.incarnation ||
      (worker.gone && header.incarnation == worker.incarnation)) {
    return ps::Reason::kFenced;
  }
  if (!chunk->ready()) return ps::Reason::kNotReady;
  const ps::Reason reason = Admit(*chunk, header);
  if (reason != ps::Reason::kNone) return reason;
  if (!clocks_.CanCount(header.rank, header.clock)) {
    return ps::Reason::kTooFarAhead;
  }
  if (chunk->Holds(header.rank, header.clock)) return ps::Reason::kDuplicate;
  if (!Required(header.rank, header.clock)) return ps::Reason::kFenced;
  if (header.based_on < header.clock - orders_.Staleness(header.clock)) {
    return ps::Reason::kTooStale;
  }
  return ps::Reason::kNone;
}

void Shard::OnPush(PeerId peer, const ps::MessageHeader& header,
                   BufferRef part) {
  const ps::Reason reason = CheckPush(header);
  Reply(peer, header, reason);
  if (reason == ps::Reason::kDuplicate) OnRepeated(header);
  if (reason != ps::Reason::kNone) return;
  Raise(header.rank, header.incarnation);
  ChunkState& chunk = *table_.Find(header.chunk);
  const int64_t age = header.clock - header.based_on;
  chunk.PartOf(header.rank, header.clock) = {header.clock, header.samples, age,
                                             std::move(part)};
  chunk.highest_clock = std::max(chunk.highest_clock, header.clock);
  workers_[header.rank].age = age;
  ++counters_.pushes;
  ++counters_.staleness[std::min<int64_t>(
      age, ShardCounters::kStalenessBuckets - 1)];
  clocks_.CountPush(header.rank, header.clock);
  OnPart(chunk, header.rank);
}

// ---- Initial values ---------------------------------------------------------

void Shard::OnInit(PeerId peer, const ps::MessageHeader& header,
                   absl::Span<const float> floats) {
  ChunkState* chunk = table_.Find(header.chunk);
  if (chunk == nullptr) return Reply(peer, header, ps::Reason::kNotMine);
  if (header.rank != 0 || header.slot > num_history() ||
      static_cast<int64_t>(floats.size()) != chunk->count) {
    return Reply(peer, header, ps::Reason::kBadMessage);
  }
  const ps::Reason fence = Raise(header.rank, header.incarnation);
  if (fence != ps::Reason::kNone) return Reply(peer, header, fence);
  if (chunk->ready()) return Reply(peer, header, ps::Reason::kDuplicate);
  Reply(peer, header, ps::Reason::kNone);
  Restore(header.chunk, header.slot, floats,
          (header.flags & ps::kFlagLastOfInit) != 0);
}

void Shard::Restore(uint32_t id, int slot, absl::Span<const float> floats,
                    bool last) {
  ChunkState& chunk = *table_.Find(id);
  if (slot == 0) {
    CopySegments(chunk, floats, chunk.values.floats());
  } else {
    FillHistory(chunk, slot, floats);
  }
  chunk.init_slots |= uint64_t{1} << slot;
  if (last) chunk.init_last = std::max(chunk.init_last, slot);
  if (chunk.init_last < 0) return;
  const uint64_t wanted = (uint64_t{2} << chunk.init_last) - 1;
  if ((chunk.init_slots & wanted) != wanted) return;
  Opened(chunk, options_.start_clock);
}

// ---- Reads ------------------------------------------------------------------

ps::MessageHeader Shard::ValuesHeader(const ChunkState& chunk) const {
  ps::MessageHeader header;
  header.type = ps::MessageType::kValues;
  header.job = options_.job;
  header.job_epoch = options_.job_epoch;
  header.map_epoch = options_.map_epoch;
  header.rank = -2 - options_.self;
  header.clock = chunk.version;
  header.chunk = chunk.id;
  return header;
}

void Shard::Answer(ChunkState& chunk, int rank, const ParkedPull& pull) {
  ps::MessageHeader header = ValuesHeader(chunk);
  header.sequence = pull.sequence;
  SendTo(chunk, rank, pull.clock, header);
}

// The values before the last update: all updates of clocks < version - 1.
void Shard::AnswerPrevious(ChunkState& chunk, int rank, uint32_t sequence) {
  ps::MessageHeader header = ValuesHeader(chunk);
  header.clock = chunk.version - 1;
  header.sequence = sequence;
  Delivery& delivery = chunk.deliveries[rank];
  ++delivery.in_flight;
  delivery.sent = FreshnessFor(chunk, rank);
  delivery.sent.row = header.clock;
  // The last update may have been the reader's.
  if (delivery.sent.own != ps::Freshness::kAllOwn)
    delivery.sent.own = header.clock;
  header.based_on = delivery.sent.own;
  ++counters_.values_sent;
  output_.SendValues(workers_[rank].peer, header, chunk.previous);
}

void Shard::OnPull(PeerId peer, const ps::MessageHeader& header) {
  ChunkState* chunk = table_.Find(header.chunk);
  if (chunk == nullptr) return Reply(peer, header, ps::Reason::kNotMine);
  if (!ValidRank(header.rank) || header.clock < 0) {
    return Reply(peer, header, ps::Reason::kBadMessage);
  }
  if (workers_[header.rank].peer != peer) {
    return Reply(peer, header, ps::Reason::kFenced);
  }
  if (chunk->ready() &&
      FreshnessFor(*chunk, header.rank)
          .FitFor(header.clock, orders_.Staleness(header.clock))) {
    // A late duplicate of an answered pull must not look like a new clock.
    chunk->highest_clock = std::max(chunk->highest_clock, header.clock);
    // Only a worker that repeats a clock asks for less than there is.
    if (header.clock < chunk->version && chunk->previous) {
      return AnswerPrevious(*chunk, header.rank, header.sequence);
    }
    return Answer(*chunk, header.rank,
                  {.clock = header.clock, .sequence = header.sequence});
  }
  ParkedPull& pull = chunk->parked[header.rank];
  if (pull.parked && pull.clock > header.clock) return;
  if (!pull.parked) {
    ++counters_.parked_now;
    ++counters_.parked_total;
  }
  pull = {true, header.clock, header.sequence};
}

void Shard::OnSubscribe(PeerId peer, const ps::MessageHeader& header) {
  if (!ValidRank(header.rank) || workers_[header.rank].peer != peer) {
    return Reply(peer, header, ps::Reason::kFenced);
  }
  workers_[header.rank].subscribed = true;
  for (ChunkState& chunk : table_.chunks()) {
    // The subscriber pulls its first version itself.
    if (!chunk.ready()) continue;
    Delivery& delivery = chunk.deliveries[header.rank];
    const ps::Freshness now = FreshnessFor(chunk, header.rank);
    if (now.NewerThan(delivery.sent)) delivery.sent = now;
  }
}

void Shard::OnValuesSent(PeerId peer, uint32_t id) {
  ChunkState* chunk = table_.Find(id);
  if (chunk == nullptr || peer == 0) return;
  for (int rank = 0; rank < options_.workers; ++rank) {
    Delivery& delivery = chunk->deliveries[rank];
    if (workers_[rank].peer != peer || delivery.in_flight == 0) continue;
    --delivery.in_flight;
    SendEagerly(*chunk, rank);  // newest wins: what came meanwhile, once
  }
}

void Shard::OnPullExact(PeerId peer, const ps::MessageHeader& header) {
  ChunkState* chunk = table_.Find(header.chunk);
  if (chunk == nullptr) return Reply(peer, header, ps::Reason::kNotMine);
  const BufferRef* array =
      cuts_.Find(header.clock, table_.LocalIndex(*chunk), header.slot);
  if (array == nullptr) {
    // Gone, unless it is still to come.  (An order that asked for the cut is
    // forgotten once its clock has passed: only what is kept counts then.)
    const CutKind kind = cuts_.KindAt(header.clock, orders_);
    const bool possible =
        header.clock >= options_.start_clock && kind.any() &&
        (header.slot == 0 ||
         (kind.history() && header.slot <= num_history()));
    const bool to_come = !chunk->ready() || chunk->version < header.clock;
    if (!possible || !to_come) return Reply(peer, header, ps::Reason::kGone);
    if (chunk->exact.size() >= kMaxParkedExact * (1 + num_history())) {
      return Reply(peer, header, ps::Reason::kTooFarAhead);
    }
    chunk->exact.push_back({peer, header.clock, header.slot, header.sequence});
    return;
  }
  ps::MessageHeader answer = ValuesHeader(*chunk);
  answer.clock = header.clock;
  answer.slot = header.slot;
  answer.sequence = header.sequence;
  ++counters_.values_sent;
  output_.SendValues(peer, answer, *array);
}

void Shard::ReleaseExact(ChunkState& chunk) {
  if (chunk.exact.empty()) return;
  std::vector<ParkedExact> waiting = std::exchange(chunk.exact, {});
  for (const ParkedExact& pull : waiting) {
    ps::MessageHeader header;
    header.type = ps::MessageType::kPullExact;
    header.rank = -1;
    header.chunk = chunk.id;
    header.clock = pull.clock;
    header.slot = pull.slot;
    header.sequence = pull.sequence;
    OnPullExact(pull.peer, header);  // parks again if it is still to come
  }
}

// Echoes what names the request; the reason says how it went.
void Shard::Reply(PeerId peer, const ps::MessageHeader& request,
                  ps::Reason reason) {
  ps::MessageHeader header = request;
  const bool done = ps::IsAcknowledged(reason);
  header.type = done ? ps::MessageType::kPushAck : ps::MessageType::kRefused;
  header.reason = reason;
  header.flags = 0;
  header.payload_bytes = 0;
  header.payload_crc = 0;
  header.job = options_.job;
  header.job_epoch = options_.job_epoch;
  header.map_epoch = options_.map_epoch;
  if (reason == ps::Reason::kDuplicate) ++counters_.duplicates;
  if (reason == ps::Reason::kLate) {
    ++counters_.late;
    header.based_on = version(request.chunk);
  }
  if (!done) ++counters_.refused[static_cast<int>(reason)];
  output_.SendReply(peer, header);
}

// ---- Control ----------------------------------------------------------------

absl::StatusOr<control::TickAck> Shard::Tick(const control::Tick& tick) {
  if (!ValidRank(tick.rank())) {
    return absl::InvalidArgumentError(
        absl::StrCat("tick of rank ", tick.rank(), ", the job has ",
                     options_.workers, " workers"));
  }
  if (Raise(tick.rank(), tick.incarnation()) != ps::Reason::kNone) {
    return absl::FailedPreconditionError(
        absl::StrCat("rank ", tick.rank(), " incarnation ", tick.incarnation(),
                     " is fenced: the rank was declared "
                     "dead or runs elsewhere"));
  }
  RETURN_IF_ERROR(
      clocks_.Tick(tick.rank(), tick.clock(), tick.pushes(), tick.finished()));
  OnTick(tick);
  AdvanceEmpty();
  control::TickAck ack;
  ack.set_min_clock(clocks_.min());
  return ack;
}

absl::StatusOr<control::OrderAnswer> Shard::ProposeOrder(
    const control::ProposeOrderRequest& request) {
  return TakeOrder(request, OpenedClock());
}

void Shard::ReplayOrder(const control::ProposeOrderRequest& request) {
  const bool before =
      request.commit() ||
      request.order().effective_clock() <= options_.start_clock;
  TakeOrder(request, before ? -1 : OpenedClock()).status().IgnoreError();
}

absl::StatusOr<control::OrderAnswer> Shard::TakeOrder(
    const control::ProposeOrderRequest& request, int64_t opened) {
  const control::Order& order = request.order();
  if (request.withdraw()) {
    orders_.Withdraw(order.number());
    AdvanceAll();
    return control::OrderAnswer();
  }
  if (!request.commit()) return orders_.Propose(order, opened);
  ASSIGN_OR_RETURN(const control::OrderAnswer answer,
                   orders_.Commit(order, opened));
  if (!answer.accepted()) return answer;
  for (int rank : order.membership().ranks()) {
    Worker& worker = workers_[rank];
    // It was no member before, for it died, left in order, or had not come.
    if (!worker.gone && orders_.IsMember(rank, order.effective_clock() - 1)) {
      continue;
    }
    worker.gone = false;
    worker.due_from = order.effective_clock();
    clocks_.Restore(rank,
                    std::max(order.effective_clock(), options_.start_clock));
  }
  // The hold on undecided clocks is gone, and bounds may have widened.
  AdvanceAll();
  for (ChunkState& chunk : table_.chunks()) {
    if (chunk.ready()) Publish(chunk);
  }
  return answer;
}

absl::StatusOr<control::RejoinWorkerResponse> Shard::Rejoin(
    const control::RejoinWorkerRequest& request) {
  const int rank = request.rank();
  if (!ValidRank(rank)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "rank ", rank, ", the job has ", options_.workers, " workers"));
  }
  if (Raise(rank, request.incarnation()) != ps::Reason::kNone) {
    return absl::FailedPreconditionError(
        absl::StrCat("rank ", rank, " incarnation ", request.incarnation(),
                     " is fenced: the rank was declared dead or runs "
                     "elsewhere"));
  }
  control::RejoinWorkerResponse response;
  response.set_initialised(true);
  int64_t next = kClockInfinity;
  for (const ChunkState& chunk : table_.chunks()) {
    // One that came while the job ran owes nothing before.
    next = std::min(next, std::max(NextNeeded(chunk, rank),
                                   workers_[rank].due_from));
    if (!chunk.ready()) response.set_initialised(false);
  }
  response.set_next_clock(next);
  if (request.clock() >= 0 && request.clock() <= next) {
    clocks_.Commit(rank, request.clock());
    AdvanceEmpty();
    AdvanceAll();  // its parts are here, its ticks may have been lost
  }
  return response;
}

void Shard::SaveState(ShardLogState* state) const {
  for (int rank = 0; rank < options_.workers; ++rank) {
    ShardLogState::Worker* out = state->add_workers();
    out->set_incarnation(workers_[rank].incarnation);
    out->set_gone(workers_[rank].gone);
    out->set_due_from(workers_[rank].due_from);
    out->set_finished_at(clocks_.finished_at(rank));
  }
  orders_.Save(state);
  SaveMode(state);
}

void Shard::LoadState(const ShardLogState& state) {
  orders_.Load(state);
  const int count = std::min(state.workers_size(), options_.workers);
  for (int rank = 0; rank < count; ++rank) {
    const ShardLogState::Worker& in = state.workers(rank);
    const int64_t due = std::max(in.due_from(), options_.start_clock);
    // It came while the job ran.
    if (!in.gone() && (workers_[rank].gone || due > options_.start_clock))
      clocks_.Restore(rank, due);
    workers_[rank].incarnation = in.incarnation();
    workers_[rank].due_from = in.due_from();
    workers_[rank].gone = in.gone();
    clocks_.SetFinished(rank, in.finished_at());
    if (in.gone()) clocks_.Remove(rank);
  }
  LoadMode(state);
}

void Shard::WorkerGone(int rank, uint32_t incarnation) {
  if (!ValidRank(rank)) return;
  Worker& worker = workers_[rank];
  if (worker.gone || incarnation < worker.incarnation) return;
  Forget(rank);
  worker.incarnation = incarnation;
  if (options_.wait_for_dead) return;  // no chunk closes without it
  worker.gone = true;
  clocks_.Remove(rank);
  AdvanceAll();
  AdvanceEmpty();
}

control::ShardStatusResponse Shard::Status() const {
  control::ShardStatusResponse status;
  status.set_min_clock(clocks_.min());
  status.set_min_version(min_version());
  status.set_max_version(max_version());
  for (int rank = 0; rank < options_.workers; ++rank) {
    status.add_done(clocks_.done(rank));
  }
  status.set_parked_pulls(counters_.parked_now);
  status.set_retained_cuts(cuts_.size());
  return status;
}

}  // namespace cssp
