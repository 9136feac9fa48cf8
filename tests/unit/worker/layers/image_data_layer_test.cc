// ImageData, encoded records of Data, and how threads and shapes behave.
#include <gmock/gmock.h>

#include <cmath>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/model_file/prototxt.h"
#include "tests/testing/layer_runner.h"
#include "tests/unit/worker/data/image_testing.h"
#include "worker/layers/builtin_layers.h"
#include "worker/net/net.h"

namespace cssp::testing {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

// Images 0 .. 5 of one colour each, value 10 i, label i; a list of them.
class ImageDataLayerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string list;
    for (int i = 0; i < 6; ++i) {
      const std::string name = absl::StrCat("image ", i, ".png");
      WritePng(folder_ / name, Flat(10 * i, 4, 5));
      absl::StrAppend(&list, name, " ", i, "\n");
    }
    WriteFile(list_(), list);
  }
  std::string list_() const { return folder_ / "list.txt"; }
  std::string Text(const std::string& data,
                   const std::string& more = "") const {
    return absl::StrCat(
        "name: 'd' type: 'ImageData' top: 'data' top: 'label' "
        "image_data_param { source: '",
        list_(), "' root_folder: '", folder_.path(), "/' ", data, " } ", more);
  }
  static std::unique_ptr<LayerRunner> Make(const std::string& text) {
    auto runner = LayerRunner::Create(text, caffe::TRAIN, {});
    EXPECT_TRUE(runner.ok()) << runner.status();
    return runner.ok() ? *std::move(runner) : nullptr;
  }
  static std::string Error(const std::string& text) {
    auto runner = LayerRunner::Create(text, caffe::TRAIN, {});
    if (!runner.ok()) return std::string(runner.status().message());
    return std::string((*runner)->Forward().message());
  }
  TempFolder folder_;
};

TEST_F(ImageDataLayerTest, GivesImagesAsPlanesWithTheirLabels) {
  const auto runner = Make(Text("batch_size: 2"));
  ASSERT_NE(runner, nullptr);
  EXPECT_EQ(runner->top_shapes()[0], Shape({2, 3, 4, 5}));
  EXPECT_EQ(runner->top_shapes()[1], Shape({2}));
  runner->state().first_record = 3;
  ASSERT_TRUE(runner->Forward().ok());
  EXPECT_THAT(runner->top[1], ElementsAre(3, 4));
  EXPECT_EQ(runner->top[0][0], 30);       // blue
  EXPECT_EQ(runner->top[0][2 * 20], 32);  // red
  EXPECT_EQ(runner->top[0][60 + 20], 41);
}

TEST_F(ImageDataLayerTest, ResizesCropsAndTurnsGray) {
  const auto runner =
      Make(Text("batch_size: 3 new_height: 8 new_width: 6 is_color: false",
                "transform_param { crop_size: 5 scale: 0.5 mean_value: 1 }"));
  ASSERT_NE(runner, nullptr);
  EXPECT_EQ(runner->top_shapes()[0], Shape({3, 1, 5, 5}));
  ASSERT_TRUE(runner->Forward().ok());
  EXPECT_NEAR(runner->top[0][25], (11.2 - 1) * 0.5, 0.51);
}

TEST_F(ImageDataLayerTest, ShufflesBySeedAndEpoch) {
  const auto a = Make(Text("batch_size: 6 shuffle: true"));
  const auto b = Make(Text("batch_size: 6 shuffle: true"));
  ASSERT_TRUE(a->Forward().ok() && b->Forward().ok());
  const Values first = a->top[1];
  EXPECT_EQ(first, b->top[1]);
  EXPECT_THAT(first, ::testing::UnorderedElementsAre(0, 1, 2, 3, 4, 5));
  a->state().first_record = 6;
  ASSERT_TRUE(a->Forward().ok());
  EXPECT_NE(a->top[1], first);
  b->state().seed = 5;
  ASSERT_TRUE(b->Forward().ok());
  EXPECT_NE(b->top[1], first);
}

