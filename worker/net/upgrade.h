// The steps of UpgradeNet (net_passes.h), oldest form first.
#ifndef CSSP_WORKER_NET_UPGRADE_H_
#define CSSP_WORKER_NET_UPGRADE_H_

#include "absl/status/status.h"
#include "proto/caffe.pb.h"

namespace cssp {

// V0 layers -> V1 layers.  Nets without V0 layers are left alone.
absl::Status UpgradeV0(caffe::NetParameter* net);

// V1 layers -> layers.  REQUIRES: UpgradeV0.
void UpgradeV1(caffe::NetParameter* net);

}  // namespace cssp

#endif  // CSSP_WORKER_NET_UPGRADE_H_
