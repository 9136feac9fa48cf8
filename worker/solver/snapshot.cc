#include "worker/solver/snapshot.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <numeric>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "common/base/logging.h"
#include "common/base/status_macros.h"
#include "common/model_file/blob_proto.h"
#include "common/model_file/caffemodel.h"
#include "common/model_file/plateau_fields.h"
#include "common/model_file/solverstate.h"
#include "common/optim/learning_rate_policy.h"
#include "worker/net/net_passes.h"

namespace cssp {
namespace {

// Parameters in the order of the net's layers: Caffe's learnable_params().
std::vector<int> LayerOrder(const Net& net) {
  const absl::Span<const NetParam> params = net.params();
  std::vector<int> order(params.size());
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](int a, int b) {
    return std::pair(params[a].layer, params[a].index) <
           std::pair(params[b].layer, params[b].index);
  });
  return order;
}

absl::Status CheckHistory(const caffe::SolverState& state, const Net& net,
                          size_t slots) {
  const absl::Span<const NetParam> params = net.params();
  if (state.history_size() != static_cast<int>(params.size() * slots))
    return absl::InvalidArgumentError(absl::StrCat(
        "it holds ", state.history_size(), " history blobs, this solver has ",
        params.size() * slots, " (another net or solver type?)"));
  const std::vector<int> order = LayerOrder(net);
  for (int i = 0; i < state.history_size(); ++i) {
    const NetParam& param = params[order[i % order.size()]];
    if (!BlobShapeEquals(state.history(i), param.shape) ||
        BlobDataCount(state.history(i)) != param.shape.count())
      return absl::InvalidArgumentError(
          absl::StrCat("history blob ", i, " does not have the shape of ",
                       param.key, ", ", param.shape.ToString()));
  }
  return absl::OkStatus();
}

void RestorePlateau(const caffe::SolverState& state, PlateauState* plateau) {
  const std::optional<PlateauFields> fields = GetPlateauFields(state);
  if (plateau == nullptr || !fields) return;
  *plateau = {.smoothed_loss = fields->smoothed_loss,
              .minimum_loss = fields->minimum_loss,
              .last_event = fields->last_event,
              .step = state.current_step()};
}

absl::StatusOr<caffe::NetParameter> ReadUpgraded(const std::string& path) {
  ASSIGN_OR_RETURN(caffe::NetParameter trained, ReadCaffemodel(path));
  absl::StatusOr<caffe::NetParameter> upgraded =
      UpgradeNet(std::move(trained));
  if (!upgraded.ok()) return Annotate(upgraded.status(), path);
  return upgraded;
}

// The weights that belong to a .solverstate: where it says they are, beside it
// under that name (snapshots get moved), or beside it under its own name.
absl::StatusOr<std::string> FindLearnedNet(const std::string& path,
                                           const std::string& learned) {
  const std::string folder = path.substr(0, path.rfind('/') + 1);
  std::vector<std::string> places = {
      learned, folder + learned.substr(learned.rfind('/') + 1)};
  const size_t kind = path.rfind(".solverstate");
  if (kind != std::string::npos)
    places.push_back(absl::StrCat(path.substr(0, kind), ".caffemodel",
                                  path.substr(kind + 12)));
  for (const std::string& place : places)
    if (access(place.c_str(), R_OK) == 0) return place;
  return absl::NotFoundError(
      absl::StrCat(path, ": its weights are not found at any of ",
                   absl::StrJoin(places, ", ")));
}

}  // namespace

SnapshotFiles SnapshotPaths(const caffe::SolverParameter& solver,
                            int64_t iter) {
  const char* suffix =
      solver.snapshot_format() == caffe::SolverParameter::HDF5 ? ".h5" : "";
  const std::string stem =
      absl::StrCat(solver.snapshot_prefix(), "_iter_", iter);
  return {absl::StrCat(stem, ".caffemodel", suffix),
          absl::StrCat(stem, ".solverstate", suffix)};
}

