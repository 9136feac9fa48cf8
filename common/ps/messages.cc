#include "common/ps/messages.h"

#include "absl/strings/str_cat.h"
#include "common/base/crc.h"
#include "common/ps/little_endian.h"

namespace cssp::ps {
namespace {

constexpr uint32_t kMagic = 0x50535343;  // "CSSP" in the order of bytes
constexpr int kCrcOffset = kHeaderBytes - 4;

// Null: no such type.
const char* TypeName(uint8_t type) {
  switch (static_cast<MessageType>(type)) {
    case MessageType::kHello: return "Hello";
    case MessageType::kHelloAck: return "HelloAck";
    case MessageType::kInit: return "Init";
    case MessageType::kPush: return "Push";
    case MessageType::kPushAck: return "PushAck";
    case MessageType::kPull: return "Pull";
    case MessageType::kPullExact: return "PullExact";
    case MessageType::kValues: return "Values";
    case MessageType::kNorms: return "Norms";
    case MessageType::kSubscribe: return "Subscribe";
    case MessageType::kRefused: return "Refused";
    case MessageType::kTableInc: return "TableInc";
    case MessageType::kTableGet: return "TableGet";
    case MessageType::kTableRows: return "TableRows";
    case MessageType::kGoodbye: return "Goodbye";
    case MessageType::kContributors: return "Contributors";
  }
  return nullptr;
}

constexpr const char* kReasonNames[] = {"none",
                                        "wrong token",
                                        "wrong job epoch",
                                        "wrong map epoch",
                                        "too stale",
                                        "too far ahead",
                                        "not mine",
                                        "bad length",
                                        "bad checksum",
                                        "unknown job",
                                        "gone",
                                        "duplicate",
                                        "not ready",
                                        "fenced",
                                        "bad message",
                                        "late",
                                        "table full"};
constexpr int kNumReasons = sizeof(kReasonNames) / sizeof(kReasonNames[0]);

}  // namespace

const char* ReasonName(Reason reason) {
  const int index = static_cast<int>(reason);
  return index < kNumReasons ? kReasonNames[index] : "?";
}

void EncodeHeader(const MessageHeader& header, absl::Span<uint8_t> out) {
  LittleEndianWriter writer(out.data());
  writer.Put(kMagic);
  writer.Put(kWireVersion);
  writer.Put(static_cast<uint8_t>(header.type));
  writer.Put(static_cast<uint8_t>(header.reason));
  writer.Put(header.slot);
  writer.Put(header.flags);
  writer.Put(header.job);
  writer.Put(header.job_epoch);
  writer.Put(header.map_epoch);
  writer.Put(header.rank);
  writer.Put(header.incarnation);
  writer.Put(header.clock);
  writer.Put(header.based_on);
  writer.Put(header.chunk);
  writer.Put(header.samples);
  writer.Put(header.sequence);
  writer.Put(header.payload_bytes);
  writer.Put(header.payload_crc);
  writer.Put(Crc32c(out.data(), kCrcOffset));
}

absl::StatusOr<MessageHeader> DecodeHeader(absl::Span<const uint8_t> bytes) {
  if (bytes.size() != kHeaderBytes) {
    return absl::DataLossError(
        absl::StrCat("header of ", bytes.size(), " bytes, not ", kHeaderBytes));
  }
  LittleEndianReader reader(bytes.data());
  uint32_t magic;
  reader.Get(&magic);
  if (magic != kMagic) {
    return absl::DataLossError("not a Caffe-SSP data-plane message");
  }
  uint16_t version;
  reader.Get(&version);
  if (version != kWireVersion) {
    return absl::FailedPreconditionError(
        absl::StrCat("wire version ", version, ", this program speaks ",
                     kWireVersion, "; run the same release everywhere"));
  }
  uint32_t crc;
  LittleEndianReader(bytes.data() + kCrcOffset).Get(&crc);
  if (crc != Crc32c(bytes.data(), kCrcOffset)) {
    return absl::DataLossError("the header's checksum is wrong");
  }
  MessageHeader header;
  uint8_t type, reason;
  reader.Get(&type);
  reader.Get(&reason);
  if (TypeName(type) == nullptr || reason >= kNumReasons) {
    return absl::InvalidArgumentError(
        absl::StrCat("unknown message type ", type, " or reason ", reason));
  }
  header.type = static_cast<MessageType>(type);
  header.reason = static_cast<Reason>(reason);
  reader.Get(&header.slot);
  reader.Get(&header.flags);
  reader.Get(&header.job);
  reader.Get(&header.job_epoch);
  reader.Get(&header.map_epoch);
  reader.Get(&header.rank);
  reader.Get(&header.incarnation);
  reader.Get(&header.clock);
  reader.Get(&header.based_on);
  reader.Get(&header.chunk);
  reader.Get(&header.samples);
  reader.Get(&header.sequence);
  reader.Get(&header.payload_bytes);
  reader.Get(&header.payload_crc);
  if (header.payload_bytes > kMaxPayloadBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("payload of ", header.payload_bytes, " bytes, at most ",
                     kMaxPayloadBytes));
  }
  return header;
}

std::string ToString(const MessageHeader& h) {
  const char* type = TypeName(static_cast<uint8_t>(h.type));
  return absl::StrCat(
      type == nullptr ? "?" : type, " job ", h.job, ".",
      h.job_epoch, " rank ", h.rank, ".", h.incarnation, " chunk ", h.chunk,
      " slot ", h.slot, " clock ", h.clock, " based_on ", h.based_on, " seq ",
      h.sequence, " bytes ", h.payload_bytes, " reason ", ReasonName(h.reason));
}

}  // namespace cssp::ps
