#include "common/transport/ucx_memory.h"

#include <utility>

#include "common/base/logging.h"

namespace cssp {

std::shared_ptr<uint8_t> UcxMemory::Allocate(size_t bytes) {
  absl::StatusOr<std::unique_ptr<SharedSegment>> segment =
      SharedSegment::Create(bytes);
  if (!segment.ok()) {
    VLOG(1) << segment.status();
    return nullptr;
  }
  uint8_t* const start = (*segment)->data();
  ucp_mem_map_params_t params{};
  params.field_mask =
      UCP_MEM_MAP_PARAM_FIELD_ADDRESS | UCP_MEM_MAP_PARAM_FIELD_LENGTH;
  params.address = start;
  params.length = bytes;
  ucp_mem_h handle = nullptr;
  if (ucp_mem_map(context_->get(), &params, &handle) != UCS_OK) return nullptr;
  auto region = std::make_shared<UcxRegion>();
  region->segment = *std::move(segment);
  {
    absl::MutexLock lock(&mu_);
    region->id = ++last_id_;
    regions_[start] = std::move(region);
  }
  return {start, [self = shared_from_this(), handle](uint8_t* memory) {
            self->Free(memory, handle);
          }};
}

std::shared_ptr<const UcxRegion> UcxMemory::Find(
    absl::Span<const uint8_t> payload) const {
  absl::MutexLock lock(&mu_);
  auto at = regions_.upper_bound(payload.data());
  if (at == regions_.begin()) return nullptr;
  const SharedSegment& segment = *(--at)->second->segment;
  const size_t offset = payload.data() - segment.data();
  if (offset > segment.size() || payload.size() > segment.size() - offset) {
    return nullptr;
  }
  return at->second;
}

void UcxMemory::Free(uint8_t* start, ucp_mem_h handle) {
  ucp_mem_unmap(context_->get(), handle);
  // The segment goes with `region`, after the lock.
  std::shared_ptr<const UcxRegion> region;
  absl::MutexLock lock(&mu_);
  const auto at = regions_.find(start);
  region = std::move(at->second);
  regions_.erase(at);
}

}  // namespace cssp
