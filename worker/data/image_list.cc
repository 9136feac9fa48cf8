#include "worker/data/image_list.h"

#include <filesystem>
#include <fstream>
#include <system_error>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"

namespace cssp {
namespace {

constexpr uint32_t kMaxSide = 65536;

absl::Status ParseLine(absl::string_view text, ImageListEntry* entry) {
  const size_t gap = text.find_last_of(" \t");
  if (gap == text.npos ||
      !absl::SimpleAtoi(text.substr(gap + 1), &entry->label))
    return absl::InvalidArgumentError(absl::StrCat(
        "'", text, "' is not a path, a space and an integer label"));
  entry->path =
      std::string(absl::StripTrailingAsciiWhitespace(text.substr(0, gap)));
  return absl::OkStatus();
}

// Immutable.
class ImageListSource final : public DataSource {
 public:
  ImageListSource(std::string list, std::vector<ImageListEntry> entries,
                  const ImageListOptions& options)
      : list_(std::move(list)),
        entries_(std::move(entries)),
        options_(options) {}

  int64_t size() const override {
    return static_cast<int64_t>(entries_.size());
  }

  absl::StatusOr<RecordView> Read(int64_t index,
                                  std::string* storage) const override {
    const ImageListEntry& entry = entries_[index];
    Image image;
    const absl::Status read = ReadImage(
        absl::StrCat(options_.root_folder, entry.path), options_.mode, &image);
    if (!read.ok()) return Annotate(read, absl::StrCat(list_, ":", entry.line));
    if (options_.height > 0) {
      Image resized;
      ResizeBilinear(image, static_cast<int>(options_.height),
                     static_cast<int>(options_.width), &resized);
      image = std::move(resized);
    }
    ToPlanes(image, storage);
    RecordView record;
    record.channels = image.channels;
    record.height = image.height;
    record.width = image.width;
    record.bytes = *storage;
    record.label = entry.label;
    return record;
  }

 private:
  const std::string list_;
  const std::vector<ImageListEntry> entries_;
  const ImageListOptions options_;
};

}  // namespace

absl::StatusOr<std::vector<ImageListEntry>> ReadImageList(
    const std::string& path) {
  std::ifstream file(path);
  std::error_code ignored;
  if (!file || std::filesystem::is_directory(path, ignored))
    return absl::NotFoundError(
        absl::StrCat(path, ": no such list of images (lines: path label)"));
  std::vector<ImageListEntry> entries;
  std::string text;
  for (int64_t line = 1; std::getline(file, text); ++line) {
    absl::StripAsciiWhitespace(&text);
    if (text.empty()) continue;
    ImageListEntry entry;
    entry.line = line;
    RETURN_IF_ERROR(
        Annotate(ParseLine(text, &entry), absl::StrCat(path, ":", line)));
    entries.push_back(std::move(entry));
  }
  if (!entries.empty()) return entries;
  return absl::InvalidArgumentError(absl::StrCat(path, ": names no images"));
}

absl::StatusOr<std::unique_ptr<DataSource>> OpenImageList(
    const std::string& path, const ImageListOptions& options) {
  if (options.height > kMaxSide || options.width > kMaxSide)
    return absl::InvalidArgumentError(
        absl::StrCat("new_height and new_width must be at most ", kMaxSide));
  ASSIGN_OR_RETURN(std::vector<ImageListEntry> entries, ReadImageList(path));
  return std::make_unique<ImageListSource>(path, std::move(entries), options);
}

}  // namespace cssp
