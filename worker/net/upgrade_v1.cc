// V1 (layers { type: ENUM ... }) to today's layers, a trained net's blobs too.
#include "google/protobuf/descriptor.h"
#include "google/protobuf/message.h"
#include "worker/net/upgrade.h"

namespace cssp {
namespace {

using caffe::V1LayerParameter;

struct TypeName {
  V1LayerParameter::LayerType old_type;
  const char* type;
};

constexpr TypeName kTypeNames[] = {
    {V1LayerParameter::NONE, ""},
    {V1LayerParameter::ABSVAL, "AbsVal"},
    {V1LayerParameter::ACCURACY, "Accuracy"},
    {V1LayerParameter::ARGMAX, "ArgMax"},
    {V1LayerParameter::BNLL, "BNLL"},
    {V1LayerParameter::CONCAT, "Concat"},
    {V1LayerParameter::CONTRASTIVE_LOSS, "ContrastiveLoss"},
    {V1LayerParameter::CONVOLUTION, "Convolution"},
    {V1LayerParameter::DATA, "Data"},
    {V1LayerParameter::DECONVOLUTION, "Deconvolution"},
    {V1LayerParameter::DROPOUT, "Dropout"},
    {V1LayerParameter::DUMMY_DATA, "DummyData"},
    {V1LayerParameter::ELTWISE, "Eltwise"},
    {V1LayerParameter::EUCLIDEAN_LOSS, "EuclideanLoss"},
    {V1LayerParameter::EXP, "Exp"},
    {V1LayerParameter::FLATTEN, "Flatten"},
    {V1LayerParameter::HDF5_DATA, "HDF5Data"},
    {V1LayerParameter::HDF5_OUTPUT, "HDF5Output"},
    {V1LayerParameter::HINGE_LOSS, "HingeLoss"},
    {V1LayerParameter::IM2COL, "Im2col"},
    {V1LayerParameter::IMAGE_DATA, "ImageData"},
    {V1LayerParameter::INFOGAIN_LOSS, "InfogainLoss"},
    {V1LayerParameter::INNER_PRODUCT, "InnerProduct"},
    {V1LayerParameter::LRN, "LRN"},
    {V1LayerParameter::MEMORY_DATA, "MemoryData"},
    {V1LayerParameter::MULTINOMIAL_LOGISTIC_LOSS, "MultinomialLogisticLoss"},
    {V1LayerParameter::MVN, "MVN"},
    {V1LayerParameter::POOLING, "Pooling"},
    {V1LayerParameter::POWER, "Power"},
    {V1LayerParameter::RELU, "ReLU"},
    {V1LayerParameter::SIGMOID, "Sigmoid"},
    {V1LayerParameter::SIGMOID_CROSS_ENTROPY_LOSS, "SigmoidCrossEntropyLoss"},
    {V1LayerParameter::SILENCE, "Silence"},
    {V1LayerParameter::SLICE, "Slice"},
    {V1LayerParameter::SOFTMAX, "Softmax"},
    {V1LayerParameter::SOFTMAX_LOSS, "SoftmaxWithLoss"},
    {V1LayerParameter::SPLIT, "Split"},
    {V1LayerParameter::TANH, "TanH"},
    {V1LayerParameter::THRESHOLD, "Threshold"},
    {V1LayerParameter::WINDOW_DATA, "WindowData"},
};

const char* TypeNameOf(V1LayerParameter::LayerType old_type) {
  for (const TypeName& entry : kTypeNames)
    if (entry.old_type == old_type) return entry.type;
  return "";
}

caffe::ParamSpec* SpecAt(int index, caffe::LayerParameter* layer) {
  while (layer->param_size() <= index) layer->add_param();
  return layer->mutable_param(index);
}

// Four lists became one list of ParamSpec.
void UpgradeParamSpecs(const V1LayerParameter& old,
                       caffe::LayerParameter* layer) {
  for (int i = 0; i < old.param_size(); ++i)
    SpecAt(i, layer)->set_name(old.param(i));
  for (int i = 0; i < old.blob_share_mode_size(); ++i)
    SpecAt(i, layer)->set_share_mode(old.blob_share_mode(i) ==
                                             V1LayerParameter::PERMISSIVE
                                         ? caffe::ParamSpec::PERMISSIVE
                                         : caffe::ParamSpec::STRICT);
  for (int i = 0; i < old.blobs_lr_size(); ++i)
    SpecAt(i, layer)->set_lr_mult(old.blobs_lr(i));
  for (int i = 0; i < old.weight_decay_size(); ++i)
    SpecAt(i, layer)->set_decay_mult(old.weight_decay(i));
}

// conv's convolution_param and the like: same name, same message.
void MoveTypeParams(V1LayerParameter* old, caffe::LayerParameter* layer) {
  const auto* from = old->GetReflection();
  const auto* to = layer->GetReflection();
  const auto* type = V1LayerParameter::descriptor();
  for (int i = 0; i < type->field_count(); ++i) {
    const auto* field = type->field(i);
    if (field->is_repeated() || field->message_type() == nullptr ||
        !from->HasField(*old, field))
      continue;
    const auto* twin =
        caffe::LayerParameter::descriptor()->FindFieldByName(field->name());
    if (twin == nullptr || twin->message_type() != field->message_type())
      continue;
    to->MutableMessage(layer, twin)->MergeFrom(from->GetMessage(*old, field));
  }
}

// The data layers' own scale, mean_file, crop_size and mirror.
template <class DataParam>
void MoveTransformation(DataParam* data,
                        caffe::TransformationParameter* transform) {
  if (data->has_scale()) transform->set_scale(data->scale());
  if (data->has_mean_file()) transform->set_mean_file(data->mean_file());
  if (data->has_crop_size()) transform->set_crop_size(data->crop_size());
  if (data->has_mirror()) transform->set_mirror(data->mirror());
  data->clear_scale();
  data->clear_mean_file();
  data->clear_crop_size();
  data->clear_mirror();
}

template <class DataParam>
bool HasTransformation(const DataParam& data) {
  return data.has_scale() || data.has_mean_file() || data.has_crop_size() ||
         data.has_mirror();
}

void UpgradeTransformation(V1LayerParameter* old) {
  if (HasTransformation(old->data_param()))
    MoveTransformation(old->mutable_data_param(),
                       old->mutable_transform_param());
  if (HasTransformation(old->image_data_param()))
    MoveTransformation(old->mutable_image_data_param(),
                       old->mutable_transform_param());
  if (HasTransformation(old->window_data_param()))
    MoveTransformation(old->mutable_window_data_param(),
                       old->mutable_transform_param());
}

void UpgradeLayer(V1LayerParameter* old, caffe::LayerParameter* layer) {
  UpgradeTransformation(old);
  if (old->has_name()) layer->set_name(old->name());
  if (old->has_type()) layer->set_type(TypeNameOf(old->type()));
  layer->mutable_bottom()->Swap(old->mutable_bottom());
  layer->mutable_top()->Swap(old->mutable_top());
  layer->mutable_include()->Swap(old->mutable_include());
  layer->mutable_exclude()->Swap(old->mutable_exclude());
  layer->mutable_blobs()->Swap(old->mutable_blobs());
  layer->mutable_loss_weight()->Swap(old->mutable_loss_weight());
  UpgradeParamSpecs(*old, layer);
  MoveTypeParams(old, layer);
}

}  // namespace

void UpgradeV1(caffe::NetParameter* net) {
  for (V1LayerParameter& old : *net->mutable_layers())
    UpgradeLayer(&old, net->add_layer());
  net->clear_layers();
}

}  // namespace cssp
