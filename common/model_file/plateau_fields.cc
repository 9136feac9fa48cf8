#include "common/model_file/plateau_fields.h"

#include <bit>

#include "google/protobuf/unknown_field_set.h"

namespace cssp {
namespace {

constexpr int kMinimumLoss = 5;
constexpr int kLastEvent = 6;
constexpr int kSmoothedLoss = 10000;

}  // namespace

void SetPlateauFields(const PlateauFields& fields, caffe::SolverState* state) {
  google::protobuf::UnknownFieldSet* set =
      state->GetReflection()->MutableUnknownFields(state);
  set->AddFixed32(kMinimumLoss, std::bit_cast<uint32_t>(fields.minimum_loss));
  set->AddVarint(kLastEvent, static_cast<uint64_t>(fields.last_event));
  set->AddFixed32(kSmoothedLoss, std::bit_cast<uint32_t>(fields.smoothed_loss));
}

std::optional<PlateauFields> GetPlateauFields(const caffe::SolverState& state) {
  using google::protobuf::UnknownField;
  const google::protobuf::UnknownFieldSet& set =
      state.GetReflection()->GetUnknownFields(state);
  PlateauFields fields;
  int found = 0;  // a bit a field
  for (int i = 0; i < set.field_count(); ++i) {
    const UnknownField& field = set.field(i);
    const bool fixed = field.type() == UnknownField::TYPE_FIXED32;
    if (fixed && field.number() == kMinimumLoss) {
      fields.minimum_loss = std::bit_cast<float>(field.fixed32());
      found |= 1;
    } else if (fixed && field.number() == kSmoothedLoss) {
      fields.smoothed_loss = std::bit_cast<float>(field.fixed32());
      found |= 2;
    } else if (field.type() == UnknownField::TYPE_VARINT &&
               field.number() == kLastEvent) {
      fields.last_event = static_cast<int64_t>(field.varint());
      found |= 4;
    }
  }
  if (found != 7 || fields.last_event < 0) return std::nullopt;
  return fields;
}

}  // namespace cssp
