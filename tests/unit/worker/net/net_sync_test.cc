// What sink and source hear, and when.
#include "test_layers.h"

namespace cssp {
namespace {

using namespace testing;  // NOLINT: the fixtures of this folder
using ::testing::ElementsAre;

constexpr char kNet[] = R"(
  layer { name: "in" type: "Input" top: "x"
          input_param { shape { dim: 2 dim: 3 } } }
  layer { name: "a" type: "InnerProduct" bottom: "x" top: "a"
          param { name: "w" } inner_product_param { num_output: 3 } }
  layer { name: "b" type: "InnerProduct" bottom: "a" top: "b"
          param { name: "w" } inner_product_param { num_output: 3 } }
  layer { name: "c" type: "InnerProduct" bottom: "b" top: "c"
          param { lr_mult: 0 } param { lr_mult: 0 }
          inner_product_param { num_output: 2 } }
  layer { name: "l" type: "EuclideanLoss" bottom: "c" top: "l" })";
// Slab: c/0 c/1 b/1 w a/1.

class Recorder : public GradientSink, public WeightSource {
 public:
  explicit Recorder(Trace& trace) : trace_(trace) {}
  absl::Status AwaitGradientSlot(int64_t clock) override {
    trace_.push_back("slot " + std::to_string(clock));
    return absl::OkStatus();
  }
  void GradientReady(int param, int64_t clock) override {
    trace_.push_back("ready " + std::to_string(param) + " @" +
                     std::to_string(clock));
  }
  absl::Status AwaitWeights(int first, int count, int64_t clock,
                            bool* changed) override {
    trace_.push_back("await " + std::to_string(first) + "+" +
                     std::to_string(count) + " @" + std::to_string(clock));
    *changed = first == changed_param;
    return status;
  }
  int changed_param = -1;
  absl::Status status;

 private:
  Trace& trace_;
};

class NetSync : public ::testing::Test {
 protected:
  void Make(const std::string& text = kNet) {
    net_ = MakeNet(text, *device_, TrainOptions(), &trace_);
    ASSERT_TRUE(net_);
    FillRamp(net_->blob("x")->mutable_data(), 1);
    ASSERT_TRUE(net_->Forward(StepState(), nullptr).ok());  // packs
    net_->AttachSync(&recorder_, &recorder_);
    trace_.clear();
  }
  std::unique_ptr<Device> device_ = MakeCpuDevice(1);
  Trace trace_;
  Recorder recorder_{trace_};
  std::unique_ptr<Net> net_;
};

TEST_F(NetSync, AwaitsBeforeEachLayerAndSignalsInSlabOrder) {
  Make();
  StepState state;
  state.clock = 7;
  ASSERT_TRUE(net_->ForwardBackward(state, true, nullptr).ok());
  EXPECT_THAT(
      trace_,
      ElementsAre("await 3+2 @7", "forward a", "await 2+2 @7", "forward b",
                  "await 0+2 @7", "forward c", "forward l", "backward l",
                  "backward c", "slot 7", "ready 0 @7", "ready 1 @7",
                  "backward b", "ready 2 @7", "backward a", "ready 3 @7",
                  "ready 4 @7"));
}

TEST_F(NetSync, LaterPassesNeitherAwaitNorAskForTheSlot) {
  Make();
  StepState state;
  state.clock = 2;
  ASSERT_TRUE(net_->ForwardBackward(state, false, nullptr).ok());
  EXPECT_THAT(trace_, ::testing::Contains("slot 2").Times(1));
  EXPECT_THAT(trace_, ::testing::Not(::testing::Contains("ready 0 @2")));
  trace_.clear();
  state.pass = 1;
  ASSERT_TRUE(net_->ForwardBackward(state, true, nullptr).ok());
  EXPECT_THAT(trace_,
              ElementsAre("forward a", "forward b", "forward c", "forward l",
                          "backward l", "backward c", "ready 0 @2",
                          "ready 1 @2", "backward b", "ready 2 @2",
                          "backward a", "ready 3 @2", "ready 4 @2"));
}

TEST_F(NetSync, EveryUserOfChangedWeightsPacksAgain) {
  Make();
  recorder_.changed_param = 2;  // b/1 and w, seen while b awaits
  StepState state;
  ASSERT_TRUE(net_->Forward(state, nullptr).ok());
  EXPECT_THAT(trace_, ElementsAre("await 3+2 @0", "forward a", "await 2+2 @0",
                                  "params b", "forward b", "await 0+2 @0",
                                  "forward c", "forward l"));
  trace_.clear();
  recorder_.changed_param = -1;
  ASSERT_TRUE(net_->Forward(state, nullptr).ok());
  EXPECT_EQ(trace_[1], "params a");  // shares w
  trace_.clear();
  net_->WeightsChanged();
  ASSERT_TRUE(net_->Forward(state, nullptr).ok());
  EXPECT_THAT(trace_, ::testing::IsSupersetOf(
                          {"params a", "params b", "params c"}));
}

TEST_F(NetSync, AFailedAwaitEndsTheStep) {
  Make();
  recorder_.status = absl::UnavailableError("no server");
  EXPECT_EQ(net_->Forward(StepState(), nullptr).code(),
            absl::StatusCode::kUnavailable);
  EXPECT_THAT(trace_, ElementsAre("await 3+2 @0"));
}

// A clock that is run again (rollback) asks for its slot again.
TEST_F(NetSync, ARepeatedClockAsksAgain) {
  Make();
  StepState state;
  state.clock = 4;
  ASSERT_TRUE(net_->ForwardBackward(state, true, nullptr).ok());
  ASSERT_TRUE(net_->ForwardBackward(state, true, nullptr).ok());
  EXPECT_THAT(trace_, ::testing::Contains("slot 4").Times(2));
}

TEST_F(NetSync, StatisticsAreWrittenByForwardAndSignalledInBackward) {
  Make(R"(
    layer { name: "in" type: "Input" top: "x"
            input_param { shape { dim: 2 dim: 3 } } }
    layer { name: "a" type: "InnerProduct" bottom: "x" top: "a"
            inner_product_param { num_output: 3 bias_term: false
              weight_filler { type: "constant" value: 1 } } }
    layer { name: "s" type: "Statistic" bottom: "a" top: "s" }
    layer { name: "l" type: "EuclideanLoss" bottom: "s" top: "l" })");
  StepState state;
  ASSERT_TRUE(net_->ForwardBackward(state, true, nullptr).ok());
  EXPECT_THAT(trace_, ElementsAre("await 1+1 @0", "forward a", "await 0+1 @0",
                                  "slot 0", "forward l", "backward l",
                                  "ready 0 @0", "backward a", "ready 1 @0"));
  double mean = 0;
  for (float v : net_->blob("s")->data()) mean += v / 6;
  EXPECT_NEAR(net_->gradients(0)[0], mean, 1e-5);
  state.pass = 1;
  ASSERT_TRUE(net_->Forward(state, nullptr).ok());
  EXPECT_NEAR(net_->gradients(0)[0], 2 * mean, 1e-5);  // passes add
}

}  // namespace
}  // namespace cssp
