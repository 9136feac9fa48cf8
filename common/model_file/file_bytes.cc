#include "common/model_file/file_bytes.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"

namespace cssp {

absl::Status FileError(int errnum, absl::string_view what,
                       const std::string& path) {
  const std::string text =
      absl::StrCat(what, " '", path, "': ", std::strerror(errnum));
  switch (errnum) {
    case ENOENT:
    case ENOTDIR:
      return absl::NotFoundError(text);
    case EACCES:
    case EPERM:
    case EROFS:
      return absl::PermissionDeniedError(text);
    case ENOSPC:
    case EDQUOT:
      return absl::ResourceExhaustedError(text);
    default:
      return absl::InvalidArgumentError(text);
  }
}

absl::StatusOr<int64_t> RegularSize(int fd, const std::string& path) {
  struct stat info;
  if (fstat(fd, &info) != 0) return FileError(errno, "cannot stat", path);
  if (S_ISDIR(info.st_mode)) return FileError(EISDIR, "cannot read", path);
  if (!S_ISREG(info.st_mode))
    return absl::InvalidArgumentError(
        absl::StrCat("cannot read '", path, "': it is no regular file"));
  return info.st_size;
}

absl::StatusOr<std::string> ReadFileBytes(const std::string& path,
                                          int64_t limit) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return FileError(errno, "cannot open", path);
  const absl::Cleanup closer = [fd] { close(fd); };
  ASSIGN_OR_RETURN(const int64_t size, RegularSize(fd, path));
  if (size > limit)
    return absl::InvalidArgumentError(
        absl::StrCat("'", path, "' has ", size, " bytes: at most ", limit,
                     " are read"));
  std::string bytes(size, '\0');
  size_t got = 0;
  while (got < bytes.size()) {
    const ssize_t n = read(fd, bytes.data() + got, bytes.size() - got);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return FileError(errno, "cannot read", path);
    if (n == 0)
      return absl::DataLossError(
          absl::StrCat("'", path, "' shrank while it was read"));
    got += n;
  }
  return bytes;
}

bool IsHdf5File(const std::string& path) {
  static constexpr char kSignature[] = "\x89HDF\r\n\x1a\n";
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return false;
  char head[8] = {};
  const ssize_t n = read(fd, head, sizeof(head));
  close(fd);
  return n == sizeof(head) && std::memcmp(head, kSignature, 8) == 0;
}

}  // namespace cssp
