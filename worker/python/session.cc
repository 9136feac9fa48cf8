#include "worker/python/session.h"

#include <random>
#include <utility>

#include "common/base/status_macros.h"
#include "worker/layers/builtin_layers.h"
#include "worker/python/python_layer.h"

namespace cssp::python {

absl::StatusOr<std::shared_ptr<Session>> Session::Create() {
  auto session = std::shared_ptr<Session>(new Session());
  RETURN_IF_ERROR(RegisterCpuLayers(session->layers_));
  RETURN_IF_ERROR(RegisterCudaLayers(session->layers_));
  RETURN_IF_ERROR(RegisterPythonLayer({.owner = session}, session->layers_));
  session->set_seed(-1);
  return session;
}

absl::StatusOr<Device*> Session::device() {
  if (gpu_) return Gpu(ordinal_);
  std::unique_ptr<Device>& device = cpu_[threads_];
  if (device == nullptr) device = MakeCpuDevice(threads_);
  return device.get();
}

absl::StatusOr<Device*> Session::Gpu(int ordinal) {
  std::unique_ptr<Device>& device = gpu_devices_[ordinal];
  if (device == nullptr) {
    ASSIGN_OR_RETURN(device, MakeCudaDevice(ordinal));
  }
  return device.get();
}

absl::Status Session::SetGpu() {
  RETURN_IF_ERROR(Gpu(ordinal_).status());
  gpu_ = true;
  return absl::OkStatus();
}

absl::Status Session::SetDevice(int ordinal) {
  RETURN_IF_ERROR(Gpu(ordinal).status());
  ordinal_ = ordinal;
  return absl::OkStatus();
}

void Session::set_seed(int64_t seed) {
  seed_ = seed >= 0 ? static_cast<uint64_t>(seed)
                    : std::random_device()() & 0x7fffffffu;
  nets_ = 0;
}

uint64_t Session::NextSeed() { return seed_ + 0x9e3779b97f4a7c15u * nets_++; }

}  // namespace cssp::python
