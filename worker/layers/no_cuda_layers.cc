// Stands in for the cuda/ folder where CUDA is not built in.
#include "worker/layers/builtin_layers.h"

namespace cssp {

absl::Status RegisterCudaLayers(LayerRegistry& registry,
                                const DataOptions& data) {
  return absl::OkStatus();
}

}  // namespace cssp
