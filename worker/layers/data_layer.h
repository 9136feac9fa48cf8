// Data, ImageData, WindowData: batches of records, read ahead.
#ifndef CSSP_WORKER_LAYERS_DATA_LAYER_H_
#define CSSP_WORKER_LAYERS_DATA_LAYER_H_

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "worker/data/batch.h"
#include "worker/data/data_transformer.h"
#include "worker/data/prefetcher.h"
#include "worker/layers/record_feed.h"
#include "worker/layers/source_layer.h"
#include "worker/net/layer_registry.h"

namespace cssp {

// Tops: data (batch x channels x height x width) and, if given, label (batch).
// Which records a step gets follows from StepState::first_record alone;
// threads read and decode ahead where the next steps will probably look, and
// their number changes nothing but the speed.  SetBatch changes how many.
//
// Thread-confined: the training thread (the prefetch threads stay inside).
class DataLayer : public SourceLayer {
 public:
  // `threads` read ahead; 0: as many as the device computes with.
  DataLayer(const caffe::LayerParameter& param, const LayerContext& context,
            FeedOpener open, int threads);
  ~DataLayer() override;

  absl::Status SetUp(absl::Span<const Shape> bottom) override;
  absl::StatusOr<std::vector<Shape>> InferShapes(
      absl::Span<const Shape> bottom) const override;
  LayerTraits Traits() const override;
  absl::Status Bind(absl::Span<const TensorDesc> bottom,
                    absl::Span<const TensorDesc> top) override;
  absl::Status Prepare(const StepState& state) override;
  bool SetBatch(int64_t records) override;
  absl::Status Forward(StepContext& step, const ForwardArgs& args) final;
  double data_wait_seconds() const override;
  int max_tops() const override { return 2; }

  int64_t num_records() const { return feed_->num_records(); }

 protected:
  // Transforms a batch whose records all fit the tops.
  virtual absl::Status Deliver(StepContext& step, const Batch& batch,
                               const ForwardArgs& args) = 0;
  const DataTransformer& transformer() const { return feed_->transformer(); }

 private:
  absl::StatusOr<ImageShape> ShapeOf(const BatchItem& item) const;
  absl::Status CheckFits(const Batch& batch) const;

  const std::string root_folder_;
  const FeedOpener open_;
  const int threads_;
  ImageShape item_;  // after the transform
  int64_t batch_ = 1;
  std::unique_ptr<RecordFeed> feed_;
  std::unique_ptr<Prefetcher> prefetcher_;  // its threads use the feed
  std::optional<BatchLease> ready_;         // prepared, not yet delivered
};

}  // namespace cssp

#endif  // CSSP_WORKER_LAYERS_DATA_LAYER_H_
