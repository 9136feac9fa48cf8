// What `caffe device_query` prints of a GPU.
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "common/base/status_macros.h"
#include "common/device/cuda/cuda_device.h"
#include "common/device/cuda/cuda_status.h"
#include "common/device/device.h"

namespace cssp {
namespace {

std::string Extent(const int (&dims)[3]) {
  return absl::StrJoin(dims, dims + 3, " x ");
}

absl::StatusOr<int> Attribute(cudaDeviceAttr attribute, int ordinal) {
  int value = 0;
  RETURN_IF_CUDA_ERROR(cudaDeviceGetAttribute(&value, attribute, ordinal));
  return value;
}

absl::StatusOr<std::string> Describe(int ordinal) {
  cudaDeviceProp p;
  RETURN_IF_CUDA_ERROR(cudaGetDeviceProperties(&p, ordinal));
  ASSIGN_OR_RETURN(const int clock_khz,
                   Attribute(cudaDevAttrClockRate, ordinal));
  ASSIGN_OR_RETURN(const int timeout,
                   Attribute(cudaDevAttrKernelExecTimeout, ordinal));
  std::string text;
  const auto line = [&text](const char* name, const auto& value) {
    absl::StrAppend(&text, text.empty() ? "" : "\n", name, ": ", value);
  };
  line("Device id", ordinal);
  line("Name", p.name);
  line("Compute capability", absl::StrCat(p.major, ".", p.minor));
  line("Total global memory", p.totalGlobalMem);
  line("Total shared memory per block", p.sharedMemPerBlock);
  line("Total registers per block", p.regsPerBlock);
  line("Warp size", p.warpSize);
  line("Maximum threads per block", p.maxThreadsPerBlock);
  line("Maximum dimension of block", Extent(p.maxThreadsDim));
  line("Maximum dimension of grid", Extent(p.maxGridSize));
  line("Clock rate (kHz)", clock_khz);
  line("Total constant memory", p.totalConstMem);
  line("Number of copy engines", p.asyncEngineCount);
  line("Number of multiprocessors", p.multiProcessorCount);
  line("Kernel execution timeout", timeout != 0 ? "yes" : "no");
  return text;
}

}  // namespace

absl::StatusOr<std::vector<std::string>> DescribeCudaDevices() {
  ASSIGN_OR_RETURN(const int count, CountCudaDevices());
  std::vector<std::string> texts;
  for (int ordinal = 0; ordinal < count; ++ordinal) {
    ASSIGN_OR_RETURN(std::string text, Describe(ordinal));
    texts.push_back(std::move(text));
  }
  return texts;
}

}  // namespace cssp
