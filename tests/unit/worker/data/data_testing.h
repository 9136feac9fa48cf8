// Small bases and folders for tests of worker/data.
#ifndef CSSP_TESTS_UNIT_WORKER_DATA_DATA_TESTING_H_
#define CSSP_TESTS_UNIT_WORKER_DATA_DATA_TESTING_H_

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_format.h"
#include "proto/caffe.pb.h"
#include "worker/data/data_source.h"
#include "worker/data/datum_writer.h"

namespace cssp {

// A folder that goes with the test.
class TempFolder {
 public:
  TempFolder() {
    std::string name = ::testing::TempDir() + "cssp_XXXXXX";
    path_ = mkdtemp(name.data());
  }
  ~TempFolder() { std::filesystem::remove_all(path_); }
  std::string operator/(const std::string& name) const {
    return path_ + "/" + name;
  }
  const std::string& path() const { return path_; }
  int entries() const {
    int count = 0;
    for ([[maybe_unused]] const auto& entry :
         std::filesystem::directory_iterator(path_)) {
      ++count;
    }
    return count;
  }

 private:
  std::string path_;
};

// Record i: 2 x 3 x 4 bytes counting up from i, label i % 10.
inline caffe::Datum ByteDatum(int i) {
  caffe::Datum datum;
  datum.set_channels(2);
  datum.set_height(3);
  datum.set_width(4);
  datum.set_label(i % 10);
  std::string bytes(24, 0);
  for (int k = 0; k < 24; ++k) bytes[k] = static_cast<char>(i + k);
  datum.set_data(bytes);
  return datum;
}

inline absl::Status WriteBase(BaseFormat format, const std::string& path,
                              int records) {
  absl::StatusOr<std::unique_ptr<DatumWriter>> writer =
      CreateBase(format, path);
  if (!writer.ok()) return writer.status();
  for (int i = 0; i < records; ++i) {
    const absl::Status put = (*writer)->Put(absl::StrFormat("%08d", i),
                                            ByteDatum(i).SerializeAsString());
    if (!put.ok()) return put;
  }
  return (*writer)->Commit();
}

inline void WriteFile(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

}  // namespace cssp

#endif  // CSSP_TESTS_UNIT_WORKER_DATA_DATA_TESTING_H_
