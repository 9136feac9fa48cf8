#include "worker/layers/builtin_layers.h"

#include "common/base/status_macros.h"
#include "worker/layers/cpu/cpu_layers.h"
#include "worker/layers/data_layers.h"
#include "worker/layers/neutral_layers.h"

namespace cssp {

absl::Status RegisterCpuLayers(LayerRegistry& registry,
                               const DataOptions& data) {
  RETURN_IF_ERROR(RegisterNeutralLayers(DeviceType::kCpu, registry));
  RETURN_IF_ERROR(cpu::RegisterAccuracy(registry));
  RETURN_IF_ERROR(cpu::RegisterArgMax(registry));
  RETURN_IF_ERROR(cpu::RegisterAxpy(registry));
  RETURN_IF_ERROR(cpu::RegisterBatchNorm(registry));
  RETURN_IF_ERROR(cpu::RegisterBatchReindex(registry));
  RETURN_IF_ERROR(cpu::RegisterConcat(registry));
  RETURN_IF_ERROR(cpu::RegisterContrastiveLoss(registry));
  RETURN_IF_ERROR(cpu::RegisterConvolution(registry));
  RETURN_IF_ERROR(cpu::RegisterCrop(registry));
  RETURN_IF_ERROR(cpu::RegisterDeconvolution(registry));
  RETURN_IF_ERROR(cpu::RegisterDetectionOutput(registry));
  RETURN_IF_ERROR(cpu::RegisterDropout(registry));
  RETURN_IF_ERROR(cpu::RegisterEltwise(registry));
  RETURN_IF_ERROR(cpu::RegisterEmbed(registry));
  RETURN_IF_ERROR(cpu::RegisterEuclideanLoss(registry));
  RETURN_IF_ERROR(cpu::RegisterFilter(registry));
  RETURN_IF_ERROR(cpu::RegisterHingeLoss(registry));
  RETURN_IF_ERROR(cpu::RegisterIm2col(registry));
  RETURN_IF_ERROR(cpu::RegisterInfogainLoss(registry));
  RETURN_IF_ERROR(cpu::RegisterInnerProduct(registry));
  RETURN_IF_ERROR(cpu::RegisterInterp(registry));
  RETURN_IF_ERROR(cpu::RegisterLrn(registry));
  RETURN_IF_ERROR(cpu::RegisterLstm(registry));
  RETURN_IF_ERROR(cpu::RegisterLstmUnit(registry));
  RETURN_IF_ERROR(cpu::RegisterMultiBoxLoss(registry));
  RETURN_IF_ERROR(cpu::RegisterMultinomialLoss(registry));
  RETURN_IF_ERROR(cpu::RegisterMvn(registry));
  RETURN_IF_ERROR(cpu::RegisterNeurons(registry));
  RETURN_IF_ERROR(cpu::RegisterNormalize(registry));
  RETURN_IF_ERROR(cpu::RegisterPRelu(registry));
  RETURN_IF_ERROR(cpu::RegisterParameter(registry));
  RETURN_IF_ERROR(cpu::RegisterPermute(registry));
  RETURN_IF_ERROR(cpu::RegisterPooling(registry));
  RETURN_IF_ERROR(cpu::RegisterPriorBox(registry));
  RETURN_IF_ERROR(cpu::RegisterReduction(registry));
  RETURN_IF_ERROR(cpu::RegisterRnn(registry));
  RETURN_IF_ERROR(cpu::RegisterScale(registry));
  RETURN_IF_ERROR(cpu::RegisterSigmoidLoss(registry));
  RETURN_IF_ERROR(cpu::RegisterSmoothL1Loss(registry));
  RETURN_IF_ERROR(cpu::RegisterSoftmax(registry));
  RETURN_IF_ERROR(cpu::RegisterSoftmaxLoss(registry));
  RETURN_IF_ERROR(cpu::RegisterSpp(registry));
  RETURN_IF_ERROR(cpu::RegisterSplit(registry));
  RETURN_IF_ERROR(cpu::RegisterTile(registry));
  return RegisterDataLayers(registry, data);
}

}  // namespace cssp
