// The two codecs behind image_codec.h; nobody else includes this.
#ifndef CSSP_WORKER_DATA_CODECS_H_
#define CSSP_WORKER_DATA_CODECS_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "worker/data/image_codec.h"

namespace cssp {

// Ok when a picture of these extents is one that may be allocated for, given
// that the format turns a byte of the file into at most `pixels_per_byte`.
absl::Status CheckImageSize(uint64_t width, uint64_t height,
                            double pixels_per_byte, size_t file_bytes);

absl::Status DecodeJpeg(absl::string_view bytes, ColorMode mode, Image* image);
absl::Status EncodeJpeg(const Image& image, int quality, std::string* bytes);
absl::Status DecodePng(absl::string_view bytes, ColorMode mode, Image* image);
absl::Status EncodePng(const Image& image, std::string* bytes);

}  // namespace cssp

#endif  // CSSP_WORKER_DATA_CODECS_H_
