#include "worker/data/data_transformer.h"

#include "absl/strings/str_cat.h"
#include "common/base/philox.h"
#include "common/base/status_macros.h"
#include "worker/data/mean_file.h"

namespace cssp {
namespace {

constexpr uint32_t kTransformDraws = 0x74726e73;  // "trns"

std::string Text(const ImageShape& shape) {
  return absl::StrCat(shape.channels, " x ", shape.height, " x ", shape.width);
}

// One row: (pixel - mean) * scale, left to right or right to left.
template <class Pixel, class Mean>
void TransformRow(const Pixel* pixels, int width, bool mirror, float scale,
                  Mean mean, float* out) {
  if (mirror) {
    for (int w = 0; w < width; ++w)
      out[width - 1 - w] = (static_cast<float>(pixels[w]) - mean(w)) * scale;
  } else {
    for (int w = 0; w < width; ++w)
      out[w] = (static_cast<float>(pixels[w]) - mean(w)) * scale;
  }
}

}  // namespace

absl::StatusOr<DataTransformer> DataTransformer::Create(
    const caffe::TransformationParameter& param, caffe::Phase phase) {
  if (param.has_mean_file() && param.mean_value_size() > 0) {
    return absl::InvalidArgumentError(
        "transform_param: mean_file and mean_value exclude each other");
  }
  if (param.force_color() && param.force_gray()) {
    return absl::InvalidArgumentError(
        "transform_param: force_color and force_gray exclude each other");
  }
  DataTransformer transformer(param, phase);
  if (param.has_mean_file()) {
    ASSIGN_OR_RETURN(MeanImage mean, ReadMeanFile(param.mean_file()));
    transformer.mean_shape_ = {mean.channels, mean.height, mean.width};
    transformer.mean_image_ = std::move(mean.values);
  }
  return transformer;
}

absl::StatusOr<ImageShape> DataTransformer::OutputShape(
    const ImageShape& input) const {
  if (!mean_image_.empty() && !(input == mean_shape_)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "mean_file ", param_.mean_file(), " is ", Text(mean_shape_),
        ", the record ", Text(input)));
  }
  const int means = param_.mean_value_size();
  if (means > 1 && means != input.channels) {
    return absl::InvalidArgumentError(
        absl::StrCat("mean_value is given ", means,
                     " times: give one, or one for each of the record's ",
                     input.channels, " channels"));
  }
  const int forced = param_.force_color() ? 3 : param_.force_gray() ? 1 : 0;
  if (forced != 0 && forced != input.channels) {
    return absl::InvalidArgumentError(absl::StrCat(
        forced == 3 ? "force_color" : "force_gray", ": the record has ",
        input.channels, " raw channels; only compressed images are converted"));
  }
  const int64_t crop = param_.crop_size();
  if (crop > input.height || crop > input.width) {
    return absl::InvalidArgumentError(absl::StrCat(
        "crop_size ", crop, " is larger than the record's ", Text(input)));
  }
  ImageShape output = input;
  if (crop > 0) output.height = output.width = static_cast<int>(crop);
  return output;
}

TransformDraw DataTransformer::Draw(uint64_t seed, const RecordId& id,
                                    const ImageShape& input) const {
  const PhiloxBlock draw =
      Philox(seed, {static_cast<uint32_t>(id.index),
                    static_cast<uint32_t>(id.index >> 32),
                    static_cast<uint32_t>(id.epoch), kTransformDraws});
  TransformDraw result;
  result.mirror = param_.mirror() && (draw[0] & 1) != 0;
  const int crop = static_cast<int>(param_.crop_size());
  if (crop == 0) return result;
  const int rows = input.height - crop, columns = input.width - crop;
  if (phase_ == caffe::TRAIN) {
    result.row = static_cast<int>(BoundedDraw(draw[1], rows + 1));
    result.column = static_cast<int>(BoundedDraw(draw[2], columns + 1));
  } else {
    result.row = rows / 2;
    result.column = columns / 2;
  }
  return result;
}

float DataTransformer::ChannelMean(int channel) const {
  if (param_.mean_value_size() == 0) return 0;
  return param_.mean_value(param_.mean_value_size() == 1 ? 0 : channel);
}

template <class Pixel>
void DataTransformer::TransformPixels(const Pixel* pixels,
                                      const ImageShape& input,
                                      const TransformDraw& draw,
                                      float* out) const {
  const float scale = param_.scale();
  const int crop = static_cast<int>(param_.crop_size());
  const int height = crop > 0 ? crop : input.height;
  const int width = crop > 0 ? crop : input.width;
  for (int c = 0; c < input.channels; ++c) {
    const float constant = ChannelMean(c);
    for (int h = 0; h < height; ++h, out += width) {
      const int64_t from =
          (int64_t{c} * input.height + draw.row + h) * input.width +
          draw.column;
      if (mean_image_.empty()) {
        TransformRow(pixels + from, width, draw.mirror, scale,
                     [constant](int) { return constant; }, out);
      } else {
        const float* mean = mean_image_.data() + from;
        TransformRow(pixels + from, width, draw.mirror, scale,
                     [mean](int w) { return mean[w]; }, out);
      }
    }
  }
}

void DataTransformer::Transform(const RecordView& record,
                                const TransformDraw& draw,
                                absl::Span<float> out) const {
  const ImageShape input{record.channels, record.height, record.width};
  if (!record.bytes.empty()) {
    TransformPixels(reinterpret_cast<const uint8_t*>(record.bytes.data()),
                    input, draw, out.data());
  } else {
    TransformPixels(record.floats.data(), input, draw, out.data());
  }
}

}  // namespace cssp
