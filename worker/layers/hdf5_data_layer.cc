#include "worker/layers/hdf5_data_layer.h"

#include <utility>

#include "common/base/status_macros.h"
#include "worker/layers/record_feed.h"

namespace cssp {

Hdf5DataLayer::Hdf5DataLayer(const caffe::LayerParameter& param,
                             const LayerContext& context)
    : SourceLayer(param, context.phase),
      device_(*context.device),
      root_folder_(context.root_folder) {}

absl::Status Hdf5DataLayer::SetUp(absl::Span<const Shape> bottom) {
  const caffe::HDF5DataParameter& data = layer_param().hdf5_data_param();
  if (layer_param().has_transform_param())
    return absl::InvalidArgumentError(
        "HDF5Data does not transform: take transform_param out and store the "
        "values as the net wants them");
  if (data.source().empty())
    return absl::InvalidArgumentError(
        "hdf5_data_param: source must name a list of HDF5 files");
  if (data.batch_size() < 1)
    return absl::InvalidArgumentError(
        "hdf5_data_param: batch_size must be > 0");
  batch_size_ = data.batch_size();
  ASSIGN_OR_RETURN(
      records_, Hdf5Records::Open(
                    ResolveDataPath(root_folder_, data.source()), root_folder_,
                    {layer_param().top().begin(), layer_param().top().end()},
                    data.shuffle()));
  prefetcher_ = std::make_unique<Prefetcher>(
      [this](const BatchKey& key, Batch* batch) { ReadBatch(key, batch); },
      Prefetcher::Options{.stride = batch_size_});
  return absl::OkStatus();
}

absl::StatusOr<std::vector<Shape>> Hdf5DataLayer::InferShapes(
    absl::Span<const Shape> bottom) const {
  std::vector<Shape> tops;
  for (int d = 0; d < num_tops(); ++d) {
    std::vector<int64_t> dims{batch_size_};
    const std::vector<int64_t>& row = records_->row_extents(d);
    dims.insert(dims.end(), row.begin(), row.end());
    ASSIGN_OR_RETURN(Shape shape, Shape::Create(dims));
    tops.push_back(std::move(shape));
  }
  return tops;
}

absl::Status Hdf5DataLayer::Bind(absl::Span<const TensorDesc> bottom,
                                 absl::Span<const TensorDesc> top) {
  prefetcher_->Start();
  return absl::OkStatus();
}

void Hdf5DataLayer::ReadBatch(const BatchKey& key, Batch* batch) const {
  batch->key = key;
  int64_t floats = 0;
  for (int d = 0; d < num_tops(); ++d)
    floats += key.records * records_->row_floats(d);
  batch->raw.resize(floats * sizeof(float));
  auto* at = reinterpret_cast<float*>(batch->raw.data());
  std::vector<float*> out;
  for (int d = 0; d < num_tops(); ++d) {
    out.push_back(at);
    at += key.records * records_->row_floats(d);
  }
  batch->status = records_->Read(key.first, key.records, key.seed, out);
}

absl::Status Hdf5DataLayer::Forward(StepContext& step,
                                    const ForwardArgs& args) {
  const StepState& state = step.state();
  ASSIGN_OR_RETURN(const BatchLease batch,
                   prefetcher_->Take(
                       {state.first_record, state.seed, batch_size_}));
  const uint8_t* from = batch->raw.data();
  for (const Tensor& top : args.top) {
    const size_t bytes = static_cast<size_t>(top.count()) * sizeof(float);
    RETURN_IF_ERROR(
        device_.CopyFromHost(step.stream(), top.data(), from, bytes));
    from += bytes;
  }
  return absl::OkStatus();
}

double Hdf5DataLayer::data_wait_seconds() const {
  return prefetcher_ == nullptr ? 0
                                : absl::ToDoubleSeconds(prefetcher_->waited());
}

}  // namespace cssp
