#include "common/base/status_macros.h"
#include "worker/caffe/train_command.h"

namespace cssp {
absl::Status ClusterTrain(const CaffeFlags& flags, Launch& launch,
                          SolverActions& actions) {
  return absl::UnimplementedError("not yet");
}
}  // namespace cssp
