#include "common/transport/ucx_memory.h"

#include <cstring>
#include <utility>

namespace cssp {

std::shared_ptr<uint8_t> UcxMemory::Allocate(size_t bytes) {
  ucp_mem_map_params_t params{};
  params.field_mask =
      UCP_MEM_MAP_PARAM_FIELD_LENGTH | UCP_MEM_MAP_PARAM_FIELD_FLAGS;
  params.length = bytes;
  params.flags = UCP_MEM_MAP_ALLOCATE;
  ucp_mem_h handle = nullptr;
  if (ucp_mem_map(context_->get(), &params, &handle) != UCS_OK) return nullptr;
  ucp_mem_attr_t attributes{};
  attributes.field_mask = UCP_MEM_ATTR_FIELD_ADDRESS;
  void* key = nullptr;
  size_t key_bytes = 0;
  if (ucp_mem_query(handle, &attributes) != UCS_OK ||
      ucp_rkey_pack(context_->get(), handle, &key, &key_bytes) != UCS_OK) {
    ucp_mem_unmap(context_->get(), handle);
    return nullptr;
  }
  auto region = std::make_shared<UcxRegion>();
  auto* const start = static_cast<uint8_t*>(attributes.address);
  region->start = start;
  region->bytes = bytes;
  region->key.assign(static_cast<uint8_t*>(key),
                     static_cast<uint8_t*>(key) + key_bytes);
  ucp_rkey_buffer_release(key);
  std::memset(start, 0, bytes);
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
  const UcxRegion& region = *(--at)->second;
  const size_t offset = payload.data() - region.start;
  if (offset > region.bytes || payload.size() > region.bytes - offset) {
    return nullptr;
  }
  return at->second;
}

void UcxMemory::Free(uint8_t* start, ucp_mem_h handle) {
  {
    absl::MutexLock lock(&mu_);
    regions_.erase(start);
  }
  ucp_mem_unmap(context_->get(), handle);
}

}  // namespace cssp
