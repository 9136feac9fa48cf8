// HDF5Data: rows of HDF5 files.
#ifndef CSSP_WORKER_LAYERS_HDF5_DATA_LAYER_H_
#define CSSP_WORKER_LAYERS_HDF5_DATA_LAYER_H_

#include <memory>
#include <string>
#include <vector>

#include "worker/data/hdf5_records.h"
#include "worker/data/prefetcher.h"
#include "worker/layers/source_layer.h"
#include "worker/net/layer_registry.h"

namespace cssp {

// Top k: batch x (a row of the dataset named as the top).  Dealt by
// StepState::first_record, read ahead by one thread.  The same on every device.
//
// Thread-confined: the training thread (the prefetch thread stays inside).
class Hdf5DataLayer final : public SourceLayer {
 public:
  Hdf5DataLayer(const caffe::LayerParameter& param,
                const LayerContext& context);

  absl::Status SetUp(absl::Span<const Shape> bottom) override;
  absl::StatusOr<std::vector<Shape>> InferShapes(
      absl::Span<const Shape> bottom) const override;
  absl::Status Bind(absl::Span<const TensorDesc> bottom,
                    absl::Span<const TensorDesc> top) override;
  absl::Status Forward(StepContext& step, const ForwardArgs& args) override;
  bool SetBatch(int64_t records) override {
    batch_size_ = records;
    return true;
  }
  double data_wait_seconds() const override;

 private:
  // All tops' values, one top after the other, into batch->raw.
  void ReadBatch(const BatchKey& key, Batch* batch) const;

  Device& device_;
  const std::string root_folder_;
  int64_t batch_size_ = 0;
  std::unique_ptr<Hdf5Records> records_;
  std::unique_ptr<Prefetcher> prefetcher_;  // its thread uses the records
};

}  // namespace cssp

#endif  // CSSP_WORKER_LAYERS_HDF5_DATA_LAYER_H_
