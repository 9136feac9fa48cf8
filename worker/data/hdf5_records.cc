#include "worker/data/hdf5_records.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <numeric>
#include <system_error>

#include "absl/memory/memory.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/status_macros.h"
#include "common/model_file/hdf5_rows.h"
#include "worker/data/record_dealer.h"

namespace cssp {
namespace {

constexpr size_t kHeldFiles = 2;

// Every file has a permutation of its own.
uint64_t FileSeed(uint64_t seed, int file) {
  return seed ^ (uint64_t{0x9e3779b97f4a7c15} * (file + 1));
}

}  // namespace

absl::StatusOr<std::unique_ptr<Hdf5Records>> Hdf5Records::Open(
    const std::string& list, const std::string& root,
    std::vector<std::string> datasets, bool shuffle) {
  std::ifstream in(list);
  std::error_code ignored;
  if (!in || std::filesystem::is_directory(list, ignored))
    return absl::NotFoundError(
        absl::StrCat(list, ": no such list of HDF5 files"));
  auto records = absl::WrapUnique(new Hdf5Records);
  records->datasets_ = std::move(datasets);
  records->shuffle_ = shuffle;
  std::string text;
  for (int line = 1; std::getline(in, text); ++line) {
    absl::StripAsciiWhitespace(&text);
    if (text.empty()) continue;
    const std::string path =
        root.empty() || text[0] == '/' ? text : absl::StrCat(root, "/", text);
    RETURN_IF_ERROR(
        Annotate(records->AddFile(path), absl::StrCat(list, ":", line)));
  }
  if (records->files_.empty())
    return absl::InvalidArgumentError(absl::StrCat(list, ": names no files"));
  return records;
}

absl::Status Hdf5Records::AddFile(const std::string& path) {
  ASSIGN_OR_RETURN(const auto extents, ReadHdf5Extents(path, datasets_));
  const int64_t rows = extents[0][0];
  for (size_t d = 0; d < extents.size(); ++d) {
    if (extents[d][0] != rows)
      return absl::InvalidArgumentError(
          absl::StrCat(path, ": dataset '", datasets_[d], "' has ",
                       extents[d][0], " rows, '", datasets_[0], "' ", rows));
    const std::vector<int64_t> row(extents[d].begin() + 1, extents[d].end());
    if (files_.empty()) {
      row_extents_.push_back(row);
      row_floats_.push_back(std::accumulate(row.begin(), row.end(), int64_t{1},
                                            std::multiplies<int64_t>()));
    } else if (row != row_extents_[d]) {
      return absl::InvalidArgumentError(
          absl::StrCat(path, ": rows of dataset '", datasets_[d], "' are ",
                       absl::StrJoin(row, " x "), ", those of ", files_[0].path,
                       " ", absl::StrJoin(row_extents_[d], " x ")));
    }
  }
  files_.push_back({path, rows});
  rows_ += rows;
  return absl::OkStatus();
}

std::vector<int> Hdf5Records::OrderOf(uint64_t seed, int64_t epoch) const {
  const auto files = static_cast<int64_t>(files_.size());
  std::vector<int> order(files_.size());
  for (int64_t i = 0; i < files; ++i)
    order[i] =
        static_cast<int>(shuffle_ ? PermuteIndex(i, files, seed, epoch) : i);
  return order;
}

Hdf5Records::Place Hdf5Records::Locate(int64_t index, uint64_t seed,
                                       int64_t epoch,
                                       absl::Span<const int> order) const {
  size_t at = 0;
  for (; index >= files_[order[at]].rows; ++at) index -= files_[order[at]].rows;
  const int file = order[at];
  if (shuffle_)
    index = PermuteIndex(index, files_[file].rows, FileSeed(seed, file), epoch);
  return {file, index};
}

absl::StatusOr<std::shared_ptr<const Hdf5Records::Values>> Hdf5Records::Load(
    int file) const {
  // Under the lock: the library takes one call at a time anyway, and nobody
  // reads a file twice.
  absl::MutexLock lock(&mu_);
  const auto found =
      std::find_if(held_.begin(), held_.end(),
                   [file](const auto& held) { return held.first == file; });
  if (found != held_.end()) {
    std::rotate(found, found + 1, held_.end());
    return held_.back().second;
  }
  ASSIGN_OR_RETURN(Values values, ReadHdf5Values(files_[file].path, datasets_));
  for (size_t d = 0; d < values.size(); ++d) {
    if (values[d].size() ==
        static_cast<size_t>(files_[file].rows * row_floats_[d]))
      continue;
    return absl::DataLossError(
        absl::StrCat(files_[file].path, ": dataset '", datasets_[d],
                     "' has changed its shape since it was opened"));
  }
  if (held_.size() == kHeldFiles) held_.erase(held_.begin());
  held_.emplace_back(file, std::make_shared<const Values>(std::move(values)));
  return held_.back().second;
}

absl::Status Hdf5Records::Read(int64_t first, int64_t count, uint64_t seed,
                               absl::Span<float* const> out) const {
  int64_t epoch = -1;
  std::vector<int> order;
  int file = -1;
  std::shared_ptr<const Values> values;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t position = first + i;
    if (position / rows_ != epoch) {
      epoch = position / rows_;
      order = OrderOf(seed, epoch);
    }
    const Place place = Locate(position % rows_, seed, epoch, order);
    if (place.file != file) {
      ASSIGN_OR_RETURN(values, Load(place.file));
      file = place.file;
    }
    for (size_t d = 0; d < datasets_.size(); ++d)
      std::copy_n((*values)[d].begin() + place.row * row_floats_[d],
                  row_floats_[d], out[d] + i * row_floats_[d]);
  }
  return absl::OkStatus();
}

}  // namespace cssp
