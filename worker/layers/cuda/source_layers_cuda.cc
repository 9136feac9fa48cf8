// The layers that bring data into a net: their batches are made by the host, in
// pinned memory, and copied to the GPU.
#include "common/base/status_macros.h"
#include "worker/layers/cuda/cuda_layers.h"
#include "worker/layers/cuda/host_staging.h"
#include "worker/layers/data_layer.h"
#include "worker/layers/dummy_data_layer.h"
#include "worker/layers/host_transform.h"
#include "worker/layers/input_layer.h"
#include "worker/layers/memory_data_layer.h"

namespace cssp::cuda {
namespace {

// A GPU computes with one thread of the host; the others may read and decode.
constexpr int kReadingThreads = 4;

// Thread-confined: the training thread.
class DataLayerCuda final : public DataLayer {
 public:
  using DataLayer::DataLayer;

 protected:
  absl::Status Deliver(StepContext& step, const Batch& batch,
                       const ForwardArgs& args) override {
    ASSIGN_OR_RETURN(const absl::Span<const Tensor> host,
                     staging_.Begin(step, args.top));
    TransformOnHost(transformer(), batch, host);
    return staging_.End(step, args.top);
  }

 private:
  HostStaging staging_;
};

}  // namespace

absl::Status RegisterSources(LayerRegistry& registry, DataOptions options) {
  if (options.threads == 0) options.threads = kReadingThreads;
  RETURN_IF_ERROR(RegisterRecordLayers<DataLayerCuda>(
      registry, DeviceType::kCuda, options));
  RETURN_IF_ERROR(RegisterHdf5Layers(registry, DeviceType::kCuda));
  RETURN_IF_ERROR(registry.Register("DummyData", DeviceType::kCuda,
                                    MakeLayer<StagedSource<DummyDataLayer>>));
  // The net copies what the program has written into the blob.
  RETURN_IF_ERROR(
      registry.Register("Input", DeviceType::kCuda, MakeLayer<InputLayer>));
  return registry.Register("MemoryData", DeviceType::kCuda,
                           MakeLayer<StagedSource<MemoryDataLayer>>);
}

}  // namespace cssp::cuda
