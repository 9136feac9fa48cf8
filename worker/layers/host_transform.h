// A batch's records transformed by the host.
#ifndef CSSP_WORKER_LAYERS_HOST_TRANSFORM_H_
#define CSSP_WORKER_LAYERS_HOST_TRANSFORM_H_

#include "absl/types/span.h"
#include "common/tensor/tensor.h"
#include "worker/data/batch.h"
#include "worker/data/data_transformer.h"

namespace cssp {

// top[0]: the records, item by item, on OpenMP's threads; top[1], if there is
// one: their labels.  REQUIRES: tops in host memory, which the records fit.
void TransformOnHost(const DataTransformer& transformer, const Batch& batch,
                     absl::Span<const Tensor> top);

}  // namespace cssp

#endif  // CSSP_WORKER_LAYERS_HOST_TRANSFORM_H_
