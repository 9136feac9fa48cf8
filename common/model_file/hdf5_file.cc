#include "common/model_file/hdf5_file.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <limits>

#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "common/base/status_macros.h"
#include "common/model_file/blob_proto.h"
#include "common/model_file/file_bytes.h"

namespace cssp {
namespace {

constexpr hsize_t kMaxMembers = 1 << 20;
constexpr int kMaxAxes = 32;
constexpr int64_t kMaxValues = std::numeric_limits<int32_t>::max();
constexpr size_t kMaxStringBytes = 64 << 10;
// deflate shrinks by at most this factor.
constexpr int64_t kMaxCompression = 1032;

absl::Status Damaged(absl::string_view what, const std::string& name) {
  return absl::DataLossError(
      absl::StrCat("cannot read ", what, " '", name, "' in the HDF5 file"));
}

absl::Status NotWritten(const std::string& name) {
  return absl::ResourceExhaustedError(
      absl::StrCat("cannot write '", name, "' to the HDF5 file"));
}

absl::StatusOr<Hdf5Handle> OpenDataset(hid_t group, const std::string& name) {
  Hdf5Handle dataset(H5Dopen2(group, name.c_str(), H5P_DEFAULT), H5Dclose);
  if (!dataset.ok()) return Damaged("dataset", name);
  return dataset;
}

// Extents of a simple dataspace, bounded.
absl::StatusOr<std::vector<hsize_t>> Extents(hid_t dataset,
                                             const std::string& name,
                                             int64_t file_bytes) {
  const Hdf5Handle space(H5Dget_space(dataset), H5Sclose);
  if (!space.ok()) return Damaged("the shape of", name);
  const int axes = H5Sget_simple_extent_ndims(space.id());
  if (axes < 0 || axes > kMaxAxes) return Damaged("the shape of", name);
  std::vector<hsize_t> extents(axes);
  if (axes > 0 &&
      H5Sget_simple_extent_dims(space.id(), extents.data(), nullptr) < 0)
    return Damaged("the shape of", name);
  int64_t count = 1;
  for (hsize_t extent : extents) {
    if (extent > static_cast<hsize_t>(kMaxValues) ||
        __builtin_mul_overflow(count, static_cast<int64_t>(extent), &count) ||
        count > kMaxValues)
      return absl::InvalidArgumentError(absl::StrCat(
          "array '", name, "' has more than ", kMaxValues, " values"));
  }
  if (count / kMaxCompression > file_bytes)
    return absl::DataLossError(absl::StrCat("array '", name, "' claims ", count,
                                            " values in a file of ", file_bytes,
                                            " bytes"));
  return extents;
}

absl::Status CheckWritable(const caffe::BlobProto& blob,
                           absl::Span<const float> values,
                           const std::string& name) {
  ASSIGN_OR_RETURN(const Shape shape, BlobShapeOf(blob));
  if (shape.count() == values.size()) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("array '", name, "' of shape ",
                                                 shape.ToString(), " has ",
                                                 values.size(), " values"));
}

}  // namespace

absl::StatusOr<Hdf5Handle> OpenHdf5(const std::string& path) {
  if (access(path.c_str(), R_OK) != 0)
    return FileError(errno, "cannot open", path);
  Hdf5Handle file(H5Fopen(path.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT), H5Fclose);
  if (!file.ok())
    return absl::DataLossError(
        absl::StrCat(path, ": truncated, damaged or no HDF5 file"));
  return file;
}

absl::StatusOr<Hdf5Handle> CreateGroup(hid_t parent, const std::string& name) {
  // It may stand already, as a part of another layer's name.
  Hdf5Handle present(H5Gopen2(parent, name.c_str(), H5P_DEFAULT), H5Gclose);
  if (present.ok()) return present;
  const Hdf5Handle links(H5Pcreate(H5P_LINK_CREATE), H5Pclose);
  if (!links.ok() || H5Pset_create_intermediate_group(links.id(), 1) < 0)
    return NotWritten(name);
  Hdf5Handle group(
      H5Gcreate2(parent, name.c_str(), links.id(), H5P_DEFAULT, H5P_DEFAULT),
      H5Gclose);
  if (!group.ok()) return NotWritten(name);
  return group;
}

absl::StatusOr<std::vector<Hdf5Member>> ListGroup(hid_t group) {
  H5G_info_t info;
  if (H5Gget_info(group, &info) < 0 || info.nlinks > kMaxMembers)
    return absl::DataLossError("cannot list a group of the HDF5 file");
  std::vector<Hdf5Member> members;
  for (hsize_t i = 0; i < info.nlinks; ++i) {
    char name[4096];
    const ssize_t length =
        H5Lget_name_by_idx(group, ".", H5_INDEX_NAME, H5_ITER_INC, i, name,
                           sizeof(name), H5P_DEFAULT);
    H5O_info_t object;
    if (length < 0 || length >= static_cast<ssize_t>(sizeof(name)) ||
        H5Oget_info_by_name(group, name, &object, H5P_DEFAULT) < 0)
      return absl::DataLossError("cannot list a group of the HDF5 file");
    members.push_back({std::string(name, length), object.type});
  }
  return members;
}

