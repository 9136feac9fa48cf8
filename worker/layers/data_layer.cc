#include "worker/layers/data_layer.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"

namespace cssp {
namespace {

std::string Text(const ImageShape& shape) {
  return absl::StrCat(shape.channels, " x ", shape.height, " x ", shape.width);
}

int ThreadsOf(const LayerContext& context, int asked) {
  if (asked > 0) return asked;
  return context.device == nullptr ? 1 : context.device->threads();
}

}  // namespace

DataLayer::DataLayer(const caffe::LayerParameter& param,
                     const LayerContext& context, FeedOpener open, int threads)
    : SourceLayer(param, context.phase),
      root_folder_(context.root_folder),
      open_(open),
      threads_(ThreadsOf(context, threads)) {}

DataLayer::~DataLayer() = default;

absl::Status DataLayer::SetUp(absl::Span<const Shape> bottom) {
  ASSIGN_OR_RETURN(feed_, open_(layer_param(), phase(), root_folder_));
  if (feed_->options().needs_label && num_tops() != 2)
    return absl::InvalidArgumentError("needs two tops, data and label");
  item_ = feed_->item();
  batch_ = feed_->options().batch_size;
  Prefetcher::Options options;
  options.depth = feed_->options().depth;
  options.threads = std::min(threads_, options.depth);
  options.stride = batch_;
  prefetcher_ = std::make_unique<Prefetcher>(
      [this](const BatchKey& key, Batch* batch) { feed_->Read(key, batch); },
      options);
  return absl::OkStatus();
}

absl::StatusOr<std::vector<Shape>> DataLayer::InferShapes(
    absl::Span<const Shape> bottom) const {
  ASSIGN_OR_RETURN(Shape data, Shape::Create({batch_, item_.channels,
                                              item_.height, item_.width}));
  std::vector<Shape> tops{std::move(data)};
  if (num_tops() > 1) tops.push_back(Shape({batch_}));
  return tops;
}

LayerTraits DataLayer::Traits() const {
  LayerTraits traits = SourceLayer::Traits();
  traits.data_dependent_shape = feed_->options().reshapes;
  return traits;
}

absl::Status DataLayer::Bind(absl::Span<const TensorDesc> bottom,
                             absl::Span<const TensorDesc> top) {
  prefetcher_->Start();
  return absl::OkStatus();
}

absl::StatusOr<ImageShape> DataLayer::ShapeOf(const BatchItem& item) const {
  return transformer().OutputShape(item.shape);
}

absl::Status DataLayer::CheckFits(const Batch& batch) const {
  for (const BatchItem& item : batch.items) {
    ASSIGN_OR_RETURN(const ImageShape shape, ShapeOf(item));
    if (shape == item_) continue;
    return absl::InvalidArgumentError(
        absl::StrCat(feed_->options().source, ": record ", item.id.index,
                     " is ", Text(shape), ", record ",
                     feed_->options().reshapes ? batch.items[0].id.index : 0,
                     " ", Text(item_),
                     feed_->options().reshapes
                         ? ": set new_height and new_width, or batch_size: 1"
                         : ": set crop_size, or make the base of one size"));
  }
  return absl::OkStatus();
}

// Images of several sizes come one at a time.
bool DataLayer::SetBatch(int64_t records) {
  if (feed_->options().reshapes) return false;
  batch_ = records;
  return true;
}

absl::Status DataLayer::Prepare(const StepState& state) {
  const BatchKey key{state.first_record, state.seed, batch_};
  if (!ready_.has_value() || !((*ready_)->key == key)) {
    ready_.reset();
    absl::StatusOr<BatchLease> batch = prefetcher_->Take(key);
    RETURN_IF_ERROR(batch.status());
    ready_.emplace(*std::move(batch));
  }
  if (feed_->options().reshapes) {
    ASSIGN_OR_RETURN(item_, ShapeOf((*ready_)->items[0]));
  }
  return CheckFits(**ready_);
}

absl::Status DataLayer::Forward(StepContext& step, const ForwardArgs& args) {
  RETURN_IF_ERROR(Prepare(step.state()));
  const absl::Status delivered = Deliver(step, **ready_, args);
  ready_.reset();
  return delivered;
}

double DataLayer::data_wait_seconds() const {
  return prefetcher_ == nullptr ? 0
                                : absl::ToDoubleSeconds(prefetcher_->waited());
}

}  // namespace cssp
