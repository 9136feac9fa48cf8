#include "common/device/device.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <utility>
#include <vector>

namespace cssp {
namespace {

TEST(CpuDevice, AllocatesAlignedZeroedMemory) {
  auto device = MakeCpuDevice(1);
  for (size_t bytes : {1, 63, 64, 65, 100000}) {
    auto buffer = device->Allocate(bytes);
    ASSERT_TRUE(buffer.ok());
    EXPECT_EQ(buffer->bytes(), bytes);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(buffer->data()) % 64, 0);
    const auto* data = static_cast<const uint8_t*>(buffer->data());
    for (size_t i = 0; i < bytes; ++i) ASSERT_EQ(data[i], 0);
  }
  auto empty = device->Allocate(0);
  ASSERT_TRUE(empty.ok());
  EXPECT_EQ(empty->data(), nullptr);
}

TEST(CpuDevice, RefusesWhatNoMachineHas) {
  auto device = MakeCpuDevice(1);
  EXPECT_EQ(device->Allocate(SIZE_MAX).status().code(),
            absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(device->Allocate(size_t{1} << 62).status().code(),
            absl::StatusCode::kResourceExhausted);
}

TEST(CpuDevice, CopiesAndZeroes) {
  auto device = MakeCpuDevice(2);
  auto stream = device->NewStream();
  ASSERT_TRUE(stream.ok());
  auto a = device->Allocate(16), b = device->Allocate(16);
  ASSERT_TRUE(a.ok() && b.ok());
  const std::vector<float> in = {1, 2, 3, 4};
  std::vector<float> out(4);
  ASSERT_TRUE(device->CopyFromHost(**stream, a->data(), in.data(), 16).ok());
  ASSERT_TRUE(device->Copy(**stream, b->data(), a->data(), 16).ok());
  ASSERT_TRUE(device->Zero(**stream, a->data(), 8).ok());
  ASSERT_TRUE(device->CopyToHost(**stream, out.data(), b->data(), 16).ok());
  ASSERT_TRUE((*stream)->Synchronize().ok());
  EXPECT_EQ(out, in);
  EXPECT_EQ(std::vector<float>(a->floats(), a->floats() + 4),
            (std::vector<float>{0, 0, 3, 4}));
}

TEST(CpuDevice, BufferMovesOwnership) {
  auto device = MakeCpuDevice(1);
  Buffer a = *device->Allocate(8);
  void* data = a.data();
  Buffer b = std::move(a);
  EXPECT_EQ(b.data(), data);
  EXPECT_EQ(a.data(), nullptr);
  EXPECT_EQ(a.bytes(), 0);
  b = *device->Allocate(4);
  EXPECT_EQ(b.bytes(), 4);
}

TEST(CpuDevice, ThreadsAreCountedAndNamed) {
  EXPECT_EQ(MakeCpuDevice(1)->name(), "CPU (1 thread)");
  EXPECT_EQ(MakeCpuDevice(3)->name(), "CPU (3 threads)");
  EXPECT_EQ(MakeCpuDevice(3)->threads(), 3);
  EXPECT_GE(MakeCpuDevice(0)->threads(), 1);
}

TEST(CpuDevice, EventsAndHostFunctionsAreImmediate) {
  auto device = MakeCpuDevice(1);
  auto stream = *device->NewStream();
  auto event = *device->NewEvent();
  EXPECT_TRUE(device->works_in_host_memory());
  EXPECT_TRUE(device->AllocateHost(8).ok());
  int calls = 0;
  const auto count = [](void* calls) { ++*static_cast<int*>(calls); };
  EXPECT_TRUE(stream->RunOnHost(count, &calls).ok());
  EXPECT_EQ(calls, 1);
  EXPECT_TRUE(stream->Record(*event).ok());
  EXPECT_TRUE(stream->Wait(*event).ok());
  EXPECT_TRUE(event->Synchronize().ok());
}

TEST(MathModes, AreReadByName) {
  EXPECT_EQ(*ParseMathMode("fp32"), MathMode::kFp32);
  EXPECT_EQ(*ParseMathMode("tf32"), MathMode::kTf32);
  EXPECT_EQ(*ParseMathMode("bf16"), MathMode::kBf16);
  EXPECT_EQ(ParseMathMode("fp16").status().message(),
            "the math mode must be fp32, tf32 or bf16, not 'fp16'");
}

// No CUDA in the build, no driver, no such GPU: always an answer.
TEST(CudaDoor, SaysWhatToDoWithoutAGpu) {
  auto device = MakeCudaDevice(4711);
  EXPECT_TRUE(absl::IsUnimplemented(device.status()) ||
              absl::IsNotFound(device.status()))
      << device.status();
  EXPECT_NE(device.status().message().find("GPU 4711 was asked for"),
            std::string::npos);
  EXPECT_NE(device.status().message().find("solver_mode: CPU"),
            std::string::npos);
}

}  // namespace
}  // namespace cssp
