// WindowData's batches.
#include <cstring>

#include "absl/memory/memory.h"
#include "absl/strings/str_cat.h"
#include "common/base/logging.h"
#include "common/base/philox.h"
#include "common/base/status_macros.h"
#include "worker/data/image_codec.h"
#include "worker/data/mean_file.h"
#include "worker/data/window_crop.h"
#include "worker/data/window_file.h"
#include "worker/layers/record_feed.h"

namespace cssp {
namespace {

// Keeps these draws apart from the transformer's and the dealer's.
constexpr uint32_t kWindowDraws = 0x77696e64;  // "wind"

// Immutable once opened.
//
// A batch is background first, then objects, in the share that fg_fraction
// gives.  Item j at position p takes a window at random, keyed by (seed, p):
// the same for any number of workers and threads.  Windows come out of Read
// warped, less their mean and scaled; nothing is left for the transformer.
class WindowFeed final : public RecordFeed {
 public:
  struct Setup {
    WindowFile file;
    WindowCropOptions crop;
    std::string root;  // of image paths
    bool mirror = false;
    float object_share = 0;  // of a batch
  };

  WindowFeed(Setup setup, DataTransformer identity, Options options)
      : RecordFeed(std::move(options), std::move(identity)),
        setup_(std::move(setup)) {
    const int side = setup_.crop.crop_size;
    set_item({channels(), side, side});
  }

  // Splits windows by overlap.
  absl::Status Divide(float object_from, float background_below);
  // Holds every image's bytes in memory.
  absl::Status CacheImages();

  void Read(const BatchKey& key, Batch* batch) const override;
  int64_t num_records() const override {
    return static_cast<int64_t>(setup_.file.windows.size());
  }

 private:
  int64_t Objects(int64_t records) const {
    return static_cast<int64_t>(static_cast<float>(records) *
                                setup_.object_share);
  }
  int channels() const { return setup_.file.images[0].channels; }
  absl::Status ReadItem(const BatchKey& key, int64_t item, float* out,
                        BatchItem* described) const;
  absl::Status Load(const WindowImage& image, size_t index, Image* out) const;

  const Setup setup_;
  std::vector<int64_t> objects_, background_;  // in file order
  std::vector<std::string> cache_;             // empty, or one per image
};

absl::Status WindowFeed::Divide(float object_from, float background_below) {
  const std::vector<Window>& windows = setup_.file.windows;
  for (size_t i = 0; i < windows.size(); ++i) {
    if (windows[i].overlap >= object_from) {
      if (windows[i].label == 0)
        return absl::InvalidArgumentError(absl::StrCat(
            options().source, ": window ", i, " overlaps an object by ",
            windows[i].overlap, " but has label 0, the background's"));
      objects_.push_back(static_cast<int64_t>(i));
    } else if (windows[i].overlap < background_below) {
      background_.push_back(static_cast<int64_t>(i));
    }
  }
  const int64_t objects = Objects(options().batch_size);
  const bool wants_background = objects < options().batch_size;
  if ((objects > 0 && objects_.empty()) ||
      (wants_background && background_.empty()))
    return absl::InvalidArgumentError(absl::StrCat(
        options().source, ": ", objects_.size(), " object and ",
        background_.size(),
        " background windows by these thresholds, but a "
        "batch wants ",
        objects, " and ", options().batch_size - objects));
  return absl::OkStatus();
}

absl::Status WindowFeed::CacheImages() {
  for (const WindowImage& image : setup_.file.images) {
    cache_.emplace_back();
    RETURN_IF_ERROR(Annotate(
        ReadImageBytes(absl::StrCat(setup_.root, image.path), &cache_.back()),
        options().source));
  }
  return absl::OkStatus();
}

absl::Status WindowFeed::Load(const WindowImage& image, size_t index,
                              Image* out) const {
  const std::string path = absl::StrCat(setup_.root, image.path);
  const ColorMode mode =
      image.channels == 1 ? ColorMode::kGray : ColorMode::kColor;
  RETURN_IF_ERROR(cache_.empty()
                      ? ReadImage(path, mode, out)
                      : Annotate(DecodeImage(cache_[index], mode, out), path));
  if (out->height == image.height && out->width == image.width)
    return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      path, " is ", out->width, " x ", out->height, ", the window file says ",
      image.width, " x ", image.height));
}

