// A batch's records transformed on the GPU: raw bytes go up, floats come out.
#ifndef CSSP_WORKER_LAYERS_CUDA_DEVICE_TRANSFORM_H_
#define CSSP_WORKER_LAYERS_CUDA_DEVICE_TRANSFORM_H_

#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "absl/types/span.h"
#include "common/device/cuda/cuda_device.h"
#include "worker/data/batch.h"
#include "worker/data/data_transformer.h"
#include "worker/net/layer.h"

namespace cssp::cuda {

// What TransformOnHost does, to the same bits, with a quarter of the bytes on
// the bus where records are bytes: they are packed in pinned memory, copied in
// stream order, and one kernel crops, mirrors, subtracts the mean and scales.
// Two pinned buffers take turns: while one is being copied the other is packed.
// Buffers grow to the largest batch.
//
// Thread-confined: the training thread.
class DeviceTransform {
 public:
  // Brings the mean to the device.
  absl::Status Bind(CudaDevice& device, const DataTransformer& transformer,
                    int64_t channels);
  // top[0]: the records, item by item; top[1], if there is one: their labels.
  // Returns when `batch` has been packed.  REQUIRES: tops in device memory,
  // which the records fit.
  absl::Status Run(StepContext& step, const Batch& batch,
                   absl::Span<const Tensor> top);

 private:
  struct PinnedSet {
    Buffer memory;
    std::unique_ptr<Event> copied;
  };
  absl::Status Send(Stream& stream, const Batch& batch);

  CudaDevice* device_ = nullptr;
  float scale_ = 1;
  bool mean_is_image_ = false;
  Buffer mean_;  // an image, or a value for every channel
  PinnedSet sets_[2];
  int current_ = 0;
  Buffer records_;  // on the device: a table of the items, then their pixels
};

}  // namespace cssp::cuda

#endif  // CSSP_WORKER_LAYERS_CUDA_DEVICE_TRANSFORM_H_
