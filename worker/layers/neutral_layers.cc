#include "worker/layers/neutral_layers.h"

#include "common/base/status_macros.h"
#include "worker/layers/silence_layer.h"
#include "worker/layers/view_layers.h"

namespace cssp {

absl::Status RegisterNeutralLayers(DeviceType device, LayerRegistry& registry) {
  RETURN_IF_ERROR(
      registry.Register("Flatten", device, MakeLayer<FlattenLayer>));
  RETURN_IF_ERROR(
      registry.Register("Reshape", device, MakeLayer<ReshapeLayer>));
  return registry.Register("Silence", device, MakeLayer<SilenceLayer>);
}

}  // namespace cssp
