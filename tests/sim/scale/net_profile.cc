#include "tests/sim/scale/net_profile.h"

#include <algorithm>
#include <fstream>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "common/base/status_macros.h"

namespace cssp {
namespace {

struct Layer {
  double parameters = 0;
  double gflop = 0;
};

absl::StatusOr<std::vector<Layer>> ReadLayers(const std::string& file) {
  std::ifstream in(file);
  std::string line;
  std::getline(in, line);  // the head
  std::vector<Layer> layers;
  while (std::getline(in, line)) {
    const std::vector<std::string> fields = absl::StrSplit(line, ',');
    Layer layer;
    if (fields.size() != 3 ||
        !absl::SimpleAtod(fields[1], &layer.parameters) ||
        !absl::SimpleAtod(fields[2], &layer.gflop)) {
      return absl::InvalidArgumentError(
          absl::StrCat(file, ": '", line, "' is not layer,parameters,gflop"));
    }
    layers.push_back(layer);
  }
  if (layers.empty()) {
    return absl::InvalidArgumentError(absl::StrCat("no layers in ", file));
  }
  return layers;
}

}  // namespace

double NetProfile::bytes() const {
  double sum = 0;
  for (const ProfileStage& stage : stages) sum += stage.bytes;
  return sum;
}

double NetProfile::seconds() const {
  double sum = 0;
  for (const ProfileStage& stage : stages) {
    sum += stage.forward + stage.backward;
  }
  return sum;
}

absl::StatusOr<double> ProfileGflop(const std::string& file) {
  ASSIGN_OR_RETURN(const std::vector<Layer> layers, ReadLayers(file));
  double gflop = 0;
  for (const Layer& layer : layers) gflop += layer.gflop;
  return gflop;
}

absl::StatusOr<NetProfile> ReadProfile(const std::string& file, double seconds,
                                       int stages) {
  ASSIGN_OR_RETURN(const std::vector<Layer> layers, ReadLayers(file));
  double bytes = 0, gflop = 0;
  for (const Layer& layer : layers) {
    bytes += 4 * layer.parameters;
    gflop += layer.gflop;
  }
  const double most = bytes / stages;
  NetProfile profile;
  ProfileStage open;
  for (const Layer& layer : layers) {
    const double share = seconds * layer.gflop / gflop / 3;
    double left = 4 * layer.parameters;
    // A big layer travels in several parts; its computing stands at the last
    // of them in forward, which is the first in backward: all are awaited
    // before it runs, none leaves before it has run.
    while (open.bytes + left > most && left > 0) {
      const double part = std::min(left, most - open.bytes);
      open.bytes += part;
      left -= part;
      if (left <= 0) break;
      profile.stages.push_back(open);
      open = ProfileStage();
    }
    open.bytes += left;
    open.forward += share;
    open.backward += 2 * share;
    if (open.bytes >= most * (1 - 1e-9)) {
      profile.stages.push_back(open);
      open = ProfileStage();
    }
  }
  if (open.bytes > 0) profile.stages.push_back(open);
  return profile;
}

}  // namespace cssp
