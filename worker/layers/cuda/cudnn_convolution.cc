#include "worker/layers/cuda/cudnn_convolution.h"

#include <algorithm>
#include <limits>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "common/base/status_macros.h"
#include "common/device/cuda/cuda_status.h"

namespace cssp::cuda {
namespace {

using Dims = std::vector<int>;

// cuDNN wants two spatial axes at least: missing ones are put before the
// others, with extent, stride and dilation 1 and no padding.
constexpr int kLeastSpatial = 2;

Dims Pad(absl::Span<const int64_t> values, int filling) {
  Dims dims(std::max<int>(kLeastSpatial - static_cast<int>(values.size()), 0),
            filling);
  dims.insert(dims.end(), values.begin(), values.end());
  return dims;
}

// items, channels, spatial extents.
Dims TensorDims(const Shape& shape, const ConvolutionGeometry& geometry) {
  const int axis = geometry.channel_axis;
  Dims dims = Pad(shape.dims().subspan(axis + 1), 1);
  dims.insert(dims.begin(), {static_cast<int>(shape.count(0, axis)),
                             static_cast<int>(shape.dim(axis))});
  return dims;
}

absl::Status SetTensor(cudnnTensorDescriptor_t tensor, const Dims& dims) {
  Dims strides(dims.size(), 1);
  for (size_t i = dims.size() - 1; i > 0; --i) {
    strides[i - 1] = strides[i] * dims[i];
  }
  return FromCudnn(cudnnSetTensorNdDescriptor(tensor, CUDNN_DATA_FLOAT,
                                              static_cast<int>(dims.size()),
                                              dims.data(), strides.data()),
                   "describing a tensor");
}

// The first of `found` that is allowed and fits, else `fallback`, which is
// deterministic.  `workspace`: the bytes that an algorithm wants, if it runs.
template <class Perf, class Algorithm, class Workspace>
absl::Status Choose(absl::Span<const Perf> found, bool deterministic,
                    const char* what, Workspace workspace, Algorithm fallback,
                    Algorithm* chosen, size_t* scratch) {
  std::vector<Algorithm> candidates;
  for (const Perf& perf : found) {
    if (perf.status != CUDNN_STATUS_SUCCESS) continue;
    if (deterministic && perf.determinism != CUDNN_DETERMINISTIC) continue;
    candidates.push_back(perf.algo);
  }
  candidates.push_back(fallback);
  for (const Algorithm algorithm : candidates) {
    size_t bytes = 0;
    if (workspace(algorithm, &bytes) != CUDNN_STATUS_SUCCESS) continue;
    if (bytes > CudnnConvolution::kWorkspaceLimit) continue;
    *chosen = algorithm;
    *scratch = std::max(*scratch, bytes);
    return absl::OkStatus();
  }
  return absl::UnimplementedError(absl::StrCat(
      "cuDNN has no algorithm for this convolution's ", what, " within ",
      CudnnConvolution::kWorkspaceLimit >> 20, " MiB of workspace"));
}

template <class Descriptor, class Owner>
absl::Status Make(cudnnStatus_t (*create)(Descriptor*), Owner* owner) {
  Descriptor made = nullptr;
  RETURN_IF_ERROR(FromCudnn(create(&made), "making a descriptor"));
  owner->reset(made);
  return absl::OkStatus();
}

}  // namespace

bool CudnnConvolution::Takes(const ConvolutionTask& task) {
  constexpr int64_t kMost = std::numeric_limits<int>::max();
  return task.geometry.spatial_axes() <= 3 && task.x.count() <= kMost &&
         task.y.count() <= kMost;
}

absl::Status CudnnConvolution::Bind(CudaDevice& device,
                                    const ConvolutionTask& task) {
  scratch_bytes_ = 0;
  empty_ = task.x.count() == 0 || task.y.count() == 0;
  if (empty_) return absl::OkStatus();
  RETURN_IF_ERROR(Describe(task, device.options().math));
  const bool deterministic = device.options().deterministic;
  ASSIGN_OR_RETURN(const cudnnHandle_t handle, device.planning_cudnn());
  RETURN_IF_ERROR(ChooseForward(handle, deterministic));
  RETURN_IF_ERROR(ChooseData(handle, deterministic));
  return ChooseFilter(handle, deterministic);
}

absl::Status CudnnConvolution::Describe(const ConvolutionTask& task,
                                        MathMode math) {
  const ConvolutionGeometry& g = task.geometry;
  RETURN_IF_ERROR(Make(cudnnCreateTensorDescriptor, &x_));
  RETURN_IF_ERROR(Make(cudnnCreateTensorDescriptor, &y_));
  RETURN_IF_ERROR(Make(cudnnCreateFilterDescriptor, &w_));
  RETURN_IF_ERROR(Make(cudnnCreateConvolutionDescriptor, &windows_));
  RETURN_IF_ERROR(SetTensor(x_.get(), TensorDims(task.x, g)));
  RETURN_IF_ERROR(SetTensor(y_.get(), TensorDims(task.y, g)));
  Dims filter = Pad(g.kernel, 1);
  filter.insert(filter.begin(),
                {static_cast<int>(task.y.dim(g.channel_axis)),
                 static_cast<int>(task.x.dim(g.channel_axis) / task.group)});
  RETURN_IF_CUDNN_ERROR(cudnnSetFilterNdDescriptor(
      w_.get(), CUDNN_DATA_FLOAT, CUDNN_TENSOR_NCHW,
      static_cast<int>(filter.size()), filter.data()));
  const Dims pad = Pad(g.pad, 0), stride = Pad(g.stride, 1);
  const Dims dilation = Pad(g.dilation, 1);
  RETURN_IF_CUDNN_ERROR(cudnnSetConvolutionNdDescriptor(
      windows_.get(), static_cast<int>(pad.size()), pad.data(), stride.data(),
      dilation.data(), CUDNN_CROSS_CORRELATION, CUDNN_DATA_FLOAT));
  RETURN_IF_CUDNN_ERROR(cudnnSetConvolutionGroupCount(
      windows_.get(), static_cast<int>(task.group)));
  RETURN_IF_CUDNN_ERROR(cudnnSetConvolutionMathType(
      windows_.get(),
      math == MathMode::kFp32 ? CUDNN_FMA_MATH : CUDNN_TENSOR_OP_MATH));
  return absl::OkStatus();
}

absl::Status CudnnConvolution::ChooseForward(cudnnHandle_t handle,
                                             bool deterministic) {
  cudnnConvolutionFwdAlgoPerf_t found[CUDNN_CONVOLUTION_FWD_ALGO_COUNT];
  int count = 0;
  const cudnnStatus_t asked = cudnnGetConvolutionForwardAlgorithm_v7(
      handle, x_.get(), w_.get(), windows_.get(), y_.get(),
      CUDNN_CONVOLUTION_FWD_ALGO_COUNT, &count, found);
  if (asked != CUDNN_STATUS_SUCCESS) count = 0;  // the fallback may do
  return Choose(
      absl::MakeConstSpan(found, count), deterministic, "forward pass",
      [&](cudnnConvolutionFwdAlgo_t algorithm, size_t* bytes) {
        return cudnnGetConvolutionForwardWorkspaceSize(
            handle, x_.get(), w_.get(), windows_.get(), y_.get(), algorithm,
            bytes);
      },
      CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_GEMM, &forward_, &scratch_bytes_);
}

absl::Status CudnnConvolution::ChooseData(cudnnHandle_t handle,
                                          bool deterministic) {
  cudnnConvolutionBwdDataAlgoPerf_t
      found[CUDNN_CONVOLUTION_BWD_DATA_ALGO_COUNT];
  int count = 0;
  const cudnnStatus_t asked = cudnnGetConvolutionBackwardDataAlgorithm_v7(
      handle, w_.get(), y_.get(), windows_.get(), x_.get(),
      CUDNN_CONVOLUTION_BWD_DATA_ALGO_COUNT, &count, found);
  if (asked != CUDNN_STATUS_SUCCESS) count = 0;  // the fallback may do
  return Choose(
      absl::MakeConstSpan(found, count), deterministic, "bottom gradient",
      [&](cudnnConvolutionBwdDataAlgo_t algorithm, size_t* bytes) {
        return cudnnGetConvolutionBackwardDataWorkspaceSize(
            handle, w_.get(), y_.get(), windows_.get(), x_.get(), algorithm,
            bytes);
      },
      CUDNN_CONVOLUTION_BWD_DATA_ALGO_1, &data_, &scratch_bytes_);
}

absl::Status CudnnConvolution::ChooseFilter(cudnnHandle_t handle,
                                            bool deterministic) {
  cudnnConvolutionBwdFilterAlgoPerf_t
      found[CUDNN_CONVOLUTION_BWD_FILTER_ALGO_COUNT];
  int count = 0;
  const cudnnStatus_t asked = cudnnGetConvolutionBackwardFilterAlgorithm_v7(
      handle, x_.get(), y_.get(), windows_.get(), w_.get(),
      CUDNN_CONVOLUTION_BWD_FILTER_ALGO_COUNT, &count, found);
  if (asked != CUDNN_STATUS_SUCCESS) count = 0;  // the fallback may do
  return Choose(
      absl::MakeConstSpan(found, count), deterministic, "weight gradient",
      [&](cudnnConvolutionBwdFilterAlgo_t algorithm, size_t* bytes) {
        return cudnnGetConvolutionBackwardFilterWorkspaceSize(
            handle, x_.get(), y_.get(), windows_.get(), w_.get(), algorithm,
            bytes);
      },
      CUDNN_CONVOLUTION_BWD_FILTER_ALGO_1, &filter_, &scratch_bytes_);
}

absl::Status CudnnConvolution::Forward(Stream& stream, const float* x,
                                       const float* w, float beta, float* y,
                                       void* scratch) const {
  if (empty_) return absl::OkStatus();
  ASSIGN_OR_RETURN(const cudnnHandle_t handle, CudaStream::Of(stream).cudnn());
  const float alpha = 1;
  return FromCudnn(cudnnConvolutionForward(
                       handle, &alpha, x_.get(), x, w_.get(), w, windows_.get(),
                       forward_, scratch, scratch_bytes_, &beta, y_.get(), y),
                   "convolution");
}

absl::Status CudnnConvolution::BackwardData(Stream& stream, const float* dy,
                                            const float* w, float beta,
                                            float* dx, void* scratch) const {
  if (empty_) return absl::OkStatus();
  ASSIGN_OR_RETURN(const cudnnHandle_t handle, CudaStream::Of(stream).cudnn());
  const float alpha = 1;
  return FromCudnn(
      cudnnConvolutionBackwardData(handle, &alpha, w_.get(), w, y_.get(), dy,
                                   windows_.get(), data_, scratch,
                                   scratch_bytes_, &beta, x_.get(), dx),
      "convolution, gradient of its input");
}

absl::Status CudnnConvolution::BackwardFilter(Stream& stream, const float* x,
                                              const float* dy, float beta,
                                              float* dw, void* scratch) const {
  if (empty_) return absl::OkStatus();
  ASSIGN_OR_RETURN(const cudnnHandle_t handle, CudaStream::Of(stream).cudnn());
  const float alpha = 1;
  return FromCudnn(
      cudnnConvolutionBackwardFilter(handle, &alpha, x_.get(), x, y_.get(), dy,
                                     windows_.get(), filter_, scratch,
                                     scratch_bytes_, &beta, w_.get(), dw),
      "convolution, gradient of its weights");
}

}  // namespace cssp::cuda
