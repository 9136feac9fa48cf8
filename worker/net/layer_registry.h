// Which layer types exist on which device.
#ifndef CSSP_WORKER_NET_LAYER_REGISTRY_H_
#define CSSP_WORKER_NET_LAYER_REGISTRY_H_

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "worker/net/layer.h"

namespace cssp {

// What a layer may need of its surroundings; borrowed for the layer's life.
struct LayerContext {
  Device* device = nullptr;
  caffe::Phase phase = caffe::TRAIN;
  // Resolves relative data paths; empty: the working directory.
  std::string root_folder;
};

using LayerFactory = std::function<absl::StatusOr<std::unique_ptr<Layer>>(
    const caffe::LayerParameter&, const LayerContext&)>;

// The plain factory: L(LayerParameter, Phase).
template <class L>
absl::StatusOr<std::unique_ptr<Layer>> MakeLayer(
    const caffe::LayerParameter& param, const LayerContext& context) {
  return std::make_unique<L>(param, context.phase);
}

// Thread-confined while it is filled; immutable afterwards.  An object that
// main makes, fills and passes on: there is no global one.
class LayerRegistry {
 public:
  // AlreadyExists when (type, device) is registered.
  absl::Status Register(absl::string_view type, DeviceType device,
                        LayerFactory factory);

  // Unknown type: InvalidArgument that lists the known ones.  Known, but not on
  // this device: Unimplemented that says where it runs.
  absl::StatusOr<std::unique_ptr<Layer>> Create(
      const caffe::LayerParameter& param, const LayerContext& context) const;

  // Sorted.
  std::vector<std::string> Types() const;
  std::vector<std::string> Types(DeviceType device) const;

 private:
  std::map<std::pair<std::string, DeviceType>, LayerFactory> factories_;
};

}  // namespace cssp

#endif  // CSSP_WORKER_NET_LAYER_REGISTRY_H_
