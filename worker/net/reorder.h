// Copies between memory formats.
#ifndef CSSP_WORKER_NET_REORDER_H_
#define CSSP_WORKER_NET_REORDER_H_

#include "common/tensor/tensor.h"

namespace cssp {

// Copies `from` into `to`: equal shapes, float, any two formats; padding lanes
// become zero.  Host memory: blocked formats exist on the CPU alone.
void Reorder(const ConstTensor& from, const Tensor& to);

}  // namespace cssp

#endif  // CSSP_WORKER_NET_REORDER_H_
