#include "common/transport/ucx_transport.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/memory/memory.h"
#include "absl/strings/str_cat.h"
#include "common/base/logging.h"
#include "common/base/status_macros.h"
#include "common/base/time_source.h"
#include "common/transport/limits.h"
#include "common/transport/random_key.h"
#include "common/transport/ucx_wire.h"

namespace cssp {
namespace {

// Rounds of progress per Poll: enough to drain bursts, few enough that a busy
// peer does not keep the owner from its other work.
constexpr int kMaxRounds = 256;
// Watched for at the end of a Poll, where it pays: about what a sleep and a
// wake-up cost both sides.
constexpr absl::Duration kLinger = absl::Microseconds(50);
// The connecting side waits longer than the accepting one: a server may be
// busy restoring a shard, but it need not keep strangers.
constexpr int kConnectPatience = 3;
constexpr absl::Duration kDestroyLimit = absl::Seconds(2);

absl::Time Now() { return TimeSource::Real().Now(); }

absl::Span<const uint8_t> ByteSpan(const void* data, size_t size) {
  return {static_cast<const uint8_t*>(data), size};
}

}  // namespace

absl::StatusOr<std::unique_ptr<Transport>> MakeUcxTransport(
    const TransportOptions& options, TransportHandler& handler) {
  return UcxTransport::Create(options, handler);
}

absl::StatusOr<std::unique_ptr<UcxTransport>> UcxTransport::Create(
    const TransportOptions& options, TransportHandler& handler) {
  auto transport = absl::WrapUnique(new UcxTransport(options, handler));
  RETURN_IF_ERROR(transport->Init());
  return transport;
}

absl::Status UcxTransport::Init() {
  ASSIGN_OR_RETURN(
      worker_, UcxWorker::Create(
                   options_, DataPrefix::kBytes + options_.max_header_bytes));
  const auto handle = [this](unsigned id, ucp_am_recv_callback_t callback) {
    ucp_am_handler_param_t param{};
    param.field_mask = UCP_AM_HANDLER_PARAM_FIELD_ID |
                       UCP_AM_HANDLER_PARAM_FIELD_CB |
                       UCP_AM_HANDLER_PARAM_FIELD_ARG;
    param.id = id;
    param.cb = callback;
    param.arg = this;
    return FromUcs(ucp_worker_set_am_recv_handler(worker_->get(), &param),
                   "UCX refuses a message handler");
  };
  // UCX 1.13 calls whatever stands in its table under the id that a peer names,
  // without a bound, and does not clear the entries that it adds: a stranger's
  // id would be a jump into the heap.  So the table spans all ids (the highest
  // one first, which sizes it), and each has a handler; OnData drops what has
  // no key.  2 MiB, a few milliseconds.
  for (int id = kMaxAmId; id >= 0; --id)
    RETURN_IF_ERROR(handle(static_cast<unsigned>(id), HandlerOf(id)));
  memory_ = std::make_shared<UcxMemory>(worker_->context());
  return absl::OkStatus();
}

ucp_am_recv_callback_t UcxTransport::HandlerOf(int id) {
  switch (id) {
    case kGreetingId:
      return OnGreeting;
    case kOfferId:
      return OnOffer;
    case kTakenId:
      return OnTaken;
    default:
      return OnData;
  }
}

UcxTransport::~UcxTransport() {
  quiet_ = true;
  if (worker_ == nullptr) return;
  for (ucp_listener_h listener : listeners_) ucp_listener_destroy(listener);
  for (auto& [id, endpoint] : endpoints_) BeginClose(*endpoint);
  const auto all_closed = [this] {
    return std::all_of(
        endpoints_.begin(), endpoints_.end(),
        [this](auto& entry) { return CloseDone(*entry.second); });
  };
  const absl::Time deadline = Now() + kDestroyLimit;
  while (!all_closed()) {
    if (ucp_worker_progress(worker_->get()) != 0) continue;
    if (Now() > deadline) {
      LOG(WARNING) << "ucx connections did not close within " << kDestroyLimit;
      break;
    }
    worker_->Wait(absl::Milliseconds(1));
  }
  worker_.reset();  // before the operations that it may still point to
}

absl::StatusOr<std::string> UcxTransport::Listen(const std::string& host,
                                                 int port) {
  const std::string asked = JoinHostPort(host, port);
  ASSIGN_OR_RETURN(const SocketAddress address, ResolveAddress(host, port));
  ucp_listener_params_t params{};
  params.field_mask = UCP_LISTENER_PARAM_FIELD_SOCK_ADDR |
                      UCP_LISTENER_PARAM_FIELD_CONN_HANDLER;
  params.sockaddr = address.ucs();
  params.conn_handler = {OnConnectRequest, this};
  ucp_listener_h listener = nullptr;
  RETURN_IF_ERROR(
      FromUcs(ucp_listener_create(worker_->get(), &params, &listener),
              absl::StrCat("data plane: cannot listen on ", asked,
                           " (in use, or not an address of this host)")));
  listeners_.push_back(listener);
  ucp_listener_attr_t attributes{};
  attributes.field_mask = UCP_LISTENER_ATTR_FIELD_SOCKADDR;
  RETURN_IF_ERROR(FromUcs(ucp_listener_query(listener, &attributes),
                          "UCX does not tell the listener's port"));
  return JoinHostPort(host, PortOf(attributes.sockaddr));
}

UcxTransport::Endpoint* UcxTransport::AddEndpoint(bool server_side) {
  auto endpoint = std::make_unique<Endpoint>();
  endpoint->transport = this;
  endpoint->id = ++last_id_;
  endpoint->key = RandomKey();
  endpoint->server_side = server_side;
  endpoint->announced = !server_side;
  endpoint->greet_by =
      Now() + options_.handshake_timeout * (server_side ? 1 : kConnectPatience);
  Endpoint* added = endpoint.get();
  by_key_[added->key] = added;
  greeting_.push_back(added->id);
  endpoints_[added->id] = std::move(endpoint);
  return added;
}

UcxTransport::Endpoint* UcxTransport::Find(EndpointId id) const {
  const auto found = endpoints_.find(id);
  return found == endpoints_.end() ? nullptr : found->second.get();
}

ucp_ep_params_t UcxTransport::EndpointParams(Endpoint& endpoint) const {
  ucp_ep_params_t params{};
  params.field_mask =
      UCP_EP_PARAM_FIELD_ERR_HANDLING_MODE | UCP_EP_PARAM_FIELD_ERR_HANDLER;
  // Without it a killed peer takes this process along.
  params.err_mode = UCP_ERR_HANDLING_MODE_PEER;
  params.err_handler = {OnError, &endpoint};
  return params;
}

absl::StatusOr<EndpointId> UcxTransport::Connect(const std::string& address) {
  if (endpoints_.size() >= options_.max_endpoints) {
    return TooManyEndpoints(options_);
  }
  const absl::StatusOr<SocketAddress> to = ParseAddress(address);
  if (absl::IsInvalidArgument(to.status())) return to.status();
  Endpoint& endpoint = *AddEndpoint(/*server_side=*/false);
  endpoint.address = address;
  if (!to.ok()) {
    Fail(endpoint, to.status());
    return endpoint.id;
  }
  ucp_ep_params_t params = EndpointParams(endpoint);
  params.field_mask |= UCP_EP_PARAM_FIELD_FLAGS | UCP_EP_PARAM_FIELD_SOCK_ADDR;
  params.flags = UCP_EP_PARAMS_FLAGS_CLIENT_SERVER;
  params.sockaddr = to->ucs();
  const ucs_status_t status =
      ucp_ep_create(worker_->get(), &params, &endpoint.ep);
  if (status != UCS_OK) {
    endpoint.ep = nullptr;
    Fail(endpoint,
         FromUcs(status, absl::StrCat("cannot connect to ", address)));
    return endpoint.id;
  }
  Greet(endpoint, /*answer=*/false);
  return endpoint.id;
}

void UcxTransport::OnConnectRequest(ucp_conn_request_h request, void* self) {
  UcxTransport& transport = *static_cast<UcxTransport*>(self);
  if (transport.quiet_ ||
      transport.endpoints_.size() >= transport.options_.max_endpoints) {
    ucp_listener_reject(transport.listeners_.front(), request);
    return;
  }
  Endpoint& endpoint = *transport.AddEndpoint(/*server_side=*/true);
  ucp_ep_params_t params = transport.EndpointParams(endpoint);
  params.field_mask |= UCP_EP_PARAM_FIELD_CONN_REQUEST;
  params.conn_request = request;
  const ucs_status_t status =
      ucp_ep_create(transport.worker_->get(), &params, &endpoint.ep);
  if (status != UCS_OK) {
    endpoint.ep = nullptr;
    transport.Fail(endpoint, FromUcs(status, "cannot accept"));
    return;
  }
  transport.by_ep_[endpoint.ep] = &endpoint;
}

void UcxTransport::Greet(Endpoint& endpoint, bool answer) {
  Outgoing& hello = NewOutgoing(endpoint, 0, Greeting::kBytes);
  hello.internal = true;
  Greeting{answer, endpoint.key, endpoint.peer_key}.Write(hello.header.data());
  StartSend(hello, kGreetingId, answer ? 0 : UCP_AM_SEND_FLAG_REPLY);
}

ucs_status_t UcxTransport::OnGreeting(void* self, const void* header,
                                      size_t header_bytes, void*, size_t,
                                      const ucp_am_recv_param_t* param) {
  UcxTransport& transport = *static_cast<UcxTransport*>(self);
  Greeting greeting;
  if (transport.quiet_) return UCS_OK;
  if (!greeting.Read(ByteSpan(header, header_bytes))) {
    const int version = Greeting::VersionOf(ByteSpan(header, header_bytes));
    if (version != 0 && version != Greeting::kVersion) {
      LOG_EVERY_N(WARNING, 100)
          << "a peer speaks version " << version
          << " of the data plane's handshake, this program version "
          << Greeting::kVersion << ": both must be of one release";
    }
    return UCS_OK;  // a stranger: the deadline deals with it
  }
  Endpoint* endpoint = nullptr;
  if (greeting.answer) {
    const auto found = transport.by_key_.find(greeting.receiver);
    if (found != transport.by_key_.end()) endpoint = found->second;
  } else if (param->recv_attr & UCP_AM_RECV_ATTR_FIELD_REPLY_EP) {
    const auto found = transport.by_ep_.find(param->reply_ep);
    if (found != transport.by_ep_.end()) endpoint = found->second;
  }
  if (endpoint != nullptr && endpoint->server_side != greeting.answer) {
    transport.Greeted(*endpoint, greeting.sender);
  }
  return UCS_OK;
}

void UcxTransport::Greeted(Endpoint& endpoint, Key peer_key) {
  if (endpoint.state != Endpoint::State::kGreeting) return;
  endpoint.state = Endpoint::State::kOpen;
  endpoint.peer_key = peer_key;
  endpoint.lanes = DescribeLanes(endpoint.ep);
  if (OnlyTcp(endpoint.lanes)) endpoint.in_one = UcxWorker::kMaxInOne;
  if (endpoint.server_side) {
    by_ep_.erase(endpoint.ep);
    Greet(endpoint, /*answer=*/true);
    endpoint.announced = true;
    ++events_;
    Probe(endpoint);
    handler_.OnAccept(endpoint.id);
    return;
  }
  Probe(endpoint);
  VLOG(1) << "connected to " << endpoint.address << " by " << endpoint.lanes;
  for (Outgoing* outgoing : std::exchange(endpoint.waiting, {})) {
    DataPrefix{peer_key}.Write(outgoing->header.data());
    StartSend(*outgoing, kDataId, 0);
  }
}

UcxTransport::Outgoing& UcxTransport::NewOutgoing(Endpoint& endpoint,
                                                  uint64_t token,
                                                  size_t header_bytes) {
  if (free_outgoings_.empty()) {
    free_outgoings_.push_back(
        outgoings_.emplace_back(std::make_unique<Outgoing>()).get());
    // So that giving it back never allocates, nor reporting it.
    free_outgoings_.reserve(outgoings_.size());
    done_.reserve(outgoings_.size());
  }
  Outgoing& outgoing = *free_outgoings_.back();
  free_outgoings_.pop_back();
  outgoing.transport = this;
  outgoing.endpoint = &endpoint;
  outgoing.internal = false;
  outgoing.token = token;
  outgoing.payload = {};
  outgoing.header.resize(header_bytes);
  return outgoing;
}

absl::Status UcxTransport::Send(EndpointId peer,
                                absl::Span<const uint8_t> header,
                                absl::Span<const uint8_t> payload,
                                uint64_t token) {
  RETURN_IF_ERROR(CheckLengths(options_, header.size(), payload.size()));
  Endpoint* endpoint = Find(peer);
  if (endpoint == nullptr || (endpoint->state != Endpoint::State::kOpen &&
                              endpoint->state != Endpoint::State::kGreeting)) {
    return EndpointGone(peer);
  }
  Outgoing& outgoing =
      NewOutgoing(*endpoint, token, DataPrefix::kBytes + header.size());
  outgoing.payload = payload;
  if (!header.empty()) {
    std::memcpy(outgoing.header.data() + DataPrefix::kBytes, header.data(),
                header.size());
  }
  if (endpoint->state == Endpoint::State::kGreeting) {
    endpoint->waiting.push_back(&outgoing);
    return absl::OkStatus();
  }
  DataPrefix{endpoint->peer_key}.Write(outgoing.header.data());
  if (!OfferInstead(*endpoint, outgoing)) StartSend(outgoing, kDataId, 0);
  return absl::OkStatus();
}

void UcxTransport::StartSend(Outgoing& outgoing, unsigned am_id,
                             uint32_t flags) {
  ucp_request_param_t param{};
  param.op_attr_mask = UCP_OP_ATTR_FIELD_CALLBACK |
                       UCP_OP_ATTR_FIELD_USER_DATA | UCP_OP_ATTR_FIELD_FLAGS;
  param.cb.send = OnSendDone;
  param.user_data = &outgoing;
  param.flags = flags;
  if (outgoing.payload.size() <= outgoing.endpoint->in_one) {
    param.flags |= UCP_AM_SEND_FLAG_EAGER;
  }
  const ucs_status_ptr_t request =
      ucp_am_send_nbx(outgoing.endpoint->ep, am_id, outgoing.header.data(),
                      outgoing.header.size(), outgoing.payload.data(),
                      outgoing.payload.size(), &param);
  if (UCS_PTR_IS_PTR(request)) {
    ++outgoing.endpoint->sending;
    return;
  }
  // At once, well or badly: reported by the next Poll all the same.
  outgoing.result = UCS_PTR_STATUS(request);
  done_.push_back(&outgoing);
}

void UcxTransport::OnSendDone(void* request, ucs_status_t status,
                              void* outgoing) {
  Outgoing& done = *static_cast<Outgoing*>(outgoing);
  --done.endpoint->sending;
  done.result = status;
  done.transport->done_.push_back(&done);
  ucp_request_free(request);
}

void UcxTransport::ReportDone() {
  // By index: handlers send, and that may add.
  for (size_t i = 0; i < done_.size(); ++i) {
    Outgoing& done = *done_[i];
    const EndpointId peer = done.endpoint->id;
    const uint64_t token = done.token;
    const bool report = !done.internal;
    const ucs_status_t result = done.result;
    free_outgoings_.push_back(&done);
    if (!report) continue;
    ++events_;
    handler_.OnSent(peer, token, FromUcs(result, "send"));
  }
  done_.clear();
  for (size_t i = 0; i < dropped_.size(); ++i) {
    ++events_;
    handler_.OnArrivalDropped(dropped_[i].peer, dropped_[i].memory);
  }
  dropped_.clear();
}

std::string UcxTransport::Describe(EndpointId peer) const {
  const Endpoint* endpoint = Find(peer);
  if (endpoint == nullptr || endpoint->ep == nullptr) return "closed";
  return absl::StrCat(
      endpoint->lanes.empty() ? "a connection that waits" : endpoint->lanes,
      endpoint->takes_offers ? ", payloads by shared memory" : "");
}

bool UcxTransport::Progress() {
  const bool any = ucp_worker_progress(worker_->get()) != 0;
  ReportDone();
  return any;
}

int UcxTransport::Poll() {
  events_ = 0;
  polling_ = true;
  int round = 0;
  while (round < kMaxRounds && Progress()) ++round;
  if (round == 0 && events_ == 0 && !worker_->woken() && linger_.Worth()) {
    const absl::Time until = Now() + kLinger;
    while (round == 0 && !worker_->woken() && Now() < until) {
      round = Progress() ? 1 : 0;
    }
    linger_.Note(round > 0);
    while (round > 0 && round < kMaxRounds && Progress()) ++round;
  }
  // Only now: what a peer said before it died has been heard.
  if (!greeting_.empty()) ExpireGreetings();
  if (!leaving_.empty()) Reap();
  polling_ = false;
  // Not all drained: worth another Poll before a Wait.
  return events_ + (round == kMaxRounds ? 1 : 0);
}

void UcxTransport::Wait(absl::Duration timeout) {
  if (!done_.empty() || !dropped_.empty()) return;
  // A close under way has no event to wake us.
  if (!leaving_.empty()) timeout = std::min(timeout, absl::Milliseconds(1));
  for (EndpointId id : greeting_) {
    const Endpoint* endpoint = Find(id);
    if (endpoint != nullptr) {
      timeout = std::min(timeout, endpoint->greet_by - Now());
    }
  }
  worker_->Wait(timeout);
}

}  // namespace cssp
