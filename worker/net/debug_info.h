// Caffe's debug_info: the mean magnitude of everything a layer has computed, in
// the log.  Inside of Net.
#ifndef CSSP_WORKER_NET_DEBUG_INFO_H_
#define CSSP_WORKER_NET_DEBUG_INFO_H_

#include "absl/status/status.h"
#include "worker/net/net_impl.h"

namespace cssp {

// After layer `layer` has run forward: "    [Forward] Layer conv1, top blob
// conv1 data: 0.0645037", and the same of its parameters.  Waits for the
// device.
absl::Status LogForwardDebug(Net::Impl& net, int layer);
// After it has run backward: its bottoms' and its parameters' gradients.
absl::Status LogBackwardDebug(Net::Impl& net, int layer);
// After all have: L1 and L2 norms over all learnt parameters and gradients.
absl::Status LogParamsDebug(Net::Impl& net);

}  // namespace cssp

#endif  // CSSP_WORKER_NET_DEBUG_INFO_H_
