#include "worker/layers/cuda/device_transform.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "common/base/status_macros.h"
#include "worker/layers/cuda/cuda_layer.h"
#include "worker/layers/cuda/kernels.h"

namespace cssp::cuda {
namespace {

// One record's row of the table.
struct Item {
  int64_t offset;  // bytes from the start of the pixels
  int32_t height, width;
  int32_t row, column;  // of the crop's first pixel
  float label;
  uint8_t floats, mirror;
};

// How one element of a top is made; travels to a kernel by value.
struct Transform {
  const Item* items;
  const uint8_t* pixels;
  const float* mean;
  bool mean_is_image;
  float scale;
  int64_t channels, height, width;  // of the top

  // Pixel by pixel as DataTransformer: a subtraction, then a product.
  __device__ float operator()(int64_t i) const {
    const int64_t w = i % width, h = i / width % height;
    const int64_t c = i / width / height % channels;
    const Item& item = items[i / width / height / channels];
    const int64_t from = (c * item.height + item.row + h) * item.width +
                         item.column + (item.mirror ? width - 1 - w : w);
    const uint8_t* record = pixels + item.offset;
    const float pixel = item.floats
                            ? reinterpret_cast<const float*>(record)[from]
                            : static_cast<float>(record[from]);
    return (pixel - mean[mean_is_image ? from : c]) * scale;
  }
};

size_t TableBytes(const Batch& batch) {
  return AlignUp(batch.items.size() * sizeof(Item));
}

size_t PixelBytes(const Batch& batch) {
  size_t bytes = 0;
  for (const BatchItem& item : batch.items) {
    const size_t size = item.floats ? sizeof(float) : 1;
    bytes = std::max(bytes, item.offset + item.shape.count() * size);
  }
  return bytes;
}

void Pack(const Batch& batch, uint8_t* to) {
  auto* items = reinterpret_cast<Item*>(to);
  for (const BatchItem& item : batch.items) {
    *items++ = {static_cast<int64_t>(item.offset),
                item.shape.height,
                item.shape.width,
                item.draw.row,
                item.draw.column,
                static_cast<float>(item.label),
                item.floats,
                item.draw.mirror};
  }
  std::memcpy(to + TableBytes(batch), batch.raw.data(), PixelBytes(batch));
}

}  // namespace

absl::Status DeviceTransform::Bind(CudaDevice& device,
                                   const DataTransformer& transformer,
                                   int64_t channels) {
  device_ = &device;
  scale_ = transformer.scale();
  absl::Span<const float> mean = transformer.mean_image();
  mean_is_image_ = !mean.empty();
  std::vector<float> means;
  if (!mean_is_image_) {
    for (int64_t c = 0; c < channels; ++c)
      means.push_back(transformer.ChannelMean(static_cast<int>(c)));
    mean = means;
  }
  ASSIGN_OR_RETURN(mean_, device.Allocate(mean.size() * sizeof(float)));
  ASSIGN_OR_RETURN(const std::unique_ptr<Stream> stream, device.NewStream());
  RETURN_IF_ERROR(
      device.CopyFromHost(*stream, mean_.data(), mean.data(), mean_.bytes()));
  return stream->Synchronize();
}

absl::Status DeviceTransform::Send(Stream& stream, const Batch& batch) {
  current_ ^= 1;
  PinnedSet& set = sets_[current_];
  if (set.copied == nullptr) {
    ASSIGN_OR_RETURN(set.copied, device_->NewEvent());
  }
  RETURN_IF_ERROR(set.copied->Synchronize());
  const size_t bytes = TableBytes(batch) + PixelBytes(batch);
  if (set.memory.bytes() < bytes) {
    ASSIGN_OR_RETURN(set.memory, device_->AllocateHost(bytes));
  }
  if (records_.bytes() < bytes) {
    ASSIGN_OR_RETURN(records_, device_->Allocate(bytes));
  }
  Pack(batch, static_cast<uint8_t*>(set.memory.data()));
  RETURN_IF_ERROR(device_->CopyFromHost(stream, records_.data(),
                                        set.memory.data(), bytes));
  return stream.Record(*set.copied);
}

absl::Status DeviceTransform::Run(StepContext& step, const Batch& batch,
                                  absl::Span<const Tensor> top) {
  RETURN_IF_ERROR(Send(step.stream(), batch));
  const auto* items = static_cast<const Item*>(records_.data());
  Transform transform;
  transform.items = items;
  transform.pixels =
      static_cast<const uint8_t*>(records_.data()) + TableBytes(batch);
  transform.mean = mean_.floats();
  transform.mean_is_image = mean_is_image_;
  transform.scale = scale_;
  transform.channels = top[0].shape().dim(1);
  transform.height = top[0].shape().dim(2);
  transform.width = top[0].shape().dim(3);
  RETURN_IF_ERROR(
      Fill(step.stream(), top[0].data(), top[0].count(), transform));
  if (top.size() < 2) return absl::OkStatus();
  return Fill(step.stream(), top[1].data(), top[1].count(),
              [=] __device__(int64_t i) { return items[i].label; });
}

}  // namespace cssp::cuda
