// A solver's state on disk: .solverstate and its HDF5 twin.
#ifndef CSSP_COMMON_MODEL_FILE_SOLVERSTATE_H_
#define CSSP_COMMON_MODEL_FILE_SOLVERSTATE_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto/caffe.pb.h"

namespace cssp {

// caffe::SolverState is the value: iter, learned_net (the path of the matching
// .caffemodel), current_step (of lr_policy multistep) and history, N blobs or
// 2 N (AdaDelta, Adam) in the order of the net's parameters.
//
// Reads either form, told apart by the file's first bytes.  DataLoss: truncated
// or damaged.  InvalidArgument: readable, but no solver's state (a .caffemodel,
// say), or a negative iter.
absl::StatusOr<caffe::SolverState> ReadSolverState(const std::string& path);

// HDF5 where `path` ends in ".h5", protobuf else.  Appears whole or not at all.
absl::Status WriteSolverState(const caffe::SolverState& state,
                              const std::string& path);

}  // namespace cssp

#endif  // CSSP_COMMON_MODEL_FILE_SOLVERSTATE_H_
