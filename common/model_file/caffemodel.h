// Trained nets on disk: .caffemodel and its HDF5 twin.
#ifndef CSSP_COMMON_MODEL_FILE_CAFFEMODEL_H_
#define CSSP_COMMON_MODEL_FILE_CAFFEMODEL_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "proto/caffe.pb.h"

namespace cssp {

// Reads either form, told apart by the file's first bytes.  At most 2 GiB of
// protobuf.  DataLoss: truncated or damaged.  InvalidArgument: a readable file
// without any layer (a .solverstate, say).
//
// From protobuf the net comes as stored, of any age: upgrade it before use
// (UpgradeNet in worker/net/net_passes.h).  From HDF5 come layers with names
// and blobs alone; a parameter that a layer shares with another's is a blob
// without shape and data.
absl::StatusOr<caffe::NetParameter> ReadCaffemodel(const std::string& path);

// HDF5 where `path` ends in ".h5", protobuf else.  Appears whole or not at all.
// In HDF5 a parameter shared by name is stored with its owner only, and diffs
// go to /diff where the blobs have them.
absl::Status WriteCaffemodel(const caffe::NetParameter& net,
                             const std::string& path);

}  // namespace cssp

#endif  // CSSP_COMMON_MODEL_FILE_CAFFEMODEL_H_
