// Records transformed on a GPU and by the host: the same bits.
#include "worker/layers/cuda/device_transform.h"

#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "common/model_file/blob_proto.h"
#include "common/model_file/prototxt.h"
#include "gtest/gtest.h"
#include "worker/layers/host_transform.h"

namespace cssp::cuda {
namespace {

using Floats = std::vector<float>;

// Records of random bytes and, every third, of floats.  Their sizes differ
// where a crop evens them out.
Batch MakeBatch(const DataTransformer& transformer, int items, int height,
                int width, bool sizes_differ, uint64_t seed) {
  std::mt19937_64 random(seed);
  Batch batch;
  size_t used = 0;
  for (int i = 0; i < items; ++i) {
    BatchItem item;
    item.shape = {3, height, width};
    if (sizes_differ) item.shape.width += i % 3;
    item.floats = i % 3 == 2;
    item.label = static_cast<int>(random() % 1000);
    item.id.index = static_cast<int64_t>(random() % 100000);
    item.draw = transformer.Draw(seed, item.id, item.shape);
    item.offset = used = (used + 63) / 64 * 64;
    const size_t count = item.shape.count();
    used += item.floats ? count * sizeof(float) : count;
    batch.raw.resize(used);
    for (size_t k = 0; k < count; ++k) {
      uint8_t* const at = batch.raw.data() + item.offset;
      const auto byte = static_cast<uint8_t>(random());
      const float real = 0.37f * static_cast<float>(byte) - 20;
      if (item.floats) {
        std::memcpy(at + k * sizeof(float), &real, sizeof(float));
      } else {
        at[k] = byte;
      }
    }
    batch.items.push_back(item);
  }
  batch.raw.resize(used + 500);  // a larger one was here before
  return batch;
}

class DeviceTransformTest : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    auto gpu = MakeCudaDevice(0);
    if (!gpu.ok()) GTEST_SKIP() << "no GPU: " << gpu.status().message();
    gpu_ = *std::move(gpu);
  }
  // A mean of the records' shape, where the parameters name one.
  void MakeMean(const std::string& path, int height, int width) {
    caffe::BlobProto mean;
    for (const int dim : {1, 3, height, width})
      mean.mutable_shape()->add_dim(dim);
    for (int i = 0; i < 3 * height * width; ++i)
      mean.add_data(100 + 0.173f * static_cast<float>(i % 211));
    ASSERT_TRUE(cssp::WriteMean(mean, path).ok());
  }
  std::unique_ptr<Device> gpu_;
};

TEST_P(DeviceTransformTest, GivesTheHostsBits) {
  constexpr int kItems = 7, kHeight = 19, kWidth = 23;
  caffe::TransformationParameter param;
  ASSERT_TRUE(ParseText(GetParam(), "param", &param).ok());
  if (param.has_mean_file()) {
    param.set_mean_file(::testing::TempDir() + "/device_transform_mean");
    MakeMean(param.mean_file(), kHeight, kWidth);
  }
  for (const caffe::Phase phase : {caffe::TRAIN, caffe::TEST}) {
    const auto transformer = DataTransformer::Create(param, phase);
    ASSERT_TRUE(transformer.ok()) << transformer.status();
    const bool sizes_differ = param.crop_size() > 0 && !param.has_mean_file();
    const auto out = transformer->OutputShape({3, kHeight, kWidth});
    ASSERT_TRUE(out.ok());
    const TensorDesc descs[] = {
        {.shape = Shape({kItems, 3, out->height, out->width})},
        {.shape = Shape({kItems})}};
    auto stream = gpu_->NewStream();
    ASSERT_TRUE(stream.ok());
    DeviceTransform transform;
    ASSERT_TRUE(transform.Bind(CudaDevice::Of(*gpu_), *transformer, 3).ok());
    for (uint64_t round = 0; round < 4; ++round) {
      const Batch batch = MakeBatch(*transformer, kItems, kHeight, kWidth,
                                    sizes_differ, 11 * round + 5);
      Floats expected[2], got[2];
      Buffer memory[2];
      std::vector<Tensor> host, device;
      for (int k = 0; k < 2; ++k) {
        expected[k].assign(descs[k].shape.count(), -1);
        got[k].assign(descs[k].shape.count(), -2);
        host.push_back({&descs[k], expected[k].data()});
        memory[k] = *gpu_->Allocate(descs[k].bytes());
        device.push_back({&descs[k], memory[k].data()});
      }
      TransformOnHost(*transformer, batch, host);
      const StepState state;
      StepContext step(**stream, {}, state, 0);
      ASSERT_TRUE(transform.Run(step, batch, device).ok());
      for (int k = 0; k < 2; ++k) {
        ASSERT_TRUE(gpu_->CopyToHost(**stream, got[k].data(), device[k].raw,
                                     descs[k].bytes())
                        .ok());
      }
      ASSERT_TRUE((*stream)->Synchronize().ok());
      EXPECT_EQ(got[0], expected[0]);
      EXPECT_EQ(got[1], expected[1]);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    Parameters, DeviceTransformTest,
    ::testing::Values("", "scale: 0.00390625", "mirror: true",
                      "crop_size: 12 mirror: true scale: 0.017",
                      "crop_size: 12 mean_value: 104.3 mean_value: 117.1 "
                      "mean_value: 123.9 mirror: true",
                      "mean_value: 33.3 scale: 3",
                      "mean_file: 'x' mirror: true crop_size: 16",
                      "mean_file: 'x' scale: 0.1"));

}  // namespace
}  // namespace cssp::cuda
