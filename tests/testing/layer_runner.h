// Drives one layer by hand, without a net: for tests.
#ifndef CSSP_TESTS_TESTING_LAYER_RUNNER_H_
#define CSSP_TESTS_TESTING_LAYER_RUNNER_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "worker/net/layer_registry.h"

namespace cssp::testing {

using Values = std::vector<float>;

// Which formats the layer is given: those it chooses when its 4-D bottoms are
// offered in one format, or Caffe's everywhere whatever it chooses.
enum class Offer { kForceCaffe, kCaffe, kBlocked8, kBlocked16 };

const char* OfferName(Offer offer);

// Values go in and come out in Caffe's layout; in between they are reordered,
// element by element, into the formats of the run.  Outputs are poisoned with
// nan before the layer writes them, and padding lanes are checked to be zero.
//
// Thread-confined.
class LayerRunner {
 public:
  // `param.bottom` is filled up; `param.top` gives the number of tops (one at
  // least).  Parameters are zero until set.
  static absl::StatusOr<std::unique_ptr<LayerRunner>> Create(
      caffe::LayerParameter param, caffe::Phase phase,
      std::vector<Shape> bottom, Offer offer = Offer::kCaffe);
  // From text format.
  static absl::StatusOr<std::unique_ptr<LayerRunner>> Create(
      const std::string& param, caffe::Phase phase, std::vector<Shape> bottom,
      Offer offer = Offer::kCaffe);
  // On `device`, borrowed.  Where kernels do not work in host memory, every
  // slot has a twin on the device: values are copied there before a pass and
  // back after it.
  static absl::StatusOr<std::unique_ptr<LayerRunner>> CreateOn(
      Device& device, caffe::LayerParameter param, caffe::Phase phase,
      std::vector<Shape> bottom, Offer offer);

  // The same layer with other bottom shapes, as a net reshapes it while it
  // runs; parameters keep their values.
  absl::Status Reshape(std::vector<Shape> bottom);

  Layer& layer() { return *layer_; }
  // Where data decide shapes: those of the last Forward.
  const std::vector<Shape>& top_shapes() const { return top_shapes_; }
  const FormatChoice& formats() const { return formats_; }
  StepState& state() { return state_; }

  // In place: top 0 in bottom 0's memory, gradients too.
  void set_in_place(bool in_place) { in_place_ = in_place; }

  absl::Status Forward();
  // Every gradient in `mode`, from `initial` where it adds.
  absl::Status Backward(const std::vector<Values>& top_gradient,
                        GradientMode mode, float initial = 0);

  // Inputs; after changing `param` call layer().ParamsChanged().
  std::vector<Values> bottom, param;
  // Outputs.
  std::vector<Values> top, bottom_gradient, param_gradient;

 private:
  struct Slot {
    TensorDesc desc;
    std::shared_ptr<float[]> memory;
    std::shared_ptr<Buffer> twin;  // null where kernels work in `memory`
    void* raw() const { return twin ? twin->data() : memory.get(); }
    Values Unpack() const;
    void Pack(const Values& values);
    void Poison();
    void FillWith(float value);
    absl::Status CheckPadding(const char* what) const;
  };
  static Slot NewSlot(const TensorDesc& desc);
  using Slots = std::vector<Slot>;

  LayerRunner() = default;
  absl::Status MakeSlots();
  // Nothing where kernels work in host memory.
  absl::Status Upload(const Slots& slots);
  absl::Status Download(Slots& slots);
  StepContext NewStep();

  std::unique_ptr<Device> own_device_;  // null where it is borrowed
  Device* device_ = nullptr;
  std::unique_ptr<LayerRegistry> registry_;
  std::unique_ptr<Layer> layer_;
  std::unique_ptr<Stream> stream_;
  StepState state_;
  Offer offer_ = Offer::kCaffe;
  FormatChoice formats_;
  std::vector<Shape> bottom_shapes_, top_shapes_;
  std::vector<Slot> bottom_slots_, top_slots_, param_slots_;
  std::vector<Slot> bottom_gradients_, top_gradients_, param_gradients_;
  Buffer scratch_;
  size_t scratch_bytes_ = 0;
  bool in_place_ = false;
};

// The caffe::LayerParameter of a text, CHECK-failing where it does not parse.
caffe::LayerParameter ParseLayer(const std::string& text);

// Standard normal values, a function of the seed.
Values Normal(int64_t count, uint64_t seed, float scale = 1);
// Values whose distances are at least `gap`: no ties, no kinks near.
Values Distinct(int64_t count, uint64_t seed, float gap = 0.05f);

}  // namespace cssp::testing

#endif  // CSSP_TESTS_TESTING_LAYER_RUNNER_H_