absl::Status ReadArray(hid_t group, const std::string& name, int64_t file_bytes,
                       caffe::BlobProto* blob) {
  ASSIGN_OR_RETURN(const Hdf5Handle dataset, OpenDataset(group, name));
  const Hdf5Handle type(H5Dget_type(dataset.id()), H5Tclose);
  if (!type.ok() || H5Tget_class(type.id()) != H5T_FLOAT)
    return absl::InvalidArgumentError(
        absl::StrCat("dataset '", name, "' holds no floats"));
  ASSIGN_OR_RETURN(const std::vector<hsize_t> extents,
                   Extents(dataset.id(), name, file_bytes));
  blob->Clear();
  blob->mutable_shape();
  int64_t count = 1;
  for (hsize_t extent : extents) {
    blob->mutable_shape()->add_dim(static_cast<int64_t>(extent));
    count *= static_cast<int64_t>(extent);
  }
  blob->mutable_data()->Resize(static_cast<int>(count), 0);
  if (count > 0 &&
      H5Dread(dataset.id(), H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT,
              blob->mutable_data()->mutable_data()) < 0)
    return Damaged("dataset", name);
  return absl::OkStatus();
}

absl::Status WriteArray(hid_t group, const std::string& name,
                        const caffe::BlobProto& blob, bool diff) {
  std::vector<float> rounded(
      diff ? blob.double_diff().begin() : blob.double_data().begin(),
      diff ? blob.double_diff().end() : blob.double_data().end());
  const auto& stored = diff ? blob.diff() : blob.data();
  const absl::Span<const float> values =
      rounded.empty() ? absl::MakeConstSpan(stored.data(), stored.size())
                      : absl::MakeConstSpan(rounded);
  RETURN_IF_ERROR(CheckWritable(blob, values, name));
  ASSIGN_OR_RETURN(const Shape shape, BlobShapeOf(blob));
  const std::vector<hsize_t> extents(shape.dims().begin(), shape.dims().end());
  const Hdf5Handle space(H5Screate_simple(static_cast<int>(extents.size()),
                                          extents.data(), nullptr),
                         H5Sclose);
  const Hdf5Handle dataset(
      H5Dcreate2(group, name.c_str(), H5T_IEEE_F32LE, space.id(), H5P_DEFAULT,
                 H5P_DEFAULT, H5P_DEFAULT),
      H5Dclose);
  if (!space.ok() || !dataset.ok() ||
      H5Dwrite(dataset.id(), H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT,
               values.data()) < 0)
    return NotWritten(name);
  return absl::OkStatus();
}

absl::StatusOr<int> ReadInt(hid_t group, const std::string& name) {
  ASSIGN_OR_RETURN(const Hdf5Handle dataset, OpenDataset(group, name));
  const Hdf5Handle space(H5Dget_space(dataset.id()), H5Sclose);
  int value = 0;
  if (!space.ok() || H5Sget_simple_extent_npoints(space.id()) != 1 ||
      H5Dread(dataset.id(), H5T_NATIVE_INT, H5S_ALL, H5S_ALL, H5P_DEFAULT,
              &value) < 0)
    return Damaged("integer", name);
  return value;
}

absl::Status WriteInt(hid_t group, const std::string& name, int value) {
  const hsize_t one = 1;  // as H5LTmake_dataset_int does for Caffe
  const Hdf5Handle space(H5Screate_simple(1, &one, nullptr), H5Sclose);
  const Hdf5Handle dataset(
      H5Dcreate2(group, name.c_str(), H5T_STD_I32LE, space.id(), H5P_DEFAULT,
                 H5P_DEFAULT, H5P_DEFAULT),
      H5Dclose);
  if (!space.ok() || !dataset.ok() ||
      H5Dwrite(dataset.id(), H5T_NATIVE_INT, H5S_ALL, H5S_ALL, H5P_DEFAULT,
               &value) < 0)
    return NotWritten(name);
  return absl::OkStatus();
}

absl::StatusOr<std::string> ReadString(hid_t group, const std::string& name) {
  ASSIGN_OR_RETURN(const Hdf5Handle dataset, OpenDataset(group, name));
  const Hdf5Handle space(H5Dget_space(dataset.id()), H5Sclose);
  const Hdf5Handle type(H5Dget_type(dataset.id()), H5Tclose);
  if (!space.ok() || !type.ok() || H5Tget_class(type.id()) != H5T_STRING ||
      H5Tis_variable_str(type.id()) != 0 ||
      H5Sget_simple_extent_npoints(space.id()) != 1)
    return Damaged("text", name);
  const size_t size = H5Tget_size(type.id());
  if (size == 0 || size > kMaxStringBytes) return Damaged("text", name);
  std::string value(size, '\0');
  if (H5Dread(dataset.id(), type.id(), H5S_ALL, H5S_ALL, H5P_DEFAULT,
              value.data()) < 0)
    return Damaged("text", name);
  value.resize(std::min(value.find('\0'), value.size()));
  return value;
}

absl::Status WriteString(hid_t group, const std::string& name,
                         const std::string& value) {
  const Hdf5Handle space(H5Screate(H5S_SCALAR), H5Sclose);
  const Hdf5Handle type(H5Tcopy(H5T_C_S1), H5Tclose);
  if (!type.ok() || H5Tset_size(type.id(), value.size() + 1) < 0)
    return NotWritten(name);
  const Hdf5Handle dataset(
      H5Dcreate2(group, name.c_str(), type.id(), space.id(), H5P_DEFAULT,
                 H5P_DEFAULT, H5P_DEFAULT),
      H5Dclose);
  if (!space.ok() || !dataset.ok() ||
      H5Dwrite(dataset.id(), type.id(), H5S_ALL, H5S_ALL, H5P_DEFAULT,
               value.c_str()) < 0)
    return NotWritten(name);
  return absl::OkStatus();
}

}  // namespace cssp
