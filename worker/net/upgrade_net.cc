// UpgradeNet, and its steps for nets that are otherwise of today's form.
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "worker/net/net_passes.h"
#include "worker/net/upgrade.h"

namespace cssp {
namespace {

constexpr int kLegacyAxes = 4;

void AppendLegacyShape(const caffe::NetParameter& net, int input,
                       caffe::BlobShape* shape) {
  for (int axis = 0; axis < kLegacyAxes; ++axis)
    shape->add_dim(net.input_dim(input * kLegacyAxes + axis));
}

absl::Status CheckInputs(const caffe::NetParameter& net) {
  const int inputs = net.input_size();
  if (net.input_shape_size() > 0 && net.input_dim_size() > 0)
    return absl::InvalidArgumentError(
        "both input_shape and input_dim are set: keep input_shape");
  if (net.input_shape_size() > 0 && net.input_shape_size() != inputs)
    return absl::InvalidArgumentError(
        absl::StrCat(inputs, " input and ", net.input_shape_size(),
                     " input_shape: give one shape for each input"));
  if (net.input_dim_size() > 0 && net.input_dim_size() != kLegacyAxes * inputs)
    return absl::InvalidArgumentError(
        absl::StrCat(inputs, " input and ", net.input_dim_size(),
                     " input_dim: give four for each input"));
  return absl::OkStatus();
}

// A net with inputs and no shapes is a trained one: it has no use for them.
absl::Status UpgradeInputs(caffe::NetParameter* net) {
  if (net->input_size() == 0 && net->input_shape_size() == 0 &&
      net->input_dim_size() == 0)
    return absl::OkStatus();
  RETURN_IF_ERROR(CheckInputs(*net));
  if (net->input_shape_size() > 0 || net->input_dim_size() > 0) {
    caffe::LayerParameter* input = net->add_layer();
    input->set_name("input");
    input->set_type("Input");
    *input->mutable_top() = net->input();
    for (int i = 0; i < net->input_size(); ++i) {
      caffe::BlobShape* shape = input->mutable_input_param()->add_shape();
      if (net->input_shape_size() > 0)
        *shape = net->input_shape(i);
      else
        AppendLegacyShape(*net, i, shape);
    }
    for (int i = net->layer_size() - 1; i > 0; --i)  // to the front
      net->mutable_layer()->SwapElements(i, i - 1);
  }
  net->clear_input();
  net->clear_input_shape();
  net->clear_input_dim();
  return absl::OkStatus();
}

// Old prototxts switched learning of the statistics off by hand.
void UpgradeBatchNorm(caffe::NetParameter* net) {
  for (caffe::LayerParameter& layer : *net->mutable_layer()) {
    if (layer.type() != "BatchNorm" || layer.param_size() != 3) continue;
    for (caffe::ParamSpec& spec : *layer.mutable_param()) {
      spec.set_lr_mult(0);
      spec.set_decay_mult(0);
    }
  }
}

}  // namespace

absl::StatusOr<caffe::NetParameter> UpgradeNet(caffe::NetParameter net) {
  if (net.layer_size() > 0 && net.layers_size() > 0)
    return absl::InvalidArgumentError(
        "both layer and (old) layers are used: convert layers to layer");
  RETURN_IF_ERROR(UpgradeV0(&net));
  UpgradeV1(&net);
  RETURN_IF_ERROR(UpgradeInputs(&net));
  UpgradeBatchNorm(&net);
  return net;
}

}  // namespace cssp
