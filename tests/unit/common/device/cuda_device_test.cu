// Needs a GPU: skipped by name elsewhere.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "common/device/cuda/cuda_device.h"
#include "common/device/cuda/launch.h"

namespace cssp {

__global__ void AddOne(int64_t n, float* x) {
  for (int64_t i = GridFirst(); i < n; i += GridStep()) x[i] += 1;
}

// Keeps the stream busy, so that what should wait for it has to.
__global__ void Spin(int64_t cycles) {
  const int64_t end = clock64() + cycles;
  while (clock64() < end) {
  }
}

__global__ void WriteNowhere(float* x) { x[0] = 1; }

// A device lambda may not stand in a test's body, which is private.
absl::Status TimesTen(Stream& stream, float* x, int64_t n) {
  return ForEach(stream, n, [=] __device__(int64_t i) { x[i] *= 10; });
}

class CudaDeviceTest : public testing::Test {
 protected:
  void SetUp() override {
    auto device = MakeCudaDevice(0);
    if (!device.ok()) GTEST_SKIP() << "no GPU: " << device.status().message();
    device_ = *std::move(device);
    stream_ = *device_->NewStream();
  }
  std::vector<float> Fetch(const Buffer& buffer) {
    std::vector<float> values(buffer.bytes() / sizeof(float));
    EXPECT_TRUE(
        device_
            ->CopyToHost(*stream_, values.data(), buffer.data(), buffer.bytes())
            .ok());
    EXPECT_TRUE(stream_->Synchronize().ok());
    return values;
  }
  std::unique_ptr<Device> device_;
  std::unique_ptr<Stream> stream_;
};

TEST_F(CudaDeviceTest, NamesItself) {
  EXPECT_EQ(device_->type(), DeviceType::kCuda);
  EXPECT_FALSE(device_->works_in_host_memory());
  EXPECT_NE(device_->name().find("(device 0)"), std::string::npos);
  const auto texts = DescribeCudaDevices();
  ASSERT_TRUE(texts.ok());
  EXPECT_NE(texts->at(0).find("Total global memory: "), std::string::npos);
}

TEST_F(CudaDeviceTest, AllocatesZeroedAlignedMemory) {
  for (size_t bytes : {4, 1 << 20}) {
    auto buffer = device_->Allocate(bytes);
    ASSERT_TRUE(buffer.ok());
    EXPECT_EQ(reinterpret_cast<uintptr_t>(buffer->data()) % 256, 0);
    EXPECT_EQ(Fetch(*buffer), std::vector<float>(bytes / 4, 0));
    auto host = device_->AllocateHost(bytes);
    ASSERT_TRUE(host.ok());
    for (size_t i = 0; i < bytes / 4; ++i) ASSERT_EQ(host->floats()[i], 0);
  }
}

TEST_F(CudaDeviceTest, AFailedAllocationDoesNoHarm) {
  EXPECT_EQ(device_->Allocate(size_t{1} << 60).status().code(),
            absl::StatusCode::kResourceExhausted);
  EXPECT_TRUE(device_->Allocate(1024).ok());
  EXPECT_TRUE(stream_->Synchronize().ok());
}

TEST_F(CudaDeviceTest, LaunchesCopiesAndZeroesInOrder) {
  constexpr int64_t kCount = 3000017;  // beyond one grid
  Buffer a = *device_->Allocate(kCount * 4), b = *device_->Allocate(kCount * 4);
  for (int i = 0; i < 2; ++i) {
    ASSERT_TRUE(
        Launch(*stream_, AddOne, Blocks(kCount), kThreads, kCount, a.floats())
            .ok());
  }
  ASSERT_TRUE(device_->Copy(*stream_, b.data(), a.data(), a.bytes()).ok());
  ASSERT_TRUE(device_->Zero(*stream_, a.data(), 8).ok());
  ASSERT_TRUE(TimesTen(*stream_, b.floats(), kCount).ok());
  std::vector<float> expected(kCount, 2);
  expected[0] = expected[1] = 0;
  EXPECT_EQ(Fetch(a), expected);
  EXPECT_EQ(Fetch(b), std::vector<float>(kCount, 20));
}

TEST_F(CudaDeviceTest, NothingIsLaunchedForNoElements) {
  EXPECT_TRUE(Launch(*stream_, AddOne, Blocks(0), kThreads, 0, nullptr).ok());
}

TEST_F(CudaDeviceTest, AWrongLaunchSaysSo) {
  const absl::Status status = Launch(*stream_, AddOne, 1, 1 << 20, 0, nullptr);
  EXPECT_FALSE(status.ok());
  EXPECT_NE(status.message().find("launching a kernel"), std::string::npos);
  EXPECT_TRUE(stream_->Synchronize().ok());
}

TEST_F(CudaDeviceTest, EventsOrderStreams) {
  auto second = *device_->NewStream();
  auto event = *device_->NewEvent();
  EXPECT_TRUE(event->Synchronize().ok());  // never recorded
  Buffer a = *device_->Allocate(4);
  Buffer host = *device_->AllocateHost(4);
  ASSERT_TRUE(Launch(*stream_, Spin, 1, 1, 20'000'000).ok());
  ASSERT_TRUE(Launch(*stream_, AddOne, 1, 1, 1, a.floats()).ok());
  ASSERT_TRUE(stream_->Record(*event).ok());
  ASSERT_TRUE(second->Wait(*event).ok());
  ASSERT_TRUE(device_->CopyToHost(*second, host.data(), a.data(), 4).ok());
  ASSERT_TRUE(second->Record(*event).ok());
  ASSERT_TRUE(event->Synchronize().ok());
  EXPECT_EQ(host.floats()[0], 1);
}

TEST_F(CudaDeviceTest, HostFunctionsRunInStreamOrder) {
  std::atomic<int> calls{0};
  const auto count = [](void* calls) {
    ++*static_cast<std::atomic<int>*>(calls);
  };
  ASSERT_TRUE(Launch(*stream_, Spin, 1, 1, 20'000'000).ok());
  ASSERT_TRUE(stream_->RunOnHost(count, &calls).ok());
  ASSERT_TRUE(stream_->Synchronize().ok());
  EXPECT_EQ(calls, 1);
}

// c = a * b by cuBLAS, row by row against the definition.
TEST_F(CudaDeviceTest, CublasRunsOnTheStream) {
  const auto handle = CudaStream::Of(*stream_).cublas();
  ASSERT_TRUE(handle.ok()) << handle.status();
  Buffer x = *device_->Allocate(16), y = *device_->Allocate(16);
  const std::vector<float> in = {1, 2, 3, 4};
  ASSERT_TRUE(device_->CopyFromHost(*stream_, x.data(), in.data(), 16).ok());
  const float one = 1, zero = 0;
  ASSERT_TRUE(FromCublas(cublasSgemm(*handle, CUBLAS_OP_N, CUBLAS_OP_N, 2, 2, 2,
                                     &one, x.floats(), 2, x.floats(), 2, &zero,
                                     y.floats(), 2),
                         "gemm")
                  .ok());
  EXPECT_EQ(Fetch(y), (std::vector<float>{7, 10, 15, 22}));
}

TEST_F(CudaDeviceTest, CudnnRunsOnTheStream) {
  const auto handle = CudaStream::Of(*stream_).cudnn();
  ASSERT_TRUE(handle.ok()) << handle.status();
  cudaStream_t bound = nullptr;
  EXPECT_EQ(cudnnGetStream(*handle, &bound), CUDNN_STATUS_SUCCESS);
  EXPECT_EQ(bound, CudaStream::Of(*stream_).get());
  EXPECT_TRUE(CudaDevice::Of(*device_).planning_cudnn().ok());
}

TEST_F(CudaDeviceTest, NoSuchDeviceIsNotFound) {
  const absl::Status status = MakeCudaDevice(4711).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_NE(status.message().find("GPU 4711"), std::string::npos);
}

// Last of all: the fault stays with the process.
TEST_F(CudaDeviceTest, ZFaultsComeToLightAtSynchronize) {
  ASSERT_TRUE(Launch(*stream_, WriteNowhere, 1, 1,
                     reinterpret_cast<float*>(uintptr_t{16}))
                  .ok());
  const absl::Status status = stream_->Synchronize();
  EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
  EXPECT_NE(status.message().find("cudaErrorIllegalAddress"), std::string::npos)
      << status;
}

}  // namespace cssp
