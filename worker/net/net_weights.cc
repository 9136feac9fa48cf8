// Weights in and out of a net: BVLC's rules for .caffemodel.
#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/logging.h"
#include "common/base/status_macros.h"
#include "common/model_file/blob_proto.h"
#include "worker/net/net_impl.h"
#include "worker/net/net_passes.h"

namespace cssp {
namespace {

// A blob to be written, once all have been checked.
struct Load {
  int param = 0;
  const caffe::BlobProto* from = nullptr;
};

std::string ShapeText(const caffe::BlobProto& blob) {
  std::string text;
  if (HasLegacyShape(blob))
    return absl::StrCat(blob.num(), " ", blob.channels(), " ", blob.height(),
                        " ", blob.width());
  for (int64_t dim : blob.shape().dim())
    absl::StrAppend(&text, text.empty() ? "" : " ", dim);
  return text;
}

absl::Status CheckBlob(const Shape& shape, int index,
                       const caffe::BlobProto& blob) {
  if (!BlobShapeEquals(blob, shape))
    return absl::InvalidArgumentError(absl::StrCat(
        "cannot copy param ", index, ": shape mismatch; the source's shape is ",
        ShapeText(blob), ", this net needs ", shape.ToString(),
        "; to learn this layer from scratch, rename it"));
  const int64_t values = BlobDataCount(blob);
  if (values != shape.count())
    return absl::InvalidArgumentError(
        absl::StrCat("cannot copy param ", index, ": its blob holds ", values,
                     " values, its shape asks for ", shape.count()));
  return absl::OkStatus();
}

// HDF5 files store a parameter that is shared by name with its owner alone.
bool LeftToItsOwner(const NetGraph& graph, int l, int index,
                    const caffe::LayerParameter& source) {
  const NetParam& param = graph.params[graph.layers[l].param[index]];
  if (param.layer == l && param.index == index) return false;
  return index >= source.blobs_size() ||
         (BlobDataCount(source.blobs(index)) == 0 &&
          !source.blobs(index).has_shape());
}

// What one source layer brings, checked.
absl::Status Collect(const NetGraph& graph, int l,
                     const caffe::LayerParameter& source,
                     std::vector<Load>& loads) {
  const GraphLayer& layer = graph.layers[l];
  const int params = static_cast<int>(layer.param.size());
  int brought = 0;
  for (int i = 0; i < params; ++i)
    brought += i < source.blobs_size() || LeftToItsOwner(graph, l, i, source);
  if (source.blobs_size() > params || brought < params)
    return absl::InvalidArgumentError(
        absl::StrCat("incompatible number of blobs: the source has ",
                     source.blobs_size(), ", this net needs ", params));
  for (int i = 0; i < params; ++i) {
    if (LeftToItsOwner(graph, l, i, source)) continue;
    RETURN_IF_ERROR(CheckBlob(layer.layer->param_declarations()[i].shape, i,
                              source.blobs(i)));
    loads.push_back({layer.param[i], &source.blobs(i)});
  }
  return absl::OkStatus();
}

absl::Status CopyIn(Net::Impl& net, const std::vector<Load>& loads) {
  RETURN_IF_ERROR(net.params->SettleUploads());
  for (const Load& load : loads) {
    std::vector<float> values(BlobDataCount(*load.from));
    RETURN_IF_ERROR(ReadBlobData(*load.from, absl::MakeSpan(values)));
    std::copy(values.begin(), values.end(),
              net.params->host_weight(load.param));
    net.params->Changed(load.param, 1);
  }
  return absl::OkStatus();
}

int FindLayer(const NetGraph& graph, const std::string& name) {
  for (size_t l = 0; l < graph.layers.size(); ++l) {
    if (graph.layers[l].layer->name() == name) return static_cast<int>(l);
  }
  return -1;
}

}  // namespace

absl::Status LoadLayerBlobs(Net::Impl& net) {
  std::vector<Load> loads;
  for (size_t l = 0; l < net.graph.layers.size(); ++l) {
    const auto& param = net.graph.layers[l].layer->layer_param();
    if (param.blobs_size() == 0) continue;
    RETURN_IF_ERROR(net.graph.Annotated(
        Collect(net.graph, static_cast<int>(l), param, loads), l));
  }
  if (loads.empty()) return absl::OkStatus();
  return CopyIn(net, loads);
}

absl::Status Net::LoadWeights(const caffe::NetParameter& trained) {
  caffe::NetParameter upgraded;
  const caffe::NetParameter* source = &trained;
  if (trained.layers_size() > 0) {  // an old file
    ASSIGN_OR_RETURN(upgraded, UpgradeNet(trained));
    source = &upgraded;
  }
  std::vector<Load> loads;
  for (const caffe::LayerParameter& layer : source->layer()) {
    const int l = FindLayer(impl_->graph, layer.name());
    if (l < 0) {
      if (impl_->options.log_creation)
        LOG(INFO) << "Ignoring source layer " << layer.name();
      continue;
    }
    RETURN_IF_ERROR(
        impl_->graph.Annotated(Collect(impl_->graph, l, layer, loads), l));
  }
  return CopyIn(*impl_, loads);
}

caffe::NetParameter Net::ToProto(bool with_gradients) const {
  caffe::NetParameter proto;
  proto.set_name(impl_->graph.name);
  absl::Span<float> gradients;
  if (with_gradients && impl_->params->has_gradients()) {
    const auto fetched = impl_->executor->Gradients(last_generation());
    CHECK(fetched.ok()) << fetched.status();
    gradients = *fetched;
  }
  for (const GraphLayer& layer : impl_->graph.layers) {
    caffe::LayerParameter& out = *proto.add_layer();
    out = layer.layer->layer_param();
    out.clear_blobs();
    for (size_t i = 0; i < layer.param.size(); ++i) {
      const int param = layer.param[i];
      const Shape& shape = layer.layer->param_declarations()[i].shape;
      caffe::BlobProto& blob = *out.add_blobs();
      for (int64_t dim : shape.dims()) blob.mutable_shape()->add_dim(dim);
      const float* weight = impl_->params->host_weight(param);
      blob.mutable_data()->Add(weight, weight + shape.count());
      if (gradients.empty()) continue;
      const float* gradient =
          gradients.data() + impl_->graph.params[param].offset;
      blob.mutable_diff()->Add(gradient, gradient + shape.count());
    }
  }
  return proto;
}

}  // namespace cssp
