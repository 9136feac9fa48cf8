#include "common/transport/faulty_transport.h"

#include <algorithm>
#include <utility>

#include "absl/memory/memory.h"
#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/transport/limits.h"

namespace cssp {

absl::StatusOr<std::unique_ptr<FaultyTransport>> FaultyTransport::Create(
    const MakeInner& make_inner, uint64_t seed, const FaultPlan& plan,
    TimeSource& time, TransportHandler& handler) {
  auto faulty =
      absl::WrapUnique(new FaultyTransport(seed, plan, time, handler));
  ASSIGN_OR_RETURN(faulty->inner_, make_inner(*faulty));
  return faulty;
}

FaultyTransport::~FaultyTransport() = default;

absl::Time FaultyTransport::NextDue() const {
  return held_.empty() ? absl::InfiniteFuture() : held_.begin()->first;
}

void FaultyTransport::Break(EndpointId peer) {
  if (open_.erase(peer) == 0) return;
  const absl::Status why = absl::UnavailableError("injected disconnect");
  inner_->Close(peer);
  FailHeld(peer, why);
  broken_.emplace(peer, why);
}

absl::StatusOr<std::string> FaultyTransport::Listen(const std::string& host,
                                                    int port) {
  return inner_->Listen(host, port);
}

absl::StatusOr<EndpointId> FaultyTransport::Connect(
    const std::string& address) {
  ASSIGN_OR_RETURN(const EndpointId peer, inner_->Connect(address));
  open_.insert(peer);
  return peer;
}

absl::Status FaultyTransport::Send(EndpointId peer,
                                   absl::Span<const uint8_t> header,
                                   absl::Span<const uint8_t> payload,
                                   uint64_t token) {
  if (!open_.contains(peer)) return EndpointGone(peer);
  Message message{peer,    token, true, {header.begin(), header.end()},
                  payload, {}};
  if (Draw(plan_.disconnect)) {
    Break(peer);
    return EndpointGone(peer);
  }
  if (Draw(plan_.drop)) {
    reports_.push_back({peer, token, absl::OkStatus()});
    return absl::OkStatus();
  }
  if (Draw(plan_.duplicate)) Duplicate(message);
  absl::Time& until = held_until_[peer];
  if (Draw(plan_.delay)) until = std::max(until, DrawDue());
  if (until > time_.Now()) {
    Hold(until, std::move(message));
    return absl::OkStatus();
  }
  if (Draw(plan_.reorder)) {
    Hold(DrawDue(), std::move(message));
    return absl::OkStatus();
  }
  return Forward(std::move(message));
}

void FaultyTransport::Duplicate(const Message& message) {
  Message again = message;
  again.report = false;
  again.copy.assign(message.payload.begin(), message.payload.end());
  again.payload = again.copy;  // moving a vector keeps its memory
  held_.emplace(DrawDue(), std::move(again));
}

absl::Status FaultyTransport::Forward(Message message) {
  const uint64_t token = ++last_token_;
  Message& kept = sent_.emplace(token, std::move(message)).first->second;
  absl::Status status =
      inner_->Send(kept.peer, kept.header, kept.payload, token);
  if (!status.ok()) sent_.erase(token);
  return status;
}

void FaultyTransport::Hold(absl::Time due, Message message) {
  held_.emplace(due, std::move(message));
}

void FaultyTransport::Close(EndpointId peer) {
  FailHeld(peer, absl::CancelledError("closed"));
  open_.erase(peer);
  broken_.erase(peer);
  held_until_.erase(peer);
  inner_->Close(peer);
}

int FaultyTransport::Poll() {
  int events = ReleaseDue();
  events += inner_->Poll();
  events += ReportSent();
  // A broken endpoint's sends have been reported by now, or are the inner
  // transport's, whose next Poll reports them: then the news has to wait.
  for (const auto& [peer, why] : std::map<EndpointId, absl::Status>(broken_)) {
    const bool pending = std::any_of(
        sent_.begin(), sent_.end(), [peer = peer](const auto& entry) {
          return entry.second.peer == peer && entry.second.report;
        });
    if (pending || broken_.erase(peer) == 0) continue;
    held_until_.erase(peer);
    handler_.OnDisconnect(peer, why);
    ++events;
  }
  return events;
}

int FaultyTransport::ReleaseDue() {
  int released = 0;
  while (NextDue() <= time_.Now()) {
    Message message = std::move(held_.extract(held_.begin()).mapped());
    const Report report{message.peer, message.token, absl::OkStatus()};
    const bool wanted = message.report;
    const absl::Status status = Forward(std::move(message));
    if (!status.ok() && wanted) {
      reports_.push_back({report.peer, report.token, status});
    }
    ++released;
  }
  return released;
}

int FaultyTransport::ReportSent() {
  const std::vector<Report> due = std::exchange(reports_, {});
  for (const Report& report : due) {
    handler_.OnSent(report.peer, report.token, report.status);
  }
  return static_cast<int>(due.size());
}

void FaultyTransport::Wait(absl::Duration timeout) {
  if (!reports_.empty() || !broken_.empty()) return;
  inner_->Wait(std::min(timeout, NextDue() - time_.Now()));
}

std::string FaultyTransport::Describe(EndpointId peer) const {
  return absl::StrCat("faulty ", inner_->Describe(peer));
}

void FaultyTransport::OnAccept(EndpointId peer) {
  open_.insert(peer);
  handler_.OnAccept(peer);
}

uint8_t* FaultyTransport::OnArrival(EndpointId peer,
                                    absl::Span<const uint8_t> header,
                                    size_t payload_bytes) {
  return handler_.OnArrival(peer, header, payload_bytes);
}

void FaultyTransport::OnMessage(EndpointId peer,
                                absl::Span<const uint8_t> header,
                                absl::Span<uint8_t> payload) {
  handler_.OnMessage(peer, header, payload);
}

void FaultyTransport::OnArrivalDropped(EndpointId peer, uint8_t* memory) {
  handler_.OnArrivalDropped(peer, memory);
}

void FaultyTransport::OnSent(EndpointId peer, uint64_t token,
                             absl::Status status) {
  const auto found = sent_.find(token);
  if (found == sent_.end()) return;
  const Message message = std::move(found->second);
  sent_.erase(found);
  if (message.report) handler_.OnSent(peer, message.token, std::move(status));
}

void FaultyTransport::OnDisconnect(EndpointId peer, absl::Status why) {
  open_.erase(peer);
  FailHeld(peer, why);
  ReportSent();  // before the news of the disconnect, as promised
  held_until_.erase(peer);
  handler_.OnDisconnect(peer, std::move(why));
}

void FaultyTransport::FailHeld(EndpointId peer, const absl::Status& why) {
  std::erase_if(held_, [&](const auto& entry) {
    const Message& message = entry.second;
    if (message.peer != peer) return false;
    if (message.report) reports_.push_back({peer, message.token, why});
    return true;
  });
}

bool FaultyTransport::Draw(double probability) {
  // Drawn also when it cannot happen: a seed's schedule stays comparable when
  // one probability of the plan is set to 0.
  const double drawn = std::uniform_real_distribution<double>(0, 1)(random_);
  return drawn < probability;
}

absl::Time FaultyTransport::DrawDue() {
  const double share = std::uniform_real_distribution<double>(0, 1)(random_);
  return time_.Now() + share * plan_.max_delay;
}

}  // namespace cssp