TEST_F(ImageDataLayerTest, SkipsADrawnNumberOfImagesFirst) {
  const auto runner = Make(Text("batch_size: 1 rand_skip: 4"));
  ASSERT_NE(runner, nullptr);
  std::set<float> begins;
  for (uint64_t seed = 0; seed < 40; ++seed) {
    runner->state().seed = seed;
    runner->state().first_record = 0;
    ASSERT_TRUE(runner->Forward().ok());
    const float first = runner->top[1][0];
    begins.insert(first);
    runner->state().first_record = 5;  // goes round
    ASSERT_TRUE(runner->Forward().ok());
    EXPECT_EQ(runner->top[1][0], std::fmod(first + 5, 6));
  }
  EXPECT_THAT(begins, ElementsAre(0, 1, 2, 3));
}

TEST_F(ImageDataLayerTest, SaysWhatIsWrongAndWhere) {
  EXPECT_THAT(Error(Text("batch_size: 0")), HasSubstr("batch_size"));
  EXPECT_THAT(Error(Text("new_height: 3")), HasSubstr("new_width"));
  EXPECT_THAT(Error("type: 'ImageData' top: 'x' top: 'y'"),
              HasSubstr("source"));
  EXPECT_THAT(Error("type: 'ImageData' top: 'x' top: 'y' image_data_param { "
                    "source: '/no/list' }"),
              HasSubstr("/no/list"));
  WriteFile(list_(), "image 0.png 0\n\nimage 9.png 1\n");
  EXPECT_THAT(Error(Text("batch_size: 2")),
              AllOf(HasSubstr("list.txt:3"), HasSubstr("image 9.png")));
  WriteFile(folder_ / "image 0.png", "no image");
  EXPECT_THAT(Error(Text("batch_size: 1")),
              AllOf(HasSubstr("list.txt:1"), HasSubstr("neither a JPEG")));
  WriteFile(list_(), "image 1.png 0\nimage 1.png\n");
  EXPECT_THAT(Error(Text("batch_size: 1")), HasSubstr("list.txt:2"));
  WriteFile(list_(), "\n");
  EXPECT_THAT(Error(Text("batch_size: 1")), HasSubstr("no images"));
}

TEST_F(ImageDataLayerTest, NeedsBothTops) {
  EXPECT_THAT(
      Error(absl::StrCat("type: 'ImageData' top: 'x' image_data_param "
                         "{ source: '",
                         list_(), "' root_folder: '", folder_.path(), "/' }")),
      HasSubstr("two tops"));
}

// Through a net: each image has its own size, and the net follows.
TEST_F(ImageDataLayerTest, ReshapesTheNetPerBatch) {
  WritePng(folder_ / "image 1.png", Flat(10, 7, 3));
  caffe::NetParameter param;
  const std::string text = absl::StrCat(
      "layer { ", Text("batch_size: 1"),
      " } layer { name: 'sum' type: "
      "'Reduction' bottom: 'data' top: 'sum' } layer { name: 's' type: "
      "'Silence' bottom: 'label' }");
  ASSERT_TRUE(ParseText(text, "net", &param).ok());
  LayerRegistry layers;
  ASSERT_TRUE(RegisterCpuLayers(layers).ok());
  const std::unique_ptr<Device> device = MakeCpuDevice(1);
  auto net = Net::Create(param, layers, *device, {});
  ASSERT_TRUE(net.ok()) << net.status();
  StepState state;
  for (const int image : {0, 1, 2, 1, 0}) {
    state.first_record = image;
    ASSERT_TRUE((*net)->Forward(state, nullptr).ok());
    const Shape shape = image == 1 ? Shape({1, 3, 7, 3}) : Shape({1, 3, 4, 5});
    EXPECT_EQ((*net)->blob("data")->shape(), shape);
    EXPECT_EQ((*net)->blob("sum")->data()[0],
              static_cast<float>(shape.count() * (10 * image + 1)));
  }
}

