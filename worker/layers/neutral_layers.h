// Layers without kernels: the same class on every device.
#ifndef CSSP_WORKER_LAYERS_NEUTRAL_LAYERS_H_
#define CSSP_WORKER_LAYERS_NEUTRAL_LAYERS_H_

#include "absl/status/status.h"
#include "worker/net/layer_registry.h"

namespace cssp {

// Flatten, Reshape, Silence.
absl::Status RegisterNeutralLayers(DeviceType device, LayerRegistry& registry);

}  // namespace cssp

#endif  // CSSP_WORKER_LAYERS_NEUTRAL_LAYERS_H_
