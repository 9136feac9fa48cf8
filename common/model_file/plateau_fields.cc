#include "common/model_file/plateau_fields.h"

#include <bit>

#include "google/protobuf/unknown_field_set.h"

namespace cssp {
namespace {

// Of NVIDIA's fork: a fixed32 and a varint.
constexpr int kOldMinimumLoss = 5;
constexpr int kOldLastEvent = 6;

// Fills in what an old file has under the old numbers.
caffe::SolverState WithNewNumbers(const caffe::SolverState& state) {
  using google::protobuf::UnknownField;
  caffe::SolverState renewed;
  if (state.has_smoothed_loss())
    renewed.set_smoothed_loss(state.smoothed_loss());
  const google::protobuf::UnknownFieldSet& set =
      state.GetReflection()->GetUnknownFields(state);
  for (int i = 0; i < set.field_count(); ++i) {
    const UnknownField& field = set.field(i);
    if (field.number() == kOldMinimumLoss &&
        field.type() == UnknownField::TYPE_FIXED32) {
      renewed.set_minimum_loss(std::bit_cast<float>(field.fixed32()));
    } else if (field.number() == kOldLastEvent &&
               field.type() == UnknownField::TYPE_VARINT) {
      renewed.set_iter_last_event(static_cast<int64_t>(field.varint()));
    }
  }
  return renewed;
}

bool IsWhole(const caffe::SolverState& state) {
  return state.has_smoothed_loss() && state.has_minimum_loss() &&
         state.has_iter_last_event() && state.iter_last_event() >= 0;
}

PlateauFields FieldsOf(const caffe::SolverState& state) {
  return {.minimum_loss = state.minimum_loss(),
          .last_event = state.iter_last_event(),
          .smoothed_loss = state.smoothed_loss()};
}

}  // namespace

void SetPlateauFields(const PlateauFields& fields, caffe::SolverState* state) {
  state->set_smoothed_loss(fields.smoothed_loss);
  state->set_minimum_loss(fields.minimum_loss);
  state->set_iter_last_event(fields.last_event);
}

std::optional<PlateauFields> GetPlateauFields(const caffe::SolverState& state) {
  if (state.has_minimum_loss() || state.has_iter_last_event())
    return IsWhole(state) ? std::optional(FieldsOf(state)) : std::nullopt;
  const caffe::SolverState renewed = WithNewNumbers(state);
  return IsWhole(renewed) ? std::optional(FieldsOf(renewed)) : std::nullopt;
}

}  // namespace cssp
