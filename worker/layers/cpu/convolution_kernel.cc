// Which kernel runs a convolution.
#include "worker/layers/cpu/convolution_kernel.h"

#include <functional>
#include <numeric>

#include "common/base/status_macros.h"
#include "worker/layers/cpu/onednn.h"
#include "worker/layers/cpu/onednn_convolution.h"

namespace cssp::cpu {
namespace {

using Extents = ConvolutionProblem::Extents;

int64_t Product(const Extents& extents) {
  return std::accumulate(extents.begin(), extents.end(), int64_t{1},
                         std::multiplies<>());
}

bool Plain(const ConvolutionFormats& formats) {
  return formats.x == Format::kCaffe && formats.y == Format::kCaffe;
}

// What oneDNN likes best for the pass that matters: a deconvolution's forward
// is the gradient of the data.
ConvolutionFormats Liked(const ConvolutionProblem& s,
                         const ConvolutionTerms& terms,
                         const dnnl::engine& engine) {
  const auto any = ConvolutionDescriptions::Any(terms, engine);
  const Shape x({s.items, s.x_channels, s.x[0], s.x[1]});
  const Shape y({s.items, s.y_channels, s.y[0], s.y[1]});
  if (s.deconvolution) {
    return {NearestFormat(any.data.diff_src_desc(), x),
            NearestFormat(any.data.diff_dst_desc(), y)};
  }
  return {NearestFormat(any.forward.src_desc(), x),
          NearestFormat(any.forward.dst_desc(), y)};
}

struct Choice {
  ConvolutionFormats formats;
  int64_t merge = 1;
};

// Groups of a few channels fill no block, and oneDNN copies windows out for
// each.  As many as fill blocks together, computed as one, are faster although
// most of their products are with zeros.
bool MergeGroups(const ConvolutionProblem& s, const dnnl::engine& engine,
                 Choice* choice) {
  constexpr int64_t kMost = 8, kBlock = 8;
  for (int64_t merge = 2; merge <= kMost; ++merge) {
    if (s.group % merge != 0 || s.x_channels / s.group * merge % kBlock != 0 ||
        s.y_channels / s.group * merge % kBlock != 0) {
      continue;
    }
    const ConvolutionTerms terms(s, merge);
    const ConvolutionFormats formats = Liked(s, terms, engine);
    const ConvolutionDescriptions pd(terms, formats, engine);
    if (pd.gemm(s.deconvolution) || pd.poor(s.deconvolution)) continue;
    *choice = {formats, merge};
    return true;
  }
  return false;
}

// The best that oneDNN can do; Caffe's layout where that is nothing.
Choice Choose(const ConvolutionProblem& s, const dnnl::engine& engine) {
  const ConvolutionTerms terms(s, /*merge=*/1);
  const ConvolutionFormats liked = Liked(s, terms, engine);
  const ConvolutionDescriptions pd(terms, liked, engine);
  const bool poor = pd.poor(s.deconvolution);
  Choice choice;
  if ((poor || pd.gemm(s.deconvolution)) && MergeGroups(s, engine, &choice)) {
    return choice;
  }
  const Format blocked = NativeBlocked();
  const ConvolutionFormats both{blocked, blocked};
  if (!poor) {
    choice.formats = liked;
  } else if (!ConvolutionDescriptions(terms, both, engine)
                  .poor(s.deconvolution)) {
    choice.formats = both;
  }
  return choice;
}

// Null where oneDNN's favourite layouts bring nothing.
std::unique_ptr<ConvolutionKernel> MakeReordered(const ConvolutionTerms& terms,
                                                 const OneDnn& dnnl) {
  const auto any = ConvolutionDescriptions::Any(terms, dnnl.engine);
  const ConvolutionDescriptions pd(terms, any.forward.src_desc(),
                                   any.forward.dst_desc(), dnnl.engine);
  // Every pass counts, since the alternative is good in all.
  if (pd.gemm(true) || pd.poor(true)) return nullptr;
  return std::make_unique<ReorderedConvolution>(dnnl, terms, pd);
}

// Null: our own loops do better.
std::unique_ptr<ConvolutionKernel> MakeOneDnn(
    const ConvolutionProblem& problem, const ConvolutionFormats& formats) {
  const OneDnn dnnl;
  const bool plain = Plain(formats);
  const int64_t merge = plain ? 1 : Choose(problem, dnnl.engine).merge;
  const ConvolutionTerms terms(problem, merge);
  if (plain && !problem.blockable) {
    auto reordered = MakeReordered(terms, dnnl);
    if (reordered != nullptr) return reordered;
  }
  const ConvolutionDescriptions pd(terms, formats, dnnl.engine);
  if (plain && pd.poor(problem.deconvolution)) return nullptr;
  return std::make_unique<OneDnnConvolution>(dnnl, terms, pd);
}

}  // namespace

int64_t ConvolutionProblem::kernel_count() const { return Product(kernel); }
int64_t ConvolutionProblem::x_positions() const { return Product(x); }
int64_t ConvolutionProblem::y_positions() const { return Product(y); }

ConvolutionProblem ConvolutionProblem::Of(const ConvolutionGeometry& geometry,
                                          const Shape& x, const Shape& y,
                                          int64_t group) {
  const int axis = geometry.channel_axis;
  ConvolutionProblem s;
  s.items = x.count(0, axis);
  s.x_channels = x.dim(axis);
  s.y_channels = y.dim(axis);
  s.group = group;
  s.x = geometry.Spatial(x);
  s.y = geometry.Spatial(y);
  s.kernel = geometry.kernel;
  s.stride = geometry.stride;
  s.pad = geometry.pad;
  s.dilation = geometry.dilation;
  if (s.x.empty()) {
    for (Extents* e : {&s.x, &s.y, &s.kernel, &s.stride, &s.dilation}) {
      e->push_back(1);
    }
    s.pad.push_back(0);
  }
  s.blockable = axis == 1 && x.num_axes() == 4;
  return s;
}

ConvolutionFormats PreferredFormats(const ConvolutionProblem& problem) {
  Choice choice;
  if (!problem.blockable) return choice.formats;
  // A failure here shows again, with its message, when the kernel is made.
  Guard("convolution", [&] {
    choice = Choose(problem, OneDnn().engine);
  }).IgnoreError();
  return choice.formats;
}

absl::StatusOr<std::unique_ptr<ConvolutionKernel>> MakeConvolutionKernel(
    const ConvolutionProblem& problem, const ConvolutionFormats& formats) {
  if (problem.x.size() > 3) return MakeDirectConvolution(problem);
  std::unique_ptr<ConvolutionKernel> kernel =
      MakeWinogradConvolution(problem, formats);
  if (kernel != nullptr) return kernel;
  const absl::Status status =
      Guard("convolution", [&] { kernel = MakeOneDnn(problem, formats); });
  if (kernel == nullptr && Plain(formats)) {
    return MakeDirectConvolution(problem);
  }
  RETURN_IF_ERROR(status);
  return kernel;
}

}  // namespace cssp::cpu
