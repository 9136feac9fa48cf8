// JPEG and PNG, in and out.
#ifndef CSSP_WORKER_DATA_IMAGE_CODEC_H_
#define CSSP_WORKER_DATA_IMAGE_CODEC_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "worker/data/image.h"

namespace cssp {

// What a decoded picture shall be: as it was stored (gray or colour; opacity is
// dropped), or always the one or the other.
enum class ColorMode { kAsStored, kColor, kGray };

enum class ImageFormat { kJpeg, kPng };

// "jpg", "jpeg", "png", in any case, with or without a dot.  InvalidArgument
// lists them.
absl::StatusOr<ImageFormat> ParseImageFormat(absl::string_view name);

// The format by a file's first bytes, not by its name; InvalidArgument when it
// is neither.
absl::StatusOr<ImageFormat> DetectImageFormat(absl::string_view bytes);

// Decodes into *image, whose memory is used again.  Pixels are those of
// OpenCV's imread (libjpeg's exact transform, smooth chroma; 16 bits cut to 8),
// but that a camera's orientation tag turns nothing.
//
// InvalidArgument: neither JPEG nor PNG.  DataLoss: truncated or damaged; a
// header that claims more pixels than so few bytes can hold, or more than 2^27;
// a progressive JPEG of more than 200 scans.  Nothing is allocated for pixels
// before the header was found plausible.
absl::Status DecodeImage(absl::string_view bytes, ColorMode mode, Image* image);

// The file's bytes, at most 256 MiB.  NotFound, DataLoss name the path.
absl::Status ReadImageBytes(const std::string& path, std::string* bytes);

// Both.  Errors name the path.
absl::Status ReadImage(const std::string& path, ColorMode mode, Image* image);

// JPEG with `quality` 1..100 (OpenCV's default: 95); PNG without loss.
// REQUIRES: 1 or 3 channels, at least one pixel.
absl::StatusOr<std::string> EncodeImage(const Image& image, ImageFormat format,
                                        int quality = 95);

}  // namespace cssp

#endif  // CSSP_WORKER_DATA_IMAGE_CODEC_H_
