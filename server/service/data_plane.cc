// Long because one protocol is checked in one place.
#include "server/service/data_plane.h"

#include <algorithm>
#include <utility>

#include "absl/memory/memory.h"
#include "absl/strings/str_cat.h"
#include "common/base/crc.h"
#include "common/base/logging.h"
#include "common/base/status_macros.h"
#include "common/optim/bfloat16.h"
#include "common/ps/server_wire.h"

namespace cssp {

using ps::MessageHeader;
using ps::MessageType;
using ps::Reason;

namespace {

constexpr absl::Duration kHelloTimeout = absl::Seconds(2);
constexpr absl::Duration kDoomedFor = absl::Milliseconds(500);
constexpr absl::Duration kTimerStep = absl::Milliseconds(20);
constexpr absl::Duration kFirstBackoff = absl::Milliseconds(20);
constexpr absl::Duration kMaxBackoff = absl::Seconds(1);
constexpr uint32_t kMaxTokenBytes = 512;

bool CarriesChunk(MessageType type) {
  return type == MessageType::kPush || type == MessageType::kInit;
}

bool ForTables(MessageType type) {
  return type == MessageType::kTableInc || type == MessageType::kTableGet;
}

// What each kind of peer may say.
bool MaySay(int rank, MessageType type) {
  switch (type) {
    case MessageType::kPush:
    case MessageType::kInit:
    case MessageType::kPull:
    case MessageType::kSubscribe:
    case MessageType::kTableInc:
    case MessageType::kTableGet:
      return rank >= 0;
    case MessageType::kPullExact:
      return rank >= -1;
    case MessageType::kNorms:
    case MessageType::kContributors:
      return rank <= -2;
    case MessageType::kGoodbye:
    case MessageType::kHello:  // repeated: acknowledged again
      return true;
    default:
      return false;
  }
}

}  // namespace

DataPlane::DataPlane(Options options)
    : options_(std::move(options)),
      time_(*options_.time),
      next_timers_(time_.Now()) {}

absl::StatusOr<std::unique_ptr<DataPlane>> DataPlane::Create(Options options) {
  auto plane = absl::WrapUnique(new DataPlane(std::move(options)));
  const Options& given = plane->options_;
  ASSIGN_OR_RETURN(plane->transport_,
                   given.make_transport(given.transport, *plane));
  ASSIGN_OR_RETURN(plane->address_,
                   plane->transport_->Listen(given.host, given.port));
  return plane;
}

// The transport goes first: it may still read buffers and call back.
DataPlane::~DataPlane() { transport_.reset(); }

// ---- Jobs -------------------------------------------------------------------

absl::Status DataPlane::AddJob(std::unique_ptr<JobShard> job) {
  const uint32_t number = job->number();
  if (jobs_.count(number) > 0 || FindJob(job->id()) != nullptr) {
    return absl::AlreadyExistsError(
        absl::StrCat("job ", job->id(), " is open on this server"));
  }
  jobs_[number] = std::move(job);
  ConnectServers(*jobs_[number], time_.Now());
  jobs_[number]->Opened();
  return absl::OkStatus();
}

absl::Status DataPlane::RemoveJob(const std::string& id) {
  JobShard* job = FindJob(id);
  if (job == nullptr) {
    return absl::NotFoundError(
        absl::StrCat("job ", id, " is not open on this server"));
  }
  std::vector<EndpointId> peers;
  for (auto& [endpoint, peer] : peers_) {
    if (peer.job == job) peers.push_back(endpoint);
  }
  for (EndpointId endpoint : peers) {
    SendHeader(endpoint, job->Header(MessageType::kGoodbye));
    Peer& peer = peers_[endpoint];
    peer.job = nullptr;
    peer.doomed = true;
    peer.deadline = time_.Now() + kDoomedFor;
  }
  job->CloseLog(/*forget=*/true);
  jobs_.erase(job->number());
  return absl::OkStatus();
}

JobShard* DataPlane::FindJob(const std::string& id) {
  for (auto& [number, job] : jobs_) {
    if (job->id() == id) return job.get();
  }
  return nullptr;
}

// ---- Time -------------------------------------------------------------------

int DataPlane::Turn() {
  int events = transport_->Poll();
  for (auto& [number, job] : jobs_) events += job->Settle();
  const absl::Time now = time_.Now();
  if (now < next_timers_) return events;
  next_timers_ = now + kTimerStep;
  std::vector<EndpointId> late;
  for (const auto& [id, peer] : peers_) {
    if (peer.deadline <= now) late.push_back(id);
  }
  for (EndpointId id : late) Drop(id);
  for (auto& [number, job] : jobs_) ConnectServers(*job, now);
  return events;
}

absl::Duration DataPlane::UntilDue() {
  absl::Time due = time_.Now() + absl::Milliseconds(200);
  for (const auto& [id, peer] : peers_) due = std::min(due, peer.deadline);
  for (auto& [number, job] : jobs_) {
    if (!job->shard().has_peers()) continue;
    for (const JobShard::PeerServer& server : job->peer_servers()) {
      if (server.endpoint == kNoEndpoint) due = std::min(due, server.retry_at);
    }
  }
  due = std::max(due, next_timers_);
  return std::max(absl::ZeroDuration(), due - time_.Now());
}

void DataPlane::Farewell() {
  for (auto& [id, peer] : peers_) {
    if (peer.job == nullptr) continue;
    SendHeader(id, peer.job->Header(MessageType::kGoodbye));
  }
}

// ---- Arrivals ---------------------------------------------------------------

void DataPlane::OnAccept(EndpointId id) {
  peers_[id].deadline = time_.Now() + kHelloTimeout;
  if (options_.metrics) options_.metrics->peers->Add(1);
}

Reason DataPlane::Check(const Peer& peer, const MessageHeader& header) const {
  if (peer.job == nullptr) {
    return header.type == MessageType::kHello &&
                   header.payload_bytes <= kMaxTokenBytes
               ? Reason::kNone
               : Reason::kBadMessage;
  }
  if (!MaySay(peer.rank, header.type)) return Reason::kBadMessage;
  const ShardOptions& options = peer.job->shard().options();
  if (header.job != options.job) return Reason::kUnknownJob;
  if (header.job_epoch != options.job_epoch) return Reason::kWrongJobEpoch;
  if (header.map_epoch != options.map_epoch) return Reason::kWrongMapEpoch;
  if (header.rank != peer.rank || header.incarnation != peer.incarnation) {
    return Reason::kFenced;
  }
  return Reason::kNone;
}

Reason DataPlane::CheckSize(Peer& peer, const MessageHeader& header) const {
  const Shard& shard = peer.job->shard();
  if ((header.flags & ps::kFlagBf16) != 0 &&
      (header.type != MessageType::kPush || !peer.job->takes_bf16())) {
    return Reason::kBadMessage;
  }
  if (header.type == MessageType::kNorms) {
    return ps::IsNormsSize(header.payload_bytes) ? Reason::kNone
                                                 : Reason::kBadLength;
  }
  if (header.type == MessageType::kContributors) {
    return ps::IsContributorsSize(header.payload_bytes,
                                  shard.options().workers)
               ? Reason::kNone
               : Reason::kBadLength;
  }
  if (header.type == MessageType::kHello) {
    return header.payload_bytes <= kMaxTokenBytes ? Reason::kNone
                                                  : Reason::kBadLength;
  }
  const bool beyond_credit =
      peer.arriving_bytes + ps::HeldBytes(header) > peer.job->credit();
  if (ForTables(header.type)) {
    const Reason reason = peer.job->tables().Check(header);
    if (reason != Reason::kNone) return reason;
    return beyond_credit ? Reason::kTooFarAhead : Reason::kNone;
  }
  if (!CarriesChunk(header.type)) {
    return header.payload_bytes == 0 ? Reason::kNone : Reason::kBadLength;
  }
  const int64_t floats = shard.ChunkFloats(header.chunk);
  if (floats == 0) return Reason::kNotMine;
  if (ps::HeldBytes(header) != floats * int64_t{sizeof(float)}) {
    return Reason::kBadLength;
  }
  if (header.type == MessageType::kPush) {
    const Reason reason = shard.CheckPush(header);
    if (reason != Reason::kNone) return reason;
  }
  return beyond_credit ? Reason::kTooFarAhead : Reason::kNone;
}

uint8_t* DataPlane::OnArrival(EndpointId id, absl::Span<const uint8_t> bytes,
                              size_t payload_bytes) {
  const auto at = peers_.find(id);
  if (at == peers_.end() || at->second.doomed) return nullptr;
  Peer& peer = at->second;
  const absl::StatusOr<MessageHeader> header = ps::DecodeHeader(bytes);
  if (!header.ok() || header->payload_bytes != payload_bytes) {
    // Not our protocol, or damaged beyond knowing what it answers.
    CountBad();
    Doom(id, peer, MessageHeader(), Reason::kBadMessage);
    return nullptr;
  }
  if (peer.outgoing) {  // a server answers our Hello
    return payload_bytes == 0 ? &nothing_ : nullptr;
  }
  MessageHeader answer = *header;
  Reason reason = Check(peer, *header);
  if (reason != Reason::kNone && peer.job == nullptr) {
    CountBad();
    Doom(id, peer, *header, reason);
    return nullptr;
  }
  if (reason == Reason::kNone && peer.job != nullptr) {
    reason = CheckSize(peer, *header);
  }
  if (reason == Reason::kLate) {
    answer.based_on = peer.job->shard().version(header->chunk);
  }
  if (reason != Reason::kNone) {
    Refuse(id, answer, reason);
    return nullptr;
  }
  return Land(id, peer, *header);
}

// Gives memory: a chunk's own kind of buffer, which becomes the part as it is;
// its second half for bfloat16, which is widened there.
uint8_t* DataPlane::Land(EndpointId id, Peer& peer,
                         const MessageHeader& header) {
  if (header.payload_bytes == 0) return &nothing_;
  Arrival arrival;
  arrival.peer = id;
  uint8_t* memory;
  if (CarriesChunk(header.type)) {
    arrival.buffer = peer.job->shard().NewPart(header.chunk);
    const absl::Span<uint8_t> bytes = arrival.buffer.bytes();
    memory = bytes.data() + (bytes.size() - header.payload_bytes);
  } else {
    arrival.small.resize(header.payload_bytes);
    memory = arrival.small.data();
  }
  peer.arriving_bytes += arrival.held();
  arrivals_[memory] = std::move(arrival);
  return memory;
}

DataPlane::Arrival DataPlane::TakeArrival(uint8_t* memory) {
  const auto at = arrivals_.find(memory);
  if (at == arrivals_.end()) return {};
  Arrival arrival = std::move(at->second);
  arrivals_.erase(at);
  const auto peer = peers_.find(arrival.peer);
  if (peer != peers_.end()) {
    peer->second.arriving_bytes -= arrival.held();
  }
  return arrival;
}

void DataPlane::OnArrivalDropped(EndpointId id, uint8_t* memory) {
  TakeArrival(memory);
}

void DataPlane::OnMessage(EndpointId id, absl::Span<const uint8_t> bytes,
                          absl::Span<uint8_t> payload) {
  Arrival arrival = payload.empty() ? Arrival() : TakeArrival(payload.data());
  const auto at = peers_.find(id);
  if (at == peers_.end() || at->second.doomed) return;
  const absl::StatusOr<MessageHeader> header = ps::DecodeHeader(bytes);
  if (!header.ok()) return;  // OnArrival has seen the same bytes
  Dispatch(id, at->second, *header, std::move(arrival), payload);
}

void DataPlane::Dispatch(EndpointId id, Peer& peer, const MessageHeader& header,
                         Arrival arrival, absl::Span<uint8_t> payload) {
  if (peer.outgoing) {
    if (header.type == MessageType::kHelloAck &&
        header.reason == Reason::kNone) {
      return OnHelloAck(id, peer);
    }
    return Drop(id);  // refused or goodbye: tried again a little later
  }
  const std::optional<uint32_t> formed = transport_->payload_crc();
  if ((header.flags & ps::kFlagHasCrc) != 0 &&
      header.payload_crc != (formed.has_value()
                                 ? *formed
                                 : Crc32c(payload.data(), payload.size()))) {
    CountBad();
    return Refuse(id, header, Reason::kBadChecksum);
  }
  if (header.type == MessageType::kHello) {
    return OnHello(id, peer, header, payload);
  }
  if (peer.job == nullptr) return;  // closed while this was under way
  Shard& shard = peer.job->shard();
  switch (header.type) {
    case MessageType::kPush: {
      const absl::Time begun = time_.Now();
      MessageHeader push = header;
      if ((header.flags & ps::kFlagBf16) != 0) {
        UnpackBf16InPlace(arrival.buffer.floats());
        push.payload_bytes = ps::HeldBytes(header);
        push.flags &= ~(ps::kFlagBf16 | ps::kFlagHasCrc);
      }
      const Reason reason =
          peer.job->Push(id, push, std::move(arrival.buffer));
      if (reason != Reason::kNone) return Refuse(id, header, reason);
      if (ShardHostMetrics* metrics = options_.metrics) {
        metrics->push_bytes->Add(payload.size());
        metrics->apply_seconds->Observe(
            absl::ToDoubleSeconds(time_.Now() - begun));
      }
      return;
    }
    case MessageType::kInit:
      peer.job->Init(id, header, std::move(arrival.buffer));
      return;
    case MessageType::kPull:
      return shard.OnPull(id, header);
    case MessageType::kPullExact:
      return shard.OnPullExact(id, header);
    case MessageType::kSubscribe:
      return shard.OnSubscribe(id, header);
    case MessageType::kNorms:
      return OnServerMessage(id, peer, ShardInput::kNorms, header, payload);
    case MessageType::kContributors:
      return OnServerMessage(id, peer, ShardInput::kContributors, header,
                             payload);
    case MessageType::kTableInc:
    case MessageType::kTableGet:
      return OnTableMessage(id, peer, header, payload);
    default:  // kGoodbye
      return Drop(id);
  }
}

void DataPlane::OnHello(EndpointId id, Peer& peer, const MessageHeader& header,
                        absl::Span<const uint8_t> token) {
  const auto at = jobs_.find(header.job);
  if (at == jobs_.end()) return Doom(id, peer, header, Reason::kUnknownJob);
  JobShard& job = *at->second;
  const absl::string_view given(reinterpret_cast<const char*>(token.data()),
                                token.size());
  Reason reason = Reason::kNone;
  if (!job.TokenMatches(given)) {
    reason = Reason::kWrongToken;
  } else if (header.job_epoch != job.shard().options().job_epoch) {
    reason = Reason::kWrongJobEpoch;
  } else if (header.map_epoch != job.shard().options().map_epoch) {
    reason = Reason::kWrongMapEpoch;
  } else if (header.rank >= 0) {
    reason = job.shard().Attach(header.rank, header.incarnation, id);
  }
  if (reason != Reason::kNone) {
    CountBad();
    return Doom(id, peer, header, reason);
  }
  peer.job = &job;
  peer.rank = header.rank;
  peer.incarnation = header.incarnation;
  peer.deadline = absl::InfiniteFuture();
  VLOG(1) << "job " << job.id() << " rank " << header.rank << " connected over "
          << transport_->Describe(id);
  MessageHeader ack = job.Header(MessageType::kHelloAck);
  ack.sequence = header.sequence;
  ack.based_on = job.credit();
  SendHeader(id, ack);
}

void DataPlane::OnTableMessage(EndpointId id, Peer& peer,
                               const MessageHeader& header,
                               absl::Span<const uint8_t> body) {
  JobTables& tables = peer.job->tables();
  if (header.type == MessageType::kTableGet) {
    const Reason reason = tables.OnGet(id, header, body);
    if (reason != Reason::kNone) Refuse(id, header, reason);
    return;
  }
  if (options_.metrics) options_.metrics->push_bytes->Add(body.size());
  peer.job->TableInc(id, header, body);
}

void DataPlane::OnServerMessage(EndpointId id, Peer& peer, ShardInput type,
                                const MessageHeader& header,
                                absl::Span<const uint8_t> body) {
  if (peer.job->FromServer(type, header, body)) return;
  CountBad();
  Refuse(id, header, Reason::kBadMessage);
}

// ---- Ends -------------------------------------------------------------------

void DataPlane::Doom(EndpointId id, Peer& peer, const MessageHeader& request,
                     Reason reason) {
  peer.doomed = true;
  peer.deadline = time_.Now() + kDoomedFor;
  Refuse(id, request, reason);
}

void DataPlane::Drop(EndpointId id) {
  transport_->Close(id);
  Forget(id);
}

void DataPlane::OnDisconnect(EndpointId id, absl::Status why) {
  VLOG(1) << "peer " << id << " is gone: " << why;
  for (auto it = arrivals_.begin(); it != arrivals_.end();) {
    if (it->second.peer == id) {
      arrivals_.erase(it++);
    } else {
      ++it;
    }
  }
  Forget(id);
}

void DataPlane::Forget(EndpointId id) {
  const auto at = peers_.find(id);
  if (at == peers_.end()) return;
  const Peer peer = at->second;
  peers_.erase(at);
  if (options_.metrics && !peer.outgoing) options_.metrics->peers->Add(-1);
  if (peer.job == nullptr) return;
  if (!peer.outgoing) return peer.job->Detach(id);
  for (JobShard::PeerServer& server : peer.job->peer_servers()) {
    if (server.endpoint != id) continue;
    server.endpoint = kNoEndpoint;
    server.ready = false;
    server.backoff = std::clamp(server.backoff * 2, kFirstBackoff, kMaxBackoff);
    server.retry_at = time_.Now() + server.backoff;
  }
}

void DataPlane::CountBad() {
  if (options_.metrics) options_.metrics->bad_messages->Increment();
}

}  // namespace cssp
