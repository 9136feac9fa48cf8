// Image files named in a text file.
#ifndef CSSP_WORKER_DATA_IMAGE_LIST_H_
#define CSSP_WORKER_DATA_IMAGE_LIST_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "worker/data/data_source.h"

namespace cssp {

// One line: a path, which may hold spaces, a space or tab, a label.
struct ImageListEntry {
  std::string path;
  int label = 0;
  int64_t line = 0;  // counted from 1
};

// Empty lines are skipped.  NotFound: no such file.  InvalidArgument names file
// and line: no label, a label that is no integer, no images at all.
absl::StatusOr<std::vector<ImageListEntry>> ReadImageList(
    const std::string& path);

struct ImageListOptions {
  std::string root_folder;         // put in front of each path as it is
  uint32_t height = 0, width = 0;  // resized to; 0: as they are
  ColorMode mode = ColorMode::kColor;
};

// The images as records, decoded when they are read.  Errors of reading name
// the list, its line and the image.  InvalidArgument: sides above 65536.
absl::StatusOr<std::unique_ptr<DataSource>> OpenImageList(
    const std::string& path, const ImageListOptions& options);

}  // namespace cssp

#endif  // CSSP_WORKER_DATA_IMAGE_LIST_H_