TEST_F(ImageDataLayerTest, RefusesABatchOfSeveralSizes) {
  WritePng(folder_ / "image 1.png", Flat(10, 7, 3));
  EXPECT_THAT(Error(Text("batch_size: 2")),
              AllOf(HasSubstr("record 1"), HasSubstr("new_height")));
}

// Decoded by one thread or by many: the same batches, whatever the order asked.
TEST_F(ImageDataLayerTest, ThreadsChangeNothing) {
  std::vector<std::vector<Values>> seen;
  for (const int threads : {1, 2, 4}) {
    LayerRegistry layers;
    ASSERT_TRUE(RegisterCpuLayers(layers, {.threads = threads}).ok());
    const std::unique_ptr<Device> device = MakeCpuDevice(1);
    caffe::NetParameter param;
    ASSERT_TRUE(
        ParseText(absl::StrCat("layer { ",
                               Text("batch_size: 4 shuffle: true",
                                    "transform_param { crop_size: 3 mirror: "
                                    "true }"),
                               " }"),
                  "net", &param)
            .ok());
    auto net = Net::Create(param, layers, *device, {});
    ASSERT_TRUE(net.ok()) << net.status();
    seen.emplace_back();
    StepState state;
    state.seed = 3;
    for (const int64_t first : {0, 4, 8, 12, 16, 40, 44, 4}) {
      state.first_record = first;
      ASSERT_TRUE((*net)->Forward(state, nullptr).ok());
      for (const char* blob : {"data", "label"}) {
        const auto data = (*net)->blob(blob)->data();
        seen.back().emplace_back(data.begin(), data.end());
      }
    }
  }
  EXPECT_EQ(seen[0], seen[1]);
  EXPECT_EQ(seen[0], seen[2]);
}

class EncodedDataLayerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto writer = CreateBase(BaseFormat::kLmdb, folder_ / "base");
    ASSERT_TRUE(writer.ok());
    for (int i = 0; i < 3; ++i) {
      caffe::Datum datum;
      const auto bytes = EncodeImage(Flat(20 * i, 4, 4), ImageFormat::kPng);
      ASSERT_TRUE(bytes.ok());
      datum.set_data(*bytes);
      datum.set_encoded(true);
      datum.set_label(i);
      ASSERT_TRUE(
          (*writer)->Put(absl::StrCat(i), datum.SerializeAsString()).ok());
    }
    ASSERT_TRUE((*writer)->Commit().ok());
  }
  absl::StatusOr<std::unique_ptr<LayerRunner>> Make(
      const std::string& data, const std::string& transform) {
    return LayerRunner::Create(
        absl::StrCat(
            "type: 'Data' top: 'x' top: 'y' data_param { backend: LMDB "
            "batch_size: 2 source: '",
            folder_ / "base", "' ", data, " } transform_param { ", transform,
            " }"),
        caffe::TRAIN, {});
  }
  TempFolder folder_;
};

TEST_F(EncodedDataLayerTest, IsDecoded) {
  auto runner = Make("", "scale: 0.5");
  ASSERT_TRUE(runner.ok()) << runner.status();
  EXPECT_EQ((*runner)->top_shapes()[0], Shape({2, 3, 4, 4}));
  (*runner)->state().first_record = 1;
  ASSERT_TRUE((*runner)->Forward().ok());
  EXPECT_EQ((*runner)->top[0][16], 10.5f);
  EXPECT_THAT((*runner)->top[1], ElementsAre(1, 2));
}

TEST_F(EncodedDataLayerTest, ColourIsForced) {
  auto gray = Make("", "force_gray: true");
  ASSERT_TRUE(gray.ok()) << gray.status();
  EXPECT_EQ((*gray)->top_shapes()[0], Shape({2, 1, 4, 4}));
  for (const auto& [data, transform] :
       {std::pair("force_encoded_color: true", ""),
        std::pair("", "force_color: true")}) {
    auto color = Make(data, transform);
    ASSERT_TRUE(color.ok()) << color.status();
    EXPECT_EQ((*color)->top_shapes()[0], Shape({2, 3, 4, 4}));
  }
}

}  // namespace
}  // namespace cssp::testing
