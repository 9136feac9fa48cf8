// The CUDA door of a build without CUDA.
#include "absl/strings/str_cat.h"
#include "common/device/device.h"

namespace cssp {

absl::StatusOr<std::unique_ptr<Device>> MakeCudaDevice(int ordinal,
                                                       const CudaOptions&) {
  return absl::UnimplementedError(absl::StrCat(
      "GPU ", ordinal,
      " was asked for, but this build has no CUDA: use solver_mode: CPU"));
}

absl::StatusOr<std::vector<std::string>> DescribeCudaDevices() {
  return absl::UnimplementedError("this build has no CUDA");
}

}  // namespace cssp
