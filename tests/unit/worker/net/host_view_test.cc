#include "worker/net/host_view.h"

#include <algorithm>
#include <vector>

#include "common/base/status_macros.h"
#include "gtest/gtest.h"
#include "tests/testing/mirror_device.h"

namespace cssp {
namespace {

constexpr size_t kBytes = 4 * sizeof(float);

class HostViewTest : public ::testing::Test {
 protected:
  HostViewTest()
      : stream_(*mirror_.NewStream()),
        tensor_(*mirror_.Allocate(kBytes)),
        pass_{mirror_, *stream_, nullptr} {}

  testing::MirrorDevice mirror_;
  std::unique_ptr<Stream> stream_;
  Buffer tensor_;
  HostPass pass_;
};

TEST_F(HostViewTest, WhatIsLookedAtComesAndGoesBack) {
  std::fill_n(tensor_.floats(), 4, 1.0f);
  HostView view;
  view.Begin(pass_, tensor_.data(), kBytes);
  float* const host = *view.Floats();
  ASSERT_NE(host, tensor_.floats());
  EXPECT_EQ(host[3], 1);
  host[3] = 7;
  EXPECT_EQ(*view.Floats(), host) << "one copy a pass";
  EXPECT_EQ(mirror_.to_host, kBytes);
  EXPECT_EQ(tensor_.floats()[3], 1);
  ASSERT_TRUE(view.End().ok());
  EXPECT_EQ(tensor_.floats()[3], 7);

  tensor_.floats()[0] = 5;  // a kernel, between passes
  EXPECT_EQ((*view.Floats())[0], 1) << "the last pass's";
  view.Begin(pass_, tensor_.data(), kBytes);
  EXPECT_EQ((*view.Floats())[0], 5);
}

TEST_F(HostViewTest, WhatNobodyLooksAtIsNotCopied) {
  HostView view;
  view.Begin(pass_, tensor_.data(), kBytes);
  ASSERT_TRUE(view.End().ok());
  EXPECT_EQ(mirror_.to_host + mirror_.from_host, 0u);
  EXPECT_EQ(*view.Floats(), nullptr);
}

TEST_F(HostViewTest, HeldMemoryOutlivesTheViewAndItsReshape) {
  auto view = std::make_unique<HostView>();
  std::fill_n(tensor_.floats(), 4, 3.0f);
  view->Begin(pass_, tensor_.data(), kBytes);
  const float* const host = *view->Floats();
  const std::shared_ptr<const void> hold = view->hold();
  ASSERT_TRUE(view->End().ok());
  view->Begin(pass_, tensor_.data(), kBytes / 2);
  EXPECT_NE(*view->Floats(), host);
  view.reset();
  EXPECT_EQ(host[3], 3);
}

TEST_F(HostViewTest, HostMemoryIsItsOwnView) {
  const std::unique_ptr<Device> cpu = MakeCpuDevice(1);
  const auto memory = std::make_shared<Buffer>(*cpu->Allocate(kBytes));
  HostView view;
  view.Begin({*cpu, *stream_, memory}, memory->data(), kBytes);
  EXPECT_EQ(*view.Floats(), memory->floats());
  EXPECT_EQ(view.hold(), memory);
  EXPECT_TRUE(view.End().ok());
  EXPECT_EQ(*view.Floats(), memory->floats());
  view.Clear();
  EXPECT_EQ(*view.Floats(), nullptr);
}

TEST_F(HostViewTest, AFaultIsReported) {
  HostView view;
  view.Begin(pass_, tensor_.data(), kBytes);
  mirror_.Fail(absl::InternalError("an illegal address"));
  EXPECT_EQ(view.Floats().status().code(), absl::StatusCode::kInternal);
}

}  // namespace
}  // namespace cssp
