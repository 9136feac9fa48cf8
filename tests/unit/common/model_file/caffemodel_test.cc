#include "common/model_file/caffemodel.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <hdf5.h>

#include "common/model_file/blob_proto.h"
#include "tests/unit/common/model_file/scratch_folder.h"

namespace cssp {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

void AddLayer(const std::string& name, const Shape& shape, float first,
              caffe::NetParameter* net) {
  caffe::LayerParameter* layer = net->add_layer();
  layer->set_name(name);
  std::vector<float> data(shape.count()), diff(shape.count());
  for (size_t i = 0; i < data.size(); ++i) {
    data[i] = first + i;
    diff[i] = -data[i];
  }
  WriteBlob(shape, data, diff, layer->add_blobs());
}

caffe::NetParameter TwoLayers() {
  caffe::NetParameter net;
  net.set_name("two");
  AddLayer("conv1", Shape{2, 3}, 1, &net);
  AddLayer("inception/1x1", Shape{4}, 10, &net);
  net.add_layer()->set_name("relu");  // no parameters
  return net;
}

const caffe::LayerParameter* Find(const caffe::NetParameter& net,
                                  const std::string& name) {
  for (const auto& layer : net.layer())
    if (layer.name() == name) return &layer;
  return nullptr;
}

TEST(CaffemodelTest, ProtobufRoundTrip) {
  const ScratchFolder folder;
  const std::string path = folder.Path("n.caffemodel");
  ASSERT_TRUE(WriteCaffemodel(TwoLayers(), path).ok());
  EXPECT_EQ(folder.Count(), 1);  // no temporary file is left
  EXPECT_EQ(ReadCaffemodel(path)->SerializeAsString(),
            TwoLayers().SerializeAsString());
}

TEST(CaffemodelTest, EveryTruncationIsNoticedOrHoldsWholeLayers) {
  const ScratchFolder folder;
  const std::string bytes = TwoLayers().SerializeAsString();
  int refused = 0;
  for (size_t size = 0; size < bytes.size(); ++size) {
    const auto net = ReadCaffemodel(folder.Write("cut", bytes.substr(0, size)));
    if (!net.ok()) {
      ++refused;
      continue;
    }
    for (int i = 0; i < net->layer_size(); ++i)
      EXPECT_EQ(net->layer(i).SerializeAsString(),
                TwoLayers().layer(i).SerializeAsString());
  }
  EXPECT_GT(refused, static_cast<int>(bytes.size()) - 4);
}

TEST(CaffemodelTest, OneClearLine) {
  const ScratchFolder folder;
  const auto missing = ReadCaffemodel(folder.Path("none"));
  EXPECT_EQ(missing.status().code(), absl::StatusCode::kNotFound);
  const auto empty = ReadCaffemodel(folder.Write("empty", ""));
  EXPECT_EQ(empty.status().code(), absl::StatusCode::kDataLoss);
  const auto text = ReadCaffemodel(folder.Write("t", "name: 'a prototxt'\n"));
  EXPECT_EQ(text.status().code(), absl::StatusCode::kDataLoss);
  caffe::SolverState state;
  state.set_iter(5);
  state.add_history()->add_data(1);
  const auto wrong =
      ReadCaffemodel(folder.Write("s", state.SerializeAsString()));
  EXPECT_EQ(wrong.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(wrong.status().message()),
              HasSubstr("is it a .caffemodel?"));
}

TEST(CaffemodelTest, WritingToNoFolderFails) {
  const ScratchFolder folder;
  const absl::Status status =
      WriteCaffemodel(TwoLayers(), folder.Path("none/n.caffemodel"));
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(
      WriteCaffemodel(TwoLayers(), folder.Path("none/n.caffemodel.h5")).code(),
      absl::StatusCode::kNotFound);
}

TEST(CaffemodelTest, AFailedWriteLeavesTheOldFile) {
  const ScratchFolder folder;
  const std::string path = folder.Path("n.caffemodel.h5");
  ASSERT_TRUE(WriteCaffemodel(TwoLayers(), path).ok());
  const std::string before = ScratchFolder::Read(path);
  caffe::NetParameter broken = TwoLayers();
  broken.mutable_layer(1)->mutable_blobs(0)->add_data(1);  // beyond its shape
  EXPECT_FALSE(WriteCaffemodel(broken, path).ok());
  EXPECT_EQ(ScratchFolder::Read(path), before);
  EXPECT_EQ(folder.Count(), 1);
}

TEST(CaffemodelTest, Hdf5RoundTripKeepsValuesAndNames) {
  const ScratchFolder folder;
  const std::string path = folder.Path("n.caffemodel.h5");
  ASSERT_TRUE(WriteCaffemodel(TwoLayers(), path).ok());
  const auto net = ReadCaffemodel(path);
  ASSERT_TRUE(net.ok()) << net.status();
  EXPECT_EQ(net->layer_size(), 3);
  const auto* conv = Find(*net, "conv1");
  ASSERT_NE(conv, nullptr);
  EXPECT_THAT(conv->blobs(0).shape().dim(), ElementsAre(2, 3));
  EXPECT_THAT(conv->blobs(0).data(), ElementsAre(1, 2, 3, 4, 5, 6));
  const auto* nested = Find(*net, "inception/1x1");
  ASSERT_NE(nested, nullptr);
  EXPECT_THAT(nested->blobs(0).data(), ElementsAre(10, 11, 12, 13));
  ASSERT_NE(Find(*net, "relu"), nullptr);
  EXPECT_EQ(Find(*net, "relu")->blobs_size(), 0);
}

// What Caffe's own reader would look for, through the library alone.
TEST(CaffemodelTest, Hdf5LayoutIsCaffes) {
  const ScratchFolder folder;
  const std::string path = folder.Path("n.caffemodel.h5");
  ASSERT_TRUE(WriteCaffemodel(TwoLayers(), path).ok());
  const hid_t file = H5Fopen(path.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT);
  ASSERT_GE(file, 0);
  for (const char* name : {"/data/conv1/0", "/diff/conv1/0"}) {
    const hid_t array = H5Dopen2(file, name, H5P_DEFAULT);
    ASSERT_GE(array, 0) << name;
    float values[6] = {};
    EXPECT_GE(
        H5Dread(array, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, values),
        0);
    EXPECT_EQ(std::abs(values[5]), 6);
    H5Dclose(array);
  }
  H5Fclose(file);
}

TEST(CaffemodelTest, Hdf5StoresASharedParameterOnce) {
  const ScratchFolder folder;
  caffe::NetParameter net;
  AddLayer("a", Shape{2}, 1, &net);
  AddLayer("b", Shape{2}, 1, &net);
  WriteBlob(Shape{1}, {7.0f}, {}, net.mutable_layer(1)->add_blobs());
  for (auto& layer : *net.mutable_layer()) layer.add_param()->set_name("w");
  const std::string path = folder.Path("n.caffemodel.h5");
  ASSERT_TRUE(WriteCaffemodel(net, path).ok());
  const auto read = ReadCaffemodel(path);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(Find(*read, "a")->blobs(0).data_size(), 2);
  ASSERT_EQ(Find(*read, "b")->blobs_size(), 2);
  EXPECT_FALSE(Find(*read, "b")->blobs(0).has_shape());
  EXPECT_EQ(Find(*read, "b")->blobs(0).data_size(), 0);
  EXPECT_THAT(Find(*read, "b")->blobs(1).data(), ElementsAre(7));
}

TEST(CaffemodelTest, TruncatedHdf5IsRefused) {
  const ScratchFolder folder;
  const std::string path = folder.Path("n.caffemodel.h5");
  ASSERT_TRUE(WriteCaffemodel(TwoLayers(), path).ok());
  const std::string bytes = ScratchFolder::Read(path);
  for (size_t size : {bytes.size() / 2, bytes.size() - 1, size_t{100}}) {
    const auto cut =
        ReadCaffemodel(folder.Write("c.h5", bytes.substr(0, size)));
    EXPECT_EQ(cut.status().code(), absl::StatusCode::kDataLoss) << size;
  }
}

// A dataset may claim any shape without holding a byte.
TEST(CaffemodelTest, Hdf5ClaimsAreBounded) {
  const ScratchFolder folder;
  const std::string path = folder.Path("bomb.h5");
  const hid_t file =
      H5Fcreate(path.c_str(), H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
  const hid_t data =
      H5Gcreate2(file, "data", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
  const hid_t layer =
      H5Gcreate2(data, "a", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
  const hsize_t extent = 1 << 30;
  const hid_t space = H5Screate_simple(1, &extent, nullptr);
  H5Dclose(H5Dcreate2(layer, "0", H5T_IEEE_F32LE, space, H5P_DEFAULT,
                      H5P_DEFAULT, H5P_DEFAULT));
  H5Sclose(space);
  H5Gclose(layer);
  H5Gclose(data);
  H5Fclose(file);
  const auto net = ReadCaffemodel(path);
  EXPECT_EQ(net.status().code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(net.status().message()), HasSubstr("layer 'a'"));
}

}  // namespace
}  // namespace cssp
