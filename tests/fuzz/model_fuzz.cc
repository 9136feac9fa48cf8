#include "tests/fuzz/model_fuzz.h"

#include <memory>
#include <vector>

#include "common/model_file/blob_proto.h"
#include "glog/logging.h"
#include "google/protobuf/text_format.h"
#include "worker/layers/builtin_layers.h"
#include "worker/net/net.h"
#include "worker/net/net_passes.h"

namespace cssp::testing {
namespace {

constexpr char kNet[] = R"(
  layer { name: "data" type: "Input" top: "data"
    input_param { shape { dim: 1 dim: 2 dim: 4 dim: 4 } } }
  layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
    convolution_param { num_output: 2 kernel_size: 3 } }
  layer { name: "bn" type: "BatchNorm" bottom: "conv" top: "bn" }
  layer { name: "ip" type: "InnerProduct" bottom: "bn" top: "ip"
    inner_product_param { num_output: 3 } })";

// What a model is loaded into; made once, never destroyed.
struct Target {
  LayerRegistry registry;
  std::unique_ptr<Device> device = MakeCpuDevice(1);
  std::unique_ptr<Net> net;

  Target() {
    CHECK(RegisterCpuLayers(registry).ok());
    caffe::NetParameter param;
    CHECK(google::protobuf::TextFormat::ParseFromString(kNet, &param));
    NetOptions options;
    options.log_creation = false;
    auto made = Net::Create(param, registry, *device, options);
    CHECK(made.ok()) << made.status();
    net = *std::move(made);
  }
};

void FuzzBlob(const caffe::BlobProto& blob) {
  const auto shape = BlobShapeOf(blob);
  if (!shape.ok()) return;
  BlobShapeEquals(blob, *shape);
  // Memory only for values that are there.
  if (shape->count() != BlobDataCount(blob)) return;
  std::vector<float> values(shape->count());
  ReadBlobData(blob, absl::MakeSpan(values)).IgnoreError();
  ReadBlobDiff(blob, absl::MakeSpan(values)).IgnoreError();
}

}  // namespace

void FuzzModel(const caffe::NetParameter& model) {
  static Target& target = *new Target;
  const auto upgraded = UpgradeNet(model);
  if (!upgraded.ok()) return;
  for (const caffe::LayerParameter& layer : upgraded->layer()) {
    for (const caffe::BlobProto& blob : layer.blobs()) FuzzBlob(blob);
  }
  target.net->LoadWeights(*upgraded).IgnoreError();
}

}  // namespace cssp::testing
