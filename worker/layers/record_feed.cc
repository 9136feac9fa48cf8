#include "worker/layers/record_feed.h"

#include <algorithm>

#include "absl/memory/memory.h"
#include "absl/strings/str_cat.h"
#include "common/base/logging.h"
#include "common/base/status_macros.h"
#include "worker/data/image_list.h"

namespace cssp {
namespace {

constexpr unsigned kMaxDepth = 1024;

}  // namespace

ColorMode EncodedColorMode(const caffe::LayerParameter& layer) {
  if (layer.transform_param().force_gray()) return ColorMode::kGray;
  return layer.transform_param().force_color() ||
                 layer.data_param().force_encoded_color()
             ? ColorMode::kColor
             : ColorMode::kAsStored;
}

std::string ResolveDataPath(const std::string& root, const std::string& path) {
  if (root.empty() || path.empty() || path[0] == '/') return path;
  return absl::StrCat(root, root.back() == '/' ? "" : "/", path);
}

SourceFeed::SourceFeed(std::unique_ptr<DataSource> source,
                       DataTransformer transformer, Options options,
                       bool shuffle)
    : RecordFeed(std::move(options), std::move(transformer)),
      source_(std::move(source)),
      reader_(*source_, this->transformer(),
              {shuffle, this->options().rand_skip}) {}

absl::StatusOr<std::unique_ptr<RecordFeed>> SourceFeed::Create(
    std::unique_ptr<DataSource> source, DataTransformer transformer,
    Options options, bool shuffle) {
  std::string storage;
  ASSIGN_OR_RETURN(const RecordView first, source->Read(0, &storage));
  const absl::StatusOr<ImageShape> item =
      transformer.OutputShape({first.channels, first.height, first.width});
  if (!item.ok()) return Annotate(item.status(), options.source);
  auto feed = absl::WrapUnique(new SourceFeed(
      std::move(source), std::move(transformer), std::move(options), shuffle));
  feed->set_item(*item);
  return feed;
}

absl::StatusOr<std::unique_ptr<RecordFeed>> OpenDataFeed(
    const caffe::LayerParameter& layer, caffe::Phase phase,
    const std::string& root) {
  const caffe::DataParameter& data = layer.data_param();
  if (data.source().empty())
    return absl::InvalidArgumentError("data_param: source must name a base");
  if (data.batch_size() < 1)
    return absl::InvalidArgumentError("data_param: batch_size must be > 0");
  if (data.prefetch() < 1)
    return absl::InvalidArgumentError("data_param: prefetch must be > 0");
  if (data.rand_skip() != 0)
    LOG(WARNING) << "layer " << layer.name() << ": data_param.rand_skip has no "
                 << "effect, as in Caffe: workers read different records";
  RecordFeed::Options options;
  options.source = ResolveDataPath(root, data.source());
  options.batch_size = data.batch_size();
  options.depth = static_cast<int>(std::min(data.prefetch(), kMaxDepth));
  const BaseFormat format = data.backend() == caffe::DataParameter::LMDB
                                ? BaseFormat::kLmdb
                                : BaseFormat::kLevelDb;
  ASSIGN_OR_RETURN(std::unique_ptr<DataSource> source,
                   OpenBase(format, options.source, EncodedColorMode(layer)));
  ASSIGN_OR_RETURN(
      DataTransformer transformer,
      DataTransformer::Create(MergedTransform(layer, data, root), phase));
  return SourceFeed::Create(std::move(source), std::move(transformer),
                            std::move(options), data.shuffle());
}

absl::StatusOr<std::unique_ptr<RecordFeed>> OpenImageDataFeed(
    const caffe::LayerParameter& layer, caffe::Phase phase,
    const std::string& root) {
  const caffe::ImageDataParameter& data = layer.image_data_param();
  if (data.source().empty())
    return absl::InvalidArgumentError(
        "image_data_param: source must name a list of images");
  if (data.batch_size() < 1)
    return absl::InvalidArgumentError(
        "image_data_param: batch_size must be > 0");
  if ((data.new_height() == 0) != (data.new_width() == 0))
    return absl::InvalidArgumentError(
        "image_data_param: give new_height and new_width, or neither");
  caffe::TransformationParameter transform = MergedTransform(layer, data, root);
  RecordFeed::Options options;
  options.source = ResolveDataPath(root, data.source());
  options.batch_size = data.batch_size();
  options.reshapes = data.new_height() == 0 && transform.crop_size() == 0;
  options.needs_label = true;
  options.rand_skip = data.rand_skip();
  ImageListOptions images;
  images.root_folder = data.root_folder();
  images.height = data.new_height();
  images.width = data.new_width();
  images.mode = data.is_color() ? ColorMode::kColor : ColorMode::kGray;
  ASSIGN_OR_RETURN(std::unique_ptr<DataSource> source,
                   OpenImageList(options.source, images));
  ASSIGN_OR_RETURN(DataTransformer transformer,
                   DataTransformer::Create(transform, phase));
  LOG(INFO) << "A total of " << source->size() << " images.";
  return SourceFeed::Create(std::move(source), std::move(transformer),
                            std::move(options), data.shuffle());
}

}  // namespace cssp
