// Where a data layer's batches come from: what Data, ImageData and WindowData
// do not have in common.
#ifndef CSSP_WORKER_LAYERS_RECORD_FEED_H_
#define CSSP_WORKER_LAYERS_RECORD_FEED_H_

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "proto/caffe.pb.h"
#include "worker/data/batch.h"
#include "worker/data/data_source.h"
#include "worker/data/data_transformer.h"

namespace cssp {

// Immutable once opened: threads read from it at once.
class RecordFeed {
 public:
  struct Options {
    std::string source;  // path, for messages
    int64_t batch_size = 1;    // as the prototxt has it
    int depth = 4;             // batches read ahead
    bool reshapes = false;     // a batch of another shape reshapes the tops
    bool needs_label = false;  // the layer must have both tops
    uint32_t rand_skip = 0;    // see BatchReader::Options
  };
  virtual ~RecordFeed() = default;

  const Options& options() const { return options_; }
  // Extents after the transform, of the first record.
  const ImageShape& item() const { return item_; }
  const DataTransformer& transformer() const { return transformer_; }

  // Fills `batch`, status included; a pure function of the key.
  virtual void Read(const BatchKey& key, Batch* batch) const = 0;
  virtual int64_t num_records() const = 0;

 protected:
  RecordFeed(Options options, DataTransformer transformer)
      : options_(std::move(options)), transformer_(std::move(transformer)) {}
  void set_item(const ImageShape& item) { item_ = item; }

 private:
  const Options options_;
  const DataTransformer transformer_;
  ImageShape item_;
};

// The records of a source, dealt in order or shuffled by seed and epoch.
class SourceFeed final : public RecordFeed {
 public:
  // Reads the first record.  InvalidArgument when it does not suit the
  // transform.
  static absl::StatusOr<std::unique_ptr<RecordFeed>> Create(
      std::unique_ptr<DataSource> source, DataTransformer transformer,
      Options options, bool shuffle);

  void Read(const BatchKey& key, Batch* batch) const override {
    reader_.Read(key, batch);
  }
  int64_t num_records() const override { return source_->size(); }

 private:
  SourceFeed(std::unique_ptr<DataSource> source, DataTransformer transformer,
             Options options, bool shuffle);

  const std::unique_ptr<DataSource> source_;
  const BatchReader reader_;
};

// Opens what a layer of one type reads; relative paths start at `root`, where
// that is given.  Errors name the field or the file.
using FeedOpener = absl::StatusOr<std::unique_ptr<RecordFeed>> (*)(
    const caffe::LayerParameter& layer, caffe::Phase phase,
    const std::string& root);

// Data: an LMDB or LevelDB base.
absl::StatusOr<std::unique_ptr<RecordFeed>> OpenDataFeed(
    const caffe::LayerParameter& layer, caffe::Phase phase,
    const std::string& root);
// ImageData: image files named in a list.
absl::StatusOr<std::unique_ptr<RecordFeed>> OpenImageDataFeed(
    const caffe::LayerParameter& layer, caffe::Phase phase,
    const std::string& root);
// WindowData: windows of images, objects and background in a given share.
absl::StatusOr<std::unique_ptr<RecordFeed>> OpenWindowDataFeed(
    const caffe::LayerParameter& layer, caffe::Phase phase,
    const std::string& root);

// How a layer wants compressed records decoded: force_color, force_gray,
// force_encoded_color.
ColorMode EncodedColorMode(const caffe::LayerParameter& layer);

// A prototxt's path; relative ones start at the root folder, where one is set.
std::string ResolveDataPath(const std::string& root, const std::string& path);

// transform_param, with what older prototxts say in the layer's own parameter
// (scale, mean_file, crop_size, mirror); mean_file resolved.
template <class DataParam>
caffe::TransformationParameter MergedTransform(
    const caffe::LayerParameter& layer, const DataParam& data,
    const std::string& root) {
  caffe::TransformationParameter param = layer.transform_param();
  if (data.has_scale() && !param.has_scale()) param.set_scale(data.scale());
  if (data.has_mean_file() && !param.has_mean_file())
    param.set_mean_file(data.mean_file());
  if (data.has_crop_size() && !param.has_crop_size())
    param.set_crop_size(data.crop_size());
  if (data.has_mirror() && !param.has_mirror()) param.set_mirror(data.mirror());
  if (param.has_mean_file())
    param.set_mean_file(ResolveDataPath(root, param.mean_file()));
  return param;
}

}  // namespace cssp

#endif  // CSSP_WORKER_LAYERS_RECORD_FEED_H_
