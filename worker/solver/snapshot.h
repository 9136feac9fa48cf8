// Caffe's snapshots: PREFIX_iter_N.caffemodel and .solverstate, or their HDF5
// twins.
#ifndef CSSP_WORKER_SOLVER_SNAPSHOT_H_
#define CSSP_WORKER_SOLVER_SNAPSHOT_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "common/optim/plateau.h"
#include "proto/caffe.pb.h"
#include "worker/net/net.h"

namespace cssp {

struct SnapshotFiles {
  std::string caffemodel;
  std::string solverstate;
};

// Paths of the snapshot at `iter`.
SnapshotFiles SnapshotPaths(const caffe::SolverParameter& solver, int64_t iter);

// Creates and removes a file at snapshot_prefix, so that a run that could not
// save its result does not start.  InvalidArgument names the prefix.
absl::Status CheckSnapshotPrefix(const caffe::SolverParameter& solver);

// Writes both files, with Caffe's log lines.  `history` are slab-shaped; the
// file holds them per parameter in the net's layer order, as Caffe does.
// `plateau`: the state of lr_policy plateau, looked at under that policy alone.
absl::StatusOr<SnapshotFiles> WriteSnapshot(
    const caffe::SolverParameter& solver, const Net& net, int64_t iter,
    absl::Span<const absl::Span<const float>> history,
    const PlateauState& plateau = PlateauState());

// Reads a .solverstate (or .h5) and the weights that it names into net and
// `history`; gives the iteration.  Nothing is changed on an error: a file that
// is a .caffemodel, a count or shape that does not fit, a truncated file.
// *plateau is left alone where the file has no such state.
absl::StatusOr<int64_t> RestoreSnapshot(
    const std::string& path, Net& net,
    absl::Span<const absl::Span<float>> history,
    PlateauState* plateau = nullptr);

// Loads comma-separated .caffemodel(.h5) files, in order.
absl::Status LoadWeightsFiles(const std::string& files, Net& net);

}  // namespace cssp

#endif  // CSSP_WORKER_SOLVER_SNAPSHOT_H_
