// R-CNN's window files: which rectangles of which images to train on.
#ifndef CSSP_WORKER_DATA_WINDOW_FILE_H_
#define CSSP_WORKER_DATA_WINDOW_FILE_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace cssp {

// Corners are inclusive.
struct Window {
  int image = 0;  // index in WindowFile::images
  int label = 0;
  float overlap = 0;  // with the object that it is closest to
  int x1 = 0, y1 = 0, x2 = 0, y2 = 0;
};

struct WindowImage {
  std::string path;
  int channels = 0, height = 0, width = 0;
};

struct WindowFile {
  std::vector<WindowImage> images;
  std::vector<Window> windows;
};

// For each image:
//   # <index>
//   <path> <channels> <height> <width> <number of windows>
//   <label> <overlap> <x1> <y1> <x2> <y2>     per window
// in any arrangement of blanks and lines.  NotFound: no such file.
// InvalidArgument names file and line: something else than the format wants, a
// window whose corners are reversed or lie outside of its image, an image of
// neither 1 nor 3 channels, no windows at all.
absl::StatusOr<WindowFile> ReadWindowFile(const std::string& path);

}  // namespace cssp

#endif  // CSSP_WORKER_DATA_WINDOW_FILE_H_
