#include "worker/layers/recurrent_layer.h"

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"

namespace cssp {
namespace {

constexpr int64_t kMaxOutputs = 1 << 28;

template <class... Parts>
absl::Status Invalid(const Parts&... parts) {
  return absl::InvalidArgumentError(absl::StrCat(parts...));
}

}  // namespace

void RecurrentLayer::DeclareWeight(int64_t rows, int64_t columns) {
  DeclareParam({.shape = Shape({rows, columns}),
                .filler = layer_param().recurrent_param().weight_filler()});
}

void RecurrentLayer::DeclareBias(int64_t count) {
  DeclareParam({.shape = Shape({count}),
                .filler = layer_param().recurrent_param().bias_filler()});
}

absl::Status RecurrentLayer::SetUp(absl::Span<const Shape> bottom) {
  num_output_ = layer_param().recurrent_param().num_output();
  if (num_output_ < 1 || num_output_ > kMaxOutputs) {
    return Invalid("recurrent_param.num_output must be between 1 and 2^28");
  }
  if (bottom[0].num_axes() < 3) {
    return Invalid(
        "the first bottom needs 3 axes (steps, streams, features...), got ",
        bottom[0].ToString());
  }
  inputs_ = bottom[0].count_from(2);
  if (inputs_ < 1) {
    return Invalid("the first bottom has no features: ", bottom[0].ToString());
  }
  DeclareWeight(gates_ * num_output_, inputs_);
  DeclareBias(gates_ * num_output_);
  if (has_static()) {
    if (bottom[2].num_axes() < 2 || bottom[2].count_from(1) < 1) {
      return Invalid(
          "the static input needs 2 axes (streams, features...), got ",
          bottom[2].ToString());
    }
    static_inputs_ = bottom[2].count_from(1);
    DeclareWeight(gates_ * num_output_, static_inputs_);
  }
  DeclareRecurrent();
  return absl::OkStatus();
}

absl::StatusOr<std::vector<Shape>> RecurrentLayer::InferShapes(
    absl::Span<const Shape> bottom) const {
  const Shape& x = bottom[0];
  if (x.num_axes() < 3 || x.count_from(2) != inputs_) {
    return Invalid("the first bottom is ", x.ToString(),
                   ", the weights were made for ", inputs_, " features a step");
  }
  const int64_t steps = x.dim(0), streams = x.dim(1);
  if (bottom[1] != Shape({steps, streams})) {
    return Invalid("the second bottom says where sequences go on and must be ",
                   Shape({steps, streams}).ToString(),
                   " (steps, streams), got ", bottom[1].ToString());
  }
  if (has_static() &&
      (bottom[2].num_axes() < 2 || bottom[2].dim(0) != streams ||
       bottom[2].count_from(1) != static_inputs_)) {
    return Invalid("the static input must have ", streams, " streams of ",
                   static_inputs_, " features, got ", bottom[2].ToString());
  }
  const Shape state({1, streams, num_output_});
  for (int i = 0; i < exposed_states(); ++i) {
    const Shape& given = bottom[first_state_bottom() + i];
    if (given == state) continue;
    return Invalid("bottom ", first_state_bottom() + i,
                   " is a hidden state and must be ", state.ToString(),
                   ", got ", given.ToString());
  }
  const int64_t dims[] = {steps, streams, num_output_};
  ASSIGN_OR_RETURN(Shape top, Shape::Create(dims));
  std::vector<Shape> tops(1 + exposed_states(), state);
  tops[0] = top;
  return tops;
}

LayerTraits RecurrentLayer::Traits() const {
  LayerTraits traits;
  // States are kept as they were used.
  traits.backward_reads_bottom = has_static() ? 0b111 : 0b11;
  traits.backward_reads_top = 0;
  traits.scratch_bytes = scratch_bytes_;
  return traits;
}

void LstmLayer::DeclareRecurrent() {
  DeclareWeight(4 * num_output(), num_output());
}

void RnnLayer::DeclareRecurrent() {
  DeclareWeight(num_output(), num_output());
  DeclareWeight(num_output(), num_output());
  DeclareBias(num_output());
}

LayerTraits RnnLayer::Traits() const {
  LayerTraits traits = RecurrentLayer::Traits();
  traits.backward_reads_top = 0b1;  // tanh
  return traits;
}

}  // namespace cssp
