#include "worker/layers/cpu/data_layer_cpu.h"

#include "worker/layers/data_layer.h"
#include "worker/layers/host_transform.h"

namespace cssp::cpu {
namespace {

class DataLayerCpu final : public DataLayer {
 public:
  using DataLayer::DataLayer;

 protected:
  absl::Status Deliver(StepContext& step, const Batch& batch,
                       const ForwardArgs& args) override {
    TransformOnHost(transformer(), batch, args.top);
    return absl::OkStatus();
  }
};

}  // namespace

absl::Status RegisterData(LayerRegistry& registry, const DataOptions& options) {
  return RegisterRecordLayers<DataLayerCpu>(registry, DeviceType::kCpu,
                                            options);
}

}  // namespace cssp::cpu
