// Small images of known pixels for tests.
#ifndef CSSP_TESTS_UNIT_WORKER_DATA_IMAGE_TESTING_H_
#define CSSP_TESTS_UNIT_WORKER_DATA_IMAGE_TESTING_H_

#include <gtest/gtest.h>

#include <string>

#include "tests/unit/worker/data/data_testing.h"
#include "worker/data/image_codec.h"

namespace cssp {

// One colour: blue, green and red are value, value + 1, value + 2.
inline Image Flat(int value, int height, int width) {
  Image image;
  image.Resize(3, height, width);
  for (size_t i = 0; i < image.pixels.size(); ++i)
    image.pixels[i] = static_cast<uint8_t>(value + i % 3);
  return image;
}

// Pixel (y, x) of every channel is 10 y + x.
inline Image Grid(int height, int width) {
  Image image;
  image.Resize(3, height, width);
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      for (int c = 0; c < 3; ++c)
        image.row(y)[3 * x + c] = static_cast<uint8_t>(10 * y + x);
    }
  }
  return image;
}

inline void WritePng(const std::string& path, const Image& image) {
  const auto bytes = EncodeImage(image, ImageFormat::kPng);
  ASSERT_TRUE(bytes.ok()) << bytes.status();
  WriteFile(path, *bytes);
}

}  // namespace cssp

#endif  // CSSP_TESTS_UNIT_WORKER_DATA_IMAGE_TESTING_H_
