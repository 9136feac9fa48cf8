// A convolution of one geometry in its three directions, whoever does it.
#ifndef CSSP_WORKER_LAYERS_CUDA_CONVOLUTION_ENGINE_H_
#define CSSP_WORKER_LAYERS_CUDA_CONVOLUTION_ENGINE_H_

#include <cstddef>
#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "common/device/cuda/cuda_device.h"
#include "worker/layers/convolution_geometry.h"

namespace cssp::cuda {

// y = x convolved with w, x of `x_channels` and y of `y_channels` channels.
// The geometry's axes are those of both.
struct ConvolutionTask {
  Shape x, y;
  ConvolutionGeometry geometry;
  int64_t group = 1;
};

// Launches in stream order, in the device's math mode; sums have a fixed order
// where the device is deterministic.
//
// Thread-confined: the training thread.
class ConvolutionEngine {
 public:
  virtual ~ConvolutionEngine() = default;

  // What `scratch` below must hold.
  virtual size_t scratch_bytes() const = 0;

  // out = result + beta * out; beta is 0 or 1.
  virtual absl::Status Forward(Stream& stream, const float* x, const float* w,
                               float beta, float* y, void* scratch) const = 0;
  virtual absl::Status BackwardData(Stream& stream, const float* dy,
                                    const float* w, float beta, float* dx,
                                    void* scratch) const = 0;
  virtual absl::Status BackwardFilter(Stream& stream, const float* x,
                                      const float* dy, float beta, float* dw,
                                      void* scratch) const = 0;
};

// cuDNN's where it can: along up to 3 axes, tensors of less than 2^31 elements.
absl::StatusOr<std::unique_ptr<ConvolutionEngine>> MakeConvolution(
    CudaDevice& device, const ConvolutionTask& task);

// For any task: a matrix of windows and cuBLAS, item by item.
std::unique_ptr<ConvolutionEngine> MakeWindowConvolution(
    const ConvolutionTask& task);

}  // namespace cssp::cuda

#endif  // CSSP_WORKER_LAYERS_CUDA_CONVOLUTION_ENGINE_H_
