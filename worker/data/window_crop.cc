#include "worker/data/window_crop.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "absl/strings/str_cat.h"

namespace cssp {
namespace {

int Round(double value) { return static_cast<int>(std::round(value)); }

// One axis: which part of the image is warped to which part of the result.
struct Extent {
  int first = 0, last = 0;    // of the image, inclusive
  int size = 0;               // of the result
  int before = 0, after = 0;  // of the result, beyond the image
};

// `half`: half of what the window covers along this axis.
Extent Expand(double center, double half, double context_scale, int image_side,
              int crop_size) {
  Extent extent;
  extent.first = Round(center - half * context_scale);
  extent.last = Round(center + half * context_scale);
  const double scale =
      static_cast<double>(crop_size) / (extent.last - extent.first + 1);
  const int before = std::max(0, -extent.first);
  const int after = std::max(0, extent.last - image_side + 1);
  extent.first += before;
  extent.last -= after;
  extent.size = std::max(1, Round((extent.last - extent.first + 1) * scale));
  extent.before = Round(before * scale);
  extent.after = Round(after * scale);
  return extent;
}

// Rounding may make the parts one too many.
void Fit(int pad, int crop_size, Extent* extent) {
  extent->size = std::min(extent->size, crop_size - pad);
}

Image Cut(const Image& image, const Extent& x, const Extent& y) {
  Image part;
  part.Resize(image.channels, y.last - y.first + 1, x.last - x.first + 1);
  for (int row = 0; row < part.height; ++row)
    std::memcpy(part.row(row),
                image.row(y.first + row) + x.first * image.channels,
                part.row_bytes());
  return part;
}

// The mean at (y, x) of the result.
class Means {
 public:
  explicit Means(const WindowCropOptions& options)
      : options_(options),
        left_((options.mean.width - options.crop_size) / 2),
        top_((options.mean.height - options.crop_size) / 2) {}

  float At(int channel, int y, int x) const {
    const MeanImage& mean = options_.mean;
    if (!mean.values.empty())
      return mean
          .values[(size_t{1} * channel * mean.height + y + top_) * mean.width +
                  x + left_];
    if (options_.mean_value.empty()) return 0;
    return options_.mean_value[options_.mean_value.size() == 1 ? 0 : channel];
  }

 private:
  const WindowCropOptions& options_;
  const int left_, top_;
};

}  // namespace

absl::Status CheckWindowCrop(const WindowCropOptions& options, int channels) {
  const int crop = options.crop_size;
  if (crop < 1)
    return absl::InvalidArgumentError("WindowData needs a crop_size");
  if (options.context_pad < 0 || 2 * int64_t{options.context_pad} >= crop)
    return absl::InvalidArgumentError(
        absl::StrCat("context_pad ", options.context_pad,
                     " leaves nothing of crop_size ", crop));
  const MeanImage& mean = options.mean;
  if (!mean.values.empty() &&
      (mean.channels != channels || mean.height < crop || mean.width < crop))
    return absl::InvalidArgumentError(absl::StrCat(
        "mean_file is ", mean.channels, " x ", mean.height, " x ", mean.width,
        ", too small for crops of ", channels, " x ", crop, " x ", crop));
  const size_t means = options.mean_value.size();
  if (means > 1 && means != static_cast<size_t>(channels))
    return absl::InvalidArgumentError(absl::StrCat(
        "mean_value is given ", means, " times: give one, or ", channels));
  return absl::OkStatus();
}

void CropWindow(const Image& image, const Window& window, bool mirror,
                const WindowCropOptions& options, float* out) {
  const int crop = options.crop_size;
  Extent x{window.x1, window.x2, crop}, y{window.y1, window.y2, crop};
  if (options.context_pad > 0 || options.square) {
    const double context_scale =
        static_cast<double>(crop) / (crop - 2 * options.context_pad);
    double half_y = (window.y2 - window.y1 + 1) / 2.0;
    double half_x = (window.x2 - window.x1 + 1) / 2.0;
    const double center_x = window.x1 + half_x, center_y = window.y1 + half_y;
    if (options.square) half_x = half_y = std::max(half_x, half_y);
    x = Expand(center_x, half_x, context_scale, image.width, crop);
    y = Expand(center_y, half_y, context_scale, image.height, crop);
  }
  // A mirrored window's padding is mirrored, too.
  const int left = mirror ? x.after : x.before, top = y.before;
  Fit(left, crop, &x);
  Fit(top, crop, &y);
  std::fill_n(out, size_t{1} * image.channels * crop * crop, 0.f);
  if (x.size < 1 || y.size < 1) return;
  Image warped;
  ResizeBilinear(Cut(image, x, y), y.size, x.size, &warped);
  const Means means(options);
  for (int c = 0; c < image.channels; ++c) {
    for (int h = 0; h < y.size; ++h) {
      const uint8_t* pixel = warped.row(h);
      float* to = out + (size_t{1} * c * crop + top + h) * crop + left;
      for (int w = 0; w < x.size; ++w) {
        const int from = mirror ? x.size - 1 - w : w;
        to[w] = (static_cast<float>(pixel[from * image.channels + c]) -
                 means.At(c, top + h, left + w)) *
                options.scale;
      }
    }
  }
}

}  // namespace cssp
