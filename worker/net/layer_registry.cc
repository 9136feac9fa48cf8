#include "worker/net/layer_registry.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/logging.h"

namespace cssp {

absl::Status LayerRegistry::Register(absl::string_view type, DeviceType device,
                                     LayerFactory factory) {
  const auto [it, inserted] = factories_.emplace(
      std::make_pair(std::string(type), device), std::move(factory));
  if (inserted) return absl::OkStatus();
  return absl::AlreadyExistsError(
      absl::StrCat("layer type '", type, "' is already registered for ",
                   DeviceTypeName(device)));
}

absl::StatusOr<std::unique_ptr<Layer>> LayerRegistry::Create(
    const caffe::LayerParameter& param, const LayerContext& context) const {
  CHECK(context.device != nullptr) << "a layer needs a device";
  const auto found = factories_.find({param.type(), context.device->type()});
  if (found != factories_.end()) return found->second(param, context);
  std::vector<std::string> elsewhere;
  for (const auto& [key, factory] : factories_) {
    if (key.first == param.type())
      elsewhere.push_back(DeviceTypeName(key.second));
  }
  if (!elsewhere.empty()) {
    return absl::UnimplementedError(absl::StrCat(
        "layer type '", param.type(), "' does not run on ",
        DeviceTypeName(context.device->type()), ", only on ",
        absl::StrJoin(elsewhere, ", ")));
  }
  return absl::InvalidArgumentError(
      absl::StrCat("unknown layer type '", param.type(),
                   "' (known types: ", absl::StrJoin(Types(), ", "), ")"));
}

std::vector<std::string> LayerRegistry::Types() const {
  std::vector<std::string> types;  // the map is sorted by type, then device
  for (const auto& [key, factory] : factories_) {
    if (types.empty() || types.back() != key.first) types.push_back(key.first);
  }
  return types;
}

std::vector<std::string> LayerRegistry::Types(DeviceType device) const {
  std::vector<std::string> types;
  for (const auto& [key, factory] : factories_) {
    if (key.second == device) types.push_back(key.first);
  }
  return types;
}

}  // namespace cssp
