#include "server/storage/record_log.h"

#include <fcntl.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <utility>

#include "absl/memory/memory.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "common/base/crc.h"
#include "common/base/logging.h"
#include "common/base/status_macros.h"

namespace cssp {
namespace {

constexpr char kSegmentMagic[] = "CSSPLOG1";  // 8 bytes, then the number
constexpr size_t kSegmentHeader = 8 + 8 + 4;
constexpr uint16_t kRecordMagic = 0x4c52;  // "RL"
constexpr size_t kRecordHeader = 2 + 1 + 1 + 4 + 4;
constexpr uint8_t kCommit = 0;  // ends each group

void Put(uint64_t value, int bytes, std::string* out) {
  for (int i = 0; i < bytes; ++i)
    out->push_back(static_cast<char>(value >> (8 * i)));
}

uint64_t Get(const uint8_t* in, int bytes) {
  uint64_t value = 0;
  for (int i = bytes - 1; i >= 0; --i) value = value << 8 | in[i];
  return value;
}

std::string SegmentName(uint64_t segment) {
  return absl::StrFormat("%012d.log", segment);
}

std::string SegmentHeader(uint64_t segment) {
  std::string header(kSegmentMagic, 8);
  Put(segment, 8, &header);
  Put(Crc32c(header.data(), header.size()), 4, &header);
  return header;
}

// Magic, type, 0, length, CRC of all that and the payload; then the head.
std::string FrameOf(uint8_t type, absl::string_view head,
                    absl::Span<const uint8_t> body) {
  std::string frame;
  frame.reserve(kRecordHeader + head.size());
  Put(kRecordMagic, 2, &frame);
  Put(type, 1, &frame);
  Put(0, 1, &frame);
  Put(head.size() + body.size(), 4, &frame);
  uint32_t crc = Crc32c(frame.data(), frame.size());
  crc = Crc32c(head.data(), head.size(), crc);
  crc = Crc32c(body.data(), body.size(), crc);
  Put(crc, 4, &frame);
  frame.append(head.data(), head.size());
  return frame;
}

// Whether a whole record stands at `at`; gives its type and payload.
bool RecordAt(absl::Span<const uint8_t> bytes, size_t at, uint8_t* type,
              absl::Span<const uint8_t>* payload) {
  if (at + kRecordHeader > bytes.size()) return false;
  const uint8_t* header = bytes.data() + at;
  const uint64_t length = Get(header + 4, 4);
  if (Get(header, 2) != kRecordMagic || header[3] != 0 ||
      length > RecordLog::kMaxRecordBytes ||
      at + kRecordHeader + length > bytes.size())
    return false;
  *type = header[2];
  *payload = bytes.subspan(at + kRecordHeader, length);
  uint32_t crc = Crc32c(header, 8);
  crc = Crc32c(payload->data(), payload->size(), crc);
  return crc == Get(header + 8, 4);
}

bool AnyRecordAfter(absl::Span<const uint8_t> bytes, size_t at) {
  uint8_t type;
  absl::Span<const uint8_t> payload;
  for (; at + kRecordHeader <= bytes.size(); ++at)
    if (RecordAt(bytes, at, &type, &payload)) return true;
  return false;
}

absl::StatusOr<std::vector<uint64_t>> Segments(const std::string& directory) {
  std::vector<uint64_t> segments;
  std::error_code error;
  for (const auto& entry :
       std::filesystem::directory_iterator(directory, error)) {
    const std::string name = entry.path().filename().string();
    absl::string_view number = name;
    uint64_t segment = 0;
    if (absl::ConsumeSuffix(&number, ".log") &&
        absl::SimpleAtoi(number, &segment))
      segments.push_back(segment);
  }
  if (error || segments.empty())
    return absl::NotFoundError(absl::StrCat("no log in ", directory));
  std::sort(segments.begin(), segments.end());
  return segments;
}

void SyncDirectory(const std::string& directory) {
  const int fd = open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return;
  fsync(fd);
  close(fd);
}

absl::Status Damaged(const std::string& path, size_t at) {
  return absl::DataLossError(
      absl::StrCat("log ", path, " is damaged at offset ", at));
}

// Visits the records of one segment; *good: where the last one ends.
absl::Status ReplaySegment(const std::string& path, uint64_t segment,
                           bool last, const RecordLog::Visit& visit,
                           size_t* good) {
  std::ifstream in(path, std::ios::binary);
  const std::string text((std::istreambuf_iterator<char>(in)), {});
  if (!in) return absl::UnavailableError(absl::StrCat("cannot read ", path));
  const absl::Span<const uint8_t> bytes(
      reinterpret_cast<const uint8_t*>(text.data()), text.size());
  *good = 0;
  if (bytes.size() < kSegmentHeader && last) return absl::OkStatus();
  if (absl::string_view(text).substr(0, kSegmentHeader) !=
      SegmentHeader(segment))
    return Damaged(path, 0);
  size_t at = kSegmentHeader;
  while (at < bytes.size()) {
    uint8_t type = 0;
    absl::Span<const uint8_t> payload;
    if (!RecordAt(bytes, at, &type, &payload)) {
      // Every group ends with a record of the log's own, so damage in what
      // somebody was told of has a whole record behind it.
      if (!last || AnyRecordAfter(bytes, at + 1)) return Damaged(path, at);
      LOG(WARNING) << "log " << path << ": " << bytes.size() - at
                   << " bytes at offset " << at << " were not finished";
      break;
    }
    at += kRecordHeader + payload.size();
    if (type != kCommit) RETURN_IF_ERROR(visit(segment, type, payload));
  }
  *good = at;
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<RecordLog>> RecordLog::Create(
    const RecordLogOptions& options, uint64_t first) {
  std::error_code error;
  std::filesystem::create_directories(options.directory, error);
  if (error)
    return absl::ResourceExhaustedError(absl::StrCat(
        "cannot make ", options.directory, ": ", error.message()));
  auto log = absl::WrapUnique(new RecordLog(options));
  RETURN_IF_ERROR(log->OpenSegment(first));
  return log;
}

RecordLog::~RecordLog() {
  if (fd_ >= 0) close(fd_);
}

absl::Status RecordLog::Error(const char* what) const {
  const std::string text =
      absl::StrCat("log ", path_, ": ", what, ": ", std::strerror(errno));
  return errno == ENOSPC || errno == EDQUOT ? absl::ResourceExhaustedError(text)
                                            : absl::UnavailableError(text);
}

absl::Status RecordLog::CheckRoom(uint64_t bytes) const {
  struct statvfs fs;
  if (statvfs(options_.directory.c_str(), &fs) != 0) return absl::OkStatus();
  const uint64_t free_bytes = uint64_t{fs.f_bavail} * fs.f_frsize;
  if (free_bytes >= options_.min_free_bytes + bytes) return absl::OkStatus();
  return absl::ResourceExhaustedError(absl::StrCat(
      "disk of ", options_.directory, " has ", free_bytes >> 20,
      " MiB free: needs ", (options_.min_free_bytes + bytes) >> 20, " MiB"));
}

absl::Status RecordLog::OpenSegment(uint64_t segment) {
  RETURN_IF_ERROR(CheckRoom(0));
  path_ = absl::StrCat(options_.directory, "/", SegmentName(segment));
  const int fd =
      open(path_.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
  if (fd < 0) return Error("open");
  const std::string header = SegmentHeader(segment);
  if (pwrite(fd, header.data(), header.size(), 0) !=
          static_cast<ssize_t>(header.size()) ||
      (options_.sync && fdatasync(fd) != 0)) {
    const absl::Status status = Error("write");
    close(fd);
    unlink(path_.c_str());
    return status;
  }
  if (options_.sync) SyncDirectory(options_.directory);
  if (fd_ >= 0) close(fd_);
  fd_ = fd;
  segment_ = segment;
  durable_ = header.size();
  groups_ = 0;
  return absl::OkStatus();
}

absl::Status RecordLog::WriteAll(absl::Span<const std::string> frames,
                                 absl::Span<const LogRecord> group) {
  uint64_t at = durable_;
  const auto put = [&](const void* data, size_t size) {
    const auto* from = static_cast<const char*>(data);
    while (size > 0) {
      const ssize_t wrote = pwrite(fd_, from, size, static_cast<off_t>(at));
      if (wrote < 0 && errno == EINTR) continue;
      if (wrote <= 0) return false;
      from += wrote;
      at += wrote;
      size -= wrote;
    }
    return true;
  };
  for (size_t i = 0; i < group.size(); ++i)
    if (!put(frames[i].data(), frames[i].size()) ||
        !put(group[i].body.data(), group[i].body.size()))
      return Error("write");
  if (!put(frames.back().data(), frames.back().size())) return Error("write");
  if (options_.sync && fdatasync(fd_) != 0) return Error("sync");
  durable_ = at;
  return absl::OkStatus();
}

absl::Status RecordLog::Append(absl::Span<const LogRecord> group) {
  std::vector<std::string> frames;
  uint64_t bytes = 0;
  for (const LogRecord& record : group) {
    frames.push_back(FrameOf(record.type, record.head, record.body));
    bytes += frames.back().size() + record.body.size();
  }
  std::string count;
  Put(groups_ + 1, 4, &count);
  frames.push_back(FrameOf(kCommit, count, {}));
  absl::Status status = CheckRoom(bytes);
  if (status.ok()) status = WriteAll(frames, group);
  if (status.ok()) {
    ++groups_;
    return status;
  }
  // Nothing of it stays; pages of a failed sync are written again next time.
  if (ftruncate(fd_, static_cast<off_t>(durable_)) != 0)
    LOG(WARNING) << Error("truncate");
  return status;
}

absl::Status RecordLog::Roll() { return OpenSegment(segment_ + 1); }

absl::Status RecordLog::DropBefore(uint64_t segment) {
  ASSIGN_OR_RETURN(const std::vector<uint64_t> segments,
                   Segments(options_.directory));
  // The oldest first: what is left is always whole.
  for (const uint64_t old : segments) {
    if (old >= std::min(segment, segment_)) break;
    unlink(absl::StrCat(options_.directory, "/", SegmentName(old)).c_str());
  }
  return absl::OkStatus();
}

absl::Status RecordLog::Replay(const std::string& directory,
                               const Visit& visit, uint64_t* next) {
  ASSIGN_OR_RETURN(const std::vector<uint64_t> segments, Segments(directory));
  for (size_t i = 0; i < segments.size(); ++i) {
    const std::string path =
        absl::StrCat(directory, "/", SegmentName(segments[i]));
    if (i > 0 && segments[i] != segments[i - 1] + 1)
      return absl::DataLossError(
          absl::StrCat("log ", directory, " lacks segment ",
                       segments[i - 1] + 1));
    const bool last = i + 1 == segments.size();
    size_t good = 0;
    RETURN_IF_ERROR(ReplaySegment(path, segments[i], last, visit, &good));
    if (!last) continue;
    if (good < kSegmentHeader) {
      unlink(path.c_str());
      *next = segments[i];
      return absl::OkStatus();
    }
    if (truncate(path.c_str(), static_cast<off_t>(good)) != 0)
      return absl::UnavailableError(absl::StrCat("cannot cut ", path));
  }
  *next = segments.back() + 1;
  return absl::OkStatus();
}

}  // namespace cssp
