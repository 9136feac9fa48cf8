// The arithmetic of convolution on the processor: Winograd's where it is less
// work, oneDNN's where that is good, plain loops elsewhere, behind one interface.
#ifndef CSSP_WORKER_LAYERS_CPU_CONVOLUTION_KERNEL_H_
#define CSSP_WORKER_LAYERS_CPU_CONVOLUTION_KERNEL_H_

#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "common/tensor/tensor.h"
#include "worker/layers/convolution_geometry.h"
#include "worker/net/layer.h"

namespace cssp::cpu {

// y = convolution of x.  A Deconvolution's top is x and its bottom y.
struct ConvolutionProblem {
  using Extents = ConvolutionGeometry::Extents;

  int64_t items = 0;
  int64_t x_channels = 0;
  int64_t y_channels = 0;
  int64_t group = 1;
  Extents x, y;  // spatial extents; at least one axis
  Extents kernel, stride, pad, dilation;
  bool bias = false;  // on y
  bool deconvolution = false;
  bool blockable = false;  // x and y are 4-D, channels second
  bool by_definition = false;  // engine: CAFFE, no algorithm that rounds else

  int64_t kernel_count() const;
  int64_t x_positions() const;
  int64_t y_positions() const;

  static ConvolutionProblem Of(const ConvolutionGeometry& geometry,
                               const Shape& x, const Shape& y, int64_t group);
};

// Weights are (y_channels, x_channels / group, kernel...) in the slab's layout.
// Thread-confined: the training thread.
class ConvolutionKernel {
 public:
  virtual ~ConvolutionKernel() = default;

  virtual size_t scratch_bytes() const = 0;
  // Packed copies are stale.
  virtual void WeightsChanged() {}

  // `bias` is read where the problem has one.
  virtual void Forward(const float* x, const float* weight, const float* bias,
                       float* y, void* scratch) = 0;
  virtual void BackwardData(const float* dy, const float* weight, float* dx,
                            void* scratch) = 0;
  virtual void BackwardWeights(const float* x, const float* dy,
                               const GradientTensor& weight,
                               const GradientTensor& bias, void* scratch) = 0;
};

struct ConvolutionFormats {
  Format x = Format::kCaffe;
  Format y = Format::kCaffe;
};

// The formats in which this problem runs best.
ConvolutionFormats PreferredFormats(const ConvolutionProblem& problem);

// For any formats in Caffe's layout, and for what PreferredFormats said.
absl::StatusOr<std::unique_ptr<ConvolutionKernel>> MakeConvolutionKernel(
    const ConvolutionProblem& problem, const ConvolutionFormats& formats);

// Winograd's algorithm (winograd.h): half the multiplications and less.  Null
// where the problem is none of its own or too small for it.
std::unique_ptr<ConvolutionKernel> MakeWinogradConvolution(
    const ConvolutionProblem& problem, const ConvolutionFormats& formats);

// Plain loops over rows: any number of axes, Caffe's layout.
std::unique_ptr<ConvolutionKernel> MakeDirectConvolution(
    const ConvolutionProblem& problem);

// Where several bottoms share parameters, the first obeys the mode and later
// ones add to its sum.
inline GradientTensor ForBottom(GradientTensor gradient, bool first) {
  if (!first && gradient.mode == GradientMode::kWrite) {
    gradient.mode = GradientMode::kAdd;
  }
  return gradient;
}

}  // namespace cssp::cpu

#endif  // CSSP_WORKER_LAYERS_CPU_CONVOLUTION_KERNEL_H_
