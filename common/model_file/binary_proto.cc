#include "common/model_file/binary_proto.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/model_file/atomic_file.h"
#include "common/model_file/file_bytes.h"
#include "google/protobuf/io/coded_stream.h"
#include "google/protobuf/io/zero_copy_stream_impl.h"

namespace cssp {
namespace {

namespace pb = google::protobuf;

constexpr int kMaxDepth = 64;

}  // namespace

absl::Status ReadBinaryProto(const std::string& path, int64_t limit,
                             absl::string_view what, pb::Message* message) {
  message->Clear();
  limit = std::min(limit, kMaxProtoBytes);
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return FileError(errno, "cannot open", path);
  const absl::Cleanup closer = [fd] { close(fd); };
  ASSIGN_OR_RETURN(const int64_t size, RegularSize(fd, path));
  if (size == 0)
    return absl::DataLossError(
        absl::StrCat(path, ": an empty file, not a ", what));
  if (size > limit)
    return absl::InvalidArgumentError(absl::StrCat(
        path, ": ", size, " bytes, where a ", what, " has at most ", limit));
  pb::io::FileInputStream file(fd);
  pb::io::CodedInputStream coded(&file);
  coded.SetTotalBytesLimit(static_cast<int>(limit));
  coded.SetRecursionLimit(kMaxDepth);
  if (message->ParseFromCodedStream(&coded) && coded.ConsumedEntireMessage())
    return absl::OkStatus();
  message->Clear();
  return absl::DataLossError(absl::StrCat(path, ": truncated, damaged or no ",
                                          what, " (", size, " bytes)"));
}

absl::Status WriteBinaryProto(const pb::Message& message,
                              absl::string_view remedy,
                              const std::string& path) {
  const size_t size = message.ByteSizeLong();
  if (size > static_cast<size_t>(kMaxProtoBytes))
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": ", size,
                     " bytes do not fit in a binary proto (2 GiB)", remedy));
  ASSIGN_OR_RETURN(AtomicFile file, AtomicFile::Create(path));
  {
    pb::io::FileOutputStream stream(file.fd());
    if (!message.SerializeToZeroCopyStream(&stream) || !stream.Flush())
      return FileError(stream.GetErrno(), "cannot write", path);
  }
  return file.Commit();
}

}  // namespace cssp
