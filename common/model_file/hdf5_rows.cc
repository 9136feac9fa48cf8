#include "common/model_file/hdf5_rows.h"

#include <algorithm>
#include <filesystem>
#include <limits>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/model_file/hdf5_file.h"

namespace cssp {
namespace {

constexpr int kMaxAxes = 32;
constexpr int64_t kMaxValues = std::numeric_limits<int32_t>::max();
// Deflate shrinks by at most this factor; a value may take a single byte.
constexpr int64_t kMaxCompression = 1032;
constexpr hsize_t kChunkBytes = 1 << 20;

struct Dataset {
  Hdf5Handle handle;
  std::vector<int64_t> extents;
  int64_t count = 1;
};

absl::StatusOr<std::vector<int64_t>> ExtentsOf(hid_t dataset) {
  const Hdf5Handle space(H5Dget_space(dataset), H5Sclose);
  const int axes = space.ok() ? H5Sget_simple_extent_ndims(space.id()) : -1;
  if (axes < 1 || axes > kMaxAxes)
    return absl::InvalidArgumentError("has no axis of rows, or too many axes");
  std::vector<hsize_t> extents(axes);
  if (H5Sget_simple_extent_dims(space.id(), extents.data(), nullptr) < 0)
    return absl::InvalidArgumentError("has no shape");
  return std::vector<int64_t>(extents.begin(), extents.end());
}

absl::StatusOr<Dataset> OpenDataset(hid_t file, const std::string& name,
                                    int64_t file_bytes) {
  Dataset dataset{
      Hdf5Handle(H5Dopen2(file, name.c_str(), H5P_DEFAULT), H5Dclose), {}};
  if (!dataset.handle.ok()) return absl::InvalidArgumentError("is not there");
  const Hdf5Handle type(H5Dget_type(dataset.handle.id()), H5Tclose);
  const H5T_class_t kind = type.ok() ? H5Tget_class(type.id()) : H5T_NO_CLASS;
  if (kind != H5T_FLOAT && kind != H5T_INTEGER)
    return absl::InvalidArgumentError("holds no numbers");
  ASSIGN_OR_RETURN(dataset.extents, ExtentsOf(dataset.handle.id()));
  for (const int64_t extent : dataset.extents) {
    if (extent < 1 ||
        __builtin_mul_overflow(dataset.count, extent, &dataset.count) ||
        dataset.count > kMaxValues)
      return absl::InvalidArgumentError(
          absl::StrCat("is empty or has more than ", kMaxValues, " values"));
  }
  if (dataset.count / kMaxCompression > file_bytes)
    return absl::DataLossError(absl::StrCat("claims ", dataset.count,
                                            " values in a file of ", file_bytes,
                                            " bytes"));
  return dataset;
}

// Calls `use(Dataset&)` for each of the named datasets.
template <class Use>
absl::Status ForEach(const std::string& path,
                     absl::Span<const std::string> names, const Use& use) {
  const Hdf5Silence silence;
  std::error_code error;
  const auto bytes =
      static_cast<int64_t>(std::filesystem::file_size(path, error));
  ASSIGN_OR_RETURN(const Hdf5Handle file, OpenHdf5(path));
  for (const std::string& name : names) {
    absl::StatusOr<Dataset> dataset = OpenDataset(file.id(), name, bytes);
    absl::Status status = dataset.status();
    if (status.ok()) status = use(*dataset);
    if (!status.ok())
      return Annotate(status, absl::StrCat(path, ": dataset '", name, "'"));
  }
  return absl::OkStatus();
}

class RowWriter final : public Hdf5RowWriter {
 public:
  explicit RowWriter(std::string path, Hdf5Handle file)
      : path_(std::move(path)), file_(std::move(file)) {}

  absl::Status Append(const std::string& name,
                      absl::Span<const int64_t> extents,
                      absl::Span<const float> values) override {
    const Hdf5Silence silence;
    const absl::Status done = TryAppend(name, extents, values);
    return Annotate(done, absl::StrCat(path_, ": dataset '", name, "'"));
  }

