// libpng reports errors by a callback that must not return: it jumps back into
// the function that called the library.  Such a function, marked below,
// therefore holds nothing with a destructor.
#include <png.h>

#include <csetjmp>
#include <cstdio>
#include <cstring>
#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "worker/data/codecs.h"

namespace cssp {
namespace {

// Deflate's limit; a byte holds at most 8 pixels.
constexpr double kPixelsPerByte = 1032.0 * 8;
constexpr size_t kMaxMessage = 128;

struct PngErrors {
  char message[kMaxMessage] = "";
};

void Fail(png_structp png, png_const_charp text) {
  auto* errors = static_cast<PngErrors*>(png_get_error_ptr(png));
  std::snprintf(errors->message, kMaxMessage, "%s", text);
  png_longjmp(png, 1);
}

void Ignore(png_structp, png_const_charp) {}

struct Input {
  absl::string_view left;
};

void ReadBytes(png_structp png, png_bytep to, size_t count) {
  auto* input = static_cast<Input*>(png_get_io_ptr(png));
  if (count > input->left.size()) png_error(png, "it ends too early");
  std::memcpy(to, input->left.data(), count);
  input->left.remove_prefix(count);
}

void WriteBytes(png_structp png, png_bytep from, size_t count) {
  static_cast<std::string*>(png_get_io_ptr(png))
      ->append(reinterpret_cast<const char*>(from), count);
}

void Flush(png_structp) {}

// Thread-confined: one picture.  After a method has returned false only
// error() and the destructor may follow.
class PngReader {
 public:
  explicit PngReader(absl::string_view bytes) : input_{bytes} {}
  ~PngReader() { png_destroy_read_struct(&png_, &info_, nullptr); }

  // Jumped into.
  bool ReadHeader(ColorMode mode) {
    png_ =
        png_create_read_struct(PNG_LIBPNG_VER_STRING, &errors_, Fail, Ignore);
    if (png_ == nullptr) return false;
    if (setjmp(png_jmpbuf(png_)) != 0) return false;
    info_ = png_create_info_struct(png_);
    if (info_ == nullptr) return false;
    png_set_read_fn(png_, &input_, ReadBytes);
    png_read_info(png_, info_);
    width_ = png_get_image_width(png_, info_);
    height_ = png_get_image_height(png_, info_);
    Convert(mode);
    return true;
  }

  // Jumped into.  REQUIRES: `rows` point to rows of the picture's extents.
  bool ReadPixels(png_bytepp rows) {
    if (setjmp(png_jmpbuf(png_)) != 0) return false;
    png_set_interlace_handling(png_);
    png_read_update_info(png_, info_);
    if (png_get_rowbytes(png_, info_) != size_t{width_} * channels())
      png_error(png_, "its rows have an unexpected length");
    png_read_image(png_, rows);
    png_read_end(png_, nullptr);
    return true;
  }

  uint32_t width() const { return width_; }
  uint32_t height() const { return height_; }
  int channels() const { return gray_ ? 1 : 3; }
  absl::Status error() const {
    return absl::DataLossError(
        absl::StrCat("is a damaged PNG image: ", errors_.message));
  }

 private:
  // Asks for bytes, gray or blue-green-red, without opacity.
  void Convert(ColorMode mode) {
    const int type = png_get_color_type(png_, info_);
    const bool color = (type & PNG_COLOR_MASK_COLOR) != 0;
    gray_ =
        mode == ColorMode::kGray || (mode == ColorMode::kAsStored && !color);
    png_set_strip_16(png_);
    png_set_strip_alpha(png_);
    if (type == PNG_COLOR_TYPE_PALETTE) png_set_palette_to_rgb(png_);
    if (!color && png_get_bit_depth(png_, info_) < 8)
      png_set_expand_gray_1_2_4_to_8(png_);
    if (gray_ && color)
      png_set_rgb_to_gray(png_, PNG_ERROR_ACTION_NONE, 0.299, 0.587);
    if (!gray_ && color) png_set_bgr(png_);
    if (!gray_ && !color) png_set_gray_to_rgb(png_);
  }

  Input input_;
  PngErrors errors_;
  png_structp png_ = nullptr;
  png_infop info_ = nullptr;
  uint32_t width_ = 0, height_ = 0;
  bool gray_ = false;
};

// Thread-confined: one picture.
class PngWriter {
 public:
  ~PngWriter() { png_destroy_write_struct(&png_, &info_); }

  // Jumped into.
  bool Write(const Image& image, std::string* bytes) {
    png_ =
        png_create_write_struct(PNG_LIBPNG_VER_STRING, &errors_, Fail, Ignore);
    if (png_ == nullptr) return false;
    if (setjmp(png_jmpbuf(png_)) != 0) return false;
    info_ = png_create_info_struct(png_);
    if (info_ == nullptr) return false;
    png_set_write_fn(png_, bytes, WriteBytes, Flush);
    png_set_IHDR(png_, info_, static_cast<uint32_t>(image.width),
                 static_cast<uint32_t>(image.height), 8,
                 image.channels == 1 ? PNG_COLOR_TYPE_GRAY : PNG_COLOR_TYPE_RGB,
                 PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT,
                 PNG_FILTER_TYPE_DEFAULT);
    png_write_info(png_, info_);
    png_set_bgr(png_);
    for (int y = 0; y < image.height; ++y) png_write_row(png_, image.row(y));
    png_write_end(png_, nullptr);
    return true;
  }
  const char* message() const { return errors_.message; }

 private:
  PngErrors errors_;
  png_structp png_ = nullptr;
  png_infop info_ = nullptr;
};

}  // namespace

absl::Status DecodePng(absl::string_view bytes, ColorMode mode, Image* image) {
  PngReader reader(bytes);
  if (!reader.ReadHeader(mode)) return reader.error();
  RETURN_IF_ERROR(CheckImageSize(reader.width(), reader.height(),
                                 kPixelsPerByte, bytes.size()));
  image->Resize(reader.channels(), static_cast<int>(reader.height()),
                static_cast<int>(reader.width()));
  std::vector<png_bytep> rows(reader.height());
  for (size_t y = 0; y < rows.size(); ++y)
    rows[y] = image->row(static_cast<int>(y));
  if (!reader.ReadPixels(rows.data())) return reader.error();
  return absl::OkStatus();
}

absl::Status EncodePng(const Image& image, std::string* bytes) {
  PngWriter writer;
  bytes->clear();
  if (writer.Write(image, bytes)) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("cannot be written as PNG: ", writer.message()));
}

}  // namespace cssp
