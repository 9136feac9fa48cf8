#include "worker/data/window_file.h"

#include <cctype>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <system_error>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"

namespace cssp {
namespace {

constexpr int kMaxSide = 1 << 20;

// Words of a file and the line that each stands in.
class Words {
 public:
  Words(std::istream& in, const std::string& path) : in_(in), path_(path) {}

  // False at the end.
  bool Next(std::string* word) {
    word->clear();
    for (int c = in_.get(); c != EOF; c = in_.get()) {
      if (std::isspace(c) == 0) {
        word->push_back(static_cast<char>(c));
        line_of_word_ = line_;
      } else {
        if (c == '\n') ++line_;
        if (!word->empty()) return true;
      }
    }
    return !word->empty();
  }

  absl::Status Number(const char* what, int from, int to, int* value) {
    std::string word;
    if (!Next(&word))
      return Wrong(absl::StrCat("ends where ", what, " should stand"));
    if (absl::SimpleAtoi(word, value) && *value >= from && *value <= to)
      return absl::OkStatus();
    return Wrong(absl::StrCat("'", word, "' is no ", what));
  }

  absl::Status Number(const char* what, float* value) {
    std::string word;
    if (Next(&word) && absl::SimpleAtof(word, value)) return absl::OkStatus();
    return Wrong(absl::StrCat("'", word, "' is no ", what));
  }

  absl::Status Wrong(absl::string_view what) const {
    return absl::InvalidArgumentError(
        absl::StrCat(path_, ":", line_of_word_, ": ", what));
  }

 private:
  std::istream& in_;
  const std::string& path_;
  int64_t line_ = 1, line_of_word_ = 1;
};

absl::Status ReadWindow(Words& words, const WindowImage& image,
                        Window* window) {
  RETURN_IF_ERROR(words.Number("label", 0, INT32_MAX, &window->label));
  RETURN_IF_ERROR(words.Number("overlap", &window->overlap));
  RETURN_IF_ERROR(words.Number("x1", -kMaxSide, kMaxSide, &window->x1));
  RETURN_IF_ERROR(words.Number("y1", -kMaxSide, kMaxSide, &window->y1));
  RETURN_IF_ERROR(words.Number("x2", -kMaxSide, kMaxSide, &window->x2));
  RETURN_IF_ERROR(words.Number("y2", -kMaxSide, kMaxSide, &window->y2));
  const bool inside = window->x1 >= 0 && window->y1 >= 0 &&
                      window->x1 <= window->x2 && window->y1 <= window->y2 &&
                      window->x2 < image.width && window->y2 < image.height;
  if (inside) return absl::OkStatus();
  return words.Wrong(absl::StrCat("the window (", window->x1, ", ", window->y1,
                                  ") to (", window->x2, ", ", window->y2,
                                  ") does not lie in an image of ", image.width,
                                  " x ", image.height));
}

absl::Status ReadImage(Words& words, WindowFile* file) {
  WindowImage image;
  int index = 0, windows = 0;
  RETURN_IF_ERROR(words.Number("image index", 0, INT32_MAX, &index));
  if (!words.Next(&image.path))
    return words.Wrong("ends before an image's path");
  RETURN_IF_ERROR(words.Number("number of channels", 1, 3, &image.channels));
  if (image.channels == 2) return words.Wrong("2 is no number of channels");
  RETURN_IF_ERROR(words.Number("height", 1, kMaxSide, &image.height));
  RETURN_IF_ERROR(words.Number("width", 1, kMaxSide, &image.width));
  RETURN_IF_ERROR(words.Number("number of windows", 0, INT32_MAX, &windows));
  for (int i = 0; i < windows; ++i) {
    Window window;
    window.image = static_cast<int>(file->images.size());
    RETURN_IF_ERROR(ReadWindow(words, image, &window));
    file->windows.push_back(window);
  }
  file->images.push_back(std::move(image));
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<WindowFile> ReadWindowFile(const std::string& path) {
  std::ifstream in(path);
  std::error_code ignored;
  if (!in || std::filesystem::is_directory(path, ignored))
    return absl::NotFoundError(absl::StrCat(path, ": no such window file"));
  WindowFile file;
  Words words(in, path);
  for (std::string word; words.Next(&word);) {
    if (word != "#")
      return words.Wrong(absl::StrCat("'", word, "' stands where '# ",
                                      file.images.size(), "' should"));
    RETURN_IF_ERROR(ReadImage(words, &file));
  }
  if (file.windows.empty())
    return absl::InvalidArgumentError(absl::StrCat(path, ": holds no windows"));
  for (const WindowImage& image : file.images) {
    if (image.channels != file.images[0].channels)
      return absl::InvalidArgumentError(absl::StrCat(
          path, ": ", image.path, " has ", image.channels, " channels, ",
          file.images[0].path, " ", file.images[0].channels));
  }
  return file;
}

}  // namespace cssp
