// V0 (layers { layer { name type ... } bottom top }) to V1.
#include <map>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "worker/net/upgrade.h"

namespace cssp {
namespace {

using caffe::V0LayerParameter;
using caffe::V1LayerParameter;

struct TypeName {
  const char* old_type;
  V1LayerParameter::LayerType type;
};

constexpr TypeName kTypeNames[] = {
    {"accuracy", V1LayerParameter::ACCURACY},
    {"bnll", V1LayerParameter::BNLL},
    {"concat", V1LayerParameter::CONCAT},
    {"conv", V1LayerParameter::CONVOLUTION},
    {"data", V1LayerParameter::DATA},
    {"dropout", V1LayerParameter::DROPOUT},
    {"euclidean_loss", V1LayerParameter::EUCLIDEAN_LOSS},
    {"flatten", V1LayerParameter::FLATTEN},
    {"hdf5_data", V1LayerParameter::HDF5_DATA},
    {"hdf5_output", V1LayerParameter::HDF5_OUTPUT},
    {"im2col", V1LayerParameter::IM2COL},
    {"images", V1LayerParameter::IMAGE_DATA},
    {"infogain_loss", V1LayerParameter::INFOGAIN_LOSS},
    {"innerproduct", V1LayerParameter::INNER_PRODUCT},
    {"lrn", V1LayerParameter::LRN},
    {"multinomial_logistic_loss", V1LayerParameter::MULTINOMIAL_LOGISTIC_LOSS},
    {"pool", V1LayerParameter::POOLING},
    {"relu", V1LayerParameter::RELU},
    {"sigmoid", V1LayerParameter::SIGMOID},
    {"softmax", V1LayerParameter::SOFTMAX},
    {"softmax_loss", V1LayerParameter::SOFTMAX_LOSS},
    {"split", V1LayerParameter::SPLIT},
    {"tanh", V1LayerParameter::TANH},
    {"window_data", V1LayerParameter::WINDOW_DATA},
};

absl::Status LayerError(const V0LayerParameter& old, absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat(
      "layer '", old.name(), "' (old form, type '", old.type(), "'): ", what));
}

absl::Status Misplaced(const V0LayerParameter& old, const char* field) {
  return LayerError(old, absl::StrCat("has no use for ", field));
}

// Sets a field of whichever part takes it; the old form was one flat list.
// Thread-confined: one layer.
class LayerUpgrader {
 public:
  LayerUpgrader(const V0LayerParameter& old, V1LayerParameter* layer)
      : old_(old), layer_(*layer) {}

  absl::Status Run() {
    RETURN_IF_ERROR(SetType());
    layer_.set_name(old_.name());
    *layer_.mutable_blobs() = old_.blobs();
    *layer_.mutable_blobs_lr() = old_.blobs_lr();
    *layer_.mutable_weight_decay() = old_.weight_decay();
    RETURN_IF_ERROR(SetWeights());
    RETURN_IF_ERROR(SetWindow());
    RETURN_IF_ERROR(SetNeurons());
    RETURN_IF_ERROR(SetSource());
    RETURN_IF_ERROR(SetImages());
    SetTransformation();
    return SetDetection();
  }

 private:
  bool Is(const char* type) const { return old_.type() == type; }

  absl::Status SetType() {
    for (const TypeName& entry : kTypeNames) {
      if (!Is(entry.old_type)) continue;
      layer_.set_type(entry.type);
      return absl::OkStatus();
    }
    return LayerError(old_, "unknown type");
  }

  absl::Status SetWeights() {
    if (Is("conv")) {
      SetWeightsOf(layer_.mutable_convolution_param());
    } else if (Is("innerproduct")) {
      SetWeightsOf(layer_.mutable_inner_product_param());
    } else {
      if (old_.has_num_output()) return Misplaced(old_, "num_output");
      if (old_.has_biasterm()) return Misplaced(old_, "biasterm");
      if (old_.has_weight_filler()) return Misplaced(old_, "weight_filler");
      if (old_.has_bias_filler()) return Misplaced(old_, "bias_filler");
    }
    return absl::OkStatus();
  }

  template <class Param>
  void SetWeightsOf(Param* param) {
    if (old_.has_num_output()) param->set_num_output(old_.num_output());
    if (old_.has_biasterm()) param->set_bias_term(old_.biasterm());
    if (old_.has_weight_filler())
      *param->mutable_weight_filler() = old_.weight_filler();
    if (old_.has_bias_filler())
      *param->mutable_bias_filler() = old_.bias_filler();
  }

