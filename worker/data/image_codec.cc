#include "worker/data/image_codec.h"

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <system_error>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "worker/data/codecs.h"

namespace cssp {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kMaxPixels = uint64_t{1} << 27;
constexpr uint64_t kMaxFileBytes = uint64_t{256} << 20;
constexpr char kJpegStart[] = "\xff\xd8\xff";
constexpr char kPngStart[] = "\x89PNG\r\n\x1a\n";
// What tiny files may claim without having the bytes for it.
constexpr double kFreePixels = 65536;

}  // namespace

absl::Status CheckImageSize(uint64_t width, uint64_t height,
                            double pixels_per_byte, size_t file_bytes) {
  const std::string text = absl::StrCat(width, " x ", height, " pixels");
  if (width == 0 || height == 0)
    return absl::DataLossError(absl::StrCat("has ", text));
  if (width > kMaxPixels || height > kMaxPixels / width) {
    return absl::DataLossError(absl::StrCat("claims ", text, ", more than the ",
                                            kMaxPixels, " that are allowed"));
  }
  const double possible =
      kFreePixels + pixels_per_byte * static_cast<double>(file_bytes);
  if (static_cast<double>(width * height) <= possible) return absl::OkStatus();
  return absl::DataLossError(absl::StrCat("claims ", text, ", which ",
                                          file_bytes, " bytes cannot hold"));
}

absl::StatusOr<ImageFormat> ParseImageFormat(absl::string_view name) {
  const std::string lower =
      absl::AsciiStrToLower(name.substr(absl::StartsWith(name, ".") ? 1 : 0));
  if (lower == "jpg" || lower == "jpeg") return ImageFormat::kJpeg;
  if (lower == "png") return ImageFormat::kPng;
  return absl::InvalidArgumentError(absl::StrCat(
      "unknown image format '", name, "': known are jpg, jpeg and png"));
}

absl::StatusOr<ImageFormat> DetectImageFormat(absl::string_view bytes) {
  if (absl::StartsWith(bytes, absl::string_view(kJpegStart, 3)))
    return ImageFormat::kJpeg;
  if (absl::StartsWith(bytes, absl::string_view(kPngStart, 8)))
    return ImageFormat::kPng;
  return absl::InvalidArgumentError(
      bytes.empty() ? "is empty" : "is neither a JPEG nor a PNG image");
}

absl::Status DecodeImage(absl::string_view bytes, ColorMode mode,
                         Image* image) {
  ASSIGN_OR_RETURN(const ImageFormat format, DetectImageFormat(bytes));
  return format == ImageFormat::kJpeg ? DecodeJpeg(bytes, mode, image)
                                      : DecodePng(bytes, mode, image);
}

absl::Status ReadImageBytes(const std::string& path, std::string* bytes) {
  std::error_code error;
  const uint64_t size = fs::file_size(path, error);
  if (error) {
    return absl::NotFoundError(
        absl::StrCat(path, ": cannot be read: ", error.message()));
  }
  if (size > kMaxFileBytes)
    return absl::DataLossError(
        absl::StrCat(path, ": ", size, " bytes are too many for an image"));
  std::ifstream file(path, std::ios::binary);
  bytes->resize(size);
  if (!file || !file.read(bytes->data(), static_cast<std::streamsize>(size))) {
    return absl::NotFoundError(
        absl::StrCat(path, ": cannot be read: ", std::strerror(errno)));
  }
  return absl::OkStatus();
}

absl::Status ReadImage(const std::string& path, ColorMode mode, Image* image) {
  std::string bytes;
  RETURN_IF_ERROR(ReadImageBytes(path, &bytes));
  return Annotate(DecodeImage(bytes, mode, image), path);
}

absl::StatusOr<std::string> EncodeImage(const Image& image, ImageFormat format,
                                        int quality) {
  std::string bytes;
  RETURN_IF_ERROR(format == ImageFormat::kJpeg
                      ? EncodeJpeg(image, quality, &bytes)
                      : EncodePng(image, &bytes));
  return bytes;
}

}  // namespace cssp
