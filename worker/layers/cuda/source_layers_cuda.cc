// The layers that bring data into a net.  Records are read and decoded by the
// host and transformed here; what other sources make is made in pinned memory
// and copied to the GPU.
#include "common/base/status_macros.h"
#include "worker/layers/cuda/cuda_layers.h"
#include "worker/layers/cuda/device_transform.h"
#include "worker/layers/cuda/host_staging.h"
#include "worker/layers/data_layer.h"
#include "worker/layers/dummy_data_layer.h"
#include "worker/layers/input_layer.h"
#include "worker/layers/memory_data_layer.h"

namespace cssp::cuda {
namespace {

// A GPU computes with one thread of the host; the others may read and decode.
constexpr int kReadingThreads = 4;

// Thread-confined: the training thread.
class DataLayerCuda final : public DataLayer {
 public:
  DataLayerCuda(const caffe::LayerParameter& param, const LayerContext& context,
                FeedOpener open, int threads)
      : DataLayer(param, context, open, threads),
        device_(CudaDevice::Of(*context.device)) {}

  absl::Status Bind(absl::Span<const TensorDesc> bottom,
                    absl::Span<const TensorDesc> top) override {
    RETURN_IF_ERROR(
        transform_.Bind(device_, transformer(), top[0].shape.dim(1)));
    return DataLayer::Bind(bottom, top);
  }

 protected:
  absl::Status Deliver(StepContext& step, const Batch& batch,
                       const ForwardArgs& args) override {
    return transform_.Run(step, batch, args.top);
  }

 private:
  CudaDevice& device_;
  DeviceTransform transform_;
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
