// Data: batches of records from an LMDB or LevelDB base.
#ifndef CSSP_WORKER_LAYERS_DATA_LAYER_H_
#define CSSP_WORKER_LAYERS_DATA_LAYER_H_

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "worker/data/batch.h"
#include "worker/data/data_source.h"
#include "worker/data/data_transformer.h"
#include "worker/data/prefetcher.h"
#include "worker/layers/source_layer.h"
#include "worker/net/layer_registry.h"

namespace cssp {

// Tops: data (batch x channels x height x width) and, if given, label (batch).
// Which records a step gets follows from StepState::first_record alone;
// threads read ahead where the next steps will probably look.
//
// Thread-confined: the training thread (the prefetch threads stay inside).
class DataLayer : public SourceLayer {
 public:
  DataLayer(const caffe::LayerParameter& param, const LayerContext& context);
  ~DataLayer() override;

  absl::Status SetUp(absl::Span<const Shape> bottom) override;
  absl::StatusOr<std::vector<Shape>> InferShapes(
      absl::Span<const Shape> bottom) const override;
  absl::Status Bind(absl::Span<const TensorDesc> bottom,
                    absl::Span<const TensorDesc> top) override;
  absl::Status Forward(StepContext& step, const ForwardArgs& args) final;
  int max_tops() const override { return 2; }

  // Time that Forward has waited for records, in all.
  absl::Duration waited() const;
  // Records in the base.
  int64_t num_records() const { return source_->size(); }

 protected:
  // Transforms a batch whose records all fit the tops.
  virtual absl::Status Deliver(StepContext& step, const Batch& batch,
                               const ForwardArgs& args) = 0;
  const DataTransformer& transformer() const { return *transformer_; }

 private:
  absl::Status CheckFits(const Batch& batch) const;

  const std::string root_folder_;
  int64_t batch_size_ = 0;
  ImageShape item_;                              // after the transform
  std::unique_ptr<DataSource> source_;
  std::optional<DataTransformer> transformer_;
  std::unique_ptr<BatchReader> reader_;
  std::unique_ptr<Prefetcher> prefetcher_;       // last: its threads use these
};

}  // namespace cssp

#endif  // CSSP_WORKER_LAYERS_DATA_LAYER_H_
