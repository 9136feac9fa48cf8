// A Datum as it lies in a base, read without copying its pixels.
#ifndef CSSP_WORKER_DATA_DATUM_CODEC_H_
#define CSSP_WORKER_DATA_DATUM_CODEC_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "worker/data/data_source.h"

namespace cssp {

// The view's bytes point into `wire`; floats, which protobuf does not keep
// aligned, are gathered into `*storage`.  `wire` may point into `*storage` only
// when the caller keeps it: then give another string.
// DataLoss: does not parse, or extents and pixels disagree.  Unimplemented:
// an encoded (JPEG, PNG) image.  Messages do not name the record.
absl::StatusOr<RecordView> ParseDatum(absl::string_view wire,
                                      std::string* storage);

}  // namespace cssp

#endif  // CSSP_WORKER_DATA_DATUM_CODEC_H_
