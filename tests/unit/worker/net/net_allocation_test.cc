// A steady step asks for no memory.
#include <cstdlib>
#include <new>

#include "test_layers.h"

namespace {
thread_local bool counting = false;
thread_local int allocations = 0;
}  // namespace

// Every form of new but the over-aligned ones; out of line, so that gcc does
// not see malloc behind new.
[[gnu::noinline]] void* operator new(size_t bytes) {
  if (counting) ++allocations;
  if (void* p = std::malloc(bytes)) return p;
  std::abort();
}
[[gnu::noinline]] void* operator new(size_t bytes,
                                     const std::nothrow_t&) noexcept {
  return operator new(bytes);
}
[[gnu::noinline]] void operator delete(void* p) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete(void* p, size_t) noexcept {
  std::free(p);
}

namespace cssp {
namespace {

using namespace testing;  // NOLINT: the fixtures of this folder

TEST(NetAllocation, SteadyStepsAllocateNothing) {
  auto device = MakeCpuDevice(1);
  NetOptions options = TrainOptions();
  options.keep_blobs = false;
  auto net = MakeNet(R"(
      layer { name: "in" type: "Input" top: "x"
              input_param { shape { dim: 2 dim: 5 dim: 3 dim: 3 } } }
      layer { name: "a" type: "InnerProduct" bottom: "x" top: "a"
              param { name: "w" } inner_product_param { num_output: 45 } }
      layer { name: "v" type: "Reshape" bottom: "a" top: "v"
              reshape_param { shape { dim: 2 dim: 5 dim: 3 dim: 3 } } }
      layer { name: "d" type: "BlockedDouble" bottom: "v" top: "d" }
      layer { name: "r" type: "ReLU" bottom: "d" top: "d" }
      layer { name: "b" type: "InnerProduct" bottom: "d" top: "b"
              param { name: "w" } inner_product_param { num_output: 45 } }
      layer { name: "h" type: "Head" bottom: "b" top: "h" }
      layer { name: "s" type: "Statistic" bottom: "h" top: "s" }
      layer { name: "l" type: "EuclideanLoss" bottom: "h" bottom: "s"
              top: "l" })",
                     *device, options);
  ASSERT_TRUE(net);
  StepState state;
  double loss = 0;
  int failed = 0;
  for (state.clock = 0; state.clock < 6; ++state.clock) {
    counting = state.clock >= 1;
    for (state.pass = 0; state.pass < 2; ++state.pass)
      failed += !net->ForwardBackward(state, state.pass == 1, &loss).ok();
    net->WeightsChanged();
    counting = false;
  }
  EXPECT_EQ(failed, 0);
  EXPECT_EQ(allocations, 0);
}

}  // namespace
}  // namespace cssp
