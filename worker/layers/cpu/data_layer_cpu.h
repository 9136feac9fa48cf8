// Data, ImageData and WindowData on the processor.
#ifndef CSSP_WORKER_LAYERS_CPU_DATA_LAYER_CPU_H_
#define CSSP_WORKER_LAYERS_CPU_DATA_LAYER_CPU_H_

#include "absl/status/status.h"
#include "worker/layers/data_layers.h"
#include "worker/net/layer_registry.h"

namespace cssp::cpu {

absl::Status RegisterData(LayerRegistry& registry, const DataOptions& options);

}  // namespace cssp::cpu

#endif  // CSSP_WORKER_LAYERS_CPU_DATA_LAYER_CPU_H_
