// libjpeg(-turbo) reports errors by a callback that must not return: it jumps
// back into the function that called the library.  Such a function, marked
// below, therefore holds nothing with a destructor.
#include <csetjmp>
#include <cstdio>
#include <cstdlib>
#include <vector>

// After cstdio, which it wants.
#include <jerror.h>
#include <jpeglib.h>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"
#include "worker/data/codecs.h"

namespace cssp {
namespace {

// A progressive file's DC scan spends at least one bit on 64 pixels.
constexpr double kPixelsPerByte = 512;
constexpr long kMaxWorkBytes = 1L << 30;
// Each scan of a progressive file goes over the whole picture.
constexpr int kMaxScans = 200;

// Thread-confined.  `base` first: the library hands back a pointer to it.
struct JpegErrors {
  jpeg_error_mgr base;
  jmp_buf jump;
  char message[JMSG_LENGTH_MAX];
};

[[noreturn]] void Fail(j_common_ptr info) {
  auto* errors = reinterpret_cast<JpegErrors*>(info->err);
  errors->base.format_message(info, errors->message);
  longjmp(errors->jump, 1);
}

// Odd but harmless things pass (bytes between segments, as some cameras leave);
// a picture of which a part is missing does not.
void Message(j_common_ptr info, int level) {
  if (level >= 0) return;
  const int code = info->err->msg_code;
  if (code == JWRN_JPEG_EOF || code == JWRN_HIT_MARKER ||
      code == JWRN_HUFF_BAD_CODE) {
    Fail(info);
  }
}

void CountScans(j_common_ptr info) {
  const auto* decoder = reinterpret_cast<j_decompress_ptr>(info);
  if (decoder->input_scan_number <= kMaxScans) return;
  auto* errors = reinterpret_cast<JpegErrors*>(info->err);
  std::snprintf(errors->message, sizeof errors->message, "more than %d scans",
                kMaxScans);
  longjmp(errors->jump, 1);
}

void Prepare(JpegErrors* errors) {
  jpeg_std_error(&errors->base);
  errors->base.error_exit = Fail;
  errors->base.emit_message = Message;
  errors->message[0] = 0;
}

// Adobe's inverted CMYK, as OpenCV turns it.
void CmykToBgr(const uint8_t* in, int width, uint8_t* out) {
  for (int x = 0; x < width; ++x, in += 4, out += 3) {
    const int black = in[3];
    for (int c = 0; c < 3; ++c)
      out[2 - c] = static_cast<uint8_t>(black - ((255 - in[c]) * black >> 8));
  }
}

// OpenCV's weights, of 14 bits.
void BgrToGray(const uint8_t* in, int width, uint8_t* out) {
  for (int x = 0; x < width; ++x, in += 3)
    out[x] = static_cast<uint8_t>(
        (in[0] * 1868 + in[1] * 9617 + in[2] * 4899 + (1 << 13)) >> 14);
}

// Thread-confined: one picture.  After a method has returned false only
// error() and the destructor may follow.
class JpegReader {
 public:
  JpegReader() {
    Prepare(&errors_);
    info_.err = &errors_.base;
  }
  ~JpegReader() {
    if (created_) jpeg_destroy_decompress(&info_);
  }

  // Jumped into.
  bool ReadHeader(absl::string_view bytes, ColorMode mode) {
    if (setjmp(errors_.jump) != 0) return false;
    jpeg_create_decompress(&info_);
    created_ = true;
    info_.mem->max_memory_to_use = kMaxWorkBytes;
    progress_.progress_monitor = CountScans;
    info_.progress = &progress_;
    jpeg_mem_src(&info_, reinterpret_cast<const uint8_t*>(bytes.data()),
                 bytes.size());
    jpeg_read_header(&info_, TRUE);
    const bool inks = info_.jpeg_color_space == JCS_CMYK ||
                      info_.jpeg_color_space == JCS_YCCK;
    gray_ =
        mode == ColorMode::kGray || (mode == ColorMode::kAsStored &&
                                     info_.jpeg_color_space == JCS_GRAYSCALE);
    info_.out_color_space = inks    ? JCS_CMYK
                            : gray_ ? JCS_GRAYSCALE
                                    : JCS_EXT_BGR;
    return true;
  }

