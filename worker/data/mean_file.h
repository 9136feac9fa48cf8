// Mean images: .binaryproto files (caffe.BlobProto).
#ifndef CSSP_WORKER_DATA_MEAN_FILE_H_
#define CSSP_WORKER_DATA_MEAN_FILE_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace cssp {

struct MeanImage {
  int channels = 0, height = 0, width = 0;
  std::vector<float> values;
};

// NotFound: no such file (says what makes one).  DataLoss: does not parse, or
// extents and values disagree.
absl::StatusOr<MeanImage> ReadMeanFile(const std::string& path);

// Whole or not at all: written beside and renamed.
absl::Status WriteMeanFile(const std::string& path, const MeanImage& mean);

}  // namespace cssp

#endif  // CSSP_WORKER_DATA_MEAN_FILE_H_
