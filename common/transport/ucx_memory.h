// Memory that peers on this host can map, and whose it is.  Only ucx_*.cc may
// include this.
#ifndef CSSP_COMMON_TRANSPORT_UCX_MEMORY_H_
#define CSSP_COMMON_TRANSPORT_UCX_MEMORY_H_

#include <ucp/api/ucp.h>

#include <cstdint>
#include <map>
#include <memory>

#include "absl/synchronization/mutex.h"
#include "absl/types/span.h"
#include "common/transport/shared_segment.h"

namespace cssp {

// Immutable.  Owns a ucp_context_h: goes with the last worker or memory in it.
class UcxContext {
 public:
  explicit UcxContext(ucp_context_h context) : context_(context) {}
  ~UcxContext() { ucp_cleanup(context_); }
  UcxContext(const UcxContext&) = delete;
  UcxContext& operator=(const UcxContext&) = delete;

  ucp_context_h get() const { return context_; }

 private:
  const ucp_context_h context_;
};

// A segment under a number.  Immutable.
struct UcxRegion {
  uint64_t id = 0;  // never reused
  std::unique_ptr<SharedSegment> segment;
};

// Thread-safe (monitor).  Lives as long as memory from it does.
class UcxMemory : public std::enable_shared_from_this<UcxMemory> {
 public:
  explicit UcxMemory(std::shared_ptr<UcxContext> context)
      : context_(std::move(context)) {}

  // Zeroed, on page boundaries, and registered with the network's devices,
  // where they want that.  Null: there is none.
  std::shared_ptr<uint8_t> Allocate(size_t bytes) ABSL_LOCKS_EXCLUDED(mu_);
  // The region that all of `payload` lies in; null: none.
  std::shared_ptr<const UcxRegion> Find(absl::Span<const uint8_t> payload) const
      ABSL_LOCKS_EXCLUDED(mu_);

 private:
  void Free(uint8_t* start, ucp_mem_h handle) ABSL_LOCKS_EXCLUDED(mu_);

  const std::shared_ptr<UcxContext> context_;
  mutable absl::Mutex mu_;
  uint64_t last_id_ ABSL_GUARDED_BY(mu_) = 0;
  // By start.
  std::map<const uint8_t*, std::shared_ptr<const UcxRegion>> regions_
      ABSL_GUARDED_BY(mu_);
};

}  // namespace cssp

#endif  // CSSP_COMMON_TRANSPORT_UCX_MEMORY_H_