absl::Status WindowFeed::ReadItem(const BatchKey& key, int64_t item, float* out,
                                  BatchItem* described) const {
  const uint64_t position = static_cast<uint64_t>(key.first + item);
  const bool object = item >= key.records - Objects(key.records);
  const std::vector<int64_t>& choice = object ? objects_ : background_;
  if (choice.empty())  // another batch than the net was made with
    return absl::InvalidArgumentError(
        absl::StrCat(options().source, ": a batch of ", key.records,
                     object ? " wants an object window, there is none"
                            : " wants a background window, there is none"));
  const PhiloxBlock draw = Philox(
      key.seed, {static_cast<uint32_t>(position),
                 static_cast<uint32_t>(position >> 32), 0, kWindowDraws});
  const int64_t chosen =
      choice[BoundedDraw(draw[0], static_cast<uint32_t>(choice.size()))];
  const Window& window = setup_.file.windows[chosen];
  const WindowImage& image = setup_.file.images[window.image];
  Image pixels;
  RETURN_IF_ERROR(
      Annotate(Load(image, window.image, &pixels), options().source));
  CropWindow(pixels, window, setup_.mirror && (draw[1] & 1) != 0, setup_.crop,
             out);
  described->label = object ? window.label : 0;
  described->id.index = chosen;
  return absl::OkStatus();
}

void WindowFeed::Read(const BatchKey& key, Batch* batch) const {
  batch->key = key;
  batch->status = absl::OkStatus();
  batch->items.assign(key.records, BatchItem());
  const size_t floats = static_cast<size_t>(item().count());
  batch->raw.resize(floats * sizeof(float) * batch->items.size());
  std::vector<float> pixels(floats);
  for (size_t i = 0; i < batch->items.size() && batch->status.ok(); ++i) {
    BatchItem& described = batch->items[i];
    described.shape = item();
    described.floats = true;
    described.offset = i * floats * sizeof(float);
    batch->status =
        ReadItem(key, static_cast<int64_t>(i), pixels.data(), &described);
    std::memcpy(batch->raw.data() + described.offset, pixels.data(),
                floats * sizeof(float));
  }
}

absl::Status CheckParam(const caffe::WindowDataParameter& data) {
  if (data.source().empty())
    return absl::InvalidArgumentError(
        "window_data_param: source must name a window file");
  if (data.batch_size() < 1)
    return absl::InvalidArgumentError(
        "window_data_param: batch_size must be > 0");
  if (data.crop_mode() != "warp" && data.crop_mode() != "square")
    return absl::InvalidArgumentError(absl::StrCat(
        "window_data_param: crop_mode must be warp or square, not '",
        data.crop_mode(), "'"));
  if (data.fg_fraction() < 0 || data.fg_fraction() > 1)
    return absl::InvalidArgumentError(
        "window_data_param: fg_fraction must be between 0 and 1");
  return absl::OkStatus();
}

absl::StatusOr<WindowCropOptions> CropOptions(
    const caffe::WindowDataParameter& data,
    const caffe::TransformationParameter& transform) {
  if (transform.has_mean_file() && transform.mean_value_size() > 0)
    return absl::InvalidArgumentError(
        "transform_param: mean_file and mean_value exclude each other");
  WindowCropOptions crop;
  crop.crop_size = static_cast<int>(transform.crop_size());
  crop.context_pad = static_cast<int>(data.context_pad());
  crop.square = data.crop_mode() == "square";
  crop.scale = transform.scale();
  crop.mean_value.assign(transform.mean_value().begin(),
                         transform.mean_value().end());
  if (transform.has_mean_file()) {
    ASSIGN_OR_RETURN(crop.mean, ReadMeanFile(transform.mean_file()));
  }
  return crop;
}

}  // namespace

absl::StatusOr<std::unique_ptr<RecordFeed>> OpenWindowDataFeed(
    const caffe::LayerParameter& layer, caffe::Phase phase,
    const std::string& root) {
  const caffe::WindowDataParameter& data = layer.window_data_param();
  RETURN_IF_ERROR(CheckParam(data));
  const caffe::TransformationParameter transform =
      MergedTransform(layer, data, root);
  RecordFeed::Options options;
  options.source = ResolveDataPath(root, data.source());
  options.batch_size = data.batch_size();
  options.needs_label = true;
  WindowFeed::Setup setup;
  ASSIGN_OR_RETURN(setup.crop, CropOptions(data, transform));
  ASSIGN_OR_RETURN(setup.file, ReadWindowFile(options.source));
  RETURN_IF_ERROR(CheckWindowCrop(setup.crop, setup.file.images[0].channels));
  setup.root = data.root_folder();
  setup.mirror = transform.mirror();
  setup.object_share = data.fg_fraction();
  ASSIGN_OR_RETURN(DataTransformer identity,
                   DataTransformer::Create({}, caffe::TEST));
  auto feed = std::make_unique<WindowFeed>(
      std::move(setup), std::move(identity), std::move(options));
  RETURN_IF_ERROR(feed->Divide(data.fg_threshold(), data.bg_threshold()));
  if (data.cache_images()) RETURN_IF_ERROR(feed->CacheImages());
  LOG(INFO) << "Number of windows: " << feed->num_records();
  return feed;
}

}  // namespace cssp