  absl::Status SetWindow() {
    if (Is("conv")) {
      SetConvolutionWindow(layer_.mutable_convolution_param());
    } else if (Is("pool")) {
      SetPoolingWindow(layer_.mutable_pooling_param());
    } else {
      if (old_.has_pad()) return Misplaced(old_, "pad");
      if (old_.has_kernelsize()) return Misplaced(old_, "kernelsize");
      if (old_.has_stride()) return Misplaced(old_, "stride");
    }
    if (old_.has_group() && !Is("conv")) return Misplaced(old_, "group");
    if (old_.has_pool() && !Is("pool")) return Misplaced(old_, "pool");
    return absl::OkStatus();
  }

  void SetConvolutionWindow(caffe::ConvolutionParameter* param) {
    if (old_.has_pad()) param->add_pad(old_.pad());
    if (old_.has_kernelsize()) param->add_kernel_size(old_.kernelsize());
    if (old_.has_stride()) param->add_stride(old_.stride());
    if (old_.has_group()) param->set_group(old_.group());
  }

  void SetPoolingWindow(caffe::PoolingParameter* param) {
    if (old_.has_pad()) param->set_pad(old_.pad());
    if (old_.has_kernelsize()) param->set_kernel_size(old_.kernelsize());
    if (old_.has_stride()) param->set_stride(old_.stride());
    if (old_.has_pool())
      param->set_pool(
          static_cast<caffe::PoolingParameter::PoolMethod>(old_.pool()));
  }

  absl::Status SetNeurons() {
    if (old_.has_dropout_ratio()) {
      if (!Is("dropout")) return Misplaced(old_, "dropout_ratio");
      layer_.mutable_dropout_param()->set_dropout_ratio(old_.dropout_ratio());
    }
    if (old_.has_concat_dim()) {
      if (!Is("concat")) return Misplaced(old_, "concat_dim");
      layer_.mutable_concat_param()->set_concat_dim(old_.concat_dim());
    }
    const bool normalises = old_.has_local_size() || old_.has_alpha() ||
                            old_.has_beta() || old_.has_k();
    if (!normalises) return absl::OkStatus();
    if (!Is("lrn")) return Misplaced(old_, "local_size, alpha, beta or k");
    caffe::LRNParameter* lrn = layer_.mutable_lrn_param();
    if (old_.has_local_size()) lrn->set_local_size(old_.local_size());
    if (old_.has_alpha()) lrn->set_alpha(old_.alpha());
    if (old_.has_beta()) lrn->set_beta(old_.beta());
    if (old_.has_k()) lrn->set_k(old_.k());
    return absl::OkStatus();
  }

  absl::Status SetSource() {
    if (Is("data")) {
      SetSourceOf(layer_.mutable_data_param());
    } else if (Is("hdf5_data")) {
      SetSourceOf(layer_.mutable_hdf5_data_param());
    } else if (Is("images")) {
      SetSourceOf(layer_.mutable_image_data_param());
    } else if (Is("window_data")) {
      SetSourceOf(layer_.mutable_window_data_param());
    } else {
      if (old_.has_batchsize()) return Misplaced(old_, "batchsize");
      if (old_.has_source() && !Is("infogain_loss"))
        return Misplaced(old_, "source");
      if (old_.has_source())
        layer_.mutable_infogain_loss_param()->set_source(old_.source());
    }
    if (old_.has_hdf5_output_param()) {
      if (!Is("hdf5_output")) return Misplaced(old_, "hdf5_output_param");
      *layer_.mutable_hdf5_output_param() = old_.hdf5_output_param();
    }
    return absl::OkStatus();
  }

  template <class Param>
  void SetSourceOf(Param* param) {
    if (old_.has_source()) param->set_source(old_.source());
    if (old_.has_batchsize()) param->set_batch_size(old_.batchsize());
  }

  absl::Status SetImages() {
    if (old_.has_rand_skip()) {
      if (Is("data"))
        layer_.mutable_data_param()->set_rand_skip(old_.rand_skip());
      else if (Is("images"))
        layer_.mutable_image_data_param()->set_rand_skip(old_.rand_skip());
      else
        return Misplaced(old_, "rand_skip");
    }
    const bool resizes = old_.has_shuffle_images() || old_.has_new_height() ||
                         old_.has_new_width();
    if (!resizes) return absl::OkStatus();
    if (!Is("images"))
      return Misplaced(old_, "shuffle_images, new_height or new_width");
    caffe::ImageDataParameter* images = layer_.mutable_image_data_param();
    if (old_.has_shuffle_images()) images->set_shuffle(old_.shuffle_images());
    if (old_.has_new_height()) images->set_new_height(old_.new_height());
    if (old_.has_new_width()) images->set_new_width(old_.new_width());
    return absl::OkStatus();
  }

