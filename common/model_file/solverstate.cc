#include "common/model_file/solverstate.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/model_file/binary_proto.h"
#include "common/model_file/file_bytes.h"
#include "common/model_file/hdf5_model.h"

namespace cssp {
namespace {

absl::StatusOr<caffe::SolverState> ReadAny(const std::string& path) {
  if (IsHdf5File(path)) return ReadHdf5State(path);
  caffe::SolverState state;
  RETURN_IF_ERROR(ReadBinaryProto(path, kMaxProtoBytes, "solverstate", &state));
  return state;
}

}  // namespace

absl::StatusOr<caffe::SolverState> ReadSolverState(const std::string& path) {
  ASSIGN_OR_RETURN(caffe::SolverState state, ReadAny(path));
  if (!state.has_iter())
    return absl::InvalidArgumentError(absl::StrCat(
        path,
        ": holds no iteration: is it a .solverstate? (a .caffemodel is "
        "given with --weights)"));
  if (state.iter() < 0 || state.current_step() < 0)
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": a negative iteration or step"));
  return state;
}

absl::Status WriteSolverState(const caffe::SolverState& state,
                              const std::string& path) {
  if (absl::EndsWith(path, ".h5")) return WriteHdf5State(state, path);
  return WriteBinaryProto(state, ": set snapshot_format: HDF5", path);
}

}  // namespace cssp
