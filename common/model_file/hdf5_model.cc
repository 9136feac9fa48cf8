#include "common/model_file/hdf5_model.h"

#include <sys/stat.h>

#include <algorithm>
#include <map>
#include <set>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/model_file/atomic_file.h"
#include "common/model_file/hdf5_file.h"
#include "common/model_file/plateau_fields.h"

namespace cssp {
namespace {

constexpr int kMaxBlobsPerLayer = 4096;
constexpr int kMaxHistory = 1 << 21;
constexpr int kMaxNesting = 32;  // slashes in a layer's name

int64_t FileBytes(const std::string& path) {
  struct stat info;
  return stat(path.c_str(), &info) == 0 ? info.st_size : 0;
}

absl::StatusOr<Hdf5Handle> OpenGroup(hid_t parent, const std::string& name) {
  Hdf5Handle group(H5Gopen2(parent, name.c_str(), H5P_DEFAULT), H5Gclose);
  if (group.ok()) return group;
  return absl::InvalidArgumentError(
      absl::StrCat("the HDF5 file has no group '", name, "'"));
}

// Thread-confined: one read.  Walks /data and gathers its layers in name order.
class ModelReader {
 public:
  explicit ModelReader(int64_t file_bytes) : file_bytes_(file_bytes) {}

  // A group with numbered arrays is a layer, and so is an empty one (a layer
  // without parameters); other groups are parts of names with slashes.
  absl::Status Walk(hid_t group, const std::string& name, int depth) {
    if (depth > kMaxNesting)
      return absl::DataLossError("groups nest too deeply in the HDF5 file");
    ASSIGN_OR_RETURN(const std::vector<Hdf5Member> members, ListGroup(group));
    caffe::LayerParameter layer;
    for (const Hdf5Member& member : members) {
      if (member.type == H5O_TYPE_DATASET) {
        RETURN_IF_ERROR(Annotate(ReadBlob(group, member.name, &layer),
                                 absl::StrCat("layer '", name, "'")));
        continue;
      }
      if (member.type != H5O_TYPE_GROUP) continue;
      ASSIGN_OR_RETURN(const Hdf5Handle inner, OpenGroup(group, member.name));
      const std::string inner_name =
          name.empty() ? member.name : absl::StrCat(name, "/", member.name);
      RETURN_IF_ERROR(Walk(inner.id(), inner_name, depth + 1));
    }
    if (depth > 0 && (layer.blobs_size() > 0 || members.empty())) {
      layer.set_name(name);
      *net_.add_layer() = std::move(layer);
    }
    return absl::OkStatus();
  }

  caffe::NetParameter&& net() { return std::move(net_); }

 private:
  absl::Status ReadBlob(hid_t group, const std::string& name,
                        caffe::LayerParameter* layer) {
    int index = 0;
    if (!absl::SimpleAtoi(name, &index) || index < 0 ||
        index >= kMaxBlobsPerLayer)
      return absl::InvalidArgumentError(
          absl::StrCat("dataset '", name, "' is no parameter's number"));
    while (layer->blobs_size() <= index) layer->add_blobs();
    return ReadArray(group, name, file_bytes_, layer->mutable_blobs(index));
  }

