// extract_features WEIGHTS NET BLOB[,BLOB] BASE[,BASE] BATCHES DB_TYPE
//   [CPU|GPU] [DEVICE_ID=0]
#include <iostream>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "common/base/logging.h"
#include "common/base/status_macros.h"
#include "common/launch/launch.h"
#include "worker/caffe/runtime.h"
#include "worker/net/net_passes.h"
#include "worker/solver/snapshot.h"
#include "worker/tools/arguments.h"
#include "worker/tools/features.h"

namespace cssp {
namespace {

constexpr char kUsage[] =
    "extract_features WEIGHTS NET BLOB[,BLOB...] BASE[,BASE...] BATCHES "
    "DB_TYPE "
    "[CPU|GPU]\n  [DEVICE_ID=N]\nRuns the net NET (prototxt, phase TEST) with "
    "the .caffemodel WEIGHTS on its own data\nand writes the values of each "
    "BLOB to its BASE (lmdb or leveldb).\n";

// "CPU", "GPU" and "DEVICE_ID=N" to what --gpu takes; CPU where nothing is
// said.
absl::StatusOr<std::string> GpuOf(const std::vector<std::string>& words) {
  std::string gpu;
  for (size_t i = 6; i < words.size(); ++i) {
    absl::string_view word = words[i];
    if (word == "CPU") continue;
    if (word == "GPU") {
      if (gpu.empty()) gpu = "0";
    } else if (absl::ConsumePrefix(&word, "DEVICE_ID=") && !gpu.empty()) {
      gpu = std::string(word);
    } else {
      return absl::InvalidArgumentError(
          absl::StrCat("'", words[i],
                       "' is neither CPU nor GPU nor, behind GPU, "
                       "DEVICE_ID=N"));
    }
  }
  return gpu;
}

absl::Status Extract(const std::vector<std::string>& words) {
  FeatureOptions options;
  options.blobs = absl::StrSplit(words[2], ',');
  options.bases = absl::StrSplit(words[3], ',');
  if (!absl::SimpleAtoi(words[4], &options.batches))
    return absl::InvalidArgumentError(absl::StrCat(
        "the number of batches must be a number, not '", words[4], "'"));
  ASSIGN_OR_RETURN(options.format, ParseBaseFormat(words[5]));
  ASSIGN_OR_RETURN(const std::string gpu, GpuOf(words));
  ASSIGN_OR_RETURN(const std::shared_ptr<Compute> compute,
                   MakeCompute({.gpu = gpu, .threads = ComputeThreads(0, 1)}));
  ASSIGN_OR_RETURN(const caffe::NetParameter param, ReadNet(words[1]));
  NetOptions net_options;
  net_options.state.set_phase(caffe::TEST);
  net_options.keep_blobs = false;
  net_options.source_name = words[1];
  net_options.log_creation = false;
  ASSIGN_OR_RETURN(
      const std::unique_ptr<Net> net,
      Net::Create(param, compute->layers, *compute->device, net_options));
  RETURN_IF_ERROR(LoadWeightsFiles(words[0], *net));
  LOG(INFO) << "Extracting Features";
  RETURN_IF_ERROR(ExtractFeatures(*net, options));
  LOG(INFO) << "Successfully extracted the features!";
  return absl::OkStatus();
}

absl::Status Run(int argc, char** argv) {
  ASSIGN_OR_RETURN(const Arguments arguments, ParseArguments(argc, argv, {}));
  if (arguments.help) {
    std::cout << kUsage;
    return absl::OkStatus();
  }
  const size_t given = arguments.positional.size();
  if (given < 6 || given > 8)
    return absl::InvalidArgumentError(
        "usage: extract_features WEIGHTS NET BLOB[,BLOB...] BASE[,BASE...] "
        "BATCHES DB_TYPE [CPU|GPU] [DEVICE_ID=N]");
  return Extract(arguments.positional);
}

}  // namespace
}  // namespace cssp

int main(int argc, char** argv) {
  cssp::WidenAffinity();
  cssp::EnsurePassiveThreads(argv);
  cssp::InitLogging(argv[0]);
  return cssp::ExitCodeFor("extract_features", cssp::Run(argc, argv));
}
