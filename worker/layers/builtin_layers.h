// The layers that come with the program, one function per device.
#ifndef CSSP_WORKER_LAYERS_BUILTIN_LAYERS_H_
#define CSSP_WORKER_LAYERS_BUILTIN_LAYERS_H_

#include "absl/status/status.h"
#include "worker/layers/data_layers.h"
#include "worker/net/layer_registry.h"

namespace cssp {

// Every layer of this folder that runs on the processor, data layers included.
absl::Status RegisterCpuLayers(LayerRegistry& registry,
                               const DataOptions& data = {});

// The same for GPUs; registers nothing where no CUDA is built in.
absl::Status RegisterCudaLayers(LayerRegistry& registry,
                                const DataOptions& data = {});

}  // namespace cssp

#endif  // CSSP_WORKER_LAYERS_BUILTIN_LAYERS_H_
