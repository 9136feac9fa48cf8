// A window of an image, warped into a net's input.
#ifndef CSSP_WORKER_DATA_WINDOW_CROP_H_
#define CSSP_WORKER_DATA_WINDOW_CROP_H_

#include "absl/status/status.h"
#include "worker/data/image.h"
#include "worker/data/mean_file.h"
#include "worker/data/window_file.h"

namespace cssp {

struct WindowCropOptions {
  int crop_size = 0;    // sides of the result
  int context_pad = 0;  // of them, what lies around the window
  bool square = false;  // the window grows to a square before it is warped
  float scale = 1;
  MeanImage mean;                 // no values: `mean_value`
  std::vector<float> mean_value;  // none: 0; one for all, or one a channel
};

// InvalidArgument: no crop_size, a pad that leaves nothing of it, a mean that
// is smaller than it or has other channels.
absl::Status CheckWindowCrop(const WindowCropOptions& options, int channels);

// (pixel - mean) * scale of the window and its context, `out` plane after
// plane; 0 where the context reaches beyond the image.  The mean's middle part
// counts.  REQUIRES: checked options, the window lies in the image.
void CropWindow(const Image& image, const Window& window, bool mirror,
                const WindowCropOptions& options, float* out);

}  // namespace cssp

#endif  // CSSP_WORKER_DATA_WINDOW_CROP_H_