 private:
  absl::Status TryAppend(const std::string& name,
                         absl::Span<const int64_t> extents,
                         absl::Span<const float> values) {
    const bool fresh = H5Lexists(file_.id(), name.c_str(), H5P_DEFAULT) <= 0;
    const Hdf5Handle dataset(
        fresh ? Make(name, extents)
              : H5Dopen2(file_.id(), name.c_str(), H5P_DEFAULT),
        H5Dclose);
    if (!dataset.ok()) return NotWritten();
    ASSIGN_OR_RETURN(const std::vector<int64_t> held, ExtentsOf(dataset.id()));
    if (!std::equal(held.begin() + 1, held.end(), extents.begin() + 1,
                    extents.end()))
      return absl::InvalidArgumentError("rows of another shape than before");
    return Write(dataset.id(), held[0], extents, values);
  }

  // A dataset without rows; chunked, so that it can grow.
  hid_t Make(const std::string& name, absl::Span<const int64_t> extents) const {
    std::vector<hsize_t> now(extents.begin(), extents.end()), most = now,
                                                              chunk = now;
    hsize_t row_bytes = sizeof(float);
    for (size_t i = 1; i < now.size(); ++i) row_bytes *= now[i];
    now[0] = 0;
    most[0] = H5S_UNLIMITED;
    chunk[0] = std::clamp<hsize_t>(kChunkBytes / row_bytes, 1, chunk[0]);
    const Hdf5Handle space(
        H5Screate_simple(static_cast<int>(now.size()), now.data(), most.data()),
        H5Sclose);
    const Hdf5Handle plan(H5Pcreate(H5P_DATASET_CREATE), H5Pclose);
    H5Pset_chunk(plan.id(), static_cast<int>(chunk.size()), chunk.data());
    return H5Dcreate2(file_.id(), name.c_str(), H5T_IEEE_F32LE, space.id(),
                      H5P_DEFAULT, plan.id(), H5P_DEFAULT);
  }

  absl::Status Write(hid_t dataset, int64_t held,
                     absl::Span<const int64_t> extents,
                     absl::Span<const float> values) const {
    std::vector<hsize_t> count(extents.begin(), extents.end());
    std::vector<hsize_t> start(extents.size(), 0), whole = count;
    start[0] = static_cast<hsize_t>(held);
    whole[0] += start[0];
    if (H5Dset_extent(dataset, whole.data()) < 0) return NotWritten();
    const Hdf5Handle target(H5Dget_space(dataset), H5Sclose);
    const Hdf5Handle memory(
        H5Screate_simple(static_cast<int>(count.size()), count.data(), nullptr),
        H5Sclose);
    if (H5Sselect_hyperslab(target.id(), H5S_SELECT_SET, start.data(), nullptr,
                            count.data(), nullptr) < 0 ||
        H5Dwrite(dataset, H5T_NATIVE_FLOAT, memory.id(), target.id(),
                 H5P_DEFAULT, values.data()) < 0 ||
        H5Fflush(file_.id(), H5F_SCOPE_LOCAL) < 0)
      return NotWritten();
    return absl::OkStatus();
  }

  static absl::Status NotWritten() {
    return absl::ResourceExhaustedError("cannot be written: is the disk full?");
  }

  const std::string path_;
  const Hdf5Handle file_;
};

}  // namespace

absl::StatusOr<std::vector<std::vector<int64_t>>> ReadHdf5Extents(
    const std::string& path, absl::Span<const std::string> names) {
  std::vector<std::vector<int64_t>> extents;
  RETURN_IF_ERROR(ForEach(path, names, [&](Dataset& dataset) {
    extents.push_back(std::move(dataset.extents));
    return absl::OkStatus();
  }));
  return extents;
}

absl::StatusOr<std::vector<std::vector<float>>> ReadHdf5Values(
    const std::string& path, absl::Span<const std::string> names) {
  std::vector<std::vector<float>> arrays;
  RETURN_IF_ERROR(ForEach(path, names, [&](Dataset& dataset) -> absl::Status {
    arrays.emplace_back(static_cast<size_t>(dataset.count));
    if (H5Dread(dataset.handle.id(), H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL,
                H5P_DEFAULT, arrays.back().data()) >= 0)
      return absl::OkStatus();
    return absl::DataLossError("cannot be read: the file is damaged");
  }));
  return arrays;
}

absl::StatusOr<std::unique_ptr<Hdf5RowWriter>> Hdf5RowWriter::Create(
    const std::string& path) {
  const Hdf5Silence silence;
  Hdf5Handle file(
      H5Fcreate(path.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT),
      H5Fclose);
  if (file.ok()) return std::make_unique<RowWriter>(path, std::move(file));
  return absl::InvalidArgumentError(
      absl::StrCat("'", path,
                   "' cannot be written: no such folder, no right, or another "
                   "process writes it"));
}

}  // namespace cssp
