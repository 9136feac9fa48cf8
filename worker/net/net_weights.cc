// Weights in and out of a net: BVLC's rules for .caffemodel.
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/logging.h"
#include "common/base/status_macros.h"
#include "worker/net/net_impl.h"
#include "worker/net/net_passes.h"

namespace cssp {
namespace {

// A blob to be written, once all have been checked.
struct Load {
  int param = 0;
  const caffe::BlobProto* from = nullptr;
};

bool HasLegacyShape(const caffe::BlobProto& blob) {
  return blob.has_num() || blob.has_channels() || blob.has_height() ||
         blob.has_width();
}

// The legacy 4-axis form equals any shape that it equals without leading 1s.
bool ShapeEquals(const Shape& shape, const caffe::BlobProto& blob) {
  if (!HasLegacyShape(blob)) {
    const auto& dims = blob.shape().dim();
    return shape.dims() == absl::MakeConstSpan(dims.data(), dims.size());
  }
  if (shape.num_axes() > 4) return false;
  const int64_t legacy[4] = {blob.num(), blob.channels(), blob.height(),
                             blob.width()};
  const int missing = 4 - shape.num_axes();
  for (int i = 0; i < 4; ++i) {
    if (legacy[i] != (i < missing ? 1 : shape.dim(i - missing))) return false;
  }
  return true;
}

std::string ShapeText(const caffe::BlobProto& blob) {
  std::string text;
  if (HasLegacyShape(blob))
    return absl::StrCat(blob.num(), " ", blob.channels(), " ", blob.height(),
                        " ", blob.width());
  for (int64_t dim : blob.shape().dim())
    absl::StrAppend(&text, text.empty() ? "" : " ", dim);
  return text;
}

absl::Status CheckBlob(const NetParam& param, const Shape& shape, int index,
                       const caffe::BlobProto& blob) {
  if (!ShapeEquals(shape, blob))
    return absl::InvalidArgumentError(absl::StrCat(
        "cannot copy param ", index, ": shape mismatch; the source's shape is ",
        ShapeText(blob), ", this net needs ", shape.ToString(),
        "; to learn this layer from scratch, rename it"));
  const int64_t values =
      blob.double_data_size() > 0 ? blob.double_data_size() : blob.data_size();
  if (values != shape.count())
    return absl::InvalidArgumentError(
        absl::StrCat("cannot copy param ", index, ": its blob holds ", values,
                     " values, its shape asks for ", shape.count()));
  return absl::OkStatus();
}

std::vector<float> Values(const caffe::BlobProto& blob) {
  if (blob.double_data_size() > 0)
    return {blob.double_data().begin(), blob.double_data().end()};
  return {blob.data().begin(), blob.data().end()};
}

// What one source layer brings, checked.
absl::Status Collect(const NetGraph& graph, int l,
                     const caffe::LayerParameter& source,
                     std::vector<Load>& loads) {
  const GraphLayer& layer = graph.layers[l];
  if (source.blobs_size() != static_cast<int>(layer.param.size()))
    return absl::InvalidArgumentError(
        absl::StrCat("incompatible number of blobs: the source has ",
                     source.blobs_size(), ", this net needs ",
                     layer.param.size()));
  for (size_t i = 0; i < layer.param.size(); ++i) {
    const NetParam& param = graph.params[layer.param[i]];
    RETURN_IF_ERROR(CheckBlob(param,
                              layer.layer->param_declarations()[i].shape, i,
                              source.blobs(i)));
    loads.push_back({layer.param[i], &source.blobs(i)});
  }
  return absl::OkStatus();
}

absl::Status CopyIn(Net::Impl& net, Stream& stream,
                    const std::vector<Load>& loads) {
  for (const Load& load : loads) {
    const std::vector<float> values = Values(*load.from);
    RETURN_IF_ERROR(net.device.CopyFromHost(
        stream, net.params->weight(load.param), values.data(),
        values.size() * sizeof(float)));
    RETURN_IF_ERROR(stream.Synchronize());
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

absl::Status CopyOut(Device& device, Stream& stream, const float* from,
                     int64_t count,
                     google::protobuf::RepeatedField<float>* to) {
  to->Resize(static_cast<int>(count), 0.f);
  RETURN_IF_ERROR(device.CopyToHost(stream, to->mutable_data(), from,
                                    count * sizeof(float)));
  return stream.Synchronize();
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
  ASSIGN_OR_RETURN(std::unique_ptr<Stream> stream, net.device.NewStream());
  return CopyIn(net, *stream, loads);
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
    RETURN_IF_ERROR(impl_->graph.Annotated(
        Collect(impl_->graph, l, layer, loads), l));
  }
  ASSIGN_OR_RETURN(std::unique_ptr<Stream> stream, impl_->device.NewStream());
  return CopyIn(*impl_, *stream, loads);
}

caffe::NetParameter Net::ToProto(bool with_gradients) const {
  caffe::NetParameter proto;
  proto.set_name(impl_->graph.name);
  auto stream = impl_->device.NewStream();
  CHECK(stream.ok()) << stream.status();
  with_gradients = with_gradients && impl_->params->has_gradients();
  for (const GraphLayer& layer : impl_->graph.layers) {
    caffe::LayerParameter& out = *proto.add_layer();
    out = layer.layer->layer_param();
    out.clear_blobs();
    for (size_t i = 0; i < layer.param.size(); ++i) {
      const int param = layer.param[i];
      const Shape& shape = layer.layer->param_declarations()[i].shape;
      caffe::BlobProto& blob = *out.add_blobs();
      for (int64_t dim : shape.dims()) blob.mutable_shape()->add_dim(dim);
      absl::Status copied =
          CopyOut(impl_->device, **stream, impl_->params->weight(param),
                  shape.count(), blob.mutable_data());
      if (copied.ok() && with_gradients)
        copied = CopyOut(
            impl_->device, **stream,
            impl_->params->gradients(last_generation()).data() +
                impl_->graph.params[param].offset,
            shape.count(), blob.mutable_diff());
      CHECK(copied.ok()) << copied;
    }
  }
  return proto;
}

}  // namespace cssp
