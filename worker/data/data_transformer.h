// From a raw record to a net's input: crop, mirror, subtract the mean, scale.
#ifndef CSSP_WORKER_DATA_DATA_TRANSFORMER_H_
#define CSSP_WORKER_DATA_DATA_TRANSFORMER_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "proto/caffe.pb.h"
#include "worker/data/data_source.h"
#include "worker/data/record_dealer.h"

namespace cssp {

// Extents of one image.
struct ImageShape {
  int channels = 0, height = 0, width = 0;
  int64_t count() const { return int64_t{1} * channels * height * width; }
  friend bool operator==(const ImageShape&, const ImageShape&) = default;
};

// What was drawn for one record; part of the batch, so that the arithmetic can
// run elsewhere (a device step).
struct TransformDraw {
  int32_t row = 0, column = 0;  // of the crop's first pixel
  bool mirror = false;
};

// Immutable once created; shared by threads.
//
// out = (pixel - mean) * scale, the mean taken at the pixel's place before the
// crop.  Crops are random in TRAIN and central in TEST; mirror is drawn in both
// phases, as in Caffe.  Draws are keyed by (seed, epoch, index): they do not
// depend on how many workers or threads there are.
class DataTransformer {
 public:
  // InvalidArgument: mean_file with mean_value, force_color with force_gray.
  // `param.mean_file` is read here; see ReadMeanFile for its errors.
  static absl::StatusOr<DataTransformer> Create(
      const caffe::TransformationParameter& param, caffe::Phase phase);

  // What a record of `input` becomes.  InvalidArgument when the record does not
  // fit the parameters (crop larger than the image, mean of another shape).
  absl::StatusOr<ImageShape> OutputShape(const ImageShape& input) const;

  TransformDraw Draw(uint64_t seed, const RecordId& id,
                     const ImageShape& input) const;

  // REQUIRES: OutputShape(input) is ok and out.size() is its count.
  void Transform(const RecordView& record, const TransformDraw& draw,
                 absl::Span<float> out) const;

  // For whoever does the arithmetic elsewhere: an image of the records' shape,
  // or (empty) a value for every channel, 0 where none is given.
  absl::Span<const float> mean_image() const { return mean_image_; }
  float ChannelMean(int channel) const;
  float scale() const { return param_.scale(); }

 private:
  DataTransformer(const caffe::TransformationParameter& param,
                  caffe::Phase phase)
      : param_(param), phase_(phase) {}
  template <class Pixel>
  void TransformPixels(const Pixel* pixels, const ImageShape& input,
                       const TransformDraw& draw, float* out) const;

  caffe::TransformationParameter param_;
  caffe::Phase phase_;
  ImageShape mean_shape_;
  std::vector<float> mean_image_;   // empty: mean_value counts
};

}  // namespace cssp

#endif  // CSSP_WORKER_DATA_DATA_TRANSFORMER_H_
