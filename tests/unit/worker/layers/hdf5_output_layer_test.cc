// HDF5Output.
#include <gmock/gmock.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/model_file/hdf5_rows.h"
#include "tests/testing/layer_runner.h"
#include "tests/unit/worker/data/data_testing.h"
#include "worker/layers/builtin_layers.h"

namespace cssp::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class Hdf5OutputLayerTest : public ::testing::Test {
 protected:
  std::string Text() const {
    return absl::StrCat("type: 'HDF5Output' hdf5_output_param { file_name: '",
                        folder_ / "out.h5", "' }");
  }
  TempFolder folder_;
};

// LayerRunner adds a top, which this layer does not have: it is run by hand.
TEST_F(Hdf5OutputLayerTest, EachForwardAddsItsItems) {
  LayerRegistry layers;
  ASSERT_TRUE(RegisterCpuLayers(layers).ok());
  const std::unique_ptr<Device> device = MakeCpuDevice(1);
  auto layer = layers.Create(ParseLayer(Text()), {.device = device.get()});
  ASSERT_TRUE(layer.ok()) << layer.status();
  const std::vector<Shape> shapes{Shape({2, 3}), Shape({2})};
  ASSERT_TRUE((*layer)->SetUp(shapes).ok());
  ASSERT_TRUE((*layer)->InferShapes(shapes).ok());
  const TensorDesc data_desc{.shape = shapes[0]},
      label_desc{.shape = shapes[1]};
  const auto stream = device->NewStream();
  const StepState state;
  for (int pass = 0; pass < 3; ++pass) {
    const Values data(6, static_cast<float>(pass));
    const Values label{1, static_cast<float>(pass)};
    const std::vector<ConstTensor> bottom{{&data_desc, data.data()},
                                          {&label_desc, label.data()}};
    StepContext step(**stream, {}, state, 0);
    ASSERT_TRUE((*layer)->Forward(step, {.bottom = bottom}).ok());
  }
  const std::string names[] = {"data", "label"};
  const auto extents = ReadHdf5Extents(folder_ / "out.h5", names);
  ASSERT_TRUE(extents.ok()) << extents.status();
  EXPECT_THAT((*extents)[0], ElementsAre(6, 3, 1, 1));
  EXPECT_THAT((*extents)[1], ElementsAre(6, 1, 1, 1));
  const auto values = ReadHdf5Values(folder_ / "out.h5", names);
  ASSERT_TRUE(values.ok()) << values.status();
  EXPECT_EQ((*values)[0][17], 2);
  EXPECT_THAT((*values)[1], ElementsAre(1, 0, 1, 1, 1, 2));
}

TEST_F(Hdf5OutputLayerTest, SaysWhatIsWrong) {
  const auto refused = [](const std::string& text, std::vector<Shape> bottom) {
    const auto runner = LayerRunner::Create(text, caffe::TRAIN, bottom);
    return std::string(runner.status().message());
  };
  const std::vector<Shape> shapes{Shape({2, 3}), Shape({2})};
  EXPECT_THAT(refused("type: 'HDF5Output'", shapes), HasSubstr("file_name"));
  EXPECT_THAT(refused("type: 'HDF5Output' hdf5_output_param { file_name: "
                      "'/no/such/folder/x.h5' }",
                      shapes),
              HasSubstr("/no/such/folder/x.h5"));
  EXPECT_THAT(refused(Text(), {Shape({2, 3}), Shape({3})}),
              HasSubstr("2 and 3 items"));
}

}  // namespace
}  // namespace cssp::testing
