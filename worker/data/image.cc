#include "worker/data/image.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace cssp {
namespace {

// Weights are integers of this many bits, as OpenCV's.
constexpr int kWeightBits = 11;
constexpr float kWeightOne = 1 << kWeightBits;

// Where an output sample lies between two input samples.
struct Tap {
  int first = 0, second = 0;     // input samples, inside the image
  int weight0 = 0, weight1 = 0;  // of kWeightOne
};

int Weight(float share) {
  return static_cast<int>(std::lrint(share * kWeightOne));
}

// A row's taps stop at the last sample with weight one; a column's keep their
// weights there, which on equal samples differ by rounding alone.
std::vector<Tap> MakeTaps(int in, int out, bool clamp_weights) {
  const double scale = 1.0 / (static_cast<double>(out) / in);
  std::vector<Tap> taps(out);
  for (int i = 0; i < out; ++i) {
    float share = static_cast<float>((i + 0.5) * scale - 0.5);
    int at = static_cast<int>(std::floor(share));
    share -= static_cast<float>(at);
    if (clamp_weights && (at < 0 || at >= in - 1)) {
      at = at < 0 ? 0 : in - 1;
      share = 0;
    }
    taps[i] = {std::clamp(at, 0, in - 1), std::clamp(at + 1, 0, in - 1),
               Weight(1.f - share), Weight(share)};
  }
  return taps;
}

template <int kChannels>
void BlendRow(const uint8_t* in, const std::vector<Tap>& taps, int* out) {
  for (const Tap& tap : taps) {
    const uint8_t* a = in + tap.first * kChannels;
    const uint8_t* b = in + tap.second * kChannels;
    for (int c = 0; c < kChannels; ++c)
      *out++ = a[c] * tap.weight0 + b[c] * tap.weight1;
  }
}

void BlendRows(const int* a, const int* b, const Tap& tap, size_t count,
               uint8_t* out) {
  for (size_t i = 0; i < count; ++i) {
    out[i] = static_cast<uint8_t>((((tap.weight0 * (a[i] >> 4)) >> 16) +
                                   ((tap.weight1 * (b[i] >> 4)) >> 16) + 2) >>
                                  2);
  }
}

void Halve(const Image& in, Image* out) {
  const int channels = in.channels;
  for (int y = 0; y < out->height; ++y) {
    const uint8_t* a = in.row(2 * y);
    const uint8_t* b = in.row(2 * y + 1);
    uint8_t* to = out->row(y);
    for (int x = 0; x < out->width; ++x, a += channels, b += channels) {
      for (int c = 0; c < channels; ++c, ++a, ++b)
        *to++ = static_cast<uint8_t>(
            (a[0] + a[channels] + b[0] + b[channels] + 2) >> 2);
    }
  }
}

// Rows of `in`, blended horizontally; the last two stay at hand.
class BlendedRows {
 public:
  BlendedRows(const Image& in, int width)
      : in_(in), taps_(MakeTaps(in.width, width, true)) {
    for (std::vector<int>& row : rows_)
      row.resize(size_t{1} * width * in.channels);
  }

  const int* Row(int y) {
    const int slot = y & 1;
    if (held_[slot] == y) return rows_[slot].data();
    held_[slot] = y;
    if (in_.channels == 3) {
      BlendRow<3>(in_.row(y), taps_, rows_[slot].data());
    } else {
      BlendRow<1>(in_.row(y), taps_, rows_[slot].data());
    }
    return rows_[slot].data();
  }

 private:
  const Image& in_;
  const std::vector<Tap> taps_;
  std::vector<int> rows_[2];  // by parity: taps are neighbours
  int held_[2] = {-1, -1};
};

}  // namespace

void Image::Resize(int new_channels, int new_height, int new_width) {
  channels = new_channels;
  height = new_height;
  width = new_width;
  pixels.resize(row_bytes() * new_height);
}

void ToPlanes(const Image& image, std::string* planes) {
  planes->resize(image.pixels.size());
  const size_t plane = size_t{1} * image.height * image.width;
  const uint8_t* from = image.pixels.data();
  char* to = planes->data();
  if (image.channels == 1) {
    std::memcpy(to, from, plane);
    return;
  }
  for (size_t i = 0; i < plane; ++i, from += 3) {
    to[i] = static_cast<char>(from[0]);
    to[plane + i] = static_cast<char>(from[1]);
    to[2 * plane + i] = static_cast<char>(from[2]);
  }
}

void FromPlanes(const std::string& planes, Image* image) {
  image->Resize(image->channels, image->height, image->width);
  const size_t plane = size_t{1} * image->height * image->width;
  for (int c = 0; c < image->channels; ++c) {
    for (size_t i = 0; i < plane; ++i)
      image->pixels[i * image->channels + c] =
          static_cast<uint8_t>(planes[c * plane + i]);
  }
}

void ResizeBilinear(const Image& in, int height, int width, Image* out) {
  out->Resize(in.channels, height, width);
  if (height == in.height && width == in.width) {
    std::copy(in.pixels.begin(), in.pixels.end(), out->pixels.begin());
    return;
  }
  if (in.height == 2 * height && in.width == 2 * width) return Halve(in, out);
  BlendedRows rows(in, width);
  const std::vector<Tap> taps = MakeTaps(in.height, height, false);
  for (int y = 0; y < height; ++y) {
    const int* first = rows.Row(taps[y].first);
    const int* second = rows.Row(taps[y].second);
    BlendRows(first, second, taps[y], out->row_bytes(), out->row(y));
  }
}

}  // namespace cssp
