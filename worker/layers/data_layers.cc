#include "worker/layers/data_layers.h"

#include "common/base/status_macros.h"
#include "worker/layers/cpu/data_layer_cpu.h"
#include "worker/layers/data_layer.h"
#include "worker/layers/dummy_data_layer.h"
#include "worker/layers/input_layer.h"
#include "worker/layers/memory_data_layer.h"

namespace cssp {

absl::Status RegisterDataLayers(LayerRegistry& registry) {
  RETURN_IF_ERROR(cpu::RegisterData(registry));
  RETURN_IF_ERROR(registry.Register("DummyData", DeviceType::kCpu,
                                    MakeLayer<DummyDataLayer>));
  RETURN_IF_ERROR(
      registry.Register("Input", DeviceType::kCpu, MakeLayer<InputLayer>));
  return registry.Register("MemoryData", DeviceType::kCpu,
                           MakeLayer<MemoryDataLayer>);
}

absl::Duration TimeWaitedForData(const Layer& layer) {
  const auto* data = dynamic_cast<const DataLayer*>(&layer);
  return data == nullptr ? absl::ZeroDuration() : data->waited();
}

}  // namespace cssp
