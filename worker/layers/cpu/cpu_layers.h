// One registration per file of this folder; builtin_layers.cc calls them all.
#ifndef CSSP_WORKER_LAYERS_CPU_CPU_LAYERS_H_
#define CSSP_WORKER_LAYERS_CPU_CPU_LAYERS_H_

#include "absl/status/status.h"
#include "worker/net/layer_registry.h"

namespace cssp::cpu {

absl::Status RegisterAccuracy(LayerRegistry& registry);
absl::Status RegisterArgMax(LayerRegistry& registry);
absl::Status RegisterAxpy(LayerRegistry& registry);
absl::Status RegisterBatchNorm(LayerRegistry& registry);
absl::Status RegisterBatchReindex(LayerRegistry& registry);
absl::Status RegisterConcat(LayerRegistry& registry);
absl::Status RegisterContrastiveLoss(LayerRegistry& registry);
absl::Status RegisterConvolution(LayerRegistry& registry);
absl::Status RegisterCrop(LayerRegistry& registry);
absl::Status RegisterDeconvolution(LayerRegistry& registry);
absl::Status RegisterDetectionOutput(LayerRegistry& registry);
absl::Status RegisterDropout(LayerRegistry& registry);
absl::Status RegisterEltwise(LayerRegistry& registry);
absl::Status RegisterEmbed(LayerRegistry& registry);
absl::Status RegisterEuclideanLoss(LayerRegistry& registry);
absl::Status RegisterFilter(LayerRegistry& registry);
absl::Status RegisterHingeLoss(LayerRegistry& registry);
absl::Status RegisterIm2col(LayerRegistry& registry);
absl::Status RegisterInfogainLoss(LayerRegistry& registry);
absl::Status RegisterInnerProduct(LayerRegistry& registry);
absl::Status RegisterInterp(LayerRegistry& registry);
absl::Status RegisterLrn(LayerRegistry& registry);
absl::Status RegisterLstm(LayerRegistry& registry);
absl::Status RegisterLstmUnit(LayerRegistry& registry);
absl::Status RegisterMultiBoxLoss(LayerRegistry& registry);
absl::Status RegisterMultinomialLoss(LayerRegistry& registry);
absl::Status RegisterMvn(LayerRegistry& registry);
absl::Status RegisterNeurons(LayerRegistry& registry);
absl::Status RegisterNormalize(LayerRegistry& registry);
absl::Status RegisterPRelu(LayerRegistry& registry);
absl::Status RegisterParameter(LayerRegistry& registry);
absl::Status RegisterPermute(LayerRegistry& registry);
absl::Status RegisterPooling(LayerRegistry& registry);
absl::Status RegisterPriorBox(LayerRegistry& registry);
absl::Status RegisterReduction(LayerRegistry& registry);
absl::Status RegisterRnn(LayerRegistry& registry);
absl::Status RegisterScale(LayerRegistry& registry);
absl::Status RegisterSigmoidLoss(LayerRegistry& registry);
absl::Status RegisterSmoothL1Loss(LayerRegistry& registry);
absl::Status RegisterSoftmax(LayerRegistry& registry);
absl::Status RegisterSoftmaxLoss(LayerRegistry& registry);
absl::Status RegisterSpp(LayerRegistry& registry);
absl::Status RegisterSplit(LayerRegistry& registry);
absl::Status RegisterTile(LayerRegistry& registry);

}  // namespace cssp::cpu

#endif  // CSSP_WORKER_LAYERS_CPU_CPU_LAYERS_H_
