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
#include <random>
#include <utility>

#include "absl/strings/match.h"
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

uint64_t RandomNumber() {
  std::random_device device;
  return (static_cast<uint64_t>(device()) << 32) | device();
}

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
  if (!absl::StrContains(DescribeLanes(endpoint.ep), "/memory")) return;
  if (probe_ == nullptr) {
    probe_ = memory_->Allocate(kProbeBytes);
    if (probe_ == nullptr) return;
    const uint64_t number = RandomNumber();
    std::memcpy(probe_.get(), &number, sizeof(number));
  }
  uint64_t number;
  std::memcpy(&number, probe_.get(), sizeof(number));
  const absl::Span<const uint8_t> page(probe_.get(), kProbeBytes);
  SendOffer(endpoint, number, *memory_->Find(page), page, {},
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
  offer.address = reinterpret_cast<uint64_t>(where.data());
  offer.bytes = where.size();
  offer.header_bytes = static_cast<uint16_t>(header.size());
  offer.key_bytes = static_cast<uint16_t>(region.key.size());
  offer.probe = probe ? 1 : 0;
  message.body.resize(Offer::kBytes + header.size() + region.key.size());
  offer.Write(message.body.data());
  std::copy(header.begin(), header.end(), message.body.data() + Offer::kBytes);
  std::copy(region.key.begin(), region.key.end(),
            message.body.data() + Offer::kBytes + header.size());
  message.payload = message.body;
  StartSend(message, kOfferId, 0);
}

UcxTransport::Stage* UcxTransport::TakeStage(size_t bytes) {
  for (const std::unique_ptr<Stage>& stage : stages_) {
    if (stage->busy || stage->region->bytes < bytes) continue;
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
  const auto header = body.subspan(Offer::kBytes, offer.header_bytes);
  const auto key =
      body.subspan(Offer::kBytes + offer.header_bytes, offer.key_bytes);
  if (offer.probe != 0) {
    const uint8_t* page = Mapped(endpoint, offer, key);
    if (page == nullptr || offer.bytes < sizeof(offer.number) ||
        std::memcmp(page, &offer.number, sizeof(offer.number)) != 0) {
      VLOG(1) << "endpoint " << endpoint.id << ": its memory cannot be mapped";
      return;
    }
    return SendTaken(endpoint, offer.number, /*probed=*/true);
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
  const uint8_t* from = Mapped(endpoint, offer, key);
  if (from == nullptr) {
    endpoint.cut_off.push_back(memory);
    return Fail(endpoint, absl::UnavailableError(
                              "offered memory is gone: the peer died"));
  }
  std::memcpy(memory, from, offer.bytes);
  fetched_bytes_ += static_cast<int64_t>(offer.bytes);
  SendTaken(endpoint, offer.number, /*probed=*/false);
  handler_.OnMessage(endpoint.id, header, absl::MakeSpan(memory, offer.bytes));
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
const uint8_t* UcxTransport::Mapped(Endpoint& endpoint, const Offer& offer,
                                    absl::Span<const uint8_t> key) {
  auto at = endpoint.regions.find(offer.region);
  if (at == endpoint.regions.end()) {
    if (endpoint.regions.size() >= kMaxRegions) return nullptr;
    // UCX takes a key without its length: what it may read beyond is ours.
    uint8_t padded[Offer::kMaxKeyBytes + 256] = {};
    std::copy(key.begin(), key.end(), padded);
    ucp_rkey_h rkey = nullptr;
    if (ucp_ep_rkey_unpack(endpoint.ep, padded, &rkey) != UCS_OK) {
      return nullptr;
    }
    at = endpoint.regions.emplace(offer.region, rkey).first;
  }
  void* local = nullptr;
  if (ucp_rkey_ptr(at->second, offer.address, &local) != UCS_OK) return nullptr;
  return static_cast<const uint8_t*>(local);
}

// Before its worker goes, after its last use.
void UcxTransport::Unmap(Endpoint& endpoint) {
  for (const auto& [id, rkey] : std::exchange(endpoint.regions, {})) {
    ucp_rkey_destroy(rkey);
  }
}

}  // namespace cssp
