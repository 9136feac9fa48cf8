#include "common/base/status_macros.h"
#include "worker/layers/cuda/convolution_engine.h"
#include "worker/layers/cuda/gemm.h"
#include "worker/layers/cuda/kernels.h"
#include "worker/layers/cuda/windows.cuh"

namespace cssp::cuda {
namespace {

// Caffe's own way: the windows over an item become the columns of a matrix, and
// each group is a product.  The matrix is the scratch.
//
// Thread-confined: the training thread.
class WindowConvolution final : public ConvolutionEngine {
 public:
  explicit WindowConvolution(const ConvolutionTask& task)
      : windows_(Windows::Of(task.geometry, task.geometry.Spatial(task.x),
                             task.geometry.Spatial(task.y))),
        items_(task.x.count(0, task.geometry.channel_axis)),
        group_(task.group),
        outputs_(task.y.dim(task.geometry.channel_axis) / task.group),
        inputs_(task.x.dim(task.geometry.channel_axis) / task.group),
        rows_(inputs_ * windows_.taps),
        x_item_(group_ * inputs_ * windows_.plane),
        y_item_(group_ * outputs_ * windows_.windows) {}

  size_t scratch_bytes() const override {
    return matrix_count() * sizeof(float);
  }

  absl::Status Forward(Stream& stream, const float* x, const float* w,
                       float beta, float* y, void* scratch) const override {
    float* const matrix = static_cast<float*>(scratch);
    for (int64_t n = 0; n < items_; ++n) {
      RETURN_IF_ERROR(Show(stream, x + n * x_item_, matrix));
      for (int64_t g = 0; g < group_; ++g) {
        RETURN_IF_ERROR(Gemm(
            stream, {.m = outputs_, .n = windows_.windows, .k = rows_},
            WeightsOf(w, g), PartOf(matrix, g), beta, TopOf(y, n, g)));
      }
    }
    return absl::OkStatus();
  }

  absl::Status BackwardData(Stream& stream, const float* dy, const float* w,
                            float beta, float* dx,
                            void* scratch) const override {
    float* const matrix = static_cast<float*>(scratch);
    for (int64_t n = 0; n < items_; ++n) {
      for (int64_t g = 0; g < group_; ++g) {
        RETURN_IF_ERROR(Gemm(stream,
                             {.transpose_a = true,
                              .m = rows_,
                              .n = windows_.windows,
                              .k = outputs_},
                             WeightsOf(w, g), TopOf(dy, n, g), 0,
                             PartOf(matrix, g)));
      }
      RETURN_IF_ERROR(
          Store(stream, beta == 0 ? GradientMode::kWrite : GradientMode::kAdd,
                dx + n * x_item_, x_item_, GatherWindows{windows_, matrix}));
    }
    return absl::OkStatus();
  }

  absl::Status BackwardFilter(Stream& stream, const float* x, const float* dy,
                              float beta, float* dw,
                              void* scratch) const override {
    float* const matrix = static_cast<float*>(scratch);
    for (int64_t n = 0; n < items_; ++n) {
      RETURN_IF_ERROR(Show(stream, x + n * x_item_, matrix));
      for (int64_t g = 0; g < group_; ++g) {
        RETURN_IF_ERROR(Gemm(stream,
                             {.transpose_b = true,
                              .m = outputs_,
                              .n = rows_,
                              .k = windows_.windows},
                             TopOf(dy, n, g), PartOf(matrix, g),
                             n == 0 ? beta : 1.0f, WeightsOf(dw, g)));
      }
    }
    return absl::OkStatus();
  }

 private:
  int64_t matrix_count() const { return group_ * rows_ * windows_.windows; }

  absl::Status Show(Stream& stream, const float* item, float* matrix) const {
    return Fill(stream, matrix, matrix_count(), ShowWindows{windows_, item});
  }

  // Those of group `g`.
  template <class Float>
  Float* WeightsOf(Float* w, int64_t g) const {
    return w + g * outputs_ * rows_;
  }
  float* PartOf(float* matrix, int64_t g) const {
    return matrix + g * rows_ * windows_.windows;
  }
  template <class Float>
  Float* TopOf(Float* y, int64_t item, int64_t g) const {
    return y + item * y_item_ + g * outputs_ * windows_.windows;
  }

  const Windows windows_;
  const int64_t items_, group_;
  const int64_t outputs_, inputs_;  // channels of a group
  const int64_t rows_;              // of a group's part of the matrix
  const int64_t x_item_, y_item_;   // elements
};

}  // namespace

std::unique_ptr<ConvolutionEngine> MakeWindowConvolution(
    const ConvolutionTask& task) {
  return std::make_unique<WindowConvolution>(task);
}

}  // namespace cssp::cuda
