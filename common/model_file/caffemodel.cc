#include "common/model_file/caffemodel.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "common/model_file/binary_proto.h"
#include "common/model_file/file_bytes.h"
#include "common/model_file/hdf5_model.h"

namespace cssp {

absl::StatusOr<caffe::NetParameter> ReadCaffemodel(const std::string& path) {
  if (IsHdf5File(path)) return ReadHdf5Model(path);
  caffe::NetParameter net;
  RETURN_IF_ERROR(ReadBinaryProto(path, kMaxProtoBytes, "caffemodel", &net));
  if (net.layer_size() == 0 && net.layers_size() == 0)
    return absl::InvalidArgumentError(
        absl::StrCat(path, ": holds no layers: is it a .caffemodel?"));
  return net;
}

absl::Status WriteCaffemodel(const caffe::NetParameter& net,
                             const std::string& path) {
  if (absl::EndsWith(path, ".h5")) return WriteHdf5Model(net, path);
  return WriteBinaryProto(net, ": set snapshot_format: HDF5", path);
}

}  // namespace cssp
