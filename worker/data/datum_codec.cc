#include "worker/data/datum_codec.h"

#include <cstdint>
#include <cstring>
#include <limits>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "google/protobuf/io/coded_stream.h"
#include "google/protobuf/wire_format_lite.h"
#include "proto/caffe.pb.h"

namespace cssp {
namespace {

using google::protobuf::io::CodedInputStream;
using google::protobuf::internal::WireFormatLite;

// The fields of caffe.Datum, pixels not copied.
struct RawDatum {
  uint64_t channels = 0, height = 0, width = 0, label = 0, encoded = 0;
  absl::string_view data;
  std::string floats;  // raw little-endian fp32
};

bool ReadVarint(CodedInputStream& in, uint32_t tag, uint64_t* value) {
  return WireFormatLite::GetTagWireType(tag) ==
             WireFormatLite::WIRETYPE_VARINT &&
         in.ReadVarint64(value);
}

// A length-delimited field, as a view into the input.
bool ReadView(CodedInputStream& in, absl::string_view* view) {
  uint32_t size = 0;
  if (!in.ReadVarint32(&size)) return false;
  const void* data = nullptr;
  int left = 0;
  in.GetDirectBufferPointerInline(&data, &left);
  if (left < 0 || size > static_cast<uint32_t>(left)) return false;
  *view = absl::string_view(static_cast<const char*>(data), size);
  return in.Skip(static_cast<int>(size));
}

// float_data: one value (as Caffe writes it) or a packed run.
bool ReadFloats(CodedInputStream& in, uint32_t tag, std::string* floats) {
  if (WireFormatLite::GetTagWireType(tag) ==
      WireFormatLite::WIRETYPE_LENGTH_DELIMITED) {
    absl::string_view run;
    if (!ReadView(in, &run) || run.size() % sizeof(float) != 0) return false;
    floats->append(run.data(), run.size());
    return true;
  }
  uint32_t bits = 0;
  if (WireFormatLite::GetTagWireType(tag) !=
          WireFormatLite::WIRETYPE_FIXED32 ||
      !in.ReadLittleEndian32(&bits)) {
    return false;
  }
  char raw[sizeof bits];
  std::memcpy(raw, &bits, sizeof bits);
  floats->append(raw, sizeof raw);
  return true;
}

bool ReadField(CodedInputStream& in, uint32_t tag, RawDatum* datum) {
  switch (WireFormatLite::GetTagFieldNumber(tag)) {
    case caffe::Datum::kChannelsFieldNumber:
      return ReadVarint(in, tag, &datum->channels);
    case caffe::Datum::kHeightFieldNumber:
      return ReadVarint(in, tag, &datum->height);
    case caffe::Datum::kWidthFieldNumber:
      return ReadVarint(in, tag, &datum->width);
    case caffe::Datum::kLabelFieldNumber:
      return ReadVarint(in, tag, &datum->label);
    case caffe::Datum::kEncodedFieldNumber:
      return ReadVarint(in, tag, &datum->encoded);
    case caffe::Datum::kDataFieldNumber:
      return WireFormatLite::GetTagWireType(tag) ==
                 WireFormatLite::WIRETYPE_LENGTH_DELIMITED &&
             ReadView(in, &datum->data);
    case caffe::Datum::kFloatDataFieldNumber:
      return ReadFloats(in, tag, &datum->floats);
    default:
      return WireFormatLite::SkipField(&in, tag);
  }
}

bool ReadDatum(absl::string_view wire, RawDatum* datum) {
  if (wire.size() > std::numeric_limits<int>::max()) return false;
  CodedInputStream in(reinterpret_cast<const uint8_t*>(wire.data()),
                      static_cast<int>(wire.size()));
  while (const uint32_t tag = in.ReadTag()) {
    if (!ReadField(in, tag, datum)) return false;
  }
  return in.ConsumedEntireMessage();
}

// Elements of the record, or 0 where the extents make no sense.
uint64_t ElementsOf(const RawDatum& datum) {
  constexpr uint64_t kMax = std::numeric_limits<int32_t>::max();
  if (datum.channels > kMax || datum.height > kMax || datum.width > kMax)
    return 0;
  const uint64_t plane = datum.height * datum.width;  // < 2^62
  if (plane == 0 || plane > kMax || datum.channels > kMax / plane) return 0;
  return datum.channels * plane;
}

// Extents that an encoded Datum states are not looked at, as in Caffe.
absl::StatusOr<RecordView> Decoded(const RawDatum& datum, ColorMode mode,
                                   std::string* storage) {
  Image image;
  const absl::Status decoded = DecodeImage(datum.data, mode, &image);
  if (!decoded.ok())
    return absl::DataLossError(
        absl::StrCat("its encoded image ", decoded.message()));
  ToPlanes(image, storage);
  RecordView record;
  record.channels = image.channels;
  record.height = image.height;
  record.width = image.width;
  record.bytes = *storage;
  record.label = static_cast<int>(datum.label);
  return record;
}

}  // namespace

absl::StatusOr<RecordView> ParseDatum(absl::string_view wire,
                                      std::string* storage, ColorMode mode) {
  storage->clear();
  RawDatum datum;
  if (!ReadDatum(wire, &datum))
    return absl::DataLossError("is no Datum (damaged or of another format)");
  if (datum.encoded != 0) return Decoded(datum, mode, storage);
  const uint64_t count = ElementsOf(datum);
  const uint64_t held =
      datum.data.empty() ? datum.floats.size() / sizeof(float)
                         : datum.data.size();
  if (count == 0 || held != count) {
    return absl::DataLossError(
        absl::StrCat("holds ", held, " values but says ", datum.channels, " x ",
                     datum.height, " x ", datum.width));
  }
  RecordView record;
  record.channels = static_cast<int>(datum.channels);
  record.height = static_cast<int>(datum.height);
  record.width = static_cast<int>(datum.width);
  record.label = static_cast<int>(datum.label);
  if (!datum.data.empty()) {
    record.bytes = datum.data;
  } else {
    *storage = std::move(datum.floats);
    // A string's buffer is aligned for any scalar.
    record.floats = absl::MakeConstSpan(
        reinterpret_cast<const float*>(storage->data()), count);
  }
  return record;
}

}  // namespace cssp
