#include "worker/layers/pooling_layer.h"

#include <algorithm>

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

bool PoolingLayer::is_stochastic() const {
  return layer_param().pooling_param().pool() ==
         caffe::PoolingParameter::STOCHASTIC;
}

int PoolingLayer::max_tops() const { return is_max() ? 2 : 1; }

absl::Status PoolingLayer::ReadWindow(int axes) {
  const caffe::PoolingParameter& p = layer_param().pooling_param();
  const bool has_pair = p.has_kernel_h() || p.has_kernel_w();
  const bool pad_pair = p.has_pad_h() || p.has_pad_w();
  const bool stride_pair = p.has_stride_h() || p.has_stride_w();
  if (p.global_pooling()) {
    if (p.has_kernel_size() || has_pair) {
      return Invalid("global_pooling excludes kernel_size");
    }
  } else if (p.has_kernel_size() == has_pair ||
             p.has_kernel_h() != p.has_kernel_w()) {
    return Invalid("give either kernel_size or both of kernel_h and kernel_w");
  }
  if ((p.has_pad() && pad_pair) || p.has_pad_h() != p.has_pad_w()) {
    return Invalid("give either pad or both of pad_h and pad_w");
  }
  if ((p.has_stride() && stride_pair) || p.has_stride_h() != p.has_stride_w()) {
    return Invalid("give either stride or both of stride_h and stride_w");
  }
  if (axes != 2 && (has_pair || pad_pair || stride_pair)) {
    return Invalid(
        absl::StrCat("the _h and _w fields are for 2 spatial axes, here are ",
                     axes, ": give kernel_size, stride and pad"));
  }
  window_.kernel.assign(axes, p.kernel_size());
  window_.stride.assign(axes, p.stride());
  window_.pad.assign(axes, p.pad());
  if (has_pair) window_.kernel = {p.kernel_h(), p.kernel_w()};
  if (stride_pair) window_.stride = {p.stride_h(), p.stride_w()};
  if (pad_pair) window_.pad = {p.pad_h(), p.pad_w()};
  return absl::OkStatus();
}

absl::Status PoolingLayer::CheckWindow() const {
  const bool global = layer_param().pooling_param().global_pooling();
  for (size_t i = 0; i < window_.kernel.size(); ++i) {
    const int64_t kernel = window_.kernel[i], pad = window_.pad[i];
    if (!global && kernel < 1) return Invalid("kernel_size must be > 0");
    if (window_.stride[i] < 1) return Invalid("stride must be > 0");
    if (global && (pad != 0 || window_.stride[i] != 1)) {
      return Invalid("global_pooling needs pad 0 and stride 1");
    }
    if (is_stochastic() && pad != 0) {
      return Invalid("STOCHASTIC pooling knows no pad: leave it out");
    }
    if (!global && pad >= kernel) {
      return Invalid("pad must be smaller than the kernel");
    }
  }
  return absl::OkStatus();
}

absl::Status PoolingLayer::CheckBottom(const Shape& bottom) const {
  const int axes = bottom.num_axes();
  if (axes >= 3 && axes <= 2 + kMaxSpatialAxes) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat(
      "pooling takes a bottom of 3 to 5 axes (items, channels, and up to three "
      "spatial ones), got ",
      bottom.ToString()));
}

absl::Status PoolingLayer::SetUp(absl::Span<const Shape> bottom) {
  RETURN_IF_ERROR(CheckBottom(bottom[0]));
  RETURN_IF_ERROR(ReadWindow(bottom[0].num_axes() - 2));
  return CheckWindow();
}

PoolingLayer::Window PoolingLayer::WindowFor(const Shape& bottom) const {
  Window window = window_;
  if (layer_param().pooling_param().global_pooling()) {
    window.kernel.assign(bottom.dims().begin() + 2, bottom.dims().end());
  }
  return window;
}

std::array<PoolingLayer::Axis, PoolingLayer::kMaxSpatialAxes>
PoolingLayer::AxesFor(const Shape& bottom, const Shape& top) const {
  const Window w = WindowFor(bottom);
  const int axes = static_cast<int>(w.kernel.size());
  std::array<Axis, kMaxSpatialAxes> result;
  for (int i = 0; i < axes; ++i) {
    result[kMaxSpatialAxes - axes + i] = {bottom.dim(2 + i), top.dim(2 + i),
                                          w.kernel[i], w.stride[i], w.pad[i]};
  }
  return result;
}

int64_t PoolingLayer::OutputExtent(const Window& w, int i,
                                   int64_t input) const {
  const bool floor = layer_param().pooling_param().round_mode() ==
                     caffe::PoolingParameter::FLOOR;
  const int64_t room = input + 2 * w.pad[i] - w.kernel[i];
  if (room < 0) return 0;
  int64_t out = (floor ? room : room + w.stride[i] - 1) / w.stride[i] + 1;
  // Caffe looks at the padding of every axis before it clips any.
  const bool padded = std::any_of(w.pad.begin(), w.pad.end(),
                                  [](int64_t pad) { return pad > 0; });
  if (padded && (out - 1) * w.stride[i] >= input + w.pad[i]) --out;
  return out;
}

absl::StatusOr<std::vector<Shape>> PoolingLayer::InferShapes(
    absl::Span<const Shape> bottom) const {
  const int axes = static_cast<int>(window_.kernel.size());
  if (bottom[0].num_axes() != 2 + axes) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the bottom has ", bottom[0].num_axes(), " axes (",
        bottom[0].ToString(), "), the layer was set up for ", 2 + axes));
  }
  const Window window = WindowFor(bottom[0]);
  Shape top = bottom[0];
  for (int i = 0; i < axes; ++i) {
    const int64_t out = OutputExtent(window, i, bottom[0].dim(2 + i));
    if (out < 1) {
      return absl::InvalidArgumentError(absl::StrCat(
          "the window of ", window.kernel[i], " along axis ", 2 + i,
          " is larger than the padded bottom (", bottom[0].ToString(), ")"));
    }
    top.set_dim(2 + i, out);
  }
  return std::vector<Shape>(has_mask() ? 2 : 1, top);
}

LayerTraits PoolingLayer::Traits() const {
  LayerTraits traits;
  // The weighted mean is differentiated where it is, everything else knows
  // where its gradient goes.
  traits.backward_reads_bottom = is_stochastic() && !draws() ? 1 : 0;
  traits.backward_reads_top = 0;
  traits.scratch_bytes = scratch_bytes_;
  return traits;
}

}  // namespace cssp
