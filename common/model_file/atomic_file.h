// Files that appear whole or not at all.
#ifndef CSSP_COMMON_MODEL_FILE_ATOMIC_FILE_H_
#define CSSP_COMMON_MODEL_FILE_ATOMIC_FILE_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace cssp {

// Thread-confined: its creator.  Bytes go to a temporary file in the target's
// folder; Commit makes them durable and gives them the target's name.
// Destroyed without Commit it leaves nothing behind; a process killed in
// between leaves at most the temporary file ("<path>.tmp-<pid>-...").
class AtomicFile {
 public:
  // Fails when the folder is absent or not writable.
  static absl::StatusOr<AtomicFile> Create(const std::string& path);
  ~AtomicFile();

  AtomicFile(AtomicFile&& other) noexcept;
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  // Open for writing; owned by this object.
  int fd() const { return fd_; }
  // For a library that opens by name (HDF5); exists and is empty at first.
  const std::string& temporary_path() const { return temporary_path_; }

  // fsync, rename, fsync of the folder.  At most once.
  absl::Status Commit();

 private:
  AtomicFile(std::string path, std::string temporary_path, int fd)
      : path_(std::move(path)),
        temporary_path_(std::move(temporary_path)),
        fd_(fd) {}

  std::string path_;
  std::string temporary_path_;  // empty: committed or moved from
  int fd_;
};

}  // namespace cssp

#endif  // CSSP_COMMON_MODEL_FILE_ATOMIC_FILE_H_
