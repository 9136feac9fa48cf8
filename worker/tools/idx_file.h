// MNIST's idx files: a magic number, big-endian extents, bytes.
#ifndef CSSP_WORKER_TOOLS_IDX_FILE_H_
#define CSSP_WORKER_TOOLS_IDX_FILE_H_

#include <cstdint>
#include <fstream>
#include <string>
#include <vector>

#include "absl/status/status.h"

namespace cssp {

// Thread-confined: its owner.
class IdxFile {
 public:
  // NotFound; DataLoss: another magic number (still compressed?), cut short.
  absl::Status Open(const std::string& path, uint32_t magic, int extents);
  // The file must hold exactly extent(0) records of `record_bytes`.
  absl::Status CheckLength(uint64_t record_bytes) const;

  bool Read(char* to, size_t size) {
    return static_cast<bool>(
        file_.read(to, static_cast<std::streamsize>(size)));
  }
  // The record number `record` of `size` bytes; records may be read in any
  // order.
  bool ReadRecord(int64_t record, char* to, size_t size);
  uint32_t extent(int i) const { return extents_[i]; }
  const std::string& path() const { return path_; }

 private:
  bool ReadCount(uint32_t* value);

  std::string path_;
  std::ifstream file_;
  uint64_t bytes_ = 0;
  std::vector<uint32_t> extents_;
};

// Opens images and their labels.  DataLoss: sides of 0 or above 16384, no
// images, or another number of labels.
absl::Status OpenIdxPair(const std::string& image_path,
                         const std::string& label_path, IdxFile* images,
                         IdxFile* labels);

}  // namespace cssp

#endif  // CSSP_WORKER_TOOLS_IDX_FILE_H_
