// A picture in memory, as decoders give it and resizing takes it.
#ifndef CSSP_WORKER_DATA_IMAGE_H_
#define CSSP_WORKER_DATA_IMAGE_H_

#include <cstdint>
#include <string>
#include <vector>

namespace cssp {

// Bytes, pixel after pixel: gray, or blue, green, red (OpenCV's order, which
// Caffe's models expect).
// Invariant: pixels.size() == height * width * channels once decoded.
struct Image {
  int channels = 0, height = 0, width = 0;
  std::vector<uint8_t> pixels;

  size_t row_bytes() const { return size_t{1} * width * channels; }
  uint8_t* row(int y) { return pixels.data() + y * row_bytes(); }
  const uint8_t* row(int y) const { return pixels.data() + y * row_bytes(); }
  // Memory that is there is used again.
  void Resize(int new_channels, int new_height, int new_width);
};

// Plane after plane, as a Datum and a net's input have it; over what was there.
void ToPlanes(const Image& image, std::string* planes);

// Pixels for planes of 1 or 3 channels.  REQUIRES: planes.size() fits.
void FromPlanes(const std::string& planes, Image* image);

// Bilinear with OpenCV's INTER_LINEAR on bytes, to the bit: sample centres
// agree, the border repeats, weights are of 11 bits; a halving in both
// directions is the mean of four.  Memory of `out` is used again.
// REQUIRES: in != out; height, width >= 1 and those of `in`, too.
void ResizeBilinear(const Image& in, int height, int width, Image* out);

}  // namespace cssp

#endif  // CSSP_WORKER_DATA_IMAGE_H_
