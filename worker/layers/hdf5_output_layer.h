// HDF5Output: writes its bottoms to a file.
#ifndef CSSP_WORKER_LAYERS_HDF5_OUTPUT_LAYER_H_
#define CSSP_WORKER_LAYERS_HDF5_OUTPUT_LAYER_H_

#include <memory>
#include <vector>

#include "common/model_file/hdf5_rows.h"
#include "worker/net/layer_registry.h"

namespace cssp {

// Bottom 0 becomes dataset "data", bottom 1 "label"; each Forward adds its
// items' rows (Caffe knows a single one).  Extents are Caffe's four, with ones
// where the blob has fewer.  The file is replaced when the net is made.  The
// same on every device; it waits for the device, since it writes.
//
// Thread-confined: the training thread.
class Hdf5OutputLayer final : public Layer {
 public:
  Hdf5OutputLayer(const caffe::LayerParameter& param,
                  const LayerContext& context)
      : Layer(param, context.phase), device_(*context.device) {}

  absl::Status SetUp(absl::Span<const Shape> bottom) override;
  absl::StatusOr<std::vector<Shape>> InferShapes(
      absl::Span<const Shape> bottom) const override;
  LayerTraits Traits() const override;
  absl::Status Forward(StepContext& step, const ForwardArgs& args) override;
  absl::Status Backward(StepContext& step, const BackwardArgs& args) override {
    return absl::OkStatus();
  }
  int min_bottoms() const override { return 2; }
  int max_bottoms() const override { return 2; }
  int min_tops() const override { return 0; }
  int max_tops() const override { return 0; }
  bool propagates_to(int bottom) const override { return false; }

 private:
  Device& device_;
  std::unique_ptr<Hdf5RowWriter> file_;
  std::vector<float> host_;
};

}  // namespace cssp

#endif  // CSSP_WORKER_LAYERS_HDF5_OUTPUT_LAYER_H_
