// JobShard: what changes a shard, and its way through the log.
#include <algorithm>
#include <cstring>
#include <filesystem>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "common/base/logging.h"
#include "common/base/status_macros.h"
#include "common/ps/server_wire.h"
#include "proto/shard_log.pb.h"
#include "server/service/job_shard.h"

namespace cssp {
namespace {

// A segment is read whole when it is replayed.
constexpr int64_t kSegmentBytes = int64_t{256} << 20;

// What a record of a message holds; the payload, or what is not in a buffer.
std::string Encoded(const ps::MessageHeader& header,
                    absl::string_view body = {}) {
  std::string bytes(ps::kHeaderBytes, '\0');
  ps::EncodeHeader(header, absl::MakeSpan(
                               reinterpret_cast<uint8_t*>(bytes.data()),
                               bytes.size()));
  absl::StrAppend(&bytes, body);
  return bytes;
}

absl::string_view TextOf(absl::Span<const uint8_t> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

absl::Status Malformed() {
  return absl::DataLossError("a record of the shard's log is malformed");
}

}  // namespace

// ---- Live -------------------------------------------------------------------

template <class Response, class Apply>
void JobShard::Take(ShardInput type, const google::protobuf::Message& input,
                    int64_t clock, Done<Response> done, Apply apply) {
  if (log_closed_)
    return done(absl::UnavailableError("the shard is closing"));
  if (log_ == nullptr) return done(apply());
  log_->Append(type, input.SerializeAsString(), BufferRef(), clock,
               [done = std::move(done), apply = std::move(apply)](bool applied) {
                 done(applied ? apply()
                              : absl::StatusOr<Response>(absl::UnavailableError(
                                    "the shard is closing")));
               });
}

absl::StatusOr<control::TickAck> JobShard::ApplyTick(
    const control::Tick& tick) {
  ASSIGN_OR_RETURN(const control::TickAck ack, shard_->Tick(tick));
  RETURN_IF_ERROR(tables_->Tick(tick));
  return ack;
}

absl::StatusOr<control::OrderAnswer> JobShard::ApplyOrder(
    const control::ProposeOrderRequest& request) {
  if (!tables_->empty()) shard_->NoteOpened(tables_->opened());
  return shard_->ProposeOrder(request);
}

void JobShard::ApplyGone(const control::WorkerGoneRequest& gone) {
  shard_->WorkerGone(gone.rank(), gone.incarnation());
  if (shard_->IsGone(gone.rank())) tables_->Remove(gone.rank());
}

void JobShard::Tick(const control::Tick& tick, Done<control::TickAck> done) {
  Take(ShardInput::kTick, tick, tick.clock(), std::move(done),
       [this, tick] { return ApplyTick(tick); });
}

void JobShard::ProposeOrder(const control::ProposeOrderRequest& request,
                            Done<control::OrderAnswer> done) {
  if (request.job_epoch() != shard_->options().job_epoch)
    return done(absl::UnavailableError(absl::StrCat(
        "an order of job epoch ", request.job_epoch(), "; this is epoch ",
        shard_->options().job_epoch)));
  Take(ShardInput::kOrder, request, -1, std::move(done),
       [this, request] { return ApplyOrder(request); });
}

void JobShard::WorkerGone(const control::WorkerGoneRequest& request,
                          Done<control::WorkerGoneResponse> done) {
  Take(ShardInput::kGone, request, -1, std::move(done),
       [this, request]() -> absl::StatusOr<control::WorkerGoneResponse> {
         ApplyGone(request);
         return control::WorkerGoneResponse();
       });
}

void JobShard::Rejoin(const control::RejoinWorkerRequest& request,
                      Done<control::RejoinWorkerResponse> done) {
  Take(ShardInput::kRejoin, request, -1, std::move(done),
       [this, request] { return shard_->Rejoin(request); });
}

ps::Reason JobShard::Push(PeerId peer, const ps::MessageHeader& header,
                          BufferRef part) {
  if (log_closed_) return ps::Reason::kNotReady;
  // What is refused leaves nothing behind.
  if (log_ == nullptr || shard_->CheckPush(header) != ps::Reason::kNone) {
    shard_->OnPush(peer, header, std::move(part));
    return ps::Reason::kNone;
  }
  if (log_->waiting_bytes() > credit_ * shard_->options().workers)
    return ps::Reason::kTooFarAhead;
  log_->Append(ShardInput::kPush, Encoded(header), part, header.clock,
               [this, peer, header, part](bool applied) mutable {
                 if (applied) shard_->OnPush(peer, header, std::move(part));
               });
  return ps::Reason::kNone;
}

ps::Reason JobShard::Init(PeerId peer, const ps::MessageHeader& header,
                          BufferRef values) {
  if (log_closed_) return ps::Reason::kNotReady;
  if (log_ == nullptr) {
    shard_->OnInit(peer, header, values.floats());
    return ps::Reason::kNone;
  }
  log_->Append(ShardInput::kInit, Encoded(header), values, header.clock,
               [this, peer, header, values](bool applied) {
                 if (applied) shard_->OnInit(peer, header, values.floats());
               });
  return ps::Reason::kNone;
}

absl::StatusOr<std::function<bool()>> JobShard::ServerInput(
    ShardInput type, const ps::MessageHeader& header,
    absl::Span<const uint8_t> body) {
  const int server = -2 - header.rank;
  const int64_t clock = header.clock;
  if (type == ShardInput::kNorms) {
    ASSIGN_OR_RETURN(std::vector<double> partials, ps::DecodeNorms(body));
    return [this, server, clock, partials = std::move(partials)] {
      return shard_->OnNorms(server, clock, partials);
    };
  }
  ASSIGN_OR_RETURN(
      std::vector<int32_t> ranks,
      ps::DecodeContributors(body, shard_->options().workers));
  return [this, server, clock, ranks = std::move(ranks)] {
    if (server != server_index())
      return shard_->OnContributors(server, clock, ranks);
    shard_->OnDecided(clock, ranks);
    return true;
  };
}

bool JobShard::FromServer(ShardInput type, const ps::MessageHeader& header,
                          absl::Span<const uint8_t> body) {
  if (-2 - header.rank == server_index()) return false;  // nobody else is us
  if (log_closed_) return true;  // sent again to whoever comes after us
  auto apply = ServerInput(type, header, body);
  if (!apply.ok()) return false;
  if (log_ == nullptr) return (*apply)();
  log_->Append(type, Encoded(header, TextOf(body)), BufferRef(), header.clock,
               [apply = *std::move(apply)](bool applied) {
                 if (applied) apply();
               });
  return true;
}

void JobShard::LogContributors(int64_t clock, std::vector<int32_t> ranks) {
  if (replaying_ || log_ == nullptr) return;  // the log says who it was
  ps::MessageHeader header = Header(ps::MessageType::kContributors);
  header.clock = clock;
  std::string record = Encoded(header, ps::EncodeContributors(ranks));
  log_->Append(ShardInput::kContributors, std::move(record), BufferRef(), clock,
               [this, clock, ranks = std::move(ranks)](bool applied) {
                 if (applied) shard_->OnDecided(clock, ranks);
               });
}

// ---- Tables -----------------------------------------------------------------

void JobShard::AnswerInc(PeerId peer, const ps::MessageHeader& inc,
                         ps::Reason reason) {
  ps::MessageHeader header = inc;
  header.type = ps::IsAcknowledged(reason) ? ps::MessageType::kPushAck
                                           : ps::MessageType::kRefused;
  header.reason = reason;
  header.flags = 0;
  header.payload_bytes = 0;
  header.payload_crc = 0;
  sender_.SendJobReply(peer, header);
}

void JobShard::TableInc(PeerId peer, const ps::MessageHeader& header,
                        absl::Span<const uint8_t> body) {
  ps::TableInc inc;
  ps::Reason reason = tables_->Decode(header, body, &inc);
  if (log_closed_) reason = ps::Reason::kNotReady;
  if (log_ != nullptr &&
      log_->waiting_bytes() > credit_ * shard_->options().workers)
    reason = ps::Reason::kTooFarAhead;
  if (reason != ps::Reason::kNone || log_ == nullptr)
    return AnswerInc(peer, header,
                     reason != ps::Reason::kNone ? reason : tables_->Inc(inc));
  log_->Append(ShardInput::kTableInc, Encoded(header, TextOf(body)),
               BufferRef(), header.clock,
               [this, peer, header, inc = std::move(inc)](bool applied) {
                 if (applied) AnswerInc(peer, header, tables_->Inc(inc));
               });
}

int JobShard::Settle() {
  if (log_ == nullptr) return 0;
  const int applied = log_->Settle();
  if ((roll_wanted_ || log_->segment_bytes() > kSegmentBytes) &&
      log_->idle()) {
    roll_wanted_ = false;
    log_->Roll(State());
  }
  return applied;
}

void JobShard::CutCommitted(int64_t clock) {
  if (log_ != nullptr) log_->DropCovered(clock);
}

void JobShard::Opened() {
  if (log_ != nullptr) shard_->Replayed();
  for (const RetainedCut& cut : std::exchange(replayed_cuts_, {}))
    sender_.JobCutReady(*this, cut);
}

void JobShard::CloseLog(bool forget) {
  if (log_ != nullptr) {
    log_closed_ = true;
    log_->Close();
  }
  log_.reset();
  if (!forget || log_folder_.empty()) return;
  std::error_code ignored;
  std::filesystem::remove_all(log_folder_, ignored);
}

std::string JobShard::State() const {
  ShardLogState state;
  state.set_job_id(id_);
  state.set_job_epoch(shard_->options().job_epoch);
  shard_->SaveState(&state);
  return state.SerializeAsString();
}

// ---- From the log -----------------------------------------------------------

absl::Status JobShard::StartLog(const control::OpenShardRequest& request,
                                const std::string& logs) {
  log_folder_ = absl::StrCat(logs, "/", id_);
  RecordLogOptions options;
  options.directory = absl::StrCat(log_folder_, "/", request.job_epoch());
  uint64_t next = 1;
  std::vector<ShardLog::Segment> earlier;
  if (request.replay_log()) {
    replaying_ = true;
    const auto over = absl::MakeCleanup([this] { replaying_ = false; });
    RETURN_IF_ERROR(RecordLog::Replay(
        options.directory,
        [&](uint64_t segment, uint8_t type,
            absl::Span<const uint8_t> payload) {
          if (earlier.empty() || earlier.back().number != segment)
            earlier.push_back({.number = segment});
          int64_t clock = -1;
          RETURN_IF_ERROR(Replay(type, payload, &clock));
          earlier.back().max_clock =
              std::max(earlier.back().max_clock, clock);
          return absl::OkStatus();
        },
        &next));
  } else {
    // What other epochs have left is of no use.
    std::error_code ignored;
    std::filesystem::remove_all(log_folder_, ignored);
  }
  ASSIGN_OR_RETURN(log_, ShardLog::Start(options, next, earlier,
                                         [this] { sender_.WakeShard(); }));
  log_->Begin(State());
  return absl::OkStatus();
}

absl::Status JobShard::Replay(uint8_t type, absl::Span<const uint8_t> payload,
                              int64_t* clock) {
  const int size = static_cast<int>(payload.size());
  switch (static_cast<ShardInput>(type)) {
    case ShardInput::kState: {
      // Of the oldest segment; the later ones follow from the inputs.
      ShardLogState state;
      if (!state.ParseFromArray(payload.data(), size) ||
          state.job_id() != id_ ||
          state.job_epoch() != shard_->options().job_epoch)
        return Malformed();
      if (!std::exchange(state_loaded_, true)) LoadState(state);
      return absl::OkStatus();
    }
    case ShardInput::kTick: {
      control::Tick tick;
      if (!tick.ParseFromArray(payload.data(), size)) return Malformed();
      *clock = tick.clock();
      ApplyTick(tick).status().IgnoreError();  // refused then, refused now
      return absl::OkStatus();
    }
    case ShardInput::kOrder: {
      control::ProposeOrderRequest order;
      if (!order.ParseFromArray(payload.data(), size)) return Malformed();
      shard_->ReplayOrder(order);
      return absl::OkStatus();
    }
    case ShardInput::kGone: {
      control::WorkerGoneRequest gone;
      if (!gone.ParseFromArray(payload.data(), size)) return Malformed();
      ApplyGone(gone);
      return absl::OkStatus();
    }
    case ShardInput::kRejoin: {
      control::RejoinWorkerRequest rejoin;
      if (!rejoin.ParseFromArray(payload.data(), size)) return Malformed();
      shard_->Rejoin(rejoin).status().IgnoreError();
      return absl::OkStatus();
    }
    case ShardInput::kInit:
    case ShardInput::kPush:
    case ShardInput::kNorms:
    case ShardInput::kContributors:
    case ShardInput::kTableInc:
      return ReplayMessage(static_cast<ShardInput>(type), payload, clock);
  }
  return Malformed();
}

void JobShard::LoadState(const ShardLogState& state) {
  shard_->LoadState(state);
  for (int rank = 0; rank < shard_->options().workers; ++rank)
    if (shard_->IsGone(rank)) tables_->Remove(rank);
}

absl::Status JobShard::ReplayMessage(ShardInput type,
                                     absl::Span<const uint8_t> payload,
                                     int64_t* clock) {
  if (payload.size() < ps::kHeaderBytes) return Malformed();
  ASSIGN_OR_RETURN(const ps::MessageHeader header,
                   ps::DecodeHeader(payload.subspan(0, ps::kHeaderBytes)));
  *clock = header.clock;
  const absl::Span<const uint8_t> body = payload.subspan(ps::kHeaderBytes);
  if (type == ShardInput::kNorms || type == ShardInput::kContributors) {
    const auto apply = ServerInput(type, header, body);
    if (!apply.ok()) return Malformed();
    (*apply)();  // refused then, refused now
    return absl::OkStatus();
  }
  if (type == ShardInput::kTableInc) {
    ps::TableInc inc;
    if (tables_->Decode(header, body, &inc) != ps::Reason::kNone)
      return Malformed();
    tables_->Inc(inc);
    return absl::OkStatus();
  }
  if (body.size() != shard_->ChunkFloats(header.chunk) * sizeof(float) ||
      body.empty())
    return Malformed();
  BufferRef part = shard_->NewPart(header.chunk);
  std::memcpy(part.bytes().data(), body.data(), body.size());
  if (type == ShardInput::kInit) {
    shard_->OnInit(0, header, part.floats());
  } else {
    shard_->OnPush(0, header, std::move(part));
  }
  return absl::OkStatus();
}

}  // namespace cssp
