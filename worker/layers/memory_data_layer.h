// MemoryData: arrays that a program gives.
#ifndef CSSP_WORKER_LAYERS_MEMORY_DATA_LAYER_H_
#define CSSP_WORKER_LAYERS_MEMORY_DATA_LAYER_H_

#include <vector>

#include "absl/types/span.h"
#include "worker/layers/source_layer.h"

namespace cssp {

// Tops: data (batch x channels x height x width) and label (batch).  Forward
// gives the arrays' items in turn, from the start again after the last, as
// Caffe does: the order does not depend on clock or rank.
//
// Thread-confined: the training thread.
class MemoryDataLayer : public SourceLayer {
 public:
  using SourceLayer::SourceLayer;

  absl::Status SetUp(absl::Span<const Shape> bottom) override;
  absl::StatusOr<std::vector<Shape>> InferShapes(
      absl::Span<const Shape> bottom) const override;
  absl::Status Forward(StepContext& step, const ForwardArgs& args) override;
  int min_tops() const override { return 2; }
  int max_tops() const override { return 2; }

  // Gives `n` items and starts at the first.  The arrays are borrowed until the
  // next call.  InvalidArgument unless n is a positive multiple of batch_size
  // and the arrays hold n items.
  absl::Status Reset(absl::Span<const float> data,
                     absl::Span<const float> labels, int64_t n);
  // As Reset, with copies of records that transform_param is applied to.
  // `seed` keys the draws.
  absl::Status AddDatums(absl::Span<const caffe::Datum> datums, uint64_t seed);

  int64_t batch_size() const { return batch_size_; }

 private:
  int64_t batch_size_ = 0;
  int64_t item_floats_ = 0;
  absl::Span<const float> data_, labels_;  // borrowed
  int64_t items_ = 0;
  int64_t next_ = 0;
  std::vector<float> own_data_, own_labels_;
};

}  // namespace cssp

#endif  // CSSP_WORKER_LAYERS_MEMORY_DATA_LAYER_H_
