// `caffe train`.
#ifndef CSSP_WORKER_CAFFE_TRAIN_COMMAND_H_
#define CSSP_WORKER_CAFFE_TRAIN_COMMAND_H_

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/launch/launch.h"
#include "proto/caffe.pb.h"
#include "worker/caffe/flags.h"
#include "worker/caffe/runtime.h"
#include "worker/solver/solver_actions.h"

namespace cssp {

// Alone: Caffe in one process.  In a launch of several: ClusterTrain.
absl::Status TrainCommand(const ProgramHost& host, const CaffeFlags& flags);

// Checks the flags, reads the solver and its nets, applies --level and --stage.
absl::StatusOr<caffe::SolverParameter> ReadSolverForTraining(
    const CaffeFlags& flags);

// Comma-separated files of --weights, or of the solver's `weights`; empty with
// --snapshot.
std::string WeightsFiles(const CaffeFlags& flags,
                         const caffe::SolverParameter& solver);

// Under mpirun (or srun): rank 0 hosts an embedded ps-server, submits the job
// and is its evaluator; ranks 1.. train.
absl::Status ClusterTrain(const ProgramHost& host, const CaffeFlags& flags,
                          Launch& launch, SolverActions& actions);

}  // namespace cssp

#endif  // CSSP_WORKER_CAFFE_TRAIN_COMMAND_H_
