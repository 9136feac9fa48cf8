#include "worker/layers/memory_data_layer.h"

#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "worker/data/data_transformer.h"
#include "worker/data/datum_codec.h"
#include "worker/layers/record_feed.h"

namespace cssp {

absl::Status MemoryDataLayer::SetUp(absl::Span<const Shape> bottom) {
  const caffe::MemoryDataParameter& param = layer_param().memory_data_param();
  if (param.batch_size() < 1 || param.channels() < 1 || param.height() < 1 ||
      param.width() < 1) {
    return absl::InvalidArgumentError(
        "memory_data_param: batch_size, channels, height and width must be "
        "> 0");
  }
  batch_size_ = param.batch_size();
  ASSIGN_OR_RETURN(const Shape item,
                   Shape::Create({param.channels(), param.height(),
                                  param.width()}));
  item_floats_ = item.count();
  return absl::OkStatus();
}

absl::StatusOr<std::vector<Shape>> MemoryDataLayer::InferShapes(
    absl::Span<const Shape> bottom) const {
  const caffe::MemoryDataParameter& param = layer_param().memory_data_param();
  ASSIGN_OR_RETURN(Shape data,
                   Shape::Create({batch_size_, param.channels(), param.height(),
                                  param.width()}));
  return std::vector<Shape>{std::move(data), Shape({batch_size_})};
}

absl::Status MemoryDataLayer::Reset(absl::Span<const float> data,
                                    absl::Span<const float> labels,
                                    int64_t n) {
  if (n < 1 || n % batch_size_ != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("layer ", name(), ": ", n,
                     " items are no positive multiple of batch_size ",
                     batch_size_));
  }
  if (data.size() / item_floats_ < static_cast<uint64_t>(n) ||
      labels.size() < static_cast<uint64_t>(n)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "layer ", name(), ": ", n, " items want ", item_floats_,
        " values each and a label; given are ", data.size(), " and ",
        labels.size()));
  }
  data_ = data;
  labels_ = labels;
  items_ = n;
  next_ = 0;
  return absl::OkStatus();
}

absl::Status MemoryDataLayer::AddDatums(absl::Span<const caffe::Datum> datums,
                                        uint64_t seed) {
  ASSIGN_OR_RETURN(
      const DataTransformer transformer,
      DataTransformer::Create(layer_param().transform_param(), phase()));
  std::vector<float> data(datums.size() * item_floats_), labels;
  for (size_t i = 0; i < datums.size(); ++i) {
    const std::string wire = datums[i].SerializeAsString();
    const std::string where = absl::StrCat("layer ", name(), ": datum ", i);
    std::string storage;
    const absl::StatusOr<RecordView> record =
        ParseDatum(wire, &storage, EncodedColorMode(layer_param()));
    if (!record.ok()) return Annotate(record.status(), where);
    const ImageShape input{record->channels, record->height, record->width};
    const absl::StatusOr<ImageShape> output = transformer.OutputShape(input);
    if (!output.ok()) return Annotate(output.status(), where);
    if (output->count() != item_floats_) {
      return absl::InvalidArgumentError(absl::StrCat(
          where, ": has ", output->count(), " values, the layer's items ",
          item_floats_));
    }
    transformer.Transform(
        *record,
        transformer.Draw(seed, RecordId{0, static_cast<int64_t>(i)}, input),
        absl::MakeSpan(data).subspan(i * item_floats_, item_floats_));
    labels.push_back(static_cast<float>(record->label));
  }
  RETURN_IF_ERROR(Reset(data, labels, static_cast<int64_t>(datums.size())));
  own_data_ = std::move(data);  // the memory that data_ looks at
  own_labels_ = std::move(labels);
  return absl::OkStatus();
}

absl::Status MemoryDataLayer::Forward(StepContext& step,
                                      const ForwardArgs& args) {
  if (items_ == 0) {
    return absl::FailedPreconditionError(
        "MemoryData has no data: give it some with Reset");
  }
  std::copy_n(data_.begin() + next_ * item_floats_, batch_size_ * item_floats_,
              args.top[0].data());
  std::copy_n(labels_.begin() + next_, batch_size_, args.top[1].data());
  next_ = (next_ + batch_size_) % items_;
  return absl::OkStatus();
}

}  // namespace cssp
