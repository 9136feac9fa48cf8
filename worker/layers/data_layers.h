// The layers that bring data into a net, and those that take some out.
#ifndef CSSP_WORKER_LAYERS_DATA_LAYERS_H_
#define CSSP_WORKER_LAYERS_DATA_LAYERS_H_

#include <memory>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "common/base/status_macros.h"
#include "worker/layers/record_feed.h"
#include "worker/net/layer_registry.h"

namespace cssp {

struct DataOptions {
  // Threads of each layer that reads and decodes records; 0: as many as its
  // device computes with.
  int threads = 0;
};

// Data, ImageData, WindowData, HDF5Data, HDF5Output, MemoryData, DummyData,
// Input on the processor.
absl::Status RegisterDataLayers(LayerRegistry& registry,
                                const DataOptions& options = {});

// HDF5Data and HDF5Output: the same classes on every device.
absl::Status RegisterHdf5Layers(LayerRegistry& registry, DeviceType device);

// The factory of layers that want the context: L(LayerParameter, LayerContext).
template <class L>
absl::StatusOr<std::unique_ptr<Layer>> MakeLayerInContext(
    const caffe::LayerParameter& param, const LayerContext& context) {
  return std::make_unique<L>(param, context);
}

// The layers whose batches a DataLayer of one device delivers; L is its final
// subclass.
template <class L>
absl::Status RegisterRecordLayers(LayerRegistry& registry, DeviceType device,
                                  const DataOptions& options) {
  const auto add = [&](absl::string_view type, FeedOpener open) {
    return registry.Register(
        type, device,
        [open, threads = options.threads](const caffe::LayerParameter& param,
                                          const LayerContext& context)
            -> absl::StatusOr<std::unique_ptr<Layer>> {
          return std::make_unique<L>(param, context, open, threads);
        });
  };
  RETURN_IF_ERROR(add("Data", OpenDataFeed));
  RETURN_IF_ERROR(add("ImageData", OpenImageDataFeed));
  return add("WindowData", OpenWindowDataFeed);
}

}  // namespace cssp

#endif  // CSSP_WORKER_LAYERS_DATA_LAYERS_H_
