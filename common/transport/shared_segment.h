// Memory of one process that others on its host map to read.
#ifndef CSSP_COMMON_TRANSPORT_SHARED_SEGMENT_H_
#define CSSP_COMMON_TRANSPORT_SHARED_SEGMENT_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"

namespace cssp {

// Names a segment on this host, and proves that it was its owner who named it:
// `secret` stands at the segment's head, which only its mappers can read.
struct SegmentKey {
  int32_t pid = 0;
  int32_t fd = 0;  // of that process
  std::array<uint64_t, 2> secret = {0, 0};
};

// A sealed memfd: it can neither shrink nor grow, so that a mapping of it holds
// whatever becomes of its owner.  Immutable but for its contents; thread-safe.
class SharedSegment {
 public:
  // `bytes` of zeros on a page boundary, reserved now: not a later fault that
  // kills.  ResourceExhausted.
  static absl::StatusOr<std::unique_ptr<SharedSegment>> Create(size_t bytes);
  ~SharedSegment();
  SharedSegment(const SharedSegment&) = delete;
  SharedSegment& operator=(const SharedSegment&) = delete;

  uint8_t* data() const;
  size_t size() const { return bytes_; }
  const SegmentKey& key() const { return key_; }

 private:
  SharedSegment() = default;

  uint8_t* head_ = nullptr;  // a page before data()
  size_t bytes_ = 0;
  SegmentKey key_;
};

// Another process's (or our own), for reading.  It stays readable after its
// owner's death.  Immutable; thread-safe.
class PeerSegment {
 public:
  // NotFound, PermissionDenied: no such descriptor, or not for us to see;
  // FailedPrecondition: what is there is no segment, or another one.
  static absl::StatusOr<std::unique_ptr<PeerSegment>> Map(
      const SegmentKey& key);
  ~PeerSegment();
  PeerSegment(const PeerSegment&) = delete;
  PeerSegment& operator=(const PeerSegment&) = delete;

  // Null unless all of it lies in the segment.
  const uint8_t* At(uint64_t offset, uint64_t bytes) const;

 private:
  PeerSegment(const uint8_t* head, size_t mapped)
      : head_(head), mapped_(mapped) {}

  const uint8_t* const head_;
  const size_t mapped_;  // with the head
};

}  // namespace cssp

#endif  // CSSP_COMMON_TRANSPORT_SHARED_SEGMENT_H_