  void SetTransformation() {
    if (old_.has_scale())
      layer_.mutable_transform_param()->set_scale(old_.scale());
    if (old_.has_meanfile())
      layer_.mutable_transform_param()->set_mean_file(old_.meanfile());
    if (old_.has_cropsize())
      layer_.mutable_transform_param()->set_crop_size(old_.cropsize());
    if (old_.has_mirror())
      layer_.mutable_transform_param()->set_mirror(old_.mirror());
  }

  absl::Status SetDetection() {
    const bool detects = old_.has_det_fg_threshold() ||
                         old_.has_det_bg_threshold() ||
                         old_.has_det_fg_fraction() ||
                         old_.has_det_context_pad() || old_.has_det_crop_mode();
    if (!detects) return absl::OkStatus();
    if (!Is("window_data")) return Misplaced(old_, "det_ fields");
    caffe::WindowDataParameter* window = layer_.mutable_window_data_param();
    if (old_.has_det_fg_threshold())
      window->set_fg_threshold(old_.det_fg_threshold());
    if (old_.has_det_bg_threshold())
      window->set_bg_threshold(old_.det_bg_threshold());
    if (old_.has_det_fg_fraction())
      window->set_fg_fraction(old_.det_fg_fraction());
    if (old_.has_det_context_pad())
      window->set_context_pad(old_.det_context_pad());
    if (old_.has_det_crop_mode()) window->set_crop_mode(old_.det_crop_mode());
    return absl::OkStatus();
  }

  const V0LayerParameter& old_;
  V1LayerParameter& layer_;
};

// A padding layer's pad goes to the convolution or pooling that reads it.
absl::Status FoldPadding(const V1LayerParameter& padding, int bottom,
                         V1LayerParameter* reader) {
  const std::string& type = reader->layer().type();
  if (type != "conv" && type != "pool")
    return LayerError(reader->layer(),
                      "reads a padding layer: only conv and pool can");
  if (reader->bottom_size() != 1 || padding.bottom_size() != 1 ||
      padding.top_size() != 1)
    return LayerError(padding.layer(),
                      "padding needs one bottom, one top and a reader of one "
                      "bottom");
  reader->mutable_layer()->set_pad(padding.layer().pad());
  reader->set_bottom(bottom, padding.bottom(0));
  return absl::OkStatus();
}

absl::Status FoldPaddingLayers(caffe::NetParameter* net) {
  caffe::NetParameter folded;
  std::map<std::string, const V1LayerParameter*> producers;
  for (const std::string& input : net->input()) producers[input] = nullptr;
  for (const V1LayerParameter& layer : net->layers()) {
    V1LayerParameter kept = layer;
    for (int j = 0; j < layer.bottom_size(); ++j) {
      const auto producer = producers.find(layer.bottom(j));
      if (producer == producers.end())
        return LayerError(layer.layer(), absl::StrCat("unknown bottom blob '",
                                                      layer.bottom(j), "'"));
      if (producer->second != nullptr &&
          producer->second->layer().type() == "padding")
        RETURN_IF_ERROR(FoldPadding(*producer->second, j, &kept));
    }
    for (const std::string& top : layer.top()) producers[top] = &layer;
    if (layer.layer().type() != "padding")
      *folded.add_layers() = std::move(kept);
  }
  net->mutable_layers()->Swap(folded.mutable_layers());
  return absl::OkStatus();
}

}  // namespace

absl::Status UpgradeV0(caffe::NetParameter* net) {
  int old_layers = 0;
  for (const V1LayerParameter& layer : net->layers())
    old_layers += layer.has_layer();
  if (old_layers == 0) return absl::OkStatus();
  if (old_layers != net->layers_size())
    return absl::InvalidArgumentError(
        "layers of the first form (layers { layer { } }) and of the second "
        "are mixed: convert them");
  RETURN_IF_ERROR(FoldPaddingLayers(net));
  for (V1LayerParameter& layer : *net->mutable_layers()) {
    const V0LayerParameter old = std::move(*layer.mutable_layer());
    layer.clear_layer();
    RETURN_IF_ERROR(LayerUpgrader(old, &layer).Run());
  }
  return absl::OkStatus();
}

}  // namespace cssp
