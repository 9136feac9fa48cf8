// The receiving half of UcxTransport, and how its connections end.
#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/crc.h"
#include "common/base/logging.h"
#include "common/base/time_source.h"
#include "common/transport/limits.h"
#include "common/transport/ucx_transport.h"
#include "common/transport/ucx_wire.h"

namespace cssp {

ucs_status_t UcxTransport::OnData(void* self, const void* header,
                                  size_t header_bytes, void* data, size_t bytes,
                                  const ucp_am_recv_param_t* param) {
  UcxTransport& transport = *static_cast<UcxTransport*>(self);
  absl::Span<const uint8_t> all(static_cast<const uint8_t*>(header),
                                header_bytes);
  DataPrefix prefix;
  // OK without receiving means: dropped.  The sender hears of success, which
  // for a message nobody asked for is good enough.
  if (transport.quiet_ || !prefix.Read(all)) return UCS_OK;
  const auto found = transport.by_key_.find(prefix.receiver);
  if (found == transport.by_key_.end()) return UCS_OK;
  transport.Arrive(*found->second, all.subspan(DataPrefix::kBytes), data, bytes,
                   param->recv_attr & UCP_AM_RECV_ATTR_FLAG_RNDV);
  return UCS_OK;
}

void UcxTransport::Arrive(Endpoint& endpoint, absl::Span<const uint8_t> header,
                          void* data, size_t bytes, bool rendezvous) {
  // A server's first messages may overtake its answer to the greeting, and
  // whoever knows the key has been greeted; a client's must come after it.
  if (!endpoint.announced) return;
  const absl::Status fits = CheckLengths(options_, header.size(), bytes);
  if (!fits.ok()) return Fail(endpoint, fits);
  ++events_;
  uint8_t* memory = handler_.OnArrival(endpoint.id, header, bytes);
  if (memory == nullptr) return;
  if (!by_key_.contains(endpoint.key)) {  // closed by the handler just now
    dropped_.push_back({endpoint.id, memory});
    return;
  }
  if (rendezvous) return Receive(endpoint, header, data, memory, bytes);
  CopyAndReport(endpoint, header, data, absl::MakeSpan(memory, bytes));
}

void UcxTransport::CopyAndReport(Endpoint& endpoint,
                                 absl::Span<const uint8_t> header,
                                 const void* from, absl::Span<uint8_t> memory) {
  if (!memory.empty()) {
    payload_crc_ = CopyWithCrc32c(memory.data(), from, memory.size());
  }
  handler_.OnMessage(endpoint.id, header, memory);
  payload_crc_.reset();
}

UcxTransport::Incoming& UcxTransport::NewIncoming(Endpoint& endpoint) {
  if (free_incomings_.empty()) {
    free_incomings_.push_back(
        incomings_.emplace_back(std::make_unique<Incoming>()).get());
    free_incomings_.reserve(incomings_.size());
  }
  Incoming& incoming = *free_incomings_.back();
  free_incomings_.pop_back();
  incoming.transport = this;
  incoming.endpoint = &endpoint;
  return incoming;
}

void UcxTransport::Receive(Endpoint& endpoint, absl::Span<const uint8_t> header,
                           void* descriptor, uint8_t* memory, size_t bytes) {
  Incoming& incoming = NewIncoming(endpoint);
  incoming.memory = memory;
  incoming.bytes = bytes;
  incoming.header.assign(header.begin(), header.end());
  ucp_request_param_t param{};
  param.op_attr_mask = UCP_OP_ATTR_FIELD_CALLBACK | UCP_OP_ATTR_FIELD_USER_DATA;
  param.cb.recv_am = OnReceiveDone;
  param.user_data = &incoming;
  ++endpoint.receiving;
  const ucs_status_ptr_t request =
      ucp_am_recv_data_nbx(worker_->get(), descriptor, memory, bytes, &param);
  if (!UCS_PTR_IS_PTR(request)) {
    FinishReceive(incoming, UCS_PTR_STATUS(request));
  }
}

void UcxTransport::OnReceiveDone(void* request, ucs_status_t status, size_t,
                                 void* incoming) {
  ucp_request_free(request);
  Incoming& done = *static_cast<Incoming*>(incoming);
  done.transport->FinishReceive(done, status);
}

void UcxTransport::FinishReceive(Incoming& incoming, ucs_status_t status) {
  Endpoint& endpoint = *incoming.endpoint;
  --endpoint.receiving;
  free_incomings_.push_back(&incoming);
  if (quiet_) return;
  if (endpoint.state == Endpoint::State::kClosed) {
    dropped_.push_back({endpoint.id, incoming.memory});
    return;
  }
  if (status != UCS_OK || endpoint.state == Endpoint::State::kFailed) {
    endpoint.cut_off.push_back(incoming.memory);
    return Fail(endpoint, FromUcs(status, "receiving a payload"));
  }
  // The handler may receive again, reusing `incoming`: its header is moved out
  // and back so that neither is copied nor allocated anew.
  std::vector<uint8_t> header = std::move(incoming.header);
  ++events_;
  handler_.OnMessage(endpoint.id, header,
                     absl::MakeSpan(incoming.memory, incoming.bytes));
  if (incoming.header.capacity() == 0) incoming.header = std::move(header);
}

void UcxTransport::OnError(void* arg, ucp_ep_h, ucs_status_t status) {
  Endpoint& endpoint = *static_cast<Endpoint*>(arg);
  const std::string what =
      absl::StrCat(endpoint.server_side ? "a peer" : endpoint.address,
                   " closed the connection, died or cannot be reached");
  endpoint.transport->Fail(endpoint, FromUcs(status, what));
}

void UcxTransport::Fail(Endpoint& endpoint, absl::Status why) {
  if (!by_key_.contains(endpoint.key)) return;  // leaving already
  VLOG(1) << "endpoint " << endpoint.id << " fails: " << why;
  endpoint.why = std::move(why);
  Leave(endpoint, Endpoint::State::kFailed);
}

void UcxTransport::Close(EndpointId peer) {
  Endpoint* endpoint = Find(peer);
  if (endpoint == nullptr) return;
  if (endpoint->state == Endpoint::State::kFailed) {
    endpoint->state = Endpoint::State::kClosed;
    for (uint8_t* memory : std::exchange(endpoint->cut_off, {})) {
      dropped_.push_back({peer, memory});
    }
    return;
  }
  if (endpoint->state == Endpoint::State::kClosed) return;
  Leave(*endpoint, Endpoint::State::kClosed);
  // Inside Poll, UCX may be calling us on behalf of this very endpoint.
  if (!polling_) BeginClose(*endpoint);
}

void UcxTransport::Leave(Endpoint& endpoint, Endpoint::State state) {
  endpoint.state = state;
  by_key_.erase(endpoint.key);
  by_ep_.erase(endpoint.ep);
  leaving_.push_back(endpoint.id);
  for (Outgoing* outgoing : std::exchange(endpoint.waiting, {})) {
    outgoing->result = UCS_ERR_CANCELED;
    done_.push_back(outgoing);
  }
  for (const auto& [number, offered] : std::exchange(endpoint.offers, {})) {
    EndOffer(offered, UCS_ERR_CANCELED);
  }
}

void UcxTransport::BeginClose(Endpoint& endpoint) {
  if (std::exchange(endpoint.close_begun, true) || endpoint.ep == nullptr) {
    return;
  }
  ucp_request_param_t param{};
  param.op_attr_mask = UCP_OP_ATTR_FIELD_FLAGS;
  param.flags = UCP_EP_CLOSE_FLAG_FORCE;
  endpoint.closing =
      ucp_ep_close_nbx(std::exchange(endpoint.ep, nullptr), &param);
}

bool UcxTransport::CloseDone(Endpoint& endpoint) {
  if (UCS_PTR_IS_PTR(endpoint.closing)) {
    if (ucp_request_check_status(endpoint.closing) == UCS_INPROGRESS) {
      return false;
    }
    ucp_request_free(endpoint.closing);
    endpoint.closing = nullptr;
  }
  return endpoint.sending == 0 && endpoint.receiving == 0;
}

void UcxTransport::Reap() {
  std::vector<EndpointId> still;
  // By index, and then by id: handlers close, which adds to leaving_.
  for (size_t i = 0; i < leaving_.size(); ++i) {
    Endpoint& endpoint = *Find(leaving_[i]);
    BeginClose(endpoint);
    if (!CloseDone(endpoint)) {
      still.push_back(endpoint.id);
      continue;
    }
    ReportDone();  // its sends, before the news of its end
    const bool tell =
        endpoint.announced && endpoint.state == Endpoint::State::kFailed;
    const EndpointId id = endpoint.id;
    const absl::Status why = endpoint.why;
    endpoints_.erase(id);
    if (tell) {
      ++events_;
      handler_.OnDisconnect(id, why);
    }
  }
  leaving_ = std::move(still);
}

void UcxTransport::ExpireGreetings() {
  const absl::Time now = TimeSource::Real().Now();
  std::erase_if(greeting_, [this, now](EndpointId id) {
    Endpoint* endpoint = Find(id);
    if (endpoint == nullptr || endpoint->state != Endpoint::State::kGreeting) {
      return true;
    }
    if (now < endpoint->greet_by) return false;
    Fail(*endpoint, absl::DeadlineExceededError(absl::StrCat(
                        endpoint->server_side ? "a peer" : endpoint->address,
                        " did not complete the handshake")));
    return true;
  });
}

}  // namespace cssp
