#include "worker/layers/data_layers.h"

#include "worker/layers/cpu/data_layer_cpu.h"
#include "worker/layers/dummy_data_layer.h"
#include "worker/layers/hdf5_data_layer.h"
#include "worker/layers/hdf5_output_layer.h"
#include "worker/layers/input_layer.h"
#include "worker/layers/memory_data_layer.h"

namespace cssp {

absl::Status RegisterHdf5Layers(LayerRegistry& registry, DeviceType device) {
  RETURN_IF_ERROR(
      registry.Register("HDF5Data", device, MakeLayerInContext<Hdf5DataLayer>));
  return registry.Register("HDF5Output", device,
                           MakeLayerInContext<Hdf5OutputLayer>);
}

absl::Status RegisterDataLayers(LayerRegistry& registry,
                                const DataOptions& options) {
  RETURN_IF_ERROR(cpu::RegisterData(registry, options));
  RETURN_IF_ERROR(RegisterHdf5Layers(registry, DeviceType::kCpu));
  RETURN_IF_ERROR(registry.Register("DummyData", DeviceType::kCpu,
                                    MakeLayer<DummyDataLayer>));
  RETURN_IF_ERROR(
      registry.Register("Input", DeviceType::kCpu, MakeLayer<InputLayer>));
  return registry.Register("MemoryData", DeviceType::kCpu,
                           MakeLayer<MemoryDataLayer>);
}

}  // namespace cssp
