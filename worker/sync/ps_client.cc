#include "worker/sync/ps_client.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "common/base/crc.h"
#include "common/base/logging.h"
#include "common/base/status_macros.h"

namespace cssp {
namespace {

using ps::MessageHeader;
using ps::MessageType;
using ps::Reason;

constexpr absl::Duration kIdleWait = absl::Milliseconds(200);
constexpr absl::Duration kTimerWait = absl::Milliseconds(10);
constexpr absl::Duration kFirstBackoff = absl::Milliseconds(50);
constexpr absl::Duration kMaxBackoff = absl::Seconds(1);
constexpr absl::Duration kHelloTimeout = absl::Seconds(5);
constexpr absl::Duration kGoodbyeWait = absl::Milliseconds(300);
constexpr size_t kSmallPayload = 4096;

template <class Number>
absl::Span<const uint8_t> Bytes(absl::Span<const Number> data) {
  return {reinterpret_cast<const uint8_t*>(data.data()),
          data.size() * sizeof(Number)};
}

}  // namespace

PsClient::PsClient(PsClientOptions options, PsClientEvents& events)
    : options_(std::move(options)),
      events_(events),
      time_(options_.time != nullptr ? *options_.time : TimeSource::Real()),
      carriers_(options_.servers.size()),
      servers_(options_.servers.size()),
      small_(kSmallPayload) {
  for (size_t i = 0; i < servers_.size(); ++i)
    servers_[i].address = options_.servers[i];
}

PsClient::~PsClient() { Stop(); }

absl::Status PsClient::Start() {
  TransportOptions transport = options_.transport;
  transport.peers = options_.servers;
  ASSIGN_OR_RETURN(transport_, options_.make_transport(transport, *this));
  for (Server& server : servers_) {
    server.window_bytes = options_.push_window_bytes;
    server.down_since = time_.Now();
    server.retry_at = server.down_since;
  }
  thread_ = Thread("comm", [this] { Run(); });
  return absl::OkStatus();
}

void PsClient::Stop() {
  {
    absl::MutexLock lock(&mu_);
    stop_ = true;
  }
  if (transport_ != nullptr) transport_->Wake();
  thread_.Join();
  transport_.reset();  // not before: others wake it
}

// ---- Requests, any thread ---------------------------------------------------

void PsClient::EnqueueChunk(Request request) {
  request.server = options_.chunk_server[request.header.chunk];
  Enqueue(std::move(request));
}

void PsClient::EnqueueBody(Request request, std::string body) {
  request.body = std::make_shared<const std::string>(std::move(body));
  request.data = {reinterpret_cast<const uint8_t*>(request.body->data()),
                  request.body->size()};
  Enqueue(std::move(request));
}

void PsClient::SendInc(int server, const ps::TableInc& inc) {
  Request request;
  request.server = server;
  request.header.type = MessageType::kTableInc;
  request.header.chunk = inc.table;
  request.header.clock = inc.clock;
  request.increment = inc.sequence;
  EnqueueBody(std::move(request), ps::EncodeInc(inc));
}

void PsClient::SendGet(int server, const ps::TableGet& get) {
  Request request;
  request.server = server;
  request.header.type = MessageType::kTableGet;
  request.header.chunk = get.table;
  request.header.clock = get.clock;
  EnqueueBody(std::move(request), ps::EncodeGet(get));
}

void PsClient::Enqueue(Request request) {
  request.begun = time_.Now();
  bool wake;
  {
    absl::MutexLock lock(&mu_);
    wake = commands_.empty();
    commands_.push_back(std::move(request));
  }
  if (wake) transport_->Wake();
}

void PsClient::SendPush(const Push& push) {
  Request request;
  request.header.type = MessageType::kPush;
  request.header.chunk = static_cast<uint32_t>(push.chunk);
  request.header.clock = push.clock;
  request.header.based_on = push.based_on;
  request.header.samples = push.samples;
  request.data = push.packed.empty() ? Bytes(push.data) : Bytes(push.packed);
  if (!push.packed.empty()) request.header.flags |= ps::kFlagBf16;
  EnqueueChunk(std::move(request));
}

void PsClient::SendInit(int chunk, int slot, int64_t clock, bool last,
                        absl::Span<const float> data) {
  Request request;
  request.header.type = MessageType::kInit;
  request.header.chunk = static_cast<uint32_t>(chunk);
  request.header.slot = static_cast<uint16_t>(slot);
  request.header.clock = clock;
  if (last) request.header.flags |= ps::kFlagLastOfInit;
  request.data = Bytes(data);
  EnqueueChunk(std::move(request));
}

void PsClient::SendPull(int chunk, int64_t clock) {
  Request request;
  request.header.type = MessageType::kPull;
  request.header.chunk = static_cast<uint32_t>(chunk);
  request.header.clock = clock;
  EnqueueChunk(std::move(request));
}

void PsClient::SendPullExact(int chunk, int slot, int64_t clock) {
  Request request;
  request.header.type = MessageType::kPullExact;
  request.header.chunk = static_cast<uint32_t>(chunk);
  request.header.slot = static_cast<uint16_t>(slot);
  request.header.clock = clock;
  EnqueueChunk(std::move(request));
}

std::string PsClient::Describe() const {
  absl::MutexLock lock(&mu_);
  std::string text;
  for (size_t i = 0; i < carriers_.size(); ++i) {
    if (carriers_[i].empty()) continue;
    absl::StrAppend(&text, text.empty() ? "" : "; ", options_.servers[i],
                    " over ", carriers_[i]);
  }
  return text;
}

// ---- The comm thread --------------------------------------------------------

void PsClient::Run() {
  while (true) {
    {
      absl::MutexLock lock(&mu_);
      if (stop_) break;
    }
    TakeCommands();
    Turn();
    if (transport_->Poll() > 0) continue;
    const bool timers =
        !delayed_.empty() ||
        std::any_of(servers_.begin(), servers_.end(), [](const Server& s) {
          return s.link != Link::kReady;
        });
    transport_->Wait(timers ? kTimerWait : kIdleWait);
  }
  Goodbye();
}

void PsClient::TakeCommands() {
  std::vector<Request> commands;
  {
    absl::MutexLock lock(&mu_);
    commands.swap(commands_);
  }
  if (failed_) return;
  for (Request& request : commands) {
    const MessageHeader base = NewHeader(request.header.type);
    MessageHeader& header = request.header;
    header.job = base.job;
    header.job_epoch = base.job_epoch;
    header.map_epoch = base.map_epoch;
    header.rank = base.rank;
    header.incarnation = base.incarnation;
    header.sequence = base.sequence;
    const absl::Span<const uint8_t> bytes = request.data;
    header.payload_bytes = static_cast<uint32_t>(bytes.size());
    Server& server = servers_[request.server];
    Queue(server, request);
    requests_.emplace(header.sequence, std::move(request));
  }
}

MessageHeader PsClient::NewHeader(MessageType type) {
  MessageHeader header;
  header.type = type;
  header.job = options_.job;
  header.job_epoch = options_.job_epoch;
  header.map_epoch = options_.map_epoch;
  header.rank = options_.rank;
  header.incarnation = options_.incarnation;
  header.sequence = ++sequence_;
  return header;
}

void PsClient::Turn() {
  if (failed_) return;
  const absl::Time now = time_.Now();
  for (size_t i = 0; i < delayed_.size();) {
    if (delayed_[i].first > now) {
      ++i;
      continue;
    }
    const uint32_t sequence = delayed_[i].second;
    delayed_.erase(delayed_.begin() + static_cast<int64_t>(i));
    RetryLater(sequence);
  }
  for (size_t i = 0; i < servers_.size() && !failed_; ++i) {
    Server& server = servers_[i];
    const int number = static_cast<int>(i);
    if (server.link == Link::kDown && server.retry_at <= now) Connect(number);
    if (server.link == Link::kConnecting && server.retry_at <= now) {
      transport_->Close(server.endpoint);
      Retry(number, absl::DeadlineExceededError("no answer to our hello"));
    }
    if (server.link == Link::kReady) Pump(number);
  }
}

void PsClient::Connect(int number) {
  Server& server = servers_[number];
  absl::StatusOr<EndpointId> endpoint = transport_->Connect(server.address);
  if (!endpoint.ok()) return Retry(number, endpoint.status());
  server.endpoint = *endpoint;
  server.link = Link::kConnecting;
  server.retry_at = time_.Now() + kHelloTimeout;
  SendHello(number);
}

void PsClient::SendHello(int number) {
  Server& server = servers_[number];
  MessageHeader header = NewHeader(MessageType::kHello);
  header.payload_bytes = static_cast<uint32_t>(options_.token.size());
  uint8_t bytes[ps::kHeaderBytes];
  ps::EncodeHeader(header, bytes);
  const absl::Status sent = transport_->Send(
      server.endpoint, bytes,
      {reinterpret_cast<const uint8_t*>(options_.token.data()),
       options_.token.size()},
      ++last_token_);
  if (!sent.ok()) Retry(number, sent);
}

// The connection is gone: every open request of this server begins anew.
void PsClient::Retry(int number, absl::Status why) {
  Server& server = servers_[number];
  const absl::Time now = time_.Now();
  if (server.link == Link::kReady) server.down_since = now;
  DropArrivals(server.endpoint);
  server.link = Link::kDown;
  server.endpoint = kNoEndpoint;
  server.last_error = std::move(why);
  const absl::Duration backoff =
      std::min(kMaxBackoff, kFirstBackoff * (1 << std::min(server.attempts, 6)));
  ++server.attempts;
  server.retry_at = now + backoff;
  server.bytes_out = 0;
  server.pulls_out = 0;
  server.unsent.clear();
  server.unpulled.clear();
  for (auto& [sequence, request] : requests_) {
    if (request.server != number || request.answered) continue;
    request.sent = false;
    Queue(server, request);
  }
  if (now - server.down_since > options_.unreachable_after)
    Fatal(absl::UnavailableError(absl::StrCat(
        "server ", server.address, " cannot be reached for ",
        absl::FormatDuration(options_.unreachable_after), ": ",
        server.last_error.message())));
}

void PsClient::OnHelloAck(int number, const MessageHeader& header) {
  Server& server = servers_[number];
  if (server.link != Link::kConnecting) return;
  server.link = Link::kReady;
  server.attempts = 0;
  // The server's credit for this peer, in bytes; 0: no bound of its own.
  if (header.based_on > 0)
    server.window_bytes =
        std::min(options_.push_window_bytes, header.based_on);
  {
    const std::string carrier = transport_->Describe(server.endpoint);
    absl::MutexLock lock(&mu_);
    carriers_[number] = carrier;
  }
  if (options_.subscribe) {
    uint8_t bytes[ps::kHeaderBytes];
    ps::EncodeHeader(NewHeader(MessageType::kSubscribe), bytes);
    const absl::Status sent =
        transport_->Send(server.endpoint, bytes, {}, ++last_token_);
    if (!sent.ok()) return Retry(number, sent);
  }
  if (server.was_ready) {
    if (options_.metrics) options_.metrics->reconnects->Increment();
    events_.OnReconnect(number);
  }
  server.was_ready = true;
}

void PsClient::Queue(Server& server, const Request& request) {
  const MessageHeader& header = request.header;
  if (!request.is_pull()) {
    server.unsent.push_back(header.sequence);
  } else {
    server.unpulled.insert(
        {header.clock, -int64_t{header.chunk}, header.sequence});
  }
}

void PsClient::Pump(int number) {
  Server& server = servers_[number];
  while (!server.unpulled.empty() && server.pulls_out < options_.pull_window) {
    const uint32_t sequence = server.unpulled.begin()->sequence;
    server.unpulled.erase(server.unpulled.begin());
    if (!SendRequest(number, sequence)) return;
  }
  while (!server.unsent.empty()) {
    const auto at = requests_.find(server.unsent.front());
    const int64_t bytes =
        at == requests_.end() ? 0 : ps::HeldBytes(at->second.header);
    if (server.bytes_out > 0 && server.bytes_out + bytes > server.window_bytes)
      return;
    const uint32_t sequence = server.unsent.front();
    server.unsent.pop_front();
    if (!SendRequest(number, sequence)) return;
  }
}

// False when the connection is gone.
bool PsClient::SendRequest(int number, uint32_t sequence) {
  const auto at = requests_.find(sequence);
  if (at == requests_.end() || at->second.answered || at->second.sent)
    return true;
  Request& request = at->second;
  Server& server = servers_[number];
  // Only now: what waits for the window holds nobody up, and the payload is in
  // cache when it leaves.
  if (!request.data.empty() && !(request.header.flags & ps::kFlagHasCrc)) {
    request.header.payload_crc =
        Crc32c(request.data.data(), request.data.size());
    request.header.flags |= ps::kFlagHasCrc;
  }
  uint8_t bytes[ps::kHeaderBytes];
  ps::EncodeHeader(request.header, bytes);
  const uint64_t token = ++last_token_;
  const absl::Status sent = transport_->Send(server.endpoint, bytes,
                                             request.data, token);
  if (!sent.ok()) {
    Retry(number, sent);
    return false;
  }
  request.sent = true;
  ++request.memory_out;
  tokens_[token] = sequence;
  if (request.is_pull()) {
    ++server.pulls_out;
  } else {
    server.bytes_out += ps::HeldBytes(request.header);
    if (options_.metrics)
      options_.metrics->pushed_bytes->Add(request.header.payload_bytes);
  }
  return true;
}

void PsClient::RetryLater(uint32_t sequence) {
  const auto at = requests_.find(sequence);
  if (at == requests_.end() || at->second.sent) return;
  Server& server = servers_[at->second.server];
  if (server.link != Link::kReady) return;  // the reconnect sends it
  Queue(server, at->second);
  if (options_.metrics) options_.metrics->push_retries->Increment();
}

void PsClient::FinishIfDone(uint32_t sequence) {
  const auto at = requests_.find(sequence);
  if (at == requests_.end()) return;
  const Request& request = at->second;
  if (!request.answered || request.memory_out > 0) return;
  const bool pull = request.is_pull();
  const bool inc = request.header.type == MessageType::kTableInc;
  const uint64_t increment = request.increment;
  const int server = request.server;
  const int chunk = static_cast<int>(request.header.chunk);
  const int64_t clock = request.header.clock;
  if (options_.metrics && request.header.type == MessageType::kPush)
    options_.metrics->push_seconds->Observe(
        absl::ToDoubleSeconds(time_.Now() - request.begun));
  requests_.erase(at);
  if (inc) return events_.OnIncDone(server, chunk, increment);
  if (!pull) events_.OnPushDone(chunk, clock);
}

void PsClient::Fatal(absl::Status status) {
  if (failed_) return;
  failed_ = true;
  events_.OnFatal(status);
}

void PsClient::Goodbye() {
  uint8_t bytes[ps::kHeaderBytes];
  for (Server& server : servers_) {
    if (server.link != Link::kReady) continue;
    ps::EncodeHeader(NewHeader(MessageType::kGoodbye), bytes);
    const absl::Status sent =
        transport_->Send(server.endpoint, bytes, {}, ++last_token_);
    if (!sent.ok()) LOG(WARNING) << sent.message();
  }
  const absl::Time until = time_.Now() + kGoodbyeWait;
  failed_ = true;  // answers no longer matter
  while (transport_->Poll() > 0 && time_.Now() < until) {
  }
}

}  // namespace cssp
