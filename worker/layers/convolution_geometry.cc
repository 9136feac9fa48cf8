#include "worker/layers/convolution_geometry.h"

#include <vector>

#include "absl/strings/str_cat.h"
#include "common/base/status_macros.h"

namespace cssp {
namespace {

using Extents = ConvolutionGeometry::Extents;

constexpr int64_t kMaxExtent = 1 << 28;

template <class... Parts>
absl::Status Invalid(const Parts&... parts) {
  return absl::InvalidArgumentError(
      absl::StrCat("convolution_param", parts...));
}

// The _h and _w fields, for two spatial axes.
struct Pair {
  const char* stem;
  bool has_h, has_w;
  int64_t h, w;
};

absl::Status ReadPair(const char* field, const Pair& pair, int axes,
                      Extents* out) {
  if (pair.has_h != pair.has_w) {
    return Invalid(": give both of ", pair.stem, "_h and ", pair.stem,
                   "_w, or ", field);
  }
  if (axes != 2) {
    return Invalid(": ", pair.stem, "_h and ", pair.stem,
                   "_w are for 2 spatial axes, here are ", axes, ": give ",
                   field, " once per axis");
  }
  *out = {pair.h, pair.w};
  return absl::OkStatus();
}

// `values`: none (the default), one for every axis, or one per axis; or `pair`,
// which excludes them.
template <class Repeated>
absl::Status ReadExtents(const char* field, const Repeated& values,
                         const Pair& pair, int64_t fallback, int axes,
                         Extents* out) {
  const int given = values.size();
  if (pair.has_h || pair.has_w) {
    if (given > 0) {
      return Invalid(": give either ", field, " or both of ", pair.stem,
                     "_h and ", pair.stem, "_w");
    }
    RETURN_IF_ERROR(ReadPair(field, pair, axes, out));
  } else if (given > 1 && given != axes) {
    return Invalid(".", field, " is given ", given,
                   " times; give it once, or once per spatial axis (", axes,
                   ")");
  } else {
    out->assign(axes, given > 0 ? values.Get(0) : fallback);
    for (int i = 1; i < given; ++i) (*out)[i] = values.Get(i);
  }
  for (const int64_t v : *out) {
    if (v > kMaxExtent) return Invalid(".", field, " is too large");
  }
  return absl::OkStatus();
}

absl::Status Positive(const char* field, const Extents& values) {
  for (const int64_t v : values) {
    if (v < 1) return Invalid(".", field, " must be > 0");
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<ConvolutionGeometry> ConvolutionGeometry::Read(
    const caffe::ConvolutionParameter& p, const Shape& bottom) {
  ConvolutionGeometry g;
  const absl::StatusOr<int> axis = bottom.CanonicalAxis(p.axis());
  if (!axis.ok()) {
    return Invalid(".axis ", p.axis(),
                   " is to be the axis of the channels, but the bottom has ",
                   bottom.num_axes(), " axes (", bottom.ToString(), ")");
  }
  g.channel_axis = *axis;
  const int axes = bottom.num_axes() - *axis - 1;
  if (axes > kMaxSpatialAxes) {
    return Invalid(": ", axes, " spatial axes, at most ", kMaxSpatialAxes,
                   " are possible (", bottom.ToString(), ")");
  }
  RETURN_IF_ERROR(ReadExtents("kernel_size", p.kernel_size(),
                              {"kernel", p.has_kernel_h(), p.has_kernel_w(),
                               p.kernel_h(), p.kernel_w()},
                              0, axes, &g.kernel));
  RETURN_IF_ERROR(ReadExtents("stride", p.stride(),
                              {"stride", p.has_stride_h(), p.has_stride_w(),
                               p.stride_h(), p.stride_w()},
                              1, axes, &g.stride));
  RETURN_IF_ERROR(
      ReadExtents("pad", p.pad(),
                  {"pad", p.has_pad_h(), p.has_pad_w(), p.pad_h(), p.pad_w()},
                  0, axes, &g.pad));
  RETURN_IF_ERROR(
      ReadExtents("dilation", p.dilation(), Pair{}, 1, axes, &g.dilation));
  RETURN_IF_ERROR(Positive("kernel_size", g.kernel));
  RETURN_IF_ERROR(Positive("stride", g.stride));
  RETURN_IF_ERROR(Positive("dilation", g.dilation));
  return g;
}

int64_t ConvolutionGeometry::kernel_count() const {
  int64_t count = 1;
  for (const int64_t k : kernel) count *= k;
  return count;
}

Extents ConvolutionGeometry::Spatial(const Shape& bottom) const {
  return Extents(bottom.dims().begin() + channel_axis + 1, bottom.dims().end());
}

absl::StatusOr<Extents> ConvolutionGeometry::Convolved(
    const Shape& bottom) const {
  Extents out = Spatial(bottom);
  for (int i = 0; i < spatial_axes(); ++i) {
    const int64_t padded = out[i] + 2 * pad[i];
    if (padded < Covers(i)) {
      return Invalid(": the kernel covers ", Covers(i), " elements of axis ",
                     channel_axis + 1 + i, ", but the padded bottom has only ",
                     padded, " (", bottom.ToString(), ")");
    }
    out[i] = (padded - Covers(i)) / stride[i] + 1;
  }
  return out;
}

absl::StatusOr<Extents> ConvolutionGeometry::Deconvolved(
    const Shape& bottom) const {
  Extents out = Spatial(bottom);
  for (int i = 0; i < spatial_axes(); ++i) {
    int64_t reach;
    if (__builtin_mul_overflow(stride[i], out[i] - 1, &reach) ||
        __builtin_add_overflow(reach, Covers(i) - 2 * pad[i], &reach)) {
      return Invalid(": the top would be too large along axis ",
                     channel_axis + 1 + i);
    }
    if (reach < 1) {
      return Invalid(": nothing is left of axis ", channel_axis + 1 + i,
                     " once pad ", pad[i], " is cut off both ends (",
                     bottom.ToString(), ")");
    }
    out[i] = reach;
  }
  return out;
}

absl::StatusOr<Shape> ConvolutionGeometry::TopShape(
    const Shape& bottom, int64_t channels, const Extents& spatial) const {
  std::vector<int64_t> dims(bottom.dims().begin(),
                            bottom.dims().begin() + channel_axis);
  dims.push_back(channels);
  dims.insert(dims.end(), spatial.begin(), spatial.end());
  return Shape::Create(dims);
}

absl::Status ConvolutionGeometry::CheckBottom(const Shape& bottom,
                                              int64_t channels) const {
  if (bottom.num_axes() != channel_axis + 1 + spatial_axes()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "the bottom has ", bottom.num_axes(), " axes (", bottom.ToString(),
        "), the layer was set up for ", channel_axis + 1 + spatial_axes()));
  }
  if (bottom.dim(channel_axis) != channels) {
    return absl::InvalidArgumentError(
        absl::StrCat("the bottom has ", bottom.dim(channel_axis),
                     " channels, the layer was set up for ", channels));
  }
  return absl::OkStatus();
}

}  // namespace cssp