  const int64_t file_bytes_;
  caffe::NetParameter net_;
};

bool HasDiff(const caffe::BlobProto& blob) {
  return blob.diff_size() > 0 || blob.double_diff_size() > 0;
}

bool HasDiffs(const caffe::NetParameter& net) {
  return std::any_of(
      net.layer().begin(), net.layer().end(), [](const auto& layer) {
        return std::any_of(layer.blobs().begin(), layer.blobs().end(), HasDiff);
      });
}

// Is parameter `index` shared by name with an earlier one (its owner)?
bool IsSharer(const caffe::LayerParameter& layer, int index,
              std::set<std::string>* owned) {
  if (index >= layer.param_size()) return false;
  const std::string& name = layer.param(index).name();
  return !name.empty() && !owned->insert(name).second;
}

absl::Status WriteLayers(hid_t file, const caffe::NetParameter& net) {
  ASSIGN_OR_RETURN(const Hdf5Handle data, CreateGroup(file, "data"));
  std::set<std::string> owned;
  for (const caffe::LayerParameter& layer : net.layer()) {
    if (layer.name().empty()) continue;
    ASSIGN_OR_RETURN(const Hdf5Handle group,
                     CreateGroup(data.id(), layer.name()));
    for (int i = 0; i < layer.blobs_size(); ++i) {
      if (IsSharer(layer, i, &owned)) continue;
      RETURN_IF_ERROR(
          WriteArray(group.id(), absl::StrCat(i), layer.blobs(i), false));
    }
  }
  return absl::OkStatus();
}

absl::Status WriteDiffs(hid_t file, const caffe::NetParameter& net) {
  ASSIGN_OR_RETURN(const Hdf5Handle diffs, CreateGroup(file, "diff"));
  for (const caffe::LayerParameter& layer : net.layer()) {
    if (layer.name().empty()) continue;
    ASSIGN_OR_RETURN(const Hdf5Handle group,
                     CreateGroup(diffs.id(), layer.name()));
    for (int i = 0; i < layer.blobs_size(); ++i) {
      if (!HasDiff(layer.blobs(i))) continue;
      RETURN_IF_ERROR(
          WriteArray(group.id(), absl::StrCat(i), layer.blobs(i), true));
    }
  }
  return absl::OkStatus();
}

// The plateau's fields as datasets of their own; files of Caffe have none.
absl::Status WritePlateau(hid_t file, const PlateauFields& plateau) {
  caffe::BlobProto losses;
  losses.mutable_shape()->add_dim(2);
  losses.add_data(plateau.minimum_loss);
  losses.add_data(plateau.smoothed_loss);
  RETURN_IF_ERROR(WriteArray(file, "plateau_losses", losses, false));
  return WriteInt(file, "iter_last_event",
                  static_cast<int>(plateau.last_event));
}

absl::Status ReadPlateau(hid_t file, int64_t file_bytes,
                         caffe::SolverState* state) {
  if (H5Lexists(file, "iter_last_event", H5P_DEFAULT) <= 0)
    return absl::OkStatus();
  caffe::BlobProto losses;
  RETURN_IF_ERROR(ReadArray(file, "plateau_losses", file_bytes, &losses));
  ASSIGN_OR_RETURN(const int last_event, ReadInt(file, "iter_last_event"));
  if (losses.data_size() != 2 || last_event < 0)
    return absl::DataLossError("the HDF5 file's plateau state is damaged");
  SetPlateauFields({.minimum_loss = losses.data(0),
                    .last_event = last_event,
                    .smoothed_loss = losses.data(1)},
                   state);
  return absl::OkStatus();
}

absl::Status WriteStateFields(hid_t file, const caffe::SolverState& state) {
  RETURN_IF_ERROR(WriteInt(file, "iter", state.iter()));
  RETURN_IF_ERROR(WriteString(file, "learned_net", state.learned_net()));
  RETURN_IF_ERROR(WriteInt(file, "current_step", state.current_step()));
  if (const auto plateau = GetPlateauFields(state))
    RETURN_IF_ERROR(WritePlateau(file, *plateau));
  ASSIGN_OR_RETURN(const Hdf5Handle history, CreateGroup(file, "history"));
  for (int i = 0; i < state.history_size(); ++i)
    RETURN_IF_ERROR(
        WriteArray(history.id(), absl::StrCat(i), state.history(i), false));
  return absl::OkStatus();
}

absl::Status ReadStateFields(hid_t file, int64_t file_bytes,
                             caffe::SolverState* state) {
  ASSIGN_OR_RETURN(const int iter, ReadInt(file, "iter"));
  ASSIGN_OR_RETURN(const int step, ReadInt(file, "current_step"));
  state->set_iter(iter);
  state->set_current_step(step);
  RETURN_IF_ERROR(ReadPlateau(file, file_bytes, state));
  if (H5Lexists(file, "learned_net", H5P_DEFAULT) > 0) {
    ASSIGN_OR_RETURN(*state->mutable_learned_net(),
                     ReadString(file, "learned_net"));
  }
  ASSIGN_OR_RETURN(const Hdf5Handle history, OpenGroup(file, "history"));
  ASSIGN_OR_RETURN(const std::vector<Hdf5Member> members,
                   ListGroup(history.id()));
  if (members.size() > kMaxHistory)
    return absl::DataLossError("the HDF5 file has too many history arrays");
  for (size_t i = 0; i < members.size(); ++i)
    RETURN_IF_ERROR(ReadArray(history.id(), absl::StrCat(i), file_bytes,
                              state->add_history()));
  return absl::OkStatus();
}

// Creates `path` through a temporary file that `write` fills.
template <class Write>
absl::Status WriteFile(const std::string& path, const Write& write) {
  const Hdf5Silence silence;
  ASSIGN_OR_RETURN(AtomicFile target, AtomicFile::Create(path));
  Hdf5Handle file(H5Fcreate(target.temporary_path().c_str(), H5F_ACC_TRUNC,
                            H5P_DEFAULT, H5P_DEFAULT),
                  H5Fclose);
  if (!file.ok())
    return absl::InvalidArgumentError(
        absl::StrCat("cannot write '", path, "': HDF5 refuses to create it"));
  RETURN_IF_ERROR(Annotate(write(file.id()), path));
  if (!file.Close())
    return absl::ResourceExhaustedError(
        absl::StrCat("cannot write '", path, "': is the disk full?"));
  return target.Commit();
}

}  // namespace

absl::StatusOr<caffe::NetParameter> ReadHdf5Model(const std::string& path) {
  const Hdf5Silence silence;
  ASSIGN_OR_RETURN(const Hdf5Handle file, OpenHdf5(path));
  const absl::StatusOr<Hdf5Handle> data = OpenGroup(file.id(), "data");
  if (!data.ok())
    return Annotate(data.status(), absl::StrCat(path, ": is it a model?"));
  ModelReader reader(FileBytes(path));
  RETURN_IF_ERROR(Annotate(reader.Walk(data->id(), "", 0), path));
  caffe::NetParameter net = reader.net();
  if (net.layer_size() == 0)
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": holds no layers: is it a .caffemodel.h5?"));
  return net;
}

absl::Status WriteHdf5Model(const caffe::NetParameter& net,
                            const std::string& path) {
  if (net.layers_size() > 0)
    return absl::InvalidArgumentError(absl::StrCat(
        path, ": a net of the old form cannot be written: upgrade it first"));
  return WriteFile(path, [&](hid_t file) -> absl::Status {
    RETURN_IF_ERROR(WriteLayers(file, net));
    return HasDiffs(net) ? WriteDiffs(file, net) : absl::OkStatus();
  });
}

absl::StatusOr<caffe::SolverState> ReadHdf5State(const std::string& path) {
  const Hdf5Silence silence;
  ASSIGN_OR_RETURN(const Hdf5Handle file, OpenHdf5(path));
  if (H5Lexists(file.id(), "iter", H5P_DEFAULT) <= 0)
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": holds no iteration: is it a .solverstate.h5?"));
  caffe::SolverState state;
  RETURN_IF_ERROR(
      Annotate(ReadStateFields(file.id(), FileBytes(path), &state), path));
  return state;
}

absl::Status WriteHdf5State(const caffe::SolverState& state,
                            const std::string& path) {
  return WriteFile(path,
                   [&](hid_t file) { return WriteStateFields(file, state); });
}

}  // namespace cssp
