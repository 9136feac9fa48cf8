// One registration per file of this folder; register_cuda_layers.cc calls them
// all.
#ifndef CSSP_WORKER_LAYERS_CUDA_CUDA_LAYERS_H_
#define CSSP_WORKER_LAYERS_CUDA_CUDA_LAYERS_H_

#include "absl/status/status.h"
#include "worker/layers/data_layers.h"
#include "worker/net/layer_registry.h"

namespace cssp::cuda {

absl::Status RegisterNeurons(LayerRegistry& registry);
absl::Status RegisterSources(LayerRegistry& registry, DataOptions options);

}  // namespace cssp::cuda

#endif  // CSSP_WORKER_LAYERS_CUDA_CUDA_LAYERS_H_
