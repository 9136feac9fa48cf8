#include "worker/layers/cpu/data_layer_cpu.h"

#include "worker/layers/data_layer.h"

namespace cssp::cpu {
namespace {

// Floats from which threads are worth their start.
constexpr int64_t kParallelFloats = int64_t{1} << 20;

class DataLayerCpu final : public DataLayer {
 public:
  using DataLayer::DataLayer;

 protected:
  absl::Status Deliver(StepContext& step, const Batch& batch,
                       const ForwardArgs& args) override {
    const int64_t items = static_cast<int64_t>(batch.items.size());
    const int64_t floats = args.top[0].count() / items;
    float* data = args.top[0].data();
#pragma omp parallel for if (args.top[0].count() >= kParallelFloats)
    for (int64_t i = 0; i < items; ++i) {
      const BatchItem& item = batch.items[i];
      transformer().Transform(
          batch.View(item), item.draw,
          absl::MakeSpan(data + i * floats, static_cast<size_t>(floats)));
    }
    if (args.top.size() > 1) {
      float* label = args.top[1].data();
      for (int64_t i = 0; i < items; ++i)
        label[i] = static_cast<float>(batch.items[i].label);
    }
    return absl::OkStatus();
  }
};

}  // namespace

absl::Status RegisterData(LayerRegistry& registry, const DataOptions& options) {
  return RegisterRecordLayers<DataLayerCpu>(registry, DeviceType::kCpu,
                                            options);
}

}  // namespace cssp::cpu
