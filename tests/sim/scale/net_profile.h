// What one worker computes and sends in a clock.
#ifndef CSSP_TESTS_SIM_SCALE_NET_PROFILE_H_
#define CSSP_TESTS_SIM_SCALE_NET_PROFILE_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace cssp {

// A run of layers whose parameters travel together, in forward order.
struct ProfileStage {
  double forward = 0;   // seconds a clock
  double backward = 0;
  double bytes = 0;     // of parameters
};

struct NetProfile {
  std::vector<ProfileStage> stages;

  double bytes() const;
  double seconds() const;  // forward and backward
};

// Cuts a profile file (layer, parameters, GFLOP of one image forward) into at
// most `stages` stages of about equal bytes; backward takes twice forward.
// `seconds`: forward and backward of the whole net, of which each layer has its
// share by GFLOP.  InvalidArgument: not such a file.
absl::StatusOr<NetProfile> ReadProfile(const std::string& file, double seconds,
                                       int stages);

// GFLOP of one image, forward.
absl::StatusOr<double> ProfileGflop(const std::string& file);

}  // namespace cssp

#endif  // CSSP_TESTS_SIM_SCALE_NET_PROFILE_H_
