#include "worker/net/net_passes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/base/logging.h"
#include "common/model_file/prototxt.h"
#include "google/protobuf/text_format.h"
#include "google/protobuf/util/message_differencer.h"

namespace cssp {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

caffe::NetParameter Net(const std::string& text) {
  caffe::NetParameter net;
  const absl::Status status = ParseText(text, "test", &net);
  CHECK(status.ok()) << status;
  return net;
}

caffe::SolverParameter Solver(const std::string& text) {
  caffe::SolverParameter solver;
  const absl::Status status = ParseText(text, "test", &solver);
  CHECK(status.ok()) << status;
  return solver;
}

template <class T>
std::string Message(const absl::StatusOr<T>& result) {
  EXPECT_EQ(result.status().code(), absl::StatusCode::kInvalidArgument);
  return std::string(result.status().message());
}

void ExpectNet(const absl::StatusOr<caffe::NetParameter>& net,
               const std::string& expected) {
  ASSERT_TRUE(net.ok()) << net.status();
  google::protobuf::util::MessageDifferencer differencer;
  std::string difference;
  differencer.ReportDifferencesToString(&difference);
  EXPECT_TRUE(differencer.Compare(*net, Net(expected))) << difference;
}

// ---- FilterNet -----------------------------------------------------------

std::vector<std::string> Kept(const std::string& layers,
                              const std::string& state) {
  caffe::NetState parsed;
  CHECK(google::protobuf::TextFormat::ParseFromString(state, &parsed));
  const auto net = FilterNet(Net(layers), parsed);
  EXPECT_TRUE(net.ok()) << net.status();
  std::vector<std::string> names;
  for (const auto& layer : net->layer()) names.push_back(layer.name());
  return names;
}

TEST(FilterNetTest, Phases) {
  const std::string layers =
      "layer { name: 'both' }"
      "layer { name: 'train' include { phase: TRAIN } }"
      "layer { name: 'test' include { phase: TEST } }"
      "layer { name: 'not_test' exclude { phase: TEST } }";
  EXPECT_THAT(Kept(layers, "phase: TRAIN"),
              ElementsAre("both", "train", "not_test"));
  EXPECT_THAT(Kept(layers, "phase: TEST"), ElementsAre("both", "test"));
}

TEST(FilterNetTest, AnyRuleCounts) {
  const std::string layers =
      "layer { name: 'in' include { phase: TEST } include { stage: 'a' } }"
      "layer { name: 'ex' exclude { phase: TEST } exclude { stage: 'a' } }";
  EXPECT_THAT(Kept(layers, "phase: TRAIN stage: 'a'"), ElementsAre("in"));
  EXPECT_THAT(Kept(layers, "phase: TRAIN"), ElementsAre("ex"));
  EXPECT_THAT(Kept(layers, "phase: TEST"), ElementsAre("in"));
}

TEST(FilterNetTest, Levels) {
  const std::string layers =
      "layer { name: 'low' include { max_level: 2 } }"
      "layer { name: 'high' include { min_level: 3 } }"
      "layer { name: 'mid' include { min_level: 2 max_level: 3 } }";
  EXPECT_THAT(Kept(layers, ""), ElementsAre("low"));  // level 0
  EXPECT_THAT(Kept(layers, "level: 2"), ElementsAre("low", "mid"));
  EXPECT_THAT(Kept(layers, "level: 3"), ElementsAre("high", "mid"));
  EXPECT_THAT(Kept(layers, "level: -7"), ElementsAre("low"));
}

TEST(FilterNetTest, StagesAllAndNone) {
  const std::string layers =
      "layer { name: 'ab' include { stage: 'a' stage: 'b' } }"
      "layer { name: 'a_not_b' include { stage: 'a' not_stage: 'b' } }"
      "layer { name: 'not_a' include { not_stage: 'a' } }";
  EXPECT_THAT(Kept(layers, ""), ElementsAre("not_a"));
  EXPECT_THAT(Kept(layers, "stage: 'a'"), ElementsAre("a_not_b"));
  EXPECT_THAT(Kept(layers, "stage: 'a' stage: 'b' stage: 'c'"),
              ElementsAre("ab"));
}

TEST(FilterNetTest, OneRuleIsAConjunction) {
  const std::string layers =
      "layer { name: 'x' include { phase: TRAIN min_level: 2 stage: 'a' } }";
  EXPECT_THAT(Kept(layers, "phase: TRAIN level: 2 stage: 'a'"),
              ElementsAre("x"));
  EXPECT_TRUE(Kept(layers, "phase: TEST level: 2 stage: 'a'").empty());
  EXPECT_TRUE(Kept(layers, "phase: TRAIN level: 1 stage: 'a'").empty());
  EXPECT_TRUE(Kept(layers, "phase: TRAIN level: 2").empty());
}

TEST(FilterNetTest, BothKindsOfRulesAreRefused) {
  EXPECT_THAT(Message(FilterNet(Net("layer { name: 'x' include { phase: TRAIN }"
                                    " exclude { phase: TRAIN } }"))),
              HasSubstr("layer 'x'"));
}

TEST(FilterNetTest, KeepsTheNetsOwnFieldsAndState) {
  const auto net = FilterNet(
      Net("name: 'n' force_backward: true state { phase: TRAIN level: 4 }"));
  ASSERT_TRUE(net.ok());
  EXPECT_EQ(net->name(), "n");
  EXPECT_TRUE(net->force_backward());
  EXPECT_EQ(net->state().level(), 4);
}

// ---- InsertSplits --------------------------------------------------------

TEST(InsertSplitsTest, NothingToSplit) {
  const std::string net =
      "layer { name: 'data' top: 'data' top: 'label' }"
      "layer { name: 'ip' bottom: 'data' top: 'ip' }"
      "layer { name: 'loss' bottom: 'ip' bottom: 'label' }";
  ExpectNet(InsertSplits(Net(net)), net);
}

const char kTwoReaders[] =
    "layer { name: 'data' top: 'data' top: 'label' }"
    "layer { name: 'ip' bottom: 'data' top: 'ip' }"
    "layer { name: 'acc' bottom: 'ip' bottom: 'label' top: 'acc' }"
    "layer { name: 'loss' bottom: 'ip' bottom: 'label' top: 'loss' }";

TEST(InsertSplitsTest, NamesAreCaffes) {
  ExpectNet(InsertSplits(Net(kTwoReaders)),
            "layer { name: 'data' top: 'data' top: 'label' }"
            "layer { name: 'label_data_1_split' type: 'Split' bottom: 'label'"
            "  top: 'label_data_1_split_0' top: 'label_data_1_split_1' }"
            "layer { name: 'ip' bottom: 'data' top: 'ip' }"
            "layer { name: 'ip_ip_0_split' type: 'Split' bottom: 'ip'"
            "  top: 'ip_ip_0_split_0' top: 'ip_ip_0_split_1' }"
            "layer { name: 'acc' bottom: 'ip_ip_0_split_0'"
            "  bottom: 'label_data_1_split_0' top: 'acc' }"
            "layer { name: 'loss' bottom: 'ip_ip_0_split_1'"
            "  bottom: 'label_data_1_split_1' top: 'loss' }");
}

TEST(InsertSplitsTest, Idempotent) {
  const auto once = InsertSplits(Net(kTwoReaders));
  ASSERT_TRUE(once.ok());
  const auto twice = InsertSplits(*once);
  ASSERT_TRUE(twice.ok());
  EXPECT_EQ(once->SerializeAsString(), twice->SerializeAsString());
}

// An in-place layer makes a new version of the blob: readers before it read
// the producer's, readers behind it its own.
TEST(InsertSplitsTest, InPlaceVersions) {
  ExpectNet(InsertSplits(Net("layer { name: 'ip' top: 'x' }"
                             "layer { name: 'relu' bottom: 'x' top: 'x' }"
                             "layer { name: 'a' bottom: 'x' top: 'a' }"
                             "layer { name: 'b' bottom: 'x' top: 'b' }")),
            "layer { name: 'ip' top: 'x' }"
            "layer { name: 'relu' bottom: 'x' top: 'x' }"
            "layer { name: 'x_relu_0_split' type: 'Split' bottom: 'x'"
            "  top: 'x_relu_0_split_0' top: 'x_relu_0_split_1' }"
            "layer { name: 'a' bottom: 'x_relu_0_split_0' top: 'a' }"
            "layer { name: 'b' bottom: 'x_relu_0_split_1' top: 'b' }");
}

// Caffe's own habit: the in-place layer reads the split and writes the name.
TEST(InsertSplitsTest, InPlaceBehindAnotherReader) {
  ExpectNet(InsertSplits(Net("layer { name: 'ip' top: 'x' }"
                             "layer { name: 'a' bottom: 'x' top: 'a' }"
                             "layer { name: 'relu' bottom: 'x' top: 'x' }")),
            "layer { name: 'ip' top: 'x' }"
            "layer { name: 'x_ip_0_split' type: 'Split' bottom: 'x'"
            "  top: 'x_ip_0_split_0' top: 'x_ip_0_split_1' }"
            "layer { name: 'a' bottom: 'x_ip_0_split_0' top: 'a' }"
            "layer { name: 'relu' bottom: 'x_ip_0_split_1' top: 'x' }");
}

TEST(InsertSplitsTest, OneLayerMayReadABlobTwice) {
  ExpectNet(InsertSplits(Net("layer { name: 'd' top: 'x' }"
                             "layer { name: 'sum' bottom: 'x' bottom: 'x'"
                             "  top: 's' }")),
            "layer { name: 'd' top: 'x' }"
            "layer { name: 'x_d_0_split' type: 'Split' bottom: 'x'"
            "  top: 'x_d_0_split_0' top: 'x_d_0_split_1' }"
            "layer { name: 'sum' bottom: 'x_d_0_split_0'"
            "  bottom: 'x_d_0_split_1' top: 's' }");
}

TEST(InsertSplitsTest, ALossWeightIsTheFirstReader) {
  ExpectNet(InsertSplits(Net("layer { name: 'ip' top: 'x' loss_weight: 0.5 }"
                             "layer { name: 'a' bottom: 'x' top: 'a' }")),
            "layer { name: 'ip' top: 'x' loss_weight: 0 }"
            "layer { name: 'x_ip_0_split' type: 'Split' bottom: 'x'"
            "  top: 'x_ip_0_split_0' top: 'x_ip_0_split_1'"
            "  loss_weight: 0.5 loss_weight: 0 }"
            "layer { name: 'a' bottom: 'x_ip_0_split_1' top: 'a' }");
}

TEST(InsertSplitsTest, AnUnreadOrZeroLossIsNoReason) {
  for (const char* net : {"layer { name: 'ip' top: 'x' loss_weight: 0.5 }",
                          "layer { name: 'ip' top: 'x' loss_weight: 0 }"
                          "layer { name: 'a' bottom: 'x' top: 'a' }"})
    ExpectNet(InsertSplits(Net(net)), net);
}

TEST(InsertSplitsTest, UnknownBottom) {
  EXPECT_THAT(
      Message(InsertSplits(Net("layer { name: 'a' bottom: 'x' top: 'y' }"))),
      HasSubstr("layer 'a': unknown bottom blob 'x' (bottom index 0)"));
}

// ---- UpgradeNet ----------------------------------------------------------

TEST(UpgradeNetTest, TodaysNetIsLeftAlone) {
  ExpectNet(UpgradeNet(Net(kTwoReaders)), kTwoReaders);
}

TEST(UpgradeNetTest, V1) {
  ExpectNet(
      UpgradeNet(Net(
          "name: 'n' layers { name: 'd' type: DATA top: 'data' top: 'label'"
          "  data_param { source: 's' batch_size: 5 scale: 0.5 mean_file: 'm'"
          "    crop_size: 3 mirror: true }"
          "  include { phase: TRAIN } }"
          "layers { name: 'c' type: CONVOLUTION bottom: 'data' top: 'c'"
          "  param: 'shared' blob_share_mode: PERMISSIVE"
          "  blobs_lr: 1 blobs_lr: 2 weight_decay: 1 weight_decay: 0"
          "  convolution_param { num_output: 3 kernel_size: 5 } }"
          "layers { name: 'l' type: SOFTMAX_LOSS bottom: 'c' bottom: 'label'"
          "  loss_weight: 2 }")),
      "name: 'n' layer { name: 'd' type: 'Data' top: 'data' top: 'label'"
      "  data_param { source: 's' batch_size: 5 }"
      "  transform_param { scale: 0.5 mean_file: 'm' crop_size: 3"
      "    mirror: true }"
      "  include { phase: TRAIN } }"
      "layer { name: 'c' type: 'Convolution' bottom: 'data' top: 'c'"
      "  param { name: 'shared' share_mode: PERMISSIVE lr_mult: 1"
      "    decay_mult: 1 }"
      "  param { lr_mult: 2 decay_mult: 0 }"
      "  convolution_param { num_output: 3 kernel_size: 5 } }"
      "layer { name: 'l' type: 'SoftmaxWithLoss' bottom: 'c' bottom: 'label'"
      "  loss_weight: 2 }");
}

// Every type of the old enum has a name, and no two the same.
TEST(UpgradeNetTest, EveryV1TypeHasAName) {
  const auto* types = caffe::V1LayerParameter::LayerType_descriptor();
  std::set<std::string> names;
  for (int i = 0; i < types->value_count(); ++i) {
    const auto net = UpgradeNet(Net(absl::StrCat(
        "layers { name: 'x' type: ", types->value(i)->name(), " }")));
    ASSERT_TRUE(net.ok());
    const std::string& name = net->layer(0).type();
    EXPECT_EQ(name.empty(), types->value(i)->name() == "NONE");
    EXPECT_TRUE(names.insert(name).second) << name;
  }
}

TEST(UpgradeNetTest, V1KeepsBlobs) {
  const auto net = UpgradeNet(
      Net("layers { name: 'c' type: CONVOLUTION blobs { num: 1 channels: 1"
          " height: 1 width: 2 data: 3 data: 4 } }"));
  ASSERT_TRUE(net.ok());
  EXPECT_THAT(net->layer(0).blobs(0).data(), ElementsAre(3, 4));
}

TEST(UpgradeNetTest, V0WithPaddingAndEveryKindOfField) {
  ExpectNet(
      UpgradeNet(Net(
          "name: 'old'"
          "layers { layer { name: 'data' type: 'data' source: 's'"
          "    meanfile: 'm' batchsize: 7 cropsize: 3 mirror: true scale: 2"
          "    rand_skip: 1 } top: 'data' top: 'label' }"
          "layers { layer { name: 'pad1' type: 'padding' pad: 2 }"
          "  bottom: 'data' top: 'pad1' }"
          "layers { layer { name: 'c' type: 'conv' num_output: 4 kernelsize: 3"
          "    stride: 2 group: 2 biasterm: false"
          "    weight_filler { type: 'xavier' } blobs_lr: 1 weight_decay: 0 }"
          "  bottom: 'pad1' top: 'c' }"
          "layers { layer { name: 'r' type: 'relu' } bottom: 'c' top: 'c' }"
          "layers { layer { name: 'p' type: 'pool' pool: AVE kernelsize: 3"
          "    stride: 2 } bottom: 'c' top: 'p' }"
          "layers { layer { name: 'n' type: 'lrn' local_size: 3 alpha: 0.5"
          "    beta: 0.25 } bottom: 'p' top: 'n' }"
          "layers { layer { name: 'i' type: 'innerproduct' num_output: 5"
          "    bias_filler { value: 1 } } bottom: 'n' top: 'i' }"
          "layers { layer { name: 'd' type: 'dropout' dropout_ratio: 0.25 }"
          "  bottom: 'i' top: 'i' }"
          "layers { layer { name: 'l' type: 'softmax_loss' }"
          "  bottom: 'i' bottom: 'label' }")),
      "name: 'old'"
      "layer { name: 'data' type: 'Data' top: 'data' top: 'label'"
      "  data_param { source: 's' batch_size: 7 rand_skip: 1 }"
      "  transform_param { mean_file: 'm' crop_size: 3 mirror: true scale: 2 }"
      "}"
      "layer { name: 'c' type: 'Convolution' bottom: 'data' top: 'c'"
      "  param { lr_mult: 1 decay_mult: 0 }"
      "  convolution_param { num_output: 4 kernel_size: 3 stride: 2 group: 2"
      "    bias_term: false pad: 2 weight_filler { type: 'xavier' } } }"
      "layer { name: 'r' type: 'ReLU' bottom: 'c' top: 'c' }"
      "layer { name: 'p' type: 'Pooling' bottom: 'c' top: 'p'"
      "  pooling_param { pool: AVE kernel_size: 3 stride: 2 } }"
      "layer { name: 'n' type: 'LRN' bottom: 'p' top: 'n'"
      "  lrn_param { local_size: 3 alpha: 0.5 beta: 0.25 } }"
      "layer { name: 'i' type: 'InnerProduct' bottom: 'n' top: 'i'"
      "  inner_product_param { num_output: 5 bias_filler { value: 1 } } }"
      "layer { name: 'd' type: 'Dropout' bottom: 'i' top: 'i'"
      "  dropout_param { dropout_ratio: 0.25 } }"
      "layer { name: 'l' type: 'SoftmaxWithLoss' bottom: 'i'"
      "  bottom: 'label' }");
}

TEST(UpgradeNetTest, V0ImagesAndWindows) {
  ExpectNet(
      UpgradeNet(Net(
          "layers { layer { name: 'i' type: 'images' source: 's' batchsize: 2"
          "  shuffle_images: true new_height: 3 new_width: 4 } top: 'i' }"
          "layers { layer { name: 'w' type: 'window_data' source: 't'"
          "  det_fg_threshold: 0.25 det_crop_mode: 'square' } top: 'w' }")),
      "layer { name: 'i' type: 'ImageData' top: 'i' image_data_param {"
      "  source: 's' batch_size: 2 shuffle: true new_height: 3 new_width: 4 } }"
      "layer { name: 'w' type: 'WindowData' top: 'w' window_data_param {"
      "  source: 't' fg_threshold: 0.25 crop_mode: 'square' } }");
}

TEST(UpgradeNetTest, V0MistakesNameTheLayer) {
  EXPECT_THAT(
      Message(UpgradeNet(Net("layers { layer { name: 'x' type: 'convv' } }"))),
      HasSubstr("layer 'x' (old form, type 'convv'): unknown type"));
  EXPECT_THAT(
      Message(UpgradeNet(
          Net("layers { layer { name: 'x' type: 'relu' num_output: 3 } }"))),
      HasSubstr("no use for num_output"));
  EXPECT_THAT(
      Message(UpgradeNet(Net(
          "input: 'd' layers { layer { name: 'p' type: 'padding' pad: 1 }"
          "  bottom: 'd' top: 'p' }"
          "layers { layer { name: 'x' type: 'relu' } bottom: 'p' top: 'p' }"))),
      HasSubstr("only conv and pool"));
}

TEST(UpgradeNetTest, MixedFormsAreRefused) {
  EXPECT_THAT(Message(UpgradeNet(Net("layer { name: 'a' type: 'ReLU' }"
                                     "layers { name: 'b' type: RELU }"))),
              HasSubstr("both layer and (old) layers"));
  EXPECT_THAT(
      Message(UpgradeNet(Net("layers { layer { name: 'a' type: 'relu' } }"
                             "layers { name: 'b' type: RELU }"))),
      HasSubstr("mixed"));
}

TEST(UpgradeNetTest, InputFieldsBecomeALayerInFront) {
  const std::string expected =
      "layer { name: 'input' type: 'Input' top: 'data' top: 'info'"
      "  input_param { shape { dim: 1 dim: 3 dim: 4 dim: 5 }"
      "    shape { dim: 2 dim: 1 dim: 1 dim: 6 } } }"
      "layer { name: 'a' bottom: 'data' top: 'a' }";
  ExpectNet(
      UpgradeNet(Net("input: 'data' input_dim: 1 input_dim: 3 input_dim: 4"
                     " input_dim: 5 input: 'info' input_dim: 2 input_dim: 1"
                     " input_dim: 1 input_dim: 6"
                     " layer { name: 'a' bottom: 'data' top: 'a' }")),
      expected);
  ExpectNet(UpgradeNet(
                Net("input: 'data' input_shape { dim: 1 dim: 3 dim: 4 dim: 5 }"
                    " input: 'info' input_shape { dim: 2 dim: 1 dim: 1 dim: 6 }"
                    " layer { name: 'a' bottom: 'data' top: 'a' }")),
            expected);
}

TEST(UpgradeNetTest, InputsWithoutShapesAreDropped) {
  ExpectNet(UpgradeNet(Net("input: 'data' layer { name: 'a' }")),
            "layer { name: 'a' }");
}

TEST(UpgradeNetTest, InputShapesMustMatch) {
  EXPECT_THAT(Message(UpgradeNet(Net("input: 'd' input_dim: 1 input_dim: 2"))),
              HasSubstr("2 input_dim"));
  EXPECT_THAT(
      Message(UpgradeNet(Net("input: 'd' input: 'e' input_shape { dim: 1 }"))),
      HasSubstr("1 input_shape"));
}

TEST(UpgradeNetTest, BatchNormMultipliersBecomeZero) {
  ExpectNet(UpgradeNet(Net("layer { name: 'b' type: 'BatchNorm'"
                           " param { lr_mult: 1 } param { } param { } }")),
            "layer { name: 'b' type: 'BatchNorm'"
            " param { lr_mult: 0 decay_mult: 0 }"
            " param { lr_mult: 0 decay_mult: 0 }"
            " param { lr_mult: 0 decay_mult: 0 } }");
}

// ---- A solver's nets -----------------------------------------------------

TEST(ResolveNetsTest, TrainStateIsMergedInOrder) {
  const auto train = ResolveTrainNet(
      Solver("net_param { name: 'n' state { level: 2 stage: 'own' } }"
             " train_state { level: 5 stage: 'solver' }"));
  ASSERT_TRUE(train.ok());
  const caffe::NetState& state = train->net.state();
  EXPECT_EQ(state.phase(), caffe::TRAIN);
  EXPECT_EQ(state.level(), 5);
  EXPECT_THAT(state.stage(), ElementsAre("own", "solver"));
}

TEST(ResolveNetsTest, ExactlyOneTrainNet) {
  EXPECT_THAT(Message(ResolveTrainNet(Solver("base_lr: 1"))),
              HasSubstr("no train net"));
  EXPECT_THAT(Message(ResolveTrainNet(Solver(
                  "net_param { name: 'a' } train_net_param { name: 'b' }"))),
              HasSubstr("two train nets"));
  EXPECT_EQ(ResolveTrainNet(Solver("net: 'file'")).status().code(),
            absl::StatusCode::kFailedPrecondition);
}

TEST(ResolveNetsTest, TestNetsInCaffesOrder) {
  const auto tests = ResolveTestNets(Solver(
      "net_param { name: 'generic' } test_interval: 1"
      " test_net_param { name: 'own0' } test_net_param { name: 'own1' }"
      " test_iter: 1 test_iter: 2 test_iter: 3 test_iter: 4"
      " test_state { } test_state { stage: 's1' } test_state { level: 2 }"
      " test_state { phase: TRAIN }"));
  ASSERT_TRUE(tests.ok()) << tests.status();
  std::vector<std::string> names;
  for (const SolverNet& test : *tests) names.push_back(test.net.name());
  EXPECT_THAT(names, ElementsAre("own0", "own1", "generic", "generic"));
  EXPECT_EQ((*tests)[1].source, "test_net_param #1");
  EXPECT_THAT((*tests)[1].net.state().stage(), ElementsAre("s1"));
  EXPECT_EQ((*tests)[2].net.state().phase(), caffe::TEST);
  EXPECT_EQ((*tests)[2].net.state().level(), 2);
  EXPECT_EQ((*tests)[2].test_iter, 3);
  EXPECT_EQ((*tests)[3].net.state().phase(), caffe::TRAIN);
}

TEST(ResolveNetsTest, NumbersMustFit) {
  const std::string net = "net_param { name: 'n' } test_interval: 1 ";
  const std::string own = "test_net_param { name: 't' } test_interval: 1 ";
  EXPECT_TRUE(ResolveTestNets(Solver(net)).value().empty());
  EXPECT_THAT(Message(ResolveTestNets(Solver(own))), HasSubstr("test_iter"));
  EXPECT_THAT(
      Message(ResolveTestNets(Solver(own + "test_iter: 1 test_iter: 1"))),
      HasSubstr("1 test nets and 2 test_iter"));
  EXPECT_THAT(Message(ResolveTestNets(
                  Solver(net + "test_iter: 1 test_state { } test_state { }"))),
              HasSubstr("2 test_state"));
  EXPECT_THAT(
      Message(ResolveTestNets(Solver("net_param { name: 'n' } test_iter: 1"))),
      HasSubstr("test_interval"));
  EXPECT_THAT(Message(ResolveTestNets(Solver(net + "test_iter: 0"))),
              HasSubstr("test_iter must be > 0"));
}

}  // namespace
}  // namespace cssp
