// cuDNN's convolution of one geometry, in its three directions.
#ifndef CSSP_WORKER_LAYERS_CUDA_CUDNN_CONVOLUTION_H_
#define CSSP_WORKER_LAYERS_CUDA_CUDNN_CONVOLUTION_H_

#include <cudnn.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <type_traits>

#include "absl/status/status.h"
#include "common/device/cuda/cuda_device.h"
#include "worker/layers/cuda/convolution_engine.h"

namespace cssp::cuda {

// Algorithms are chosen by cuDNN's heuristics among those whose workspace stays
// within kWorkspaceLimit and, on a deterministic device, whose sums have a
// fixed order.  fp32 math never uses tensor cores; tf32 may, and bf16 does what
// tf32 does, since cuDNN has no such convolution of fp32 tensors.
//
// Thread-confined: the training thread.
class CudnnConvolution final : public ConvolutionEngine {
 public:
  static constexpr size_t kWorkspaceLimit = size_t{256} << 20;

  // Up to 3 axes, tensors of less than 2^31 elements.
  static bool Takes(const ConvolutionTask& task);

  // REQUIRES: Takes(task).
  absl::Status Bind(CudaDevice& device, const ConvolutionTask& task);
  size_t scratch_bytes() const override { return scratch_bytes_; }

  absl::Status Forward(Stream& stream, const float* x, const float* w,
                       float beta, float* y, void* scratch) const override;
  absl::Status BackwardData(Stream& stream, const float* dy, const float* w,
                            float beta, float* dx,
                            void* scratch) const override;
  absl::Status BackwardFilter(Stream& stream, const float* x, const float* dy,
                              float beta, float* dw,
                              void* scratch) const override;

 private:
  template <class Descriptor, cudnnStatus_t (*kDestroy)(Descriptor)>
  struct Destroyer {
    void operator()(Descriptor d) const { kDestroy(d); }
  };
  template <class Descriptor, cudnnStatus_t (*kDestroy)(Descriptor)>
  using Owned = std::unique_ptr<std::remove_pointer_t<Descriptor>,
                                Destroyer<Descriptor, kDestroy>>;
  using TensorDescriptor =
      Owned<cudnnTensorDescriptor_t, cudnnDestroyTensorDescriptor>;

  absl::Status Describe(const ConvolutionTask& task, MathMode math);
  absl::Status DescribeWindows(const ConvolutionTask& task, int spatial,
                               MathMode math);
  absl::Status ChooseForward(cudnnHandle_t handle, bool deterministic);
  absl::Status ChooseData(cudnnHandle_t handle, bool deterministic);
  absl::Status ChooseFilter(cudnnHandle_t handle, bool deterministic);

  TensorDescriptor x_, y_;
  Owned<cudnnFilterDescriptor_t, cudnnDestroyFilterDescriptor> w_;
  Owned<cudnnConvolutionDescriptor_t, cudnnDestroyConvolutionDescriptor>
      windows_;
  cudnnConvolutionFwdAlgo_t forward_ = CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_GEMM;
  cudnnConvolutionBwdDataAlgo_t data_ = CUDNN_CONVOLUTION_BWD_DATA_ALGO_1;
  cudnnConvolutionBwdFilterAlgo_t filter_ = CUDNN_CONVOLUTION_BWD_FILTER_ALGO_1;
  size_t scratch_bytes_ = 0;
  bool empty_ = false;  // no items
};

}  // namespace cssp::cuda

#endif  // CSSP_WORKER_LAYERS_CUDA_CUDNN_CONVOLUTION_H_
