// How a running layer asks for a new plan: its data have changed the shapes of
// its tops.
#ifndef CSSP_WORKER_NET_REPLAN_H_
#define CSSP_WORKER_NET_REPLAN_H_

#include "absl/status/status.h"

namespace cssp {

// The status of a Forward that has done its work, but whose tops have other
// shapes than those it was given.  The net is planned anew with the shapes that
// the layer's InferShapes now gives; what earlier steps made of this pass is
// kept; then Forward is called once more, to hand its tops over.
absl::Status ReplanRequest();
bool IsReplanRequest(const absl::Status& status);

}  // namespace cssp

#endif  // CSSP_WORKER_NET_REPLAN_H_
