// Rows of HDF5 files as records: several named datasets side by side.
#ifndef CSSP_WORKER_DATA_HDF5_RECORDS_H_
#define CSSP_WORKER_DATA_HDF5_RECORDS_H_

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/types/span.h"

namespace cssp {

// Thread-safe (monitor).  Files are read whole; the last two stay in memory.
//
// A position (worker/data/record_dealer.h) gives epoch and row: file after file
// in the list's order, or, shuffled, files in an order drawn from seed and
// epoch and each file's rows likewise, so that every file is still read once an
// epoch.
class Hdf5Records {
 public:
  // `list` names one .h5 file a line, seen from the working directory, or from
  // `root` where that is given.  Every file must hold the named datasets, with
  // equally many rows and of the same shapes as the first file's.
  // InvalidArgument, NotFound name list, line and file.
  static absl::StatusOr<std::unique_ptr<Hdf5Records>> Open(
      const std::string& list, const std::string& root,
      std::vector<std::string> datasets, bool shuffle);

  int64_t size() const { return rows_; }
  // The extents of one row of dataset `d`; empty: a single number.
  const std::vector<int64_t>& row_extents(int d) const {
    return row_extents_[d];
  }
  int64_t row_floats(int d) const { return row_floats_[d]; }

  // Rows of positions first .. first + count - 1: those of dataset d go to
  // out[d], one after the other.
  absl::Status Read(int64_t first, int64_t count, uint64_t seed,
                    absl::Span<float* const> out) const
      ABSL_LOCKS_EXCLUDED(mu_);

 private:
  struct File {
    std::string path;
    int64_t rows = 0;
  };
  using Values = std::vector<std::vector<float>>;  // per dataset

  // A row of a file.
  struct Place {
    int file = 0;
    int64_t row = 0;
  };

  Hdf5Records() = default;
  absl::Status AddFile(const std::string& path);
  // Files in the order of an epoch.
  std::vector<int> OrderOf(uint64_t seed, int64_t epoch) const;
  Place Locate(int64_t index, uint64_t seed, int64_t epoch,
               absl::Span<const int> order) const;
  absl::StatusOr<std::shared_ptr<const Values>> Load(int file) const
      ABSL_LOCKS_EXCLUDED(mu_);

  std::vector<std::string> datasets_;
  bool shuffle_ = false;
  std::vector<File> files_;
  int64_t rows_ = 0;
  std::vector<std::vector<int64_t>> row_extents_;
  std::vector<int64_t> row_floats_;

  mutable absl::Mutex mu_;
  // Most recently used last.
  mutable std::vector<std::pair<int, std::shared_ptr<const Values>>> held_
      ABSL_GUARDED_BY(mu_);
};

}  // namespace cssp

#endif  // CSSP_WORKER_DATA_HDF5_RECORDS_H_
