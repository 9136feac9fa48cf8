// Caffe's HDF5 layouts of a net and of a solver's state:
//   net    /data/<layer>/<index>, /diff/<layer>/<index>
//   state  /iter, /learned_net, /current_step, /history/<index>
// A layer's name may hold slashes; its groups nest then.
//
// The HDF5 library is not thread-safe: one call into this file at a time.
#ifndef CSSP_COMMON_MODEL_FILE_HDF5_MODEL_H_
#define CSSP_COMMON_MODEL_FILE_HDF5_MODEL_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto/caffe.pb.h"

namespace cssp {

absl::StatusOr<caffe::NetParameter> ReadHdf5Model(const std::string& path);
absl::Status WriteHdf5Model(const caffe::NetParameter& net,
                            const std::string& path);

absl::StatusOr<caffe::SolverState> ReadHdf5State(const std::string& path);
absl::Status WriteHdf5State(const caffe::SolverState& state,
                            const std::string& path);

}  // namespace cssp

#endif  // CSSP_COMMON_MODEL_FILE_HDF5_MODEL_H_
