// A Datum as it lies in a base, read without copying its pixels.
#ifndef CSSP_WORKER_DATA_DATUM_CODEC_H_
#define CSSP_WORKER_DATA_DATUM_CODEC_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "worker/data/data_source.h"
#include "worker/data/image_codec.h"

namespace cssp {

// The view's bytes point into `wire`.  Floats, which protobuf does not keep
// aligned, are gathered into `*storage`; so are the planes of an encoded (JPEG,
// PNG) image, decoded in `mode` (raw pixels stay what they are).  `*storage` is
// empty where it was not used.  `wire` must not point into it.
// DataLoss: does not parse, extents and pixels disagree, or the image is
// damaged.  Messages do not name the record.
absl::StatusOr<RecordView> ParseDatum(absl::string_view wire,
                                      std::string* storage,
                                      ColorMode mode = ColorMode::kAsStored);

}  // namespace cssp

#endif  // CSSP_WORKER_DATA_DATUM_CODEC_H_
