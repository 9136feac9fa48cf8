#include "worker/layers/builtin_layers.h"

#include "common/base/status_macros.h"
#include "worker/layers/cpu/cpu_layers.h"
#include "worker/layers/data_layers.h"

namespace cssp {

absl::Status RegisterCpuLayers(LayerRegistry& registry) {
  RETURN_IF_ERROR(cpu::RegisterAccuracy(registry));
  RETURN_IF_ERROR(cpu::RegisterConvolution(registry));
  RETURN_IF_ERROR(cpu::RegisterDropout(registry));
  RETURN_IF_ERROR(cpu::RegisterInnerProduct(registry));
  RETURN_IF_ERROR(cpu::RegisterLrn(registry));
  RETURN_IF_ERROR(cpu::RegisterNeurons(registry));
  RETURN_IF_ERROR(cpu::RegisterPooling(registry));
  RETURN_IF_ERROR(cpu::RegisterSoftmax(registry));
  RETURN_IF_ERROR(cpu::RegisterSoftmaxLoss(registry));
  RETURN_IF_ERROR(cpu::RegisterSplit(registry));
  return RegisterDataLayers(registry);
}

}  // namespace cssp