  // Jumped into.  REQUIRES: *image has the picture's extents, `line` (inks
  // only) 7 bytes a pixel.
  bool ReadPixels(Image* image, uint8_t* line) {
    if (setjmp(errors_.jump) != 0) return false;
    jpeg_start_decompress(&info_);
    while (info_.output_scanline < info_.output_height) {
      uint8_t* row = image->row(static_cast<int>(info_.output_scanline));
      JSAMPROW into = inks() ? line : row;
      jpeg_read_scanlines(&info_, &into, 1);
      if (inks()) FromInks(line, row);
    }
    jpeg_finish_decompress(&info_);
    return true;
  }

  uint32_t width() const { return info_.image_width; }
  uint32_t height() const { return info_.image_height; }
  bool gray() const { return gray_; }
  bool inks() const { return info_.out_color_space == JCS_CMYK; }
  absl::Status error() const {
    return absl::DataLossError(
        absl::StrCat("is a damaged JPEG image: ", errors_.message));
  }

 private:
  void FromInks(uint8_t* line, uint8_t* row) const {
    const int width = static_cast<int>(info_.image_width);
    uint8_t* color = gray_ ? line + size_t{4} * width : row;
    CmykToBgr(line, width, color);
    if (gray_) BgrToGray(color, width, row);
  }

  JpegErrors errors_;
  jpeg_decompress_struct info_ = {};
  jpeg_progress_mgr progress_ = {};
  bool created_ = false;
  bool gray_ = false;
};

// Thread-confined: one picture.
class JpegWriter {
 public:
  JpegWriter() {
    Prepare(&errors_);
    info_.err = &errors_.base;
  }
  ~JpegWriter() {
    if (created_) jpeg_destroy_compress(&info_);
    std::free(bytes_);
  }

  // Jumped into.
  bool Write(const Image& image, int quality) {
    if (setjmp(errors_.jump) != 0) return false;
    jpeg_create_compress(&info_);
    created_ = true;
    jpeg_mem_dest(&info_, &bytes_, &size_);
    info_.image_width = static_cast<JDIMENSION>(image.width);
    info_.image_height = static_cast<JDIMENSION>(image.height);
    info_.input_components = image.channels;
    info_.in_color_space = image.channels == 1 ? JCS_GRAYSCALE : JCS_EXT_BGR;
    jpeg_set_defaults(&info_);
    jpeg_set_quality(&info_, quality, TRUE);
    jpeg_start_compress(&info_, TRUE);
    while (info_.next_scanline < info_.image_height) {
      // The library does not write there.
      JSAMPROW row = const_cast<JSAMPROW>(
          image.row(static_cast<int>(info_.next_scanline)));
      jpeg_write_scanlines(&info_, &row, 1);
    }
    jpeg_finish_compress(&info_);
    return true;
  }

  absl::string_view bytes() const {
    return absl::string_view(reinterpret_cast<const char*>(bytes_), size_);
  }
  const char* message() const { return errors_.message; }

 private:
  JpegErrors errors_;
  jpeg_compress_struct info_ = {};
  bool created_ = false;
  unsigned char* bytes_ = nullptr;
  unsigned long size_ = 0;
};

}  // namespace

absl::Status DecodeJpeg(absl::string_view bytes, ColorMode mode, Image* image) {
  JpegReader reader;
  if (!reader.ReadHeader(bytes, mode)) return reader.error();
  RETURN_IF_ERROR(CheckImageSize(reader.width(), reader.height(),
                                 kPixelsPerByte, bytes.size()));
  image->Resize(reader.gray() ? 1 : 3, static_cast<int>(reader.height()),
                static_cast<int>(reader.width()));
  std::vector<uint8_t> line(reader.inks() ? size_t{7} * reader.width() : 0);
  if (!reader.ReadPixels(image, line.data())) return reader.error();
  return absl::OkStatus();
}

absl::Status EncodeJpeg(const Image& image, int quality, std::string* bytes) {
  JpegWriter writer;
  if (!writer.Write(image, quality))
    return absl::InvalidArgumentError(
        absl::StrCat("cannot be written as JPEG: ", writer.message()));
  bytes->assign(writer.bytes().data(), writer.bytes().size());
  return absl::OkStatus();
}

}  // namespace cssp
