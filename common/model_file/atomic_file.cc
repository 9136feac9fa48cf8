#include "common/model_file/atomic_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/model_file/file_bytes.h"

namespace cssp {
namespace {

std::string FolderOf(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

// So that the new name itself survives a power cut.  Not every file system
// lets a folder be synced; the file's own bytes are safe by then.
void SyncFolder(const std::string& folder) {
  const int fd = open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return;
  fsync(fd);
  close(fd);
}

}  // namespace

absl::StatusOr<AtomicFile> AtomicFile::Create(const std::string& path) {
  std::string name = absl::StrCat(path, ".tmp-", getpid(), "-XXXXXX");
  const int fd = mkostemp(name.data(), O_CLOEXEC);
  if (fd < 0) return FileError(errno, "cannot write", path);
  // mkostemp gives 0600; the file is to be like any other that a user writes.
  const mode_t mask = umask(0);
  umask(mask);
  fchmod(fd, 0666 & ~mask);
  return AtomicFile(path, std::move(name), fd);
}

AtomicFile::AtomicFile(AtomicFile&& other) noexcept
    : path_(std::move(other.path_)),
      temporary_path_(std::exchange(other.temporary_path_, std::string())),
      fd_(std::exchange(other.fd_, -1)) {}

AtomicFile::~AtomicFile() {
  if (fd_ >= 0) close(fd_);
  if (!temporary_path_.empty()) unlink(temporary_path_.c_str());
}

absl::Status AtomicFile::Commit() {
  if (fsync(fd_) != 0) return FileError(errno, "cannot write", path_);
  if (close(std::exchange(fd_, -1)) != 0)
    return FileError(errno, "cannot write", path_);
  if (rename(temporary_path_.c_str(), path_.c_str()) != 0)
    return FileError(errno, "cannot write", path_);
  temporary_path_.clear();
  SyncFolder(FolderOf(path_));
  return absl::OkStatus();
}

}  // namespace cssp
