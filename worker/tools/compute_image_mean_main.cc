// compute_image_mean [--backend=lmdb] INPUT_BASE [OUTPUT_FILE]
#include <iostream>
#include <numeric>

#include "common/base/logging.h"
#include "common/base/status_macros.h"
#include "worker/tools/arguments.h"
#include "worker/tools/converters.h"

namespace cssp {
namespace {

constexpr char kUsage[] =
    "compute_image_mean [--backend=lmdb|leveldb] INPUT_BASE [OUTPUT_FILE]\n"
    "Writes the mean image of a base's records and prints each channel's "
    "mean.\n";

void LogChannelMeans(const MeanImage& mean) {
  const int64_t plane = int64_t{1} * mean.height * mean.width;
  LOG(INFO) << "Number of channels: " << mean.channels;
  for (int c = 0; c < mean.channels; ++c) {
    const auto begin = mean.values.begin() + c * plane;
    LOG(INFO) << "mean_value channel [" << c
              << "]: " << std::accumulate(begin, begin + plane, 0.0) / plane;
  }
}

absl::Status Run(int argc, char** argv) {
  ASSIGN_OR_RETURN(const Arguments arguments,
                   ParseArguments(argc, argv, {{"backend", "lmdb"}}));
  if (arguments.help) {
    std::cout << kUsage;
    return absl::OkStatus();
  }
  const size_t given = arguments.positional.size();
  if (given < 1 || given > 2) {
    return absl::InvalidArgumentError(
        "usage: compute_image_mean [--backend=lmdb|leveldb] INPUT_BASE "
        "[OUTPUT_FILE]");
  }
  ASSIGN_OR_RETURN(const BaseFormat format,
                   ParseBaseFormat(arguments.flags.at("backend")));
  int64_t records = 0;
  ASSIGN_OR_RETURN(const MeanImage mean,
                   ComputeImageMean(format, arguments.positional[0], &records));
  LOG(INFO) << "Processed " << records << " files.";
  if (given == 2) {
    LOG(INFO) << "Write to " << arguments.positional[1];
    RETURN_IF_ERROR(WriteMeanFile(arguments.positional[1], mean));
  }
  LogChannelMeans(mean);
  return absl::OkStatus();
}

}  // namespace
}  // namespace cssp

int main(int argc, char** argv) {
  cssp::InitLogging(argv[0]);
  return cssp::ExitCodeFor("compute_image_mean", cssp::Run(argc, argv));
}
