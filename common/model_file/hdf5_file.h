// The few HDF5 operations that Caffe's files need, with Status for errors.
#ifndef CSSP_COMMON_MODEL_FILE_HDF5_FILE_H_
#define CSSP_COMMON_MODEL_FILE_HDF5_FILE_H_

#include <hdf5.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto/caffe.pb.h"

namespace cssp {

// Owns one HDF5 handle.  Thread-confined: the thread that uses HDF5.
class Hdf5Handle {
 public:
  using Closer = herr_t (*)(hid_t);
  Hdf5Handle(hid_t id, Closer closer) : id_(id), closer_(closer) {}
  ~Hdf5Handle() {
    if (id_ >= 0) closer_(id_);
  }
  Hdf5Handle(Hdf5Handle&& other) noexcept
      : id_(std::exchange(other.id_, -1)), closer_(other.closer_) {}
  Hdf5Handle(const Hdf5Handle&) = delete;
  Hdf5Handle& operator=(const Hdf5Handle&) = delete;

  hid_t id() const { return id_; }
  bool ok() const { return id_ >= 0; }
  // Closes now; false when buffered bytes could not be written.
  bool Close() { return closer_(std::exchange(id_, -1)) >= 0; }

 private:
  hid_t id_;
  Closer closer_;
};

// Keeps the library from printing its error stack while it lives.
class Hdf5Silence {
 public:
  Hdf5Silence() {
    H5Eget_auto2(H5E_DEFAULT, &function_, &data_);
    H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
  }
  ~Hdf5Silence() { H5Eset_auto2(H5E_DEFAULT, function_, data_); }
  Hdf5Silence(const Hdf5Silence&) = delete;
  Hdf5Silence& operator=(const Hdf5Silence&) = delete;

 private:
  H5E_auto2_t function_ = nullptr;
  void* data_ = nullptr;
};

// NotFound; DataLoss for a damaged file.
absl::StatusOr<Hdf5Handle> OpenHdf5(const std::string& path);
// Opens or creates a group and those above it (a slash in `name` nests).
absl::StatusOr<Hdf5Handle> CreateGroup(hid_t parent, const std::string& name);

struct Hdf5Member {
  std::string name;
  H5O_type_t type;
};
// Members of a group by name; DataLoss when it has more than a model can.
absl::StatusOr<std::vector<Hdf5Member>> ListGroup(hid_t group);

// One array of floats with its shape into and out of blob->data.  Bounds:
// 32 axes, 2^31 - 1 values, and no more than the file could hold compressed.
absl::Status ReadArray(hid_t group, const std::string& name, int64_t file_bytes,
                       caffe::BlobProto* blob);
absl::Status WriteArray(hid_t group, const std::string& name,
                        const caffe::BlobProto& blob, bool diff);

absl::StatusOr<int> ReadInt(hid_t group, const std::string& name);
absl::Status WriteInt(hid_t group, const std::string& name, int value);
// At most 64 KiB.
absl::StatusOr<std::string> ReadString(hid_t group, const std::string& name);
absl::Status WriteString(hid_t group, const std::string& name,
                         const std::string& value);

}  // namespace cssp

#endif  // CSSP_COMMON_MODEL_FILE_HDF5_FILE_H_
