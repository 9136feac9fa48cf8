// The one-sided half of UcxTransport: payloads that the receiver copies out of
// the sender's memory.
//
//   sender                                receiver
//   Send, payload in shared memory
//     -- offer: region, address, header ->  OnArrival: where to?
//                                           copy (no system call, no rival
//     <- taken ---------------------------   copy in between), OnMessage
//   OnSent: the memory may change
//
// So what is read is what was offered: nobody writes to it before `taken`.
// Only a connection that breaks frees it earlier; the checksum that travels in
// the caller's header then tells.
#include <algorithm>
#include <cstring>
#include <utility>

#include "absl/strings/match.h"
#include "common/base/crc.h"
#include "common/base/logging.h"
#include "common/transport/limits.h"
#include "common/transport/ucx_transport.h"
#include "common/transport/ucx_wire.h"

namespace cssp {
namespace {

// Below, an active message is as fast.
constexpr size_t kLeastOffer = size_t{32} << 10;
// Copies of payloads that do not lie in shared memory, waiting to be taken.
constexpr size_t kMaxStages = 16;
// Regions of one peer that are kept mapped.
constexpr size_t kMaxRegions = 1024;
constexpr size_t kProbeBytes = 4096;

}  // namespace

std::shared_ptr<uint8_t> UcxTransport::AllocateMemory(size_t bytes) {
  std::shared_ptr<uint8_t> memory = memory_->Allocate(bytes);
  if (memory != nullptr) return memory;
  LOG_FIRST_N(WARNING, 1) << "no shared memory of " << bytes
                          << " bytes: payloads of this process are copied";
  return Transport::AllocateMemory(bytes);
}

// ---- The probe: can the peer map what we allocate? --------------------------

void UcxTransport::Probe(Endpoint& endpoint) {
  // "sysv/memory", "posix/memory", "self/memory".  Else it is another host, or
  // TCP by the user's wish.
  if (!absl::StrContains(endpoint.lanes, "/memory")) return;
  if (probe_ == nullptr) probe_ = memory_->Allocate(kProbeBytes);
  if (probe_ == nullptr) return;
  const absl::Span<const uint8_t> page(probe_.get(), kProbeBytes);
  SendOffer(endpoint, ++last_offer_, *memory_->Find(page), page, {},
            /*probe=*/true);
}

// ---- Sending ----------------------------------------------------------------

bool UcxTransport::OfferInstead(Endpoint& endpoint, Outgoing& outgoing) {
  const absl::Span<const uint8_t> payload = outgoing.payload;
  if (!endpoint.takes_offers || payload.size() < kLeastOffer) return false;
  Offered offered;
  absl::Span<const uint8_t> where = payload;
  std::shared_ptr<const UcxRegion> region = memory_->Find(payload);
  if (region == nullptr) {
    offered.stage = TakeStage(payload.size());
    if (offered.stage == nullptr) return false;
    std::memcpy(offered.stage->memory.get(), payload.data(), payload.size());
    where = {offered.stage->memory.get(), payload.size()};
    region = offered.stage->region;
  }
  const uint64_t number = ++last_offer_;
  SendOffer(endpoint, number, *region, where,
            absl::MakeConstSpan(outgoing.header).subspan(DataPrefix::kBytes),
            /*probe=*/false);
  if (offered.stage != nullptr) {  // the caller's memory is free already
    outgoing.result = UCS_OK;
    done_.push_back(&outgoing);
  } else {
    offered.outgoing = &outgoing;
  }
  endpoint.offers[number] = offered;
  return true;
}

void UcxTransport::SendOffer(Endpoint& endpoint, uint64_t number,
                             const UcxRegion& region,
                             absl::Span<const uint8_t> where,
                             absl::Span<const uint8_t> header, bool probe) {
  Outgoing& message = NewOutgoing(endpoint, 0, DataPrefix::kBytes);
  message.internal = true;
  DataPrefix{endpoint.peer_key}.Write(message.header.data());
  Offer offer;
  offer.number = number;
  offer.region = region.id;
  offer.offset = where.data() - region.segment->data();
  offer.bytes = where.size();
  offer.probe = probe ? 1 : 0;
  offer.key = region.segment->key();
  offer.header_bytes = static_cast<uint32_t>(header.size());
  message.body.resize(Offer::kBytes + header.size());
  offer.Write(message.body.data());
  std::copy(header.begin(), header.end(), message.body.data() + Offer::kBytes);
  message.payload = message.body;
  StartSend(message, kOfferId, 0);
}

UcxTransport::Stage* UcxTransport::TakeStage(size_t bytes) {
  for (const std::unique_ptr<Stage>& stage : stages_) {
    if (stage->busy || stage->region->segment->size() < bytes) continue;
    stage->busy = true;
    return stage.get();
  }
  if (stages_.size() >= kMaxStages) return nullptr;
  size_t room = kLeastOffer;
  while (room < bytes) room *= 2;
  auto stage = std::make_unique<Stage>();
  stage->memory = memory_->Allocate(room);
  if (stage->memory == nullptr) return nullptr;
  stage->region = memory_->Find({stage->memory.get(), room});
  stage->busy = true;
  return stages_.emplace_back(std::move(stage)).get();
}

ucs_status_t UcxTransport::OnTaken(void* self, const void* header,
                                   size_t header_bytes, void*, size_t,
                                   const ucp_am_recv_param_t*) {
  UcxTransport& transport = *static_cast<UcxTransport*>(self);
  Taken taken;
  if (transport.quiet_ ||
      !taken.Read({static_cast<const uint8_t*>(header), header_bytes})) {
    return UCS_OK;
  }
  const auto found = transport.by_key_.find(taken.receiver);
  if (found == transport.by_key_.end()) return UCS_OK;
  Endpoint& endpoint = *found->second;
  const auto offer = endpoint.offers.find(taken.number);
  if (offer != endpoint.offers.end()) {
    transport.EndOffer(offer->second, UCS_OK);
    endpoint.offers.erase(offer);
  } else if (taken.probed) {
    endpoint.takes_offers = true;
  }
  return UCS_OK;
}

void UcxTransport::EndOffer(const Offered& offered, ucs_status_t result) {
  if (offered.stage != nullptr) offered.stage->busy = false;
  if (offered.outgoing == nullptr) return;
  offered.outgoing->result = result;
  done_.push_back(offered.outgoing);
}

// ---- Receiving --------------------------------------------------------------

ucs_status_t UcxTransport::OnOffer(void* self, const void* header,
                                   size_t header_bytes, void* data,
                                   size_t bytes,
                                   const ucp_am_recv_param_t* param) {
  UcxTransport& transport = *static_cast<UcxTransport*>(self);
  DataPrefix prefix;
  if (transport.quiet_ || (param->recv_attr & UCP_AM_RECV_ATTR_FLAG_RNDV) ||
      !prefix.Read({static_cast<const uint8_t*>(header), header_bytes})) {
    return UCS_OK;
  }
  const auto found = transport.by_key_.find(prefix.receiver);
  if (found == transport.by_key_.end() || !found->second->announced) {
    return UCS_OK;
  }
  transport.TakeOffer(*found->second,
                      {static_cast<const uint8_t*>(data), bytes});
  return UCS_OK;
}

void UcxTransport::TakeOffer(Endpoint& endpoint,
                             absl::Span<const uint8_t> body) {
  Offer offer;
  if (!offer.Read(body)) {
    return Fail(endpoint, absl::DataLossError("an offer that cannot be read"));
  }
  const auto header = body.subspan(Offer::kBytes);
  if (offer.probe != 0) {
    if (Mapped(endpoint, offer) != nullptr) {
      SendTaken(endpoint, offer.number, /*probed=*/true);
    }
    return;
  }
  const absl::Status fits = CheckLengths(options_, header.size(), offer.bytes);
  if (!fits.ok()) return Fail(endpoint, fits);
  ++events_;
  uint8_t* memory = handler_.OnArrival(endpoint.id, header, offer.bytes);
  if (!by_key_.contains(endpoint.key)) {  // closed by the handler just now
    if (memory != nullptr) dropped_.push_back({endpoint.id, memory});
    return;
  }
  if (memory == nullptr) return SendTaken(endpoint, offer.number, false);
  const uint8_t* from = Mapped(endpoint, offer);
  if (from == nullptr) {
    endpoint.cut_off.push_back(memory);
    return Fail(endpoint,
                absl::UnavailableError(
                    "offered memory is not there: the peer died, or lies"));
  }
  payload_crc_ = CopyWithCrc32c(memory, from, offer.bytes);
  fetched_bytes_ += static_cast<int64_t>(offer.bytes);
  SendTaken(endpoint, offer.number, /*probed=*/false);
  handler_.OnMessage(endpoint.id, header, absl::MakeSpan(memory, offer.bytes));
  payload_crc_.reset();
}

void UcxTransport::SendTaken(Endpoint& endpoint, uint64_t number, bool probed) {
  Outgoing& message = NewOutgoing(endpoint, 0, Taken::kBytes);
  message.internal = true;
  Taken taken;
  taken.receiver = endpoint.peer_key;
  taken.number = number;
  taken.probed = probed;
  taken.Write(message.header.data());
  StartSend(message, kTakenId, 0);
}

// Where the offered bytes are in this process; null: nowhere.  A region is
// mapped once and stays so until the connection ends.
const uint8_t* UcxTransport::Mapped(Endpoint& endpoint, const Offer& offer) {
  auto at = endpoint.regions.find(offer.region);
  if (at == endpoint.regions.end()) {
    if (endpoint.regions.size() >= kMaxRegions) return nullptr;
    absl::StatusOr<std::unique_ptr<PeerSegment>> segment =
        PeerSegment::Map(offer.key);
    if (!segment.ok()) {
      VLOG(1) << "endpoint " << endpoint.id << ": " << segment.status();
      return nullptr;
    }
    at = endpoint.regions.emplace(offer.region, *std::move(segment)).first;
  }
  return at->second->At(offer.offset, offer.bytes);
}

}  // namespace cssp
