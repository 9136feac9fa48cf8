// Convolution along any number of spatial axes, with groups and dilation.
#ifndef CSSP_WORKER_LAYERS_CONVOLUTION_LAYER_H_
#define CSSP_WORKER_LAYERS_CONVOLUTION_LAYER_H_

#include <utility>

#include "worker/layers/base_convolution_layer.h"

namespace cssp {

// With C channels in G groups, and k running over the kernel:
//   top(n,o,p) = bias(o) + sum over (c, k) of
//     weight(o,c,k) * bottom(n, g*C/G + c, p * stride - pad + k * dilation)
// where g is the group of o, and what lies outside the bottom is zero.
// DepthwiseConvolution and ConvolutionDepthwise are other names of this layer
// with G = C.
//
// Thread-confined: the training thread.
class ConvolutionLayer : public BaseConvolutionLayer {
 public:
  ConvolutionLayer(caffe::LayerParameter param, caffe::Phase phase)
      : BaseConvolutionLayer(std::move(param), phase, Direction::kConvolution) {
  }
};

}  // namespace cssp

#endif  // CSSP_WORKER_LAYERS_CONVOLUTION_LAYER_H_
