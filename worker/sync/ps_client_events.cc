// PsClient: what the transport reports, on the comm thread.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "common/base/crc.h"
#include "common/base/logging.h"
#include "worker/sync/ps_client.h"

namespace cssp {
namespace {

using ps::MessageHeader;
using ps::MessageType;
using ps::Reason;

// A refusal for a passing reason is asked again after this.
constexpr absl::Duration kRefusedPause = absl::Milliseconds(20);

// Passing: the same request may be accepted later.
bool Passing(Reason reason) {
  return reason == Reason::kTooFarAhead || reason == Reason::kNotReady ||
         reason == Reason::kBadChecksum;
}

absl::Status RefusalStatus(const std::string& server,
                           const MessageHeader& header) {
  const std::string what =
      absl::StrCat("server ", server, " refused this worker: ",
                   ps::ReasonName(header.reason), " (chunk ", header.chunk,
                   ", clock ", header.clock, ")");
  if (header.reason == Reason::kWrongToken)
    return absl::PermissionDeniedError(what);
  if (header.reason == Reason::kTableFull)
    return absl::ResourceExhaustedError(what);
  return absl::FailedPreconditionError(what);
}

}  // namespace


int PsClient::ServerOf(EndpointId peer) const {
  for (size_t i = 0; i < servers_.size(); ++i)
    if (servers_[i].endpoint == peer) return static_cast<int>(i);
  return -1;
}

uint8_t* PsClient::OnArrival(EndpointId peer,
                             absl::Span<const uint8_t> bytes,
                             size_t payload_bytes) {
  const absl::StatusOr<MessageHeader> header = ps::DecodeHeader(bytes);
  if (!header.ok() || header->payload_bytes != payload_bytes ||
      ServerOf(peer) < 0)
    return nullptr;
  if (header->type == MessageType::kTableRows) {
    Body body{peer, std::make_unique<uint8_t[]>(payload_bytes)};
    uint8_t* const memory = body.bytes.get();
    bodies_[memory] = std::move(body);
    return memory;
  }
  if (header->type != MessageType::kValues)
    return payload_bytes <= small_.size() ? small_.data() : nullptr;
  if (header->chunk >= options_.chunk_server.size()) return nullptr;
  float* memory = events_.OnValuesBegin(*header);
  if (memory == nullptr) {
    // The answer came, but nobody wants it any more.
    Answered(ServerOf(peer), *header);
    if (options_.metrics) options_.metrics->dropped_values->Increment();
    return nullptr;
  }
  arrivals_.push_back({peer, *header, memory});
  return reinterpret_cast<uint8_t*>(memory);
}

void PsClient::OnMessage(EndpointId peer, absl::Span<const uint8_t> bytes,
                         absl::Span<uint8_t> payload) {
  const int server = ServerOf(peer);
  const absl::StatusOr<MessageHeader> header = ps::DecodeHeader(bytes);
  if (server < 0 || !header.ok()) return;
  switch (header->type) {
    case MessageType::kHelloAck:
      if (header->reason != Reason::kNone) return Refused(server, *header);
      return OnHelloAck(server, *header);
    case MessageType::kPushAck:
      if (header->reason == Reason::kLate) events_.OnLate(header->based_on);
      if (ps::IsAcknowledged(header->reason)) return Answered(server, *header);
      return Refused(server, *header);
    case MessageType::kRefused:
      return Refused(server, *header);
    case MessageType::kValues:
      return OnValues(server, *header, payload);
    case MessageType::kTableRows:
      return OnRows(server, *header, payload);
    case MessageType::kGoodbye:
      transport_->Close(peer);
      return Retry(server, absl::UnavailableError("the server said goodbye"));
    default:
      LOG(WARNING) << "unexpected message from " << servers_[server].address
                   << ": " << ps::ToString(*header);
  }
}

bool PsClient::Intact(const MessageHeader& header,
                      absl::Span<const uint8_t> payload) const {
  if (!(header.flags & ps::kFlagHasCrc)) return true;
  const std::optional<uint32_t> crc = transport_->payload_crc();
  return header.payload_crc ==
         (crc.has_value() ? *crc : Crc32c(payload.data(), payload.size()));
}

void PsClient::OnValues(int server, const MessageHeader& header,
                        absl::Span<uint8_t> payload) {
  auto* memory = reinterpret_cast<float*>(payload.data());
  arrivals_.erase(
      std::remove_if(arrivals_.begin(), arrivals_.end(),
                     [&](const Arrival& a) { return a.memory == memory; }),
      arrivals_.end());
  const bool ok = Intact(header, payload);
  if (options_.metrics)
    options_.metrics->pulled_bytes->Add(static_cast<double>(payload.size()));
  Answered(server, header);
  events_.OnValuesEnd(header, memory, ok);
}

void PsClient::OnRows(int server, const MessageHeader& header,
                      absl::Span<uint8_t> payload) {
  const auto at = bodies_.find(payload.data());
  if (at == bodies_.end()) return;
  const Body body = std::move(at->second);
  bodies_.erase(at);
  if (!Intact(header, payload)) return AskAgain(server, header);
  if (options_.metrics)
    options_.metrics->pulled_bytes->Add(static_cast<double>(payload.size()));
  Answered(server, header);
  events_.OnTableRows(server, header, payload);
}

// `header.sequence` echoes a request; eager values echo none.
void PsClient::Answered(int number, const MessageHeader& header) {
  if (header.flags & ps::kFlagEager) return;
  const auto at = requests_.find(header.sequence);
  if (at == requests_.end() || at->second.server != number ||
      at->second.answered)
    return;
  Request& request = at->second;
  request.answered = true;
  Server& server = servers_[number];
  if (request.sent) {
    if (request.is_pull()) {
      --server.pulls_out;
    } else {
      server.bytes_out -= ps::HeldBytes(request.header);
    }
  }
  FinishIfDone(header.sequence);
}

void PsClient::Refused(int number, const MessageHeader& header) {
  Server& server = servers_[number];
  if (server.link == Link::kConnecting) {
    // Not yet open there: the coordinator's word may be on its way.
    if (Passing(header.reason)) {
      transport_->Close(server.endpoint);
      return Retry(number, RefusalStatus(server.address, header));
    }
    return Fatal(RefusalStatus(server.address, header));
  }
  if (header.reason == Reason::kDuplicate) return Answered(number, header);
  const auto at = requests_.find(header.sequence);
  if (at == requests_.end() || at->second.server != number) {
    if (!Passing(header.reason)) Fatal(RefusalStatus(server.address, header));
    return;
  }
  if (Passing(header.reason)) return AskAgain(number, header);
  if (header.reason == Reason::kGone && at->second.is_pull()) {
    MessageHeader request = at->second.header;
    request.reason = header.reason;
    Answered(number, header);
    return events_.OnPullRefused(request);
  }
  Fatal(RefusalStatus(server.address, header));
}

// The answer was none: the same request goes out again a little later.
void PsClient::AskAgain(int number, const MessageHeader& header) {
  const auto at = requests_.find(header.sequence);
  if (at == requests_.end() || at->second.server != number ||
      !at->second.sent)
    return;
  Server& server = servers_[number];
  if (at->second.is_pull()) {
    --server.pulls_out;
  } else {
    server.bytes_out -= ps::HeldBytes(at->second.header);
  }
  at->second.sent = false;
  delayed_.push_back({time_.Now() + kRefusedPause, header.sequence});
}

void PsClient::OnSent(EndpointId peer, uint64_t token, absl::Status status) {
  const auto at = tokens_.find(token);
  if (at == tokens_.end()) return;
  const uint32_t sequence = at->second;
  tokens_.erase(at);
  const auto request = requests_.find(sequence);
  if (request == requests_.end()) return;
  --request->second.memory_out;
  FinishIfDone(sequence);
}

void PsClient::OnDisconnect(EndpointId peer, absl::Status why) {
  const int server = ServerOf(peer);
  if (server >= 0) Retry(server, std::move(why));
}

void PsClient::DropArrivals(EndpointId peer) {
  absl::erase_if(bodies_,
                 [=](const auto& body) { return body.second.peer == peer; });
  std::vector<Arrival> dropped;
  for (size_t i = 0; i < arrivals_.size();) {
    if (arrivals_[i].peer == peer) {
      dropped.push_back(arrivals_[i]);
      arrivals_.erase(arrivals_.begin() + static_cast<int64_t>(i));
    } else {
      ++i;
    }
  }
  for (const Arrival& arrival : dropped)
    events_.OnValuesEnd(arrival.header, arrival.memory, false);
}

}  // namespace cssp
