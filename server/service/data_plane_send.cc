// DataPlane: what goes out, and the connections to the job's other servers.
#include <memory>
#include <utility>

#include "common/base/crc.h"
#include "common/base/logging.h"
#include "common/ps/server_wire.h"
#include "server/service/data_plane.h"

namespace cssp {

using ps::MessageHeader;
using ps::MessageType;
using ps::Reason;

namespace {

// Until a server that cannot even be named is tried again.
constexpr absl::Duration kUnreachable = absl::Seconds(1);

}  // namespace

// ---- Other servers ----------------------------------------------------------

// Only a job that clips or has backup workers has anything to say to its other
// servers.
void DataPlane::ConnectServers(JobShard& job, absl::Time now) {
  if (!job.shard().has_peers()) return;
  std::vector<JobShard::PeerServer>& servers = job.peer_servers();
  for (int i = 0; i < static_cast<int>(servers.size()); ++i) {
    JobShard::PeerServer& server = servers[i];
    if (i == job.server_index() || server.endpoint != kNoEndpoint ||
        server.retry_at > now) {
      continue;
    }
    absl::StatusOr<EndpointId> id = transport_->Connect(server.address);
    if (!id.ok()) {
      LOG_EVERY_N(WARNING, 50)
          << "job " << job.id() << " server " << i << ": " << id.status();
      server.retry_at = now + kUnreachable;
      continue;
    }
    server.endpoint = *id;
    Peer& peer = peers_[*id];
    peer.job = &job;
    peer.outgoing = true;
    SendHello(job, *id);
  }
}

absl::Status DataPlane::UpdateServers(JobShard& job,
                                      const control::ShardMap& map) {
  std::vector<JobShard::PeerServer>& servers = job.peer_servers();
  if (map.servers_size() != static_cast<int>(servers.size()))
    return absl::InvalidArgumentError("the map has another number of servers");
  for (int i = 0; i < map.servers_size(); ++i) {
    if (servers[i].address == map.servers(i).data_address()) continue;
    const EndpointId old = servers[i].endpoint;
    servers[i] = {.address = map.servers(i).data_address()};
    if (old != kNoEndpoint) Drop(old);
  }
  ConnectServers(job, time_.Now());
  return absl::OkStatus();
}

void DataPlane::CloseLogs() {
  for (auto& [number, job] : jobs_) job->CloseLog(/*forget=*/false);
}

void DataPlane::SendHello(JobShard& job, EndpointId id) {
  MessageHeader header = job.Header(MessageType::kHello);
  SendBody(id, header, job.token());
}

void DataPlane::OnHelloAck(EndpointId id, Peer& peer) {
  std::vector<JobShard::PeerServer>& servers = peer.job->peer_servers();
  for (int i = 0; i < static_cast<int>(servers.size()); ++i) {
    if (servers[i].endpoint != id) continue;
    servers[i].ready = true;
    servers[i].backoff = absl::ZeroDuration();
    peer.job->shard().OnServerConnected(i);
  }
}

void DataPlane::Refuse(EndpointId id, const MessageHeader& request,
                       Reason reason) {
  MessageHeader header = request;
  header.type = ps::IsAcknowledged(reason) ? MessageType::kPushAck
                                           : MessageType::kRefused;
  header.reason = reason;
  header.flags = 0;
  header.payload_bytes = 0;
  header.payload_crc = 0;
  VLOG(1) << "refused " << ps::ToString(request) << ": "
          << ps::ReasonName(reason);
  if (options_.metrics) {
    (reason == Reason::kLate        ? options_.metrics->late
     : reason == Reason::kDuplicate ? options_.metrics->duplicates
                                    : options_.metrics->refused)
        ->Increment();
    if (reason == Reason::kTooStale) {
      options_.metrics->refused_stale->Increment();
    }
  }
  SendHeader(id, header);
}

// ---- Sends ------------------------------------------------------------------

void DataPlane::SendHeader(EndpointId id, const MessageHeader& header) {
  uint8_t bytes[ps::kHeaderBytes];
  ps::EncodeHeader(header, bytes);
  // A dead endpoint reports itself by OnDisconnect.
  transport_->Send(id, bytes, {}, 0).IgnoreError();
}

void DataPlane::SendWith(EndpointId id, const MessageHeader& base,
                         absl::Span<const uint8_t> payload, Outgoing outgoing) {
  MessageHeader header = base;
  header.payload_bytes = payload.size();
  uint8_t bytes[ps::kHeaderBytes];
  ps::EncodeHeader(header, bytes);
  const uint64_t token = ++last_token_;
  outgoing.peer = id;
  outgoing_[token] = std::move(outgoing);
  if (!transport_->Send(id, bytes, payload, token).ok()) {
    outgoing_.erase(token);
  }
}

// The text lives until it is sent, whatever becomes of its job.
void DataPlane::SendBody(EndpointId id, const MessageHeader& header,
                         std::string body) {
  Outgoing outgoing;
  outgoing.body = std::make_unique<std::string>(std::move(body));
  const absl::Span<const uint8_t> payload(
      reinterpret_cast<const uint8_t*>(outgoing.body->data()),
      outgoing.body->size());
  SendWith(id, header, payload, std::move(outgoing));
}

void DataPlane::SendJobValues(JobShard& job, PeerId peer,
                              const MessageHeader& base, BufferRef values) {
  MessageHeader header = base;
  header.payload_crc = job.ValuesCrc(header, values);
  header.flags |= ps::kFlagHasCrc;
  const absl::Span<const uint8_t> payload = values.bytes();
  if (options_.metrics) options_.metrics->values_bytes->Add(payload.size());
  Outgoing outgoing;
  outgoing.job = header.slot == 0 ? header.job : 0;
  outgoing.chunk = header.chunk;
  outgoing.values = std::move(values);
  SendWith(peer, header, payload, std::move(outgoing));
}

void DataPlane::SendJobReply(PeerId peer, const MessageHeader& header) {
  SendHeader(peer, header);
}

void DataPlane::SendJobNorms(JobShard& job, int server, int64_t clock,
                             std::vector<double> partials) {
  SendToServer(job, server, MessageType::kNorms, clock,
               ps::EncodeNorms(partials));
}

void DataPlane::SendJobContributors(JobShard& job, int server, int64_t clock,
                                    std::vector<int32_t> ranks) {
  SendToServer(job, server, MessageType::kContributors, clock,
               ps::EncodeContributors(ranks));
}

void DataPlane::SendToServer(JobShard& job, int server, MessageType type,
                             int64_t clock, std::string body) {
  const JobShard::PeerServer& to = job.peer_servers()[server];
  if (!to.ready) return;  // sent when it is: OnServerConnected
  MessageHeader header = job.Header(type);
  header.clock = clock;
  header.payload_crc = Crc32c(body.data(), body.size());
  header.flags = ps::kFlagHasCrc;
  SendBody(to.endpoint, header, std::move(body));
}

void DataPlane::SendJobBody(JobShard& job, PeerId peer,
                            const MessageHeader& base, std::string body) {
  MessageHeader header = base;
  header.payload_crc = Crc32c(body.data(), body.size());
  header.flags |= ps::kFlagHasCrc;
  if (options_.metrics) options_.metrics->values_bytes->Add(body.size());
  SendBody(peer, header, std::move(body));
}

void DataPlane::JobCutReady(JobShard& job, const RetainedCut& cut) {
  if (options_.on_cut) options_.on_cut(job, cut);
}

void DataPlane::OnSent(EndpointId id, uint64_t token, absl::Status status) {
  const auto at = outgoing_.find(token);
  if (at == outgoing_.end()) return;
  const Outgoing outgoing = std::move(at->second);
  outgoing_.erase(at);
  if (outgoing.job == 0) return;
  const auto job = jobs_.find(outgoing.job);
  if (job != jobs_.end()) {
    job->second->shard().OnValuesSent(outgoing.peer, outgoing.chunk);
  }
}

}  // namespace cssp
