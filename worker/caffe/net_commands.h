// `caffe test`, `caffe time` and `caffe device_query`.
#ifndef CSSP_WORKER_CAFFE_NET_COMMANDS_H_
#define CSSP_WORKER_CAFFE_NET_COMMANDS_H_

#include "absl/status/status.h"
#include "worker/caffe/flags.h"
#include "worker/caffe/runtime.h"

namespace cssp {

// Scores a model: every batch's outputs, then their means, as Caffe prints.
absl::Status TestCommand(const ProgramHost& host, const CaffeFlags& flags);
// Average forward and backward time per layer.
absl::Status TimeCommand(const ProgramHost& host, const CaffeFlags& flags);
// What there is to compute on; an absent --gpu is an error.
absl::Status DeviceQueryCommand(const CaffeFlags& flags);

}  // namespace cssp

#endif  // CSSP_WORKER_CAFFE_NET_COMMANDS_H_