absl::Status CheckSnapshotPrefix(const caffe::SolverParameter& solver) {
  if (solver.snapshot() <= 0 && !solver.snapshot_after_train())
    return absl::OkStatus();
  if (solver.snapshot_prefix().empty())
    return absl::InvalidArgumentError("snapshot_prefix is empty");
  const std::string probe =
      absl::StrCat(solver.snapshot_prefix(), ".", getpid(), ".tempfile");
  std::FILE* file = std::fopen(probe.c_str(), "w");
  if (file == nullptr)
    return absl::InvalidArgumentError(absl::StrCat(
        "cannot write to snapshot_prefix '", solver.snapshot_prefix(),
        "': create the folder, or set snapshot_prefix"));
  std::fclose(file);
  std::remove(probe.c_str());
  return absl::OkStatus();
}

absl::StatusOr<SnapshotFiles> WriteSnapshot(
    const caffe::SolverParameter& solver, const Net& net, int64_t iter,
    absl::Span<const absl::Span<const float>> history,
    const PlateauState& plateau) {
  const SnapshotFiles files = SnapshotPaths(solver, iter);
  const bool hdf5 = solver.snapshot_format() == caffe::SolverParameter::HDF5;
  LOG(INFO) << "Snapshotting to " << (hdf5 ? "HDF5" : "binary proto")
            << " file " << files.caffemodel;
  RETURN_IF_ERROR(WriteCaffemodel(net.ToProto(solver.snapshot_diff()),
                                  files.caffemodel));
  ASSIGN_OR_RETURN(const LearningRatePolicy policy,
                   LearningRatePolicy::Create(solver));
  caffe::SolverState state;
  state.set_iter(static_cast<int32_t>(iter));
  state.set_learned_net(files.caffemodel);
  state.set_current_step(policy.CurrentStep(iter));
  if (policy.follows_loss()) {
    state.set_current_step(plateau.step);
    SetPlateauFields({.minimum_loss = plateau.minimum_loss,
                      .last_event = plateau.last_event,
                      .smoothed_loss = plateau.smoothed_loss},
                     &state);
  }
  for (absl::Span<const float> slab : history) {
    for (int i : LayerOrder(net)) {
      const NetParam& param = net.params()[i];
      WriteBlob(param.shape, slab.subspan(param.offset, param.shape.count()),
                {}, state.add_history());
    }
  }
  LOG(INFO) << "Snapshotting solver state to "
            << (hdf5 ? "HDF5" : "binary proto") << " file "
            << files.solverstate;
  RETURN_IF_ERROR(WriteSolverState(state, files.solverstate));
  return files;
}

absl::StatusOr<int64_t> RestoreSnapshot(
    const std::string& path, Net& net,
    absl::Span<const absl::Span<float>> history, PlateauState* plateau) {
  ASSIGN_OR_RETURN(const caffe::SolverState state, ReadSolverState(path));
  RETURN_IF_ERROR(Annotate(CheckHistory(state, net, history.size()), path));
  if (state.has_learned_net() && !state.learned_net().empty()) {
    ASSIGN_OR_RETURN(const std::string model,
                     FindLearnedNet(path, state.learned_net()));
    ASSIGN_OR_RETURN(const caffe::NetParameter trained, ReadUpgraded(model));
    RETURN_IF_ERROR(Annotate(net.LoadWeights(trained), model));
    net.WeightsChanged();
  }
  const std::vector<int> order = LayerOrder(net);
  for (int i = 0; i < state.history_size(); ++i) {
    const NetParam& param = net.params()[order[i % order.size()]];
    RETURN_IF_ERROR(ReadBlobData(
        state.history(i), history[i / order.size()].subspan(
                              param.offset, param.shape.count())));
  }
  RestorePlateau(state, plateau);
  return state.iter();
}

absl::Status LoadWeightsFiles(const std::string& files, Net& net) {
  for (absl::string_view file :
       absl::StrSplit(files, ',', absl::SkipWhitespace())) {
    const std::string path(file);
    LOG(INFO) << "Finetuning from " << path;
    ASSIGN_OR_RETURN(const caffe::NetParameter trained, ReadUpgraded(path));
    RETURN_IF_ERROR(Annotate(net.LoadWeights(trained), path));
  }
  net.WeightsChanged();
  return absl::OkStatus();
}

}  // namespace cssp
