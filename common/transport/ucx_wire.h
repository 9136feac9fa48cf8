// What UcxTransport itself puts on the wire: before the caller's header, and
// in the greeting.  Little-endian.
#ifndef CSSP_COMMON_TRANSPORT_UCX_WIRE_H_
#define CSSP_COMMON_TRANSPORT_UCX_WIRE_H_

#include <bit>
#include <cstdint>
#include <cstring>

#include "absl/types/span.h"
#include "common/transport/shared_segment.h"

namespace cssp {

static_assert(std::endian::native == std::endian::little,
              "add byte swaps to ucx_wire.h");

// UCX's active message ids.
inline constexpr unsigned kGreetingId = 1;
inline constexpr unsigned kDataId = 2;
inline constexpr unsigned kOfferId = 3;
inline constexpr unsigned kTakenId = 4;
// Ids are 16 bits on UCX's wire.
inline constexpr int kMaxAmId = 0xffff;

// offset 0: receiver's key (8); then the caller's header.
struct DataPrefix {
  static constexpr size_t kBytes = 8;
  uint64_t receiver = 0;

  void Write(uint8_t* out) const { std::memcpy(out, &receiver, kBytes); }
  bool Read(absl::Span<const uint8_t> in) {
    if (in.size() < kBytes) return false;
    std::memcpy(&receiver, in.data(), kBytes);
    return true;
  }
};

// After a DataPrefix, as the payload: number (8), region (8), offset in it (8),
// bytes (8), 1 if a probe (4), the region's key: process (4), descriptor (4),
// secret (16); caller's header's length (4); then the caller's header.
struct Offer {
  static constexpr size_t kBytes = 64;
  uint64_t number = 0;
  uint64_t region = 0;
  uint64_t offset = 0;
  uint64_t bytes = 0;
  uint32_t probe = 0;
  SegmentKey key;
  uint32_t header_bytes = 0;

  void Write(uint8_t* out) const {
    std::memcpy(out, &number, 8);
    std::memcpy(out + 8, &region, 8);
    std::memcpy(out + 16, &offset, 8);
    std::memcpy(out + 24, &bytes, 8);
    std::memcpy(out + 32, &probe, 4);
    std::memcpy(out + 36, &key.pid, 4);
    std::memcpy(out + 40, &key.fd, 4);
    std::memcpy(out + 44, key.secret.data(), 16);
    std::memcpy(out + 60, &header_bytes, 4);
  }
  // False unless the lengths add up to `in`.
  bool Read(absl::Span<const uint8_t> in) {
    if (in.size() < kBytes) return false;
    std::memcpy(&number, in.data(), 8);
    std::memcpy(&region, in.data() + 8, 8);
    std::memcpy(&offset, in.data() + 16, 8);
    std::memcpy(&bytes, in.data() + 24, 8);
    std::memcpy(&probe, in.data() + 32, 4);
    std::memcpy(&key.pid, in.data() + 36, 4);
    std::memcpy(&key.fd, in.data() + 40, 4);
    std::memcpy(key.secret.data(), in.data() + 44, 16);
    std::memcpy(&header_bytes, in.data() + 60, 4);
    return in.size() == kBytes + header_bytes;
  }
};

// offset 0: receiver's key (8), the offer's number (8), 1 if of a probe (8).
struct Taken {
  static constexpr size_t kBytes = 24;
  uint64_t receiver = 0;
  uint64_t number = 0;
  uint64_t probed = 0;

  void Write(uint8_t* out) const {
    std::memcpy(out, &receiver, 8);
    std::memcpy(out + 8, &number, 8);
    std::memcpy(out + 16, &probed, 8);
  }
  bool Read(absl::Span<const uint8_t> in) {
    if (in.size() != kBytes) return false;
    std::memcpy(&receiver, in.data(), 8);
    std::memcpy(&number, in.data() + 8, 8);
    std::memcpy(&probed, in.data() + 16, 8);
    return true;
  }
};

// offset 0: "CSSP" (4), version (2), 1 if an answer (2), sender's key (8),
// receiver's key (8; 0 in a client's greeting, which does not know it yet).
struct Greeting {
  static constexpr size_t kBytes = 24;
  static constexpr char kMagic[] = "CSSP";
  static constexpr uint16_t kVersion = 3;
  bool answer = false;
  uint64_t sender = 0;
  uint64_t receiver = 0;

  void Write(uint8_t* out) const {
    const uint16_t version = kVersion;
    const uint16_t is_answer = answer ? 1 : 0;
    std::memcpy(out, kMagic, 4);
    std::memcpy(out + 4, &version, 2);
    std::memcpy(out + 6, &is_answer, 2);
    std::memcpy(out + 8, &sender, 8);
    std::memcpy(out + 16, &receiver, 8);
  }
  // Of anything that begins as a greeting does; 0: it does not.
  static uint16_t VersionOf(absl::Span<const uint8_t> in) {
    uint16_t version = 0;
    if (in.size() >= 6 && std::memcmp(in.data(), kMagic, 4) == 0) {
      std::memcpy(&version, in.data() + 4, 2);
    }
    return version;
  }
  // False for anything that is not a greeting of this version.
  bool Read(absl::Span<const uint8_t> in) {
    uint16_t version, is_answer;
    if (in.size() != kBytes || std::memcmp(in.data(), kMagic, 4) != 0) {
      return false;
    }
    std::memcpy(&version, in.data() + 4, 2);
    std::memcpy(&is_answer, in.data() + 6, 2);
    std::memcpy(&sender, in.data() + 8, 8);
    std::memcpy(&receiver, in.data() + 16, 8);
    answer = is_answer == 1;
    return version == kVersion && is_answer <= 1;
  }
};

}  // namespace cssp

#endif  // CSSP_COMMON_TRANSPORT_UCX_WIRE_H_
