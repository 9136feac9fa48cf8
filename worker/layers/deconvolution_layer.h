// Deconvolution: a convolution's gradient used forwards (upsampling).
#ifndef CSSP_WORKER_LAYERS_DECONVOLUTION_LAYER_H_
#define CSSP_WORKER_LAYERS_DECONVOLUTION_LAYER_H_

#include <utility>

#include "worker/layers/base_convolution_layer.h"

namespace cssp {

// Every bottom element spreads a kernel over the top, windows add up:
//   top(n,o,q) = bias(o) + sum over (c, p, k) with
//                          p * stride - pad + k * dilation = q of
//     weight(c, o', k) * bottom(n,c,p)
// where c runs over the channels of o's group and o' is o's index in it.  So
// the weights are those of the convolution that would lead from top to bottom,
// and a top extent is stride * (in - 1) + covers - 2 pad.
// With filler `bilinear`, group = num_output = channels, kernel 2f - f % 2,
// stride f, pad ceil((f-1)/2): interpolation by the factor f.
//
// Thread-confined: the training thread.
class DeconvolutionLayer : public BaseConvolutionLayer {
 public:
  DeconvolutionLayer(caffe::LayerParameter param, caffe::Phase phase)
      : BaseConvolutionLayer(std::move(param), phase,
                             Direction::kDeconvolution) {}
};

}  // namespace cssp

#endif  // CSSP_WORKER_LAYERS_DECONVOLUTION_LAYER_H_
