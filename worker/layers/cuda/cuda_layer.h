// What CUDA layers with memory of their own have in common.
#ifndef CSSP_WORKER_LAYERS_CUDA_CUDA_LAYER_H_
#define CSSP_WORKER_LAYERS_CUDA_CUDA_LAYER_H_

#include <cstddef>
#include <memory>

#include "absl/types/span.h"
#include "common/base/status_macros.h"
#include "common/device/cuda/cuda_device.h"
#include "worker/net/layer_registry.h"

namespace cssp::cuda {

// A device-neutral layer, its GPU, and the scratch that Bind asks for.
//
// Thread-confined: the training thread.
template <class Base>
class CudaLayer : public Base {
 public:
  CudaLayer(const caffe::LayerParameter& param, const LayerContext& context)
      : Base(param, context.phase), device_(CudaDevice::Of(*context.device)) {}

  LayerTraits Traits() const override {
    LayerTraits traits = Base::Traits();
    traits.scratch_bytes = scratch_for_kernels_;
    return traits;
  }

 protected:
  // For Bind.
  CudaDevice& device() { return device_; }
  void set_scratch_bytes(size_t bytes) { scratch_for_kernels_ = bytes; }
  // State that lasts from Forward to Backward.
  absl::Status Allocate(size_t bytes, Buffer* buffer) {
    *buffer = Buffer();  // the old one first: both may not fit
    ASSIGN_OR_RETURN(*buffer, device_.Allocate(bytes));
    return absl::OkStatus();
  }
  // The same, with these values in it.
  absl::Status AllocateWith(absl::Span<const float> values, Buffer* buffer) {
    RETURN_IF_ERROR(Allocate(values.size() * sizeof(float), buffer));
    ASSIGN_OR_RETURN(const std::unique_ptr<Stream> stream, device_.NewStream());
    RETURN_IF_ERROR(device_.CopyFromHost(*stream, buffer->data(), values.data(),
                                         values.size() * sizeof(float)));
    return stream->Synchronize();
  }

 private:
  CudaDevice& device_;
  size_t scratch_for_kernels_ = 0;
};

// The factory of a CudaLayer.
template <class L>
absl::StatusOr<std::unique_ptr<Layer>> MakeCudaLayer(
    const caffe::LayerParameter& param, const LayerContext& context) {
  return std::make_unique<L>(param, context);
}

// Start of the next part of a scratch.
inline size_t AlignUp(size_t bytes) { return (bytes + 255) / 256 * 256; }

}  // namespace cssp::cuda

#endif  // CSSP_WORKER_LAYERS_CUDA_CUDA_LAYER_H_
