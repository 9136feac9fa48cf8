#include "worker/layers/pooling_layer.h"

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"

namespace cssp {
namespace {

absl::Status Invalid(absl::string_view text) {
  return absl::InvalidArgumentError(absl::StrCat("pooling_param: ", text));
}

}  // namespace

bool PoolingLayer::is_max() const {
  return layer_param().pooling_param().pool() == caffe::PoolingParameter::MAX;
}

int PoolingLayer::max_tops() const { return is_max() ? 2 : 1; }

absl::Status PoolingLayer::ReadWindow() {
  const caffe::PoolingParameter& p = layer_param().pooling_param();
  const bool has_pair = p.has_kernel_h() || p.has_kernel_w();
  if (p.global_pooling()) {
    if (p.has_kernel_size() || has_pair) {
      return Invalid("global_pooling excludes kernel_size");
    }
  } else if (p.has_kernel_size() == has_pair ||
             p.has_kernel_h() != p.has_kernel_w()) {
    return Invalid(
        "give either kernel_size or both of kernel_h and kernel_w");
  }
  if ((p.has_pad() && (p.has_pad_h() || p.has_pad_w())) ||
      p.has_pad_h() != p.has_pad_w()) {
    return Invalid("give either pad or both of pad_h and pad_w");
  }
  if ((p.has_stride() && (p.has_stride_h() || p.has_stride_w())) ||
      p.has_stride_h() != p.has_stride_w()) {
    return Invalid("give either stride or both of stride_h and stride_w");
  }
  window_ = {.kernel = {has_pair ? p.kernel_h() : p.kernel_size(),
                        has_pair ? p.kernel_w() : p.kernel_size()},
             .stride = {p.has_stride_h() ? p.stride_h() : p.stride(),
                        p.has_stride_w() ? p.stride_w() : p.stride()},
             .pad = {p.has_pad_h() ? p.pad_h() : p.pad(),
                     p.has_pad_w() ? p.pad_w() : p.pad()}};
  return absl::OkStatus();
}

absl::Status PoolingLayer::SetUp(absl::Span<const Shape> bottom) {
  const caffe::PoolingParameter& p = layer_param().pooling_param();
  if (p.pool() == caffe::PoolingParameter::STOCHASTIC) {
    return absl::UnimplementedError(
        "pooling_param.pool: STOCHASTIC does not run on the CPU");
  }
  RETURN_IF_ERROR(ReadWindow());
  for (int i = 0; i < 2; ++i) {
    if (!p.global_pooling() && window_.kernel[i] < 1) {
      return Invalid("kernel_size must be > 0");
    }
    if (window_.stride[i] < 1) return Invalid("stride must be > 0");
    if (p.global_pooling() && (window_.pad[i] != 0 || window_.stride[i] != 1)) {
      return Invalid("global_pooling needs pad 0 and stride 1");
    }
    if (!p.global_pooling() && window_.pad[i] >= window_.kernel[i]) {
      return Invalid("pad must be smaller than the kernel");
    }
  }
  return absl::OkStatus();
}

PoolingLayer::Window PoolingLayer::WindowFor(const Shape& bottom) const {
  Window window = window_;
  if (layer_param().pooling_param().global_pooling()) {
    window.kernel[0] = bottom.dim(2);
    window.kernel[1] = bottom.dim(3);
  }
  return window;
}

int64_t PoolingLayer::OutputExtent(const Window& w, int i,
                                   int64_t input) const {
  const bool floor = layer_param().pooling_param().round_mode() ==
                     caffe::PoolingParameter::FLOOR;
  const int64_t room = input + 2 * w.pad[i] - w.kernel[i];
  if (room < 0) return 0;
  int64_t out = (floor ? room : room + w.stride[i] - 1) / w.stride[i] + 1;
  // Caffe looks at both axes' padding before it clips either.
  if ((w.pad[0] > 0 || w.pad[1] > 0) &&
      (out - 1) * w.stride[i] >= input + w.pad[i]) {
    --out;
  }
  return out;
}

absl::StatusOr<std::vector<Shape>> PoolingLayer::InferShapes(
    absl::Span<const Shape> bottom) const {
  if (bottom[0].num_axes() != 4) {
    return absl::InvalidArgumentError(absl::StrCat(
        "pooling takes a bottom of 4 axes (items, channels, height, width), "
        "got ",
        bottom[0].ToString()));
  }
  const Window window = WindowFor(bottom[0]);
  Shape top = bottom[0];
  for (int i = 0; i < 2; ++i) {
    const int64_t out = OutputExtent(window, i, bottom[0].dim(2 + i));
    if (out < 1) {
      return absl::InvalidArgumentError(
          absl::StrCat("the window of ", window.kernel[i],
                       i == 0 ? " rows" : " columns",
                       " is larger than the padded bottom (",
                       bottom[0].ToString(), ")"));
    }
    top.set_dim(2 + i, out);
  }
  return std::vector<Shape>(has_mask() ? 2 : 1, top);
}

LayerTraits PoolingLayer::Traits() const {
  LayerTraits traits;
  traits.backward_reads_bottom = 0;
  traits.backward_reads_top = 0;
  traits.scratch_bytes = scratch_bytes_;
  return traits;
}

}  // namespace cssp
