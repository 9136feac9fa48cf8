#include "common/transport/shared_segment.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>

#include "absl/cleanup/cleanup.h"
#include "absl/memory/memory.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "common/transport/random_key.h"

namespace cssp {
namespace {

constexpr size_t kHead = 4096;  // the secret, then nothing
constexpr int kSeals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;

absl::Status Errno(const char* what) {
  return absl::ErrnoToStatus(errno, what);
}

}  // namespace

absl::StatusOr<std::unique_ptr<SharedSegment>> SharedSegment::Create(
    size_t bytes) {
  auto segment = absl::WrapUnique(new SharedSegment());
  SegmentKey& key = segment->key_;
  key.fd = memfd_create("cssp", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (key.fd < 0) return Errno("no shared memory");
  const auto size = static_cast<off_t>(kHead + bytes);
  if (const int error = posix_fallocate(key.fd, 0, size); error != 0) {
    return absl::ResourceExhaustedError(
        absl::StrCat("no shared memory of ", bytes, " bytes: ",
                     strerror(error)));
  }
  if (fcntl(key.fd, F_ADD_SEALS, kSeals) != 0) {
    return Errno("shared memory cannot be sealed");
  }
  void* head = mmap(nullptr, kHead + bytes, PROT_READ | PROT_WRITE, MAP_SHARED,
                    key.fd, 0);
  if (head == MAP_FAILED) return Errno("shared memory cannot be mapped");
  segment->head_ = static_cast<uint8_t*>(head);
  segment->bytes_ = bytes;
  key.pid = getpid();
  key.secret = {RandomKey(), RandomKey()};
  std::memcpy(head, key.secret.data(), sizeof(key.secret));
  return segment;
}

SharedSegment::~SharedSegment() {
  if (head_ != nullptr) munmap(head_, kHead + bytes_);
  if (key_.fd >= 0) close(key_.fd);
}

uint8_t* SharedSegment::data() const { return head_ + kHead; }

absl::StatusOr<std::unique_ptr<PeerSegment>> PeerSegment::Map(
    const SegmentKey& key) {
  const std::string path = absl::StrCat("/proc/", key.pid, "/fd/", key.fd);
  // Looked at first: opening a device or a pipe may have effects of its own.
  struct stat file {};
  if (stat(path.c_str(), &file) != 0) return Errno("a peer's memory");
  if (!S_ISREG(file.st_mode)) {
    return absl::FailedPreconditionError("a peer's memory is no memory");
  }
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return Errno("a peer's memory");
  const absl::Cleanup closed = [fd] { close(fd); };
  if (fstat(fd, &file) != 0) return Errno("a peer's memory");
  // Sealed: what is mapped cannot vanish under a read.
  const int seals = fcntl(fd, F_GET_SEALS);
  if (seals < 0 || (seals & kSeals) != kSeals ||
      file.st_size < static_cast<off_t>(kHead)) {
    return absl::FailedPreconditionError("a peer's memory is not sealed");
  }
  const auto mapped = static_cast<size_t>(file.st_size);
  void* head = mmap(nullptr, mapped, PROT_READ, MAP_SHARED, fd, 0);
  if (head == MAP_FAILED) return Errno("a peer's memory");
  auto segment = absl::WrapUnique(
      new PeerSegment(static_cast<const uint8_t*>(head), mapped));
  if (std::memcmp(head, key.secret.data(), sizeof(key.secret)) != 0) {
    return absl::FailedPreconditionError("a peer's memory is another one");
  }
  return segment;
}

PeerSegment::~PeerSegment() {
  munmap(const_cast<uint8_t*>(head_), mapped_);
}

const uint8_t* PeerSegment::At(uint64_t offset, uint64_t bytes) const {
  const uint64_t size = mapped_ - kHead;
  if (offset > size || bytes > size - offset) return nullptr;
  return head_ + kHead + offset;
}

}  // namespace cssp
