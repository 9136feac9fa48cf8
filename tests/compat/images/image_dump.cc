// Decodes and resizes for a test.  One job a line of stdin:
//   PATH stored|color|gray HEIGHT WIDTH     (0 0: not resized)
// One answer each on stdout: "CHANNELS HEIGHT WIDTH\n" and the pixels, or
// "error MESSAGE\n".
#include <cstdio>
#include <iostream>
#include <string>

#include "worker/data/image_codec.h"

namespace {

void Answer(const std::string& path, const std::string& mode, int height,
            int width) {
  cssp::Image image, resized;
  const absl::Status status =
      cssp::ReadImage(path,
                      mode == "gray"    ? cssp::ColorMode::kGray
                      : mode == "color" ? cssp::ColorMode::kColor
                                        : cssp::ColorMode::kAsStored,
                      &image);
  if (!status.ok()) {
    std::printf("error %s\n", std::string(status.message()).c_str());
    return;
  }
  if (height > 0) {
    cssp::ResizeBilinear(image, height, width, &resized);
    image = resized;
  }
  std::printf("%d %d %d\n", image.channels, image.height, image.width);
  std::fwrite(image.pixels.data(), 1, image.pixels.size(), stdout);
}

}  // namespace

int main() {
  std::string path, mode;
  int height = 0, width = 0;
  while (std::cin >> path >> mode >> height >> width)
    Answer(path, mode, height, width);
  return 0;
}
