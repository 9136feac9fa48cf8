// The layers that bring data into a net.
#ifndef CSSP_WORKER_LAYERS_DATA_LAYERS_H_
#define CSSP_WORKER_LAYERS_DATA_LAYERS_H_

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "worker/net/layer_registry.h"

namespace cssp {

// Data, MemoryData, DummyData, Input.
absl::Status RegisterDataLayers(LayerRegistry& registry);

// Time that the layer has waited for records, in all; zero for layers that read
// none.
absl::Duration TimeWaitedForData(const Layer& layer);

}  // namespace cssp

#endif  // CSSP_WORKER_LAYERS_DATA_LAYERS_H_
