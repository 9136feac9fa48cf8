#include "common/base/status_macros.h"
#include "worker/layers/builtin_layers.h"
#include "worker/layers/cuda/cuda_layers.h"
#include "worker/layers/neutral_layers.h"

namespace cssp {

absl::Status RegisterCudaLayers(LayerRegistry& registry,
                                const DataOptions& data) {
  RETURN_IF_ERROR(RegisterNeutralLayers(DeviceType::kCuda, registry));
  RETURN_IF_ERROR(cuda::RegisterAccuracy(registry));
  RETURN_IF_ERROR(cuda::RegisterArgMax(registry));
  RETURN_IF_ERROR(cuda::RegisterBatchNorm(registry));
  RETURN_IF_ERROR(cuda::RegisterConcat(registry));
  RETURN_IF_ERROR(cuda::RegisterConvolution(registry));
  RETURN_IF_ERROR(cuda::RegisterDetectionOutput(registry));
  RETURN_IF_ERROR(cuda::RegisterDropout(registry));
  RETURN_IF_ERROR(cuda::RegisterEltwise(registry));
  RETURN_IF_ERROR(cuda::RegisterEuclideanLoss(registry));
  RETURN_IF_ERROR(cuda::RegisterFilter(registry));
  RETURN_IF_ERROR(cuda::RegisterHingeLoss(registry));
  RETURN_IF_ERROR(cuda::RegisterIm2col(registry));
  RETURN_IF_ERROR(cuda::RegisterIndexing(registry));
  RETURN_IF_ERROR(cuda::RegisterInnerProduct(registry));
  RETURN_IF_ERROR(cuda::RegisterInterp(registry));
  RETURN_IF_ERROR(cuda::RegisterLabelLosses(registry));
  RETURN_IF_ERROR(cuda::RegisterLrn(registry));
  RETURN_IF_ERROR(cuda::RegisterLstm(registry));
  RETURN_IF_ERROR(cuda::RegisterMultiBoxLoss(registry));
  RETURN_IF_ERROR(cuda::RegisterNeurons(registry));
  RETURN_IF_ERROR(cuda::RegisterNormalizing(registry));
  RETURN_IF_ERROR(cuda::RegisterPRelu(registry));
  RETURN_IF_ERROR(cuda::RegisterPairLosses(registry));
  RETURN_IF_ERROR(cuda::RegisterPooling(registry));
  RETURN_IF_ERROR(cuda::RegisterRearranging(registry));
  RETURN_IF_ERROR(cuda::RegisterReduction(registry));
  RETURN_IF_ERROR(cuda::RegisterRnn(registry));
  RETURN_IF_ERROR(cuda::RegisterScale(registry));
  RETURN_IF_ERROR(cuda::RegisterSigmoidLoss(registry));
  RETURN_IF_ERROR(cuda::RegisterSoftmax(registry));
  RETURN_IF_ERROR(cuda::RegisterSoftmaxLoss(registry));
  RETURN_IF_ERROR(cuda::RegisterSplit(registry));
  return cuda::RegisterSources(registry, data);
}

}  // namespace cssp
