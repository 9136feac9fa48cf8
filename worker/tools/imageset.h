// A list of image files to a base of Datum records.
#ifndef CSSP_WORKER_TOOLS_IMAGESET_H_
#define CSSP_WORKER_TOOLS_IMAGESET_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "worker/data/data_source.h"
#include "worker/data/image_codec.h"

namespace cssp {

struct ImagesetOptions {
  std::string root;    // put in front of each path as it is
  std::string list;    // see ReadImageList
  std::string output;  // the base
  BaseFormat format = BaseFormat::kLmdb;
  bool gray = false;
  bool shuffle = false;  // in an order drawn from the seed
  uint64_t seed = 1;
  int height = 0, width = 0;               // resized to; 0: as they are
  bool check_size = false;                 // refuse images of unlike size
  bool encoded = false;                    // keep images compressed ...
  std::optional<ImageFormat> encode_type;  // ... as this; none: by their names
  int threads = 1;
  bool progress = false;  // a bar on stderr
};

struct ImagesetCounts {
  int64_t written = 0;
  int64_t skipped = 0;  // could not be read: a warning each, with list and line
};

// Records in the list's order (or shuffled), keys "%08d_<path>".  An image that
// is to be kept compressed as it already is, is copied byte by byte.  The base
// is made whole or not at all.  InvalidArgument: nothing could be read;
// check_size and two sizes (both images named); one of height and width alone.
absl::StatusOr<ImagesetCounts> ConvertImageset(const ImagesetOptions& options);

}  // namespace cssp

#endif  // CSSP_WORKER_TOOLS_IMAGESET_H_
