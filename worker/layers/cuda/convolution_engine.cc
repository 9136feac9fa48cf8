#include "worker/layers/cuda/convolution_engine.h"

#include "common/base/status_macros.h"
#include "worker/layers/cuda/cudnn_convolution.h"

namespace cssp::cuda {

absl::StatusOr<std::unique_ptr<ConvolutionEngine>> MakeConvolution(
    CudaDevice& device, const ConvolutionTask& task) {
  if (!CudnnConvolution::Takes(task)) return MakeWindowConvolution(task);
  auto cudnn = std::make_unique<CudnnConvolution>();
  RETURN_IF_ERROR(cudnn->Bind(device, task));
  return cudnn;
}

}  // namespace cssp::cuda
