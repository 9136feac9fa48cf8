#include "worker/layers/data_layer.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/logging.h"
#include "common/base/status_macros.h"

namespace cssp {
namespace {

// A prototxt's path; relative ones start at the root folder, where one is set.
std::string Resolve(const std::string& root, const std::string& path) {
  if (root.empty() || path.empty() || path[0] == '/') return path;
  return absl::StrCat(root, root.back() == '/' ? "" : "/", path);
}

// transform_param, with what older prototxts say in data_param.
caffe::TransformationParameter TransformParam(
    const caffe::LayerParameter& layer, const std::string& root) {
  caffe::TransformationParameter param = layer.transform_param();
  const caffe::DataParameter& data = layer.data_param();
  if (data.has_scale() && !param.has_scale()) param.set_scale(data.scale());
  if (data.has_mean_file() && !param.has_mean_file())
    param.set_mean_file(data.mean_file());
  if (data.has_crop_size() && !param.has_crop_size())
    param.set_crop_size(data.crop_size());
  if (data.has_mirror() && !param.has_mirror())
    param.set_mirror(data.mirror());
  if (param.has_mean_file())
    param.set_mean_file(Resolve(root, param.mean_file()));
  return param;
}

absl::Status CheckParam(const caffe::DataParameter& data) {
  if (data.source().empty())
    return absl::InvalidArgumentError("data_param: source must name a base");
  if (data.batch_size() < 1)
    return absl::InvalidArgumentError("data_param: batch_size must be > 0");
  if (data.prefetch() < 1)
    return absl::InvalidArgumentError("data_param: prefetch must be > 0");
  return absl::OkStatus();
}

}  // namespace

DataLayer::DataLayer(const caffe::LayerParameter& param,
                     const LayerContext& context)
    : SourceLayer(param, context.phase), root_folder_(context.root_folder) {}

DataLayer::~DataLayer() = default;

absl::Status DataLayer::SetUp(absl::Span<const Shape> bottom) {
  const caffe::DataParameter& data = layer_param().data_param();
  RETURN_IF_ERROR(CheckParam(data));
  batch_size_ = data.batch_size();
  const BaseFormat format = data.backend() == caffe::DataParameter::LMDB
                                ? BaseFormat::kLmdb
                                : BaseFormat::kLevelDb;
  const std::string path = Resolve(root_folder_, data.source());
  ASSIGN_OR_RETURN(source_, OpenBase(format, path));
  ASSIGN_OR_RETURN(
      DataTransformer transformer,
      DataTransformer::Create(TransformParam(layer_param(), root_folder_),
                              phase()));
  transformer_.emplace(std::move(transformer));
  // The first record tells the shape of all.
  std::string storage;
  ASSIGN_OR_RETURN(const RecordView first, source_->Read(0, &storage));
  absl::StatusOr<ImageShape> item = transformer_->OutputShape(
      {first.channels, first.height, first.width});
  if (!item.ok()) return Annotate(item.status(), path);
  item_ = *item;
  if (data.rand_skip() != 0)
    LOG(WARNING) << "layer " << name() << ": rand_skip is ignored";

  reader_ = std::make_unique<BatchReader>(
      *source_, *transformer_,
      BatchReader::Options{batch_size_, data.shuffle()});
  Prefetcher::Options options;
  options.depth = static_cast<int>(std::min(data.prefetch(), 1024u));
  options.stride = batch_size_;
  prefetcher_ = std::make_unique<Prefetcher>(
      [this](const BatchKey& key, Batch* batch) { reader_->Read(key, batch); },
      options);
  return absl::OkStatus();
}

absl::StatusOr<std::vector<Shape>> DataLayer::InferShapes(
    absl::Span<const Shape> bottom) const {
  ASSIGN_OR_RETURN(Shape data,
                   Shape::Create({batch_size_, item_.channels, item_.height,
                                  item_.width}));
  std::vector<Shape> tops{std::move(data)};
  if (num_tops() > 1) tops.push_back(Shape({batch_size_}));
  return tops;
}

absl::Status DataLayer::Bind(absl::Span<const TensorDesc> bottom,
                             absl::Span<const TensorDesc> top) {
  prefetcher_->Start();
  return absl::OkStatus();
}

absl::Status DataLayer::CheckFits(const Batch& batch) const {
  for (const BatchItem& item : batch.items) {
    ASSIGN_OR_RETURN(const ImageShape shape,
                     transformer_->OutputShape(item.shape));
    if (shape == item_) continue;
    return absl::InvalidArgumentError(absl::StrCat(
        layer_param().data_param().source(), ": record ", item.id.index,
        " is ", shape.channels, " x ", shape.height, " x ", shape.width,
        ", record 0 ", item_.channels, " x ", item_.height, " x ", item_.width,
        ": set crop_size, or make the base of one size"));
  }
  return absl::OkStatus();
}

absl::Status DataLayer::Forward(StepContext& step, const ForwardArgs& args) {
  const StepState& state = step.state();
  ASSIGN_OR_RETURN(const BatchLease batch,
                   prefetcher_->Take({state.first_record, state.seed}));
  RETURN_IF_ERROR(CheckFits(*batch));
  return Deliver(step, *batch, args);
}

absl::Duration DataLayer::waited() const {
  return prefetcher_ == nullptr ? absl::ZeroDuration() : prefetcher_->waited();
}

}  // namespace cssp
