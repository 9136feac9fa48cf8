// One registration per file of this folder; register_cuda_layers.cc calls them
// all.
#ifndef CSSP_WORKER_LAYERS_CUDA_CUDA_LAYERS_H_
#define CSSP_WORKER_LAYERS_CUDA_CUDA_LAYERS_H_

#include "absl/status/status.h"
#include "worker/layers/data_layers.h"
#include "worker/net/layer_registry.h"

namespace cssp::cuda {

absl::Status RegisterAccuracy(LayerRegistry& registry);
absl::Status RegisterArgMax(LayerRegistry& registry);
absl::Status RegisterBatchNorm(LayerRegistry& registry);
absl::Status RegisterConcat(LayerRegistry& registry);
absl::Status RegisterConvolution(LayerRegistry& registry);
absl::Status RegisterDetectionOutput(LayerRegistry& registry);
absl::Status RegisterDropout(LayerRegistry& registry);
absl::Status RegisterEltwise(LayerRegistry& registry);
absl::Status RegisterEuclideanLoss(LayerRegistry& registry);
absl::Status RegisterFilter(LayerRegistry& registry);
absl::Status RegisterHingeLoss(LayerRegistry& registry);
absl::Status RegisterIm2col(LayerRegistry& registry);
absl::Status RegisterIndexing(LayerRegistry& registry);
absl::Status RegisterInnerProduct(LayerRegistry& registry);
absl::Status RegisterInterp(LayerRegistry& registry);
absl::Status RegisterLabelLosses(LayerRegistry& registry);
absl::Status RegisterLrn(LayerRegistry& registry);
absl::Status RegisterLstm(LayerRegistry& registry);
absl::Status RegisterMultiBoxLoss(LayerRegistry& registry);
absl::Status RegisterNeurons(LayerRegistry& registry);
absl::Status RegisterNormalizing(LayerRegistry& registry);
absl::Status RegisterPRelu(LayerRegistry& registry);
absl::Status RegisterPairLosses(LayerRegistry& registry);
absl::Status RegisterPooling(LayerRegistry& registry);
absl::Status RegisterRearranging(LayerRegistry& registry);
absl::Status RegisterReduction(LayerRegistry& registry);
absl::Status RegisterRnn(LayerRegistry& registry);
absl::Status RegisterScale(LayerRegistry& registry);
absl::Status RegisterSigmoidLoss(LayerRegistry& registry);
absl::Status RegisterSoftmax(LayerRegistry& registry);
absl::Status RegisterSoftmaxLoss(LayerRegistry& registry);
absl::Status RegisterSplit(LayerRegistry& registry);
absl::Status RegisterSources(LayerRegistry& registry, DataOptions options);

}  // namespace cssp::cuda

#endif  // CSSP_WORKER_LAYERS_CUDA_CUDA_LAYERS_H_
