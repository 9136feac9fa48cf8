// What a trained net makes of its data, written to bases.
#ifndef CSSP_WORKER_TOOLS_FEATURES_H_
#define CSSP_WORKER_TOOLS_FEATURES_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "worker/data/data_source.h"
#include "worker/net/net.h"

namespace cssp {

struct FeatureOptions {
  std::vector<std::string> blobs;  // whose values are wanted
  std::vector<std::string> bases;  // where they go, one each
  int batches = 0;
  BaseFormat format = BaseFormat::kLmdb;
};

// Runs `net` on its own data and writes, for each item of each blob, a Datum of
// floats under the key "%010d".  Blobs of up to three axes an item keep their
// extents as channels, height, width.  All bases or none.  InvalidArgument: no
// such blob, not one base for each blob, no batches.
absl::Status ExtractFeatures(Net& net, const FeatureOptions& options);

}  // namespace cssp

#endif  // CSSP_WORKER_TOOLS_FEATURES_H_
