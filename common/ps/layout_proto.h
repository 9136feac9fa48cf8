// Blob specifications between the programs (control.proto), in manifests
// (checkpoint.proto) and in memory.
#ifndef CSSP_COMMON_PS_LAYOUT_PROTO_H_
#define CSSP_COMMON_PS_LAYOUT_PROTO_H_

#include <vector>

#include "common/ps/slab_layout.h"
#include "proto/checkpoint.pb.h"
#include "proto/control.pb.h"

namespace cssp::ps {

// Field by field; SlabLayout::Create is what checks.
BlobSpec FromProto(const control::BlobSpec& proto);
control::BlobSpec ToProto(const BlobSpec& blob);
BlobSpec FromProto(const CheckpointBlob& proto);
CheckpointBlob ToCheckpointProto(const BlobSpec& blob);

// Any repeated field of either proto.
template <class Repeated>
std::vector<BlobSpec> BlobsFromProto(const Repeated& protos) {
  std::vector<BlobSpec> blobs;
  blobs.reserve(protos.size());
  for (const auto& proto : protos) blobs.push_back(FromProto(proto));
  return blobs;
}

}  // namespace cssp::ps

#endif  // CSSP_COMMON_PS_LAYOUT_PROTO_H_
