// An append-only log of records in segment files: what a shard has taken, in
// the order in which it took it.  Byte-level layout: proto/README.md.
#ifndef CSSP_SERVER_STORAGE_RECORD_LOG_H_
#define CSSP_SERVER_STORAGE_RECORD_LOG_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace cssp {

struct LogRecord {
  uint8_t type = 0;  // 1..255; 0 is the log's own
  std::string head;
  absl::Span<const uint8_t> body;  // follows the head; borrowed
};

struct RecordLogOptions {
  std::string directory;
  uint64_t min_free_bytes = uint64_t{64} << 20;  // refuses groups below this
  bool sync = true;  // fdatasync after each group; off: survives the process only
};

// Thread-confined: its owner.  Invariant: what Append has returned OK for is on
// disk, and a failed Append leaves nothing behind, so it can be tried again.
class RecordLog {
 public:
  static constexpr uint32_t kMaxRecordBytes = 64u << 20;

  // Begins segment `first` in the directory, which is made.
  static absl::StatusOr<std::unique_ptr<RecordLog>> Create(
      const RecordLogOptions& options, uint64_t first);
  ~RecordLog();

  // One group: all of it or nothing.  ResourceExhausted: no room.
  absl::Status Append(absl::Span<const LogRecord> group);
  // What follows goes to the next segment.
  absl::Status Roll();
  // Segments below `segment` go.
  absl::Status DropBefore(uint64_t segment);
  uint64_t segment() const { return segment_; }

  // Gives every record in order.  A torn end of the last segment, which nobody
  // was told of, is cut off with a log line; damage anywhere else is DataLoss
  // that names file and offset.  NotFound: no segment.  *next: the segment to
  // go on with.
  using Visit =
      std::function<absl::Status(uint64_t segment, uint8_t type,
                                 absl::Span<const uint8_t> payload)>;
  static absl::Status Replay(const std::string& directory, const Visit& visit,
                             uint64_t* next);

 private:
  explicit RecordLog(RecordLogOptions options)
      : options_(std::move(options)) {}
  absl::Status OpenSegment(uint64_t segment);
  absl::Status CheckRoom(uint64_t bytes) const;
  absl::Status WriteAll(absl::Span<const std::string> frames,
                        absl::Span<const LogRecord> group);
  absl::Status Error(const char* what) const;

  const RecordLogOptions options_;
  uint64_t segment_ = 0;
  std::string path_;
  int fd_ = -1;
  uint64_t durable_ = 0;  // bytes of the segment that are good
  uint32_t groups_ = 0;   // in this segment
};

}  // namespace cssp

#endif  // CSSP_SERVER_STORAGE_RECORD_LOG_H_
