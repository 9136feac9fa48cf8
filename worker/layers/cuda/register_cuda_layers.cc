#include "common/base/status_macros.h"
#include "worker/layers/builtin_layers.h"
#include "worker/layers/cuda/cuda_layers.h"
#include "worker/layers/neutral_layers.h"

namespace cssp {

absl::Status RegisterCudaLayers(LayerRegistry& registry,
                                const DataOptions& data) {
  RETURN_IF_ERROR(RegisterNeutralLayers(DeviceType::kCuda, registry));
  RETURN_IF_ERROR(cuda::RegisterNeurons(registry));
  return cuda::RegisterSources(registry, data);
}

}  // namespace cssp
