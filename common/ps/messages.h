// The data plane's messages.  Byte-level description with a worked example:
// proto/README.md; golden frames: tests/golden.
#ifndef CSSP_COMMON_PS_MESSAGES_H_
#define CSSP_COMMON_PS_MESSAGES_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace cssp::ps {

inline constexpr uint16_t kWireVersion = 1;

// Every message = a header of kHeaderBytes + payload (floats, or small bodies).
enum class MessageType : uint8_t {
  kHello = 1,     // worker/evaluator/server -> server; payload: token (bytes)
  kHelloAck = 2,  // server -> peer; based_on: credit (bytes of pushes that
                  // the peer may have under way), 0: no bound
  kInit = 3,      // rank 0 -> server: values (slot 0) or history (slot 1..)
  kPush = 4,      // worker -> server: one chunk's gradient of one clock
  kPushAck = 5,   // server -> worker: applied-or-held, duplicate or refused
  kPull = 6,      // worker -> server: values of `chunk` fit for `clock`; parked
                  // while the bound is not met
  kPullExact =
      7,        // evaluator -> server: `chunk`, `slot` of retained cut `clock`
  kValues = 8,  // server -> worker: version `clock` of `chunk`, `slot`
  kNorms = 9,   // server -> server: squared-norm partials of `clock`
  kSubscribe = 10,  // worker -> server: send fresh values of all chunks eagerly
  kRefused = 11,    // server -> peer: `reason`; names what it refuses
  kTableInc = 12,   // client -> server: rows' increments of one clock
  kTableGet = 13,   // client -> server: rows fit for `clock`; parked
  kTableRows = 14,  // server -> client
  kGoodbye = 15,    // orderly close, either side
  kContributors = 24,  // the map's server 0 -> server: whose parts make up
                       // `clock` (jobs with backup workers); payload: ranks,
                       // 32 bits each
};

enum class Reason : uint8_t {
  kNone = 0,
  kWrongToken = 1,
  kWrongJobEpoch = 2,
  kWrongMapEpoch = 3,
  kTooStale = 4,     // push computed on a version < clock - s
  kTooFarAhead = 5,  // push beyond the admission window
  kNotMine = 6,      // chunk lives on another server
  kBadLength = 7,
  kBadChecksum = 8,
  kUnknownJob = 9,
  kGone = 10,       // the cut is no longer retained
  kDuplicate = 11,  // already applied or held: done, nothing to send again
  kNotReady = 12,   // shard not initialised
  kFenced = 13,     // an older incarnation of this rank
  kBadMessage = 14,
  kLate = 15,  // the clock was closed without this part: acknowledged and
               // dropped; based_on: the chunk's version, where to go on
  kTableFull = 16,  // a sparse table has no room for another row
};
// Nothing to send again.
inline bool IsAcknowledged(Reason reason) {
  return reason == Reason::kNone || reason == Reason::kDuplicate ||
         reason == Reason::kLate;
}
const char* ReasonName(Reason reason);

// Plain data in host order; the codec writes little-endian.
struct MessageHeader {
  MessageType type = MessageType::kHello;
  Reason reason = Reason::kNone;
  uint16_t slot = 0;  // 0 values; 1.. history slots
  uint32_t job = 0;   // number of the job, unique per coordinator
  uint32_t job_epoch = 0;
  uint32_t map_epoch = 0;
  int32_t rank = 0;  // worker rank; -1 evaluator; -2-i server i
  uint32_t incarnation = 0;
  int64_t clock = 0;      // clock of a push/pull, version of values
  int64_t based_on = 0;   // oldest version the push was computed on
  uint32_t chunk = 0;     // chunk, or table id
  uint32_t samples = 0;   // samples behind this gradient
  uint32_t sequence = 0;  // sender's own count, echoed in the answer
  uint32_t payload_bytes = 0;
  uint32_t payload_crc = 0;  // CRC-32C; 0 = not computed (kFlag below unset)
  uint16_t flags = 0;
};
inline constexpr uint16_t kFlagHasCrc = 1;
inline constexpr uint16_t kFlagEager = 2;  // values sent unasked
// Values that never were: what momentum alone would make of version `clock` in
// `samples` clocks (lookahead).
inline constexpr uint16_t kFlagPredicted = 8;
// The payload of a kPush is bfloat16: two bytes a number.
inline constexpr uint16_t kFlagBf16 = 16;
// On the kInit of a chunk's highest slot: the chunk opens for reads once all
// slots up to it are in, in whatever order they come.
inline constexpr uint16_t kFlagLastOfInit = 4;

// Bytes of a payload where it is held, as floats: what windows and credits
// count.
inline int64_t HeldBytes(const MessageHeader& header) {
  return int64_t{header.payload_bytes} * (header.flags & kFlagBf16 ? 2 : 1);
}

inline constexpr int kHeaderBytes = 72;
inline constexpr uint32_t kMaxPayloadBytes = 4u << 20;

// Writes kHeaderBytes.  Magic, version and a CRC of the header are added.
void EncodeHeader(const MessageHeader& header, absl::Span<uint8_t> out);
// DataLoss on a wrong length, magic or CRC; FailedPrecondition on another wire
// version; InvalidArgument on an unknown type or a payload beyond the limit.
absl::StatusOr<MessageHeader> DecodeHeader(absl::Span<const uint8_t> bytes);

std::string ToString(const MessageHeader& header);

}  // namespace cssp::ps

#endif  // CSSP_COMMON_PS_MESSAGES_H_
